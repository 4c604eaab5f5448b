"""What can be wrong with a file, as exceptions.

Everything else that fastembed raises is a built-in exception: `IndexError` for an id outside a table,
`OSError` for a file that cannot be opened, `ImportError` for an extra that is not installed.
"""

from __future__ import annotations

__all__ = ["FormatError", "LimitError", "UnsupportedError"]


class FormatError(ValueError):
    """A file breaks its own format, contradicts itself, or does what a model file has no reason to do."""


class LimitError(FormatError):
    """A file asks for more than it can justify: memory out of proportion to its size, parts beyond number."""


class UnsupportedError(FormatError):
    """A file is sound, but keeps what was asked for in a form that this version of fastembed does not
    read."""
