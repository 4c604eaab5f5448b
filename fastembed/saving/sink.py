"""A file written whole or not at all: every byte that fastembed.saving writes goes through here.

What is written goes into a file of another name in the same folder, is brought to the disk, and takes the
final name in one step. Whoever opens that name, at any moment, also after a kill or a power cut, finds the
old file or the new one.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Union

if TYPE_CHECKING:
    from fastembed.saving.source import Path

Target = Union["Path", IO[bytes]]

_AT_ONCE = 1 << 24  # bytes that are written to somebody else's file object at a time


class Sink(io.RawIOBase):
    """An open file from ``start`` on, as a file of its own to read and write.

    The first error is kept, and what is written afterwards is dropped: libraries that write through this
    (HDF5 writes last when it is closed) come to their end undisturbed. `checked` raises it then.

    Parameters
    ----------
    file : raw binary file
        Owned by whoever opened it.
    start : int, default 0
    """

    def __init__(self, file: io.RawIOBase, start: int = 0) -> None:
        self._file, self._start, self._position = file, start, 0
        self._error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = base + offset
        return self._position

    @property
    def size(self) -> int:
        """Bytes from ``start`` to the end."""
        return max(0, self._file.seek(0, io.SEEK_END) - self._start)

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(data).cast("B")
        try:
            if self._error is None:
                self._file.seek(self._start + self._position)
                done = 0
                while done < len(view):  # one write(2) takes at most 2 GiB on Linux
                    done += self._file.write(view[done:]) or 0
        except BaseException as error:  # a Ctrl-C too: it must not be raised into the midst of a library
            self._error = error
        self._position += len(view)
        return len(view)

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        view, done = memoryview(buffer).cast("B"), 0
        self._file.seek(self._start + self._position)
        while done < len(view) and (got := self._file.readinto(view[done:])):
            done += got
        self._position += done
        return done

    def truncate(self, size: int | None = None) -> int:
        size = self._position if size is None else size
        try:
            if self._error is None:
                self._file.truncate(self._start + size)
        except BaseException as error:
            self._error = error
        return size

    def window(self, start: int) -> Sink:
        """This file from ``start`` on."""
        return Sink(self, start)

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """Whatever comes of the block, the first error in writing is raised, if there was one."""
        try:
            yield
        finally:
            if self._error is not None:
                raise self._error


@contextlib.contextmanager
def written(target: Target, overwrite: bool = True) -> Iterator[Sink]:
    """A file to write, which takes the place of the one at ``target`` when the block ends without an error.

    Parameters
    ----------
    target : path-like or binary file object
        At the end of a symbolic link the file is replaced that it leads to. A file object gets the bytes at
        its current position, when all of them are there.
    overwrite : bool, default True
        Whether there may be a file already.

    Raises
    ------
    ValueError
        If there is one, and ``overwrite`` is false.
    OSError
        If the file cannot be written. What was there before is still there.
    """
    if not isinstance(target, (str, bytes, os.PathLike)):
        with _in_memory(target) as sink:
            yield sink
        return
    path = os.path.realpath(os.fsdecode(target))
    mode = _mode_of(path, overwrite)
    folder, name = os.path.split(path)
    # Its name must not grow beyond what a file system allows.
    temporary = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, _NEW, 0o666)  # less the umask, as any new file
    except OSError as error:
        error.filename = path  # the one that was asked for; of the other nobody has heard
        raise
    try:
        with io.FileIO(descriptor, "w+b") as file:
            sink = Sink(file)
            with sink.checked():
                yield sink
            if mode is not None:
                os.chmod(temporary, mode)
            os.fsync(descriptor)
        _put_in_place(temporary, path, overwrite)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
for _name in ("O_CLOEXEC", "O_BINARY", "O_NOINHERIT"):
    _NEW |= getattr(os, _name, 0)


def _mode_of(path: str, overwrite: bool) -> int | None:
    """The permissions of the file that is to be replaced, which the new one has too; None without one."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if not overwrite:
        raise _exists(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path!a} is no regular file, and is not replaced by one")
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path!a} is write-protected")
    return stat.S_IMODE(status.st_mode)


def _exists(path: str) -> ValueError:
    return ValueError(
        f"{path!a} exists, and overwrite=False: nothing was written. (Keras asks on the terminal here.) "
        "Give another name, remove the file, or say overwrite=True"
    )


def _put_in_place(temporary: str, path: str, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # fails if the name was taken meanwhile
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise _exists(path) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    """Bring the names in a folder to the disk, where the system lets folders be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder or ".", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _in_memory(target: IO[bytes]) -> Iterator[Sink]:
    memory = io.BytesIO()
    sink = Sink(memory)  # type: ignore[arg-type]
    with sink.checked():
        yield sink
    with memory.getbuffer() as data:
        for start in range(0, len(data), _AT_ONCE):
            part = data[start : start + _AT_ONCE]
            if target.write(part) not in (len(part), None):
                raise OSError(f"{target!r:.80} did not take all of the file")
