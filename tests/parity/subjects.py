"""The subjects: importing this enters all their features."""

from parity import backend, configs, constructors, elsewhere, lifecycle, lookups, objects, storage

__all__ = ["backend", "configs", "constructors", "elsewhere", "lifecycle", "lookups", "objects", "storage"]
