"""Benchmarks: the figures in README come from these; docs/decisions.md names the commands of others."""
