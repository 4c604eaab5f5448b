"""HDF5 files. The only module that opens or writes one.

h5py finds out what a file holds. Tables and text are read by us, at the places that h5py reports, once these
have been checked against the file: no filter plugin is ever loaded, nothing outside the file is opened, and
no memory is asked for that the file's own size does not justify. Objects are found by one walk over hard
links; names out of a file are looked up in what the walk found, and never given to HDF5 as a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from fastembed.dtypes import widen_bfloat16
from fastembed.errors import FormatError, LimitError, UnsupportedError
from fastembed.saving.attributes import Attributes
from fastembed.saving.chunks import Chunks
from fastembed.saving.sink import Sink
from fastembed.saving.source import Source
from fastembed.variable import Readable

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 30_000  # the largest Keras models have some thousand; the walk stays under a second
MAX_PATH = 2048  # deeper nesting would cost memory with the square of the depth
MAX_NAMES = 1_000_000

# NumPy has no bfloat16: Keras stores opaque pairs of bytes, and only `.keras` files of version 3 mark them.
OPAQUE = "void16"
DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int32", "bfloat16", OPAQUE)
# What else a variable may be of, such as a counter of steps.
NUMBERS = (*DTYPES, "int16", "uint16", "uint32", "int64", "uint64", "bool")

MOST_IN_ATTRIBUTE = 64_512  # bytes: Keras's limit, a little below that of an HDF5 object's header


@dataclass(frozen=True)
class Array:
    """What a stored array says about itself."""

    shape: tuple[int, ...]
    dtype: str  #: NumPy's name, "bfloat16", OPAQUE, or "" for what is not an array of numbers

    @property
    def is_table(self) -> bool:
        return len(self.shape) == 2 and min(self.shape) > 0 and self.dtype in DTYPES


class Stored(Readable):
    """An array in a file, read when it is asked for."""

    def __init__(self, file: Hdf5, path: str) -> None:
        array = file.array(path)
        self.shape, self.dtype = array.shape, "bfloat16" if array.dtype == OPAQUE else array.dtype
        self.ndim = len(self.shape)
        self._file, self._path, self._unmarked = file, path, array.dtype == OPAQUE

    def read_into(self, memory: NDArray[Any]) -> None:
        """Fill memory of this shape and dtype; bfloat16 as words."""
        self._file.read_into(self._path, memory)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self._unmarked:
            raise UnsupportedError(
                f"{quoted(self._path)} holds two-byte values, and the file does not say of which type"
            )
        words = self._file.read(self._path, self.shape)
        values = widen_bfloat16(words) if self.dtype == "bfloat16" else words
        return values if dtype is None else values.astype(dtype, copy=False)


def quoted(text: str | bytes) -> str:
    """Text out of a file, short and in ASCII: an error message must not carry escape codes to a terminal."""
    return ascii(text[:80])


@contextmanager
def _translated() -> Iterator[None]:
    """h5py reports a damaged file by whatever exception is nearest; for our callers that is a FormatError."""
    try:
        yield
    except FormatError:
        raise
    except MemoryError:
        raise LimitError("not enough memory for what the HDF5 file asks for") from None
    except Exception as error:
        raise FormatError(f"damaged or unusual HDF5 file: {str(error)[:200]!a}") from error


class Hdf5:
    """An open HDF5 file: the paths of its groups and datasets, their attributes, and arrays read with care.

    Paths have no leading slash; the root group is "". Backslashes in names, which Keras on Windows wrote for
    slashes, count as slashes.
    """

    def __init__(self, source: Source) -> None:
        self._h5py = h5py = _h5py()
        self._source = source
        with _translated():
            self._attributes = Attributes(source)
            self._file = h5py.File(source, "r")
        try:
            with _translated():
                if self._file.userblock_size:
                    raise FormatError("the HDF5 file has a user block, which may hide another format")
                self._walk()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Hdf5:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _walk(self) -> None:
        """Find every group and dataset, without recursion and without following anything but hard links."""
        h5o, hard = self._h5py.h5o, self._h5py.h5l.TYPE_HARD
        self._groups: dict[str, Any] = {"": self._file.id}
        self._datasets: dict[str, Any] = {}
        seen = {h5o.get_info(self._file.id).addr}
        todo = [""]
        while todo:
            path = todo.pop()
            group = self._groups[path]
            room = MAX_OBJECTS - len(self._groups) - len(self._datasets)
            if group.get_num_objs() > room:
                raise LimitError(f"the HDF5 file holds more than {MAX_OBJECTS} objects")
            links: list[tuple[bytes, int]] = []
            group.links.iterate(lambda name, info: links.append((name, info.type)), info=True)  # noqa: B023
            for name, kind in links:
                if kind != hard:
                    raise FormatError(f"{quoted(name)} is a link to somewhere else; no Keras file needs one")
                below = f"{path}/{name.decode()}".lstrip("/").replace("\\", "/")
                if len(below) > MAX_PATH:
                    raise LimitError(f"a path of more than {MAX_PATH} characters in the HDF5 file")
                thing = h5o.open(group, name)
                if isinstance(thing, self._h5py.h5d.DatasetID):
                    known, address = self._datasets, None
                elif isinstance(thing, self._h5py.h5g.GroupID):
                    known, address = self._groups, h5o.get_info(thing).addr
                else:
                    continue  # a named type
                if below in self._groups or below in self._datasets:
                    raise FormatError(f"two objects are called {quoted(below)}")
                if address in seen:
                    continue  # a hard link back: the group has its first path
                known[below] = thing
                if address is not None:
                    seen.add(address)
                    todo.append(below)

    @property
    def groups(self) -> KeysView[str]:
        """Paths of all groups."""
        return self._groups.keys()

    @property
    def arrays(self) -> KeysView[str]:
        """Paths of all datasets."""
        return self._datasets.keys()

    def text(self, path: str, attribute: str) -> str | None:
        """A string attribute, or None where there is none."""
        values = self._strings(path, attribute)
        if values is None or len(values) == 1:
            return values[0] if values else None
        raise FormatError(f"attribute {attribute} holds {len(values)} strings instead of one")

    def names(self, path: str, attribute: str) -> list[str] | None:
        """A list of strings; Keras cuts what exceeds HDF5's 64 KiB into several, numbered attributes."""
        values = self._strings(path, attribute)
        if values is not None:
            return values
        parts: list[str] = []
        number = 0
        while (part := self._strings(path, f"{attribute}{number}")) is not None:
            parts += part
            number += 1
            if len(parts) > MAX_NAMES:
                raise LimitError(f"attribute {attribute} holds more than {MAX_NAMES} names")
        return parts if number else None

    def _strings(self, path: str, attribute: str) -> list[str] | None:
        thing = self._groups.get(path) or self._datasets[path]
        h5a, name = self._h5py.h5a, attribute.encode()
        with _translated():
            if not h5a.exists(thing, name):
                return None
            opened = h5a.open(thing, name)
            kind, count = opened.get_type(), opened.get_space().get_simple_extent_npoints()
            if count == 0:
                return []  # NumPy makes an empty list of names an array of float64
            if not isinstance(kind, self._h5py.h5t.TypeStringID):
                raise FormatError(f"attribute {attribute} is not text")
            header = self._h5py.h5o.get_info(thing).addr
            size = None if kind.is_variable_str() else kind.get_size()
            return self._attributes.strings(header, name, count, size)

    def array(self, path: str) -> Array:
        """What the dataset at ``path`` says about itself; FormatError where its data is kept elsewhere."""
        h5t, dataset = self._h5py.h5t, self._datasets[path]
        with _translated():
            # Before anything else is asked: the extent of a virtual dataset would open its sources.
            properties = dataset.get_create_plist()
            if properties.get_layout() == self._h5py.h5d.VIRTUAL or properties.get_external_count():
                raise FormatError(f"the data of {quoted(path)} is said to be in another file")
            kind, shape = dataset.get_type(), tuple(dataset.get_space().shape or ())
            if isinstance(kind, h5t.TypeOpaqueID) and kind.get_size() == 2:
                marked = self._strings(path, "dtype") == ["bfloat16"]
                return Array(shape, "bfloat16" if marked else OPAQUE)
            if isinstance(kind, h5t.TypeEnumID):
                return Array(shape, "bool" if kind.equal(h5t.py_create(np.dtype(bool), logical=True)) else "")
            if isinstance(kind, (h5t.TypeIntegerID, h5t.TypeFloatID)):
                try:
                    dtype = kind.dtype
                except TypeError:  # a float that NumPy has no type for
                    return Array(shape, "")
                if h5t.py_create(dtype).equal(kind):  # else, say, an integer with padding bits
                    return Array(shape, dtype.name)
            return Array(shape, "")

    def check(self, path: str, shape: tuple[int, ...] | None = None) -> None:
        """Raise FormatError unless every byte of the table at ``path`` is in the file, in a known form.

        With a ``shape``, of the array that must have it, of any rank.
        """
        dataset, array = self._datasets[path], self.array(path)
        if not (array.is_table if shape is None else array.shape == shape and array.dtype in NUMBERS):
            raise FormatError(
                f"{quoted(path)} is no {'table' if shape is None else f'array of shape {shape}'}: "
                f"shape {array.shape}, {array.dtype or 'not numbers'}"
            )
        with _translated():
            size = prod(array.shape) * dataset.get_type().get_size()
            stored, layout = dataset.get_storage_size(), dataset.get_create_plist().get_layout()
            if stored > self._source.size:
                raise FormatError(f"{quoted(path)} claims more bytes than the file has")
            if layout == self._h5py.h5d.CHUNKED:
                Chunks(dataset).check(size, stored)
            elif stored != size or (
                size and layout == self._h5py.h5d.CONTIGUOUS and dataset.get_offset() is None
            ):
                # HDF5 would make up zeros for what was never written.
                raise FormatError(f"{quoted(path)} declares {size} bytes and stores {stored}")

    def read(self, path: str, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
        """What `check` lets pass as a new array in native byte order; bfloat16 and OPAQUE as uint16 words."""
        self.check(path, shape)
        dataset = self._datasets[path]
        with _translated():
            table = np.empty(dataset.shape, self._dtype(dataset))
            self._fill(dataset, table)
        return table.astype(table.dtype.newbyteorder("="), copy=False)

    def read_into(self, path: str, memory: NDArray[Any]) -> None:
        """The same into memory of the array's shape and dtype, without a second copy if it is stored so."""
        self.check(path, memory.shape)
        dataset = self._datasets[path]
        with _translated():
            if self._dtype(dataset) == memory.dtype and memory.flags.c_contiguous:
                self._fill(dataset, memory)
                return
        memory[...] = self.read(path, memory.shape)

    def _dtype(self, dataset: Any) -> np.dtype[Any]:
        opaque = isinstance(dataset.get_type(), self._h5py.h5t.TypeOpaqueID)
        return np.dtype(np.uint16) if opaque else dataset.dtype

    def _fill(self, dataset: Any, table: NDArray[Any]) -> None:
        """Read all of a dataset that was checked."""
        layout = dataset.get_create_plist().get_layout()
        if table.size == 0:
            return
        if layout == self._h5py.h5d.CHUNKED:
            Chunks(dataset).read(self._source, table)
        elif layout == self._h5py.h5d.CONTIGUOUS:
            self._source.fill(table.reshape(-1).view(np.uint8).data, dataset.get_offset())
        else:  # compact: at most 64 KiB, which HDF5 already holds
            dataset.read(self._h5py.h5s.ALL, self._h5py.h5s.ALL, table, dataset.get_type())


class Hdf5Writer:
    """A new HDF5 file: groups, arrays as they are in memory, text in attributes.

    Parameters
    ----------
    sink : Sink
        Empty.
    """

    def __init__(self, sink: Sink) -> None:
        self._h5py = _h5py()
        self._file = self._h5py.File(sink, "w")

    def __enter__(self) -> Hdf5Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def group(self, path: str) -> None:
        """Have a group at ``path``."""
        self._file.require_group(path or "/")

    def write(self, path: str, array: NDArray[Any]) -> None:
        """Write an array as a dataset; bfloat16, and what may be it, marked as such."""
        array = np.asarray(array)
        opaque = array.dtype.kind == "V"
        if (opaque and array.dtype.name not in ("bfloat16", OPAQUE)) or array.dtype.kind not in "biufV":
            raise TypeError(
                f"{quoted(path)}: an array of dtype {array.dtype} cannot be written, only numbers"
            )
        array = np.ascontiguousarray(array).reshape(array.shape)
        dataset = self._file.create_dataset(path, data=array.view("V2") if opaque else array)
        if opaque:
            dataset.attrs["dtype"] = "bfloat16"

    def text(self, path: str, attribute: str, text: str) -> None:
        """Give the group at ``path`` a text."""
        self._file[path or "/"].attrs[attribute] = text.encode()

    def names(self, path: str, attribute: str, names: Iterable[str]) -> None:
        """Give the group a list of strings: in several attributes, numbered, where one cannot hold them."""
        encoded = [name.encode() for name in names]
        longest = max(map(len, encoded), default=0)
        if longest > MOST_IN_ATTRIBUTE:
            raise RuntimeError(
                f"a name of {longest} bytes cannot be saved to HDF5, where an attribute has at most "
                f"{MOST_IN_ATTRIBUTE}: {quoted(max(encoded, key=len))}..."
            )
        attributes = self._file[path or "/"].attrs
        array = np.array(encoded) if encoded else np.zeros(0)
        parts = 1
        while any(part.nbytes > MOST_IN_ATTRIBUTE for part in np.array_split(array, parts)):
            parts += 1
        for number, part in enumerate(np.array_split(array, parts)):
            attributes[attribute if parts == 1 else f"{attribute}{number}"] = part


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise ImportError("this format needs h5py: pip install 'keras-fastembed[keras-files]'") from None
    return h5py
