"""The data of a chunked HDF5 dataset, chunk by chunk and with its filters undone by us.

HDF5 would look for a plugin where it does not know a filter, and inflate whatever a chunk says. Here a chunk
can be no larger than it is declared to be, and the only filters are gzip, shuffle and fletcher32.
"""

from __future__ import annotations

import itertools
import zlib
from math import prod
from typing import Any

import numpy as np

from fastembed.errors import FormatError, LimitError, UnsupportedError
from fastembed.saving.source import Source

MAX_CHUNK = 64 << 20
MAX_CHUNKS = 100_000
# Deflate shrinks trained weights by a tenth. Much more is no table, except in files too small to matter.
MAX_RATIO = 200
RATIO_FREE = 1 << 20


class Chunks:
    """The chunks of an open dataset (a low-level `h5py.h5d.DatasetID`)."""

    _DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3

    def __init__(self, dataset: Any) -> None:
        properties = dataset.get_create_plist()
        self._dataset, self._shape = dataset, dataset.shape
        self._chunk: tuple[int, ...] = properties.get_chunk()
        self._filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        self._item = dataset.get_type().get_size()
        self._size = prod(self._chunk) * self._item
        self._origins = [range(0, n, step) for n, step in zip(self._shape, self._chunk)]

    def check(self, size: int, stored: int) -> None:
        """Raise unless ``stored`` bytes of chunks can be all of an array of ``size`` bytes."""
        if not set(self._filters) <= {self._DEFLATE, self._SHUFFLE, self._FLETCHER32}:
            raise UnsupportedError(
                f"HDF5 filters {self._filters}: we read gzip (1), shuffle (2), fletcher32 (3)"
            )
        count = prod(map(len, self._origins))
        if self._size > MAX_CHUNK or count > MAX_CHUNKS:
            raise LimitError(f"{count} HDF5 chunks of {self._size} bytes")
        if size > RATIO_FREE and size > MAX_RATIO * stored:
            raise LimitError(f"{stored} stored bytes claim to hold {size}")
        if self._dataset.get_num_chunks() != count:
            raise FormatError("some HDF5 chunks were never written")  # HDF5 would make up zeros

    def read(self, source: Source, table: np.ndarray[Any, Any]) -> None:
        """Fill ``table`` from the chunks, which lie in ``source``."""
        for origin in itertools.product(*self._origins):
            chunk = self._dataset.get_chunk_info_by_coord(origin)
            if chunk.byte_offset is None:
                raise FormatError("an HDF5 chunk was never written")
            data = self._unfiltered(source.bytes_at(chunk.byte_offset, chunk.size), chunk.filter_mask)
            if len(data) != self._size:
                raise FormatError(f"an HDF5 chunk holds {len(data)} bytes instead of {self._size}")
            to = tuple(slice(o, o + step) for o, step in zip(origin, self._chunk))
            inside = tuple(slice(0, n - o) for o, n in zip(origin, self._shape))
            table[to] = np.frombuffer(data, table.dtype).reshape(self._chunk)[inside]

    def _unfiltered(self, data: bytes, skipped: int) -> bytes:
        """Undo the filters, last first. Bit i of ``skipped`` says that filter i was left out here."""
        for i, code in reversed(list(enumerate(self._filters))):
            if skipped >> i & 1:
                continue
            if code == self._FLETCHER32:
                data = _without_checksum(data)
            elif code == self._SHUFFLE:
                data = np.frombuffer(data, np.uint8).reshape(self._item, -1).T.tobytes()
            else:
                data = _inflated(data, self._size + 4 * len(self._filters))
        return data


def _inflated(data: bytes, most: int) -> bytes:
    """zlib's ``data`` decompressed, into at most ``most`` bytes."""
    stream = zlib.decompressobj()
    out = stream.decompress(data, most + 1)
    if len(out) > most or not stream.eof:
        raise FormatError("a compressed HDF5 chunk is damaged, or larger than it says")
    return out


def _without_checksum(data: bytes) -> bytes:
    """``data`` less its Fletcher-32 checksum, which must agree (modulo 65535: 0 has two forms)."""
    data, check = data[:-4], int.from_bytes(data[-4:], "little")
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % 65535
    sums = int(words.sum()) % 65535, int((words * weights).sum()) % 65535
    if sums != ((check & 0xFFFF) % 65535, (check >> 16) % 65535):
        raise FormatError("a checksum in the HDF5 file does not match its data")
    return data
