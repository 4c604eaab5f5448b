"""The text in HDF5 attributes, out of the file's own bytes.

libhdf5 (2.0.0) can be asked for it, but not safely: it allocates what a string gives as its length, up to
4 GiB each, before it looks for the string, and at a damaged heap it goes round in circles where nothing can
interrupt it. Fuzzing finds both in minutes, so plain damage to a file can do it too.

What is read here is small: an object has a list of messages, an attribute is a message, and the strings of
an attribute are in it, or, if their lengths vary, in heaps elsewhere in the file that it points into.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fastembed.errors import FormatError, LimitError, UnsupportedError
from fastembed.saving.source import Source

MAX_BLOCK = 64 << 20  # bytes of a header, or of a heap
MAX_BLOCKS = 1000
MAX_TEXT = 64 << 20

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10  # kinds of messages
_POINTER = struct.Struct("<IQI")  # to a string: its length, a heap, its number there
_OBJECT = struct.Struct("<2H4xQ")  # in a heap: its number, references to it, its size


class Attributes:
    """The attributes of the objects in an HDF5 file.

    Parameters
    ----------
    source : Source
        The file, whose superblock is at its start.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._heaps: dict[int, dict[int, bytes]] = {}
        version, *sizes = source.bytes_at(8, 7)
        if (sizes[4:6] if version < 2 else sizes[:2]) != [8, 8]:
            raise UnsupportedError("an HDF5 file whose offsets and lengths do not have 8 bytes")

    def strings(self, header: int, name: bytes, count: int, size: int | None) -> list[str]:
        """The strings of one attribute.

        Parameters
        ----------
        header : int
            Where the header of the object is.
        name : bytes
            Of the attribute.
        count : int
            How many strings it has.
        size : int or None
            The bytes of each; None where lengths vary.
        """
        value = self._value(header, name)
        step = _POINTER.size if size is None else size
        if len(value) < count * step:
            raise FormatError("an HDF5 attribute is shorter than it says")
        parts = [value[i * step : (i + 1) * step] for i in range(count)]
        if size is None:
            pointers = [_POINTER.unpack(part) for part in parts]
            if sum(length for length, _, _ in pointers) > MAX_TEXT:
                raise LimitError(f"the strings of one HDF5 attribute have more than {MAX_TEXT} bytes")
            parts = [self._string(*pointer) for pointer in pointers]
        return [part.rstrip(b"\0").decode() for part in parts]

    def _value(self, header: int, name: bytes) -> bytes:
        for kind, body in self._messages(header):
            if kind == _ATTRIBUTE and len(body) >= 8:
                version, _, *sizes = struct.unpack_from("<2B3H", body)
                start = 9 if version == 3 else 8
                if body[start : start + sizes[0]].split(b"\0")[0] == name:
                    # Name, type and extent come first; version 1 rounds each up to 8 bytes.
                    return body[start + sum(-(-n // 8) * 8 if version == 1 else n for n in sizes) :]
        raise UnsupportedError("an HDF5 attribute outside of its object's header")

    def _messages(self, header: int) -> Iterator[tuple[int, bytes]]:
        """Kind and body of every message in the header of an object, which may go on in other places."""
        start = self._source.bytes_at(header, 16)
        if start[:4] == b"OHDR":
            flags = start[5]
            position = header + 6 + 16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1)
            width = 1 << (flags & 3)
            size = int.from_bytes(self._source.bytes_at(position, width), "little")
            blocks = [(position + width, size)]
            message = struct.Struct("<BH3x" if flags & 4 else "<BHx")
            signature, checksum = 4, 4
        else:
            blocks = [(header + 16, int.from_bytes(start[8:12], "little"))]
            message = struct.Struct("<2H4x")
            signature, checksum = 0, 0
        for start_of_block, size in blocks:  # grows as it is read
            if sum(size for _, size in blocks) > MAX_BLOCK or len(blocks) > MAX_BLOCKS:
                raise LimitError("an object's header in the HDF5 file is too large")
            block = self._source.bytes_at(start_of_block, size)
            position = 0
            while len(block) - position >= message.size:
                kind, length = message.unpack_from(block, position)
                position += message.size
                body = block[position : position + length]
                if kind == _CONTINUATION and length >= 16:
                    place, extent = struct.unpack_from("<2Q", body)
                    blocks.append((place + signature, max(0, extent - signature - checksum)))
                yield kind, body
                position += length

    def _string(self, length: int, address: int, number: int) -> bytes:
        if length == 0:
            return b""
        if address not in self._heaps:
            self._heaps[address] = self._heap(address)
        found = self._heaps[address].get(number, b"")
        if len(found) < length:
            raise FormatError("a string in the HDF5 file is longer than what is stored of it")
        return found[:length]

    def _heap(self, address: int) -> dict[int, bytes]:
        """The objects of the global heap at ``address``, by their numbers."""
        signature, size = struct.unpack("<4s4xQ", self._source.bytes_at(address, 16))
        if signature != b"GCOL" or size > MAX_BLOCK:
            raise FormatError("no heap in the HDF5 file where one should be")
        heap = self._source.bytes_at(address, size)
        objects: dict[int, bytes] = {}
        position = 16
        while size - position >= _OBJECT.size:
            number, _, length = _OBJECT.unpack_from(heap, position)
            if number == 0:  # free space, to the end
                break
            position += _OBJECT.size
            if number in objects or length > size - position:
                raise FormatError("a heap in the HDF5 file is damaged")
            objects[number] = heap[position : position + length]
            position += -(-length // 8) * 8
        return objects
