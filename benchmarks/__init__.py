"""Benchmarks: every figure that the documentation quotes comes from one of these."""
