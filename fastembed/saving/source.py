"""A file opened once, and windows on it: every byte that fastembed.saving reads comes through here."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Union

from fastembed.errors import FormatError

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Binary = IO[bytes]

# Flags that a system lacks are left out. O_NONBLOCK keeps a FIFO from blocking the open.
_FLAGS = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK", "O_BINARY", "O_NOINHERIT"):
    _FLAGS |= getattr(os, _name, 0)


class Source(io.RawIOBase):
    """The bytes ``start`` to ``start + size`` of an open file, as a read-only file of their own.

    Parameters
    ----------
    file : raw binary file, or bytes-like in a BytesIO
        Owned by whoever opened it: closing a window leaves it open.
    start, size : int
        The window. Reads end at its end, whatever lies beyond.
    """

    def __init__(self, file: io.RawIOBase | io.BytesIO, start: int, size: int) -> None:
        self._file, self._start, self.size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("seek before the start of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(buffer).cast("B")
        view = view[: max(0, min(len(view), self.size - self._position))]
        self._file.seek(self._start + self._position)
        done = 0
        while done < len(view):  # one read(2) returns at most 2 GiB on Linux
            got = self._file.readinto(view[done:])
            if not got:
                break
            done += got
        self._position += done
        return done

    def window(self, start: int, size: int) -> Source:
        """A part of this source; FormatError unless it lies inside."""
        if not (0 <= start <= self.size and 0 <= size <= self.size - start):
            raise FormatError(f"bytes {start} to {start + size} lie outside the {self.size} bytes there are")
        return Source(self._file, self._start + start, size)

    def fill(self, buffer: memoryview, start: int) -> None:
        """Read exactly ``len(buffer)`` bytes from ``start`` on into ``buffer``."""
        if self.window(start, len(buffer)).readinto(buffer) != len(buffer):
            raise FormatError("the file ended while it was read")

    def bytes_at(self, start: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``start`` on. They are known to exist before memory is asked for."""
        self.window(start, size)
        data = bytearray(size)
        self.fill(memoryview(data), start)
        return bytes(data)


@contextmanager
def opened(path: Path | Binary) -> Iterator[Source]:
    """The file at ``path``, opened once and only for reading; or all of a binary file object.

    Raises
    ------
    OSError
        If it cannot be opened or read.
    FormatError
        If it is not a regular file, or changes while it is read.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        position = path.tell()
        yield Source(path, 0, path.seek(0, io.SEEK_END))  # type: ignore[arg-type]
        path.seek(position)
        return
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:  # a NUL in the path
        raise FormatError(f"not a path: {error}") from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise FormatError("not a regular file")
        # Everything is read from this descriptor: a file moved to the same name meanwhile is never seen.
        yield Source(io.FileIO(descriptor, "rb", closefd=False), 0, before.st_size)
        after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise FormatError("the file changed while it was read")
    finally:
        os.close(descriptor)
