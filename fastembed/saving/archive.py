"""Zip archives, which is what `.keras` files are. The only module that opens one.

Members are found by exact name and read from the open file; nothing is ever extracted to disk. The archive
must be an archive from its first byte, and its two descriptions of a member (the directory at the end, the
header in front of the data) must agree: where readers can disagree about a file, one of them can be fooled.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from fastembed.errors import FormatError, LimitError, UnsupportedError
from fastembed.saving.chunks import MAX_RATIO, RATIO_FREE
from fastembed.saving.hdf5 import quoted
from fastembed.saving.source import Source

MAGIC = b"PK\x03\x04"
MAX_MEMBERS = 10_000
# A local header: signature, version, flags, method, time, date, CRC, two sizes, lengths of name and extra.
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _SIZES_FOLLOW = 0x1 | 0x40 | 0x2000, 0x8  # flag bits
_IN_EXTRA = 0xFFFFFFFF  # a size that takes 64 bits, and is in the zip64 extra field instead
_BLOCK = 1 << 20


class Archive:
    """The members of a zip archive: `name in archive`, and `archive.open(name)`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            # zipfile is only asked for the central directory; member data is read below.
            with zipfile.ZipFile(io.BufferedReader(source.window(0, source.size))) as directory:
                entries = directory.infolist()
        except MemoryError:
            raise LimitError("not enough memory for the zip directory") from None
        except Exception as error:  # BadZipFile, struct.error, NotImplementedError, UnicodeError, ...
            raise FormatError(f"damaged zip archive: {quoted(str(error))}") from None
        if len(entries) > MAX_MEMBERS:
            raise LimitError(f"the archive has more than {MAX_MEMBERS} members")
        self._members = {entry.orig_filename: entry for entry in entries}
        if len({name.casefold() for name in self._members}) != len(entries):
            raise FormatError("two members of the archive have the same name")
        if any("\0" in name for name in self._members):
            raise FormatError("a member of the archive has NUL in its name")
        self._refuse_overlaps(entries)

    def _refuse_overlaps(self, entries: list[zipfile.ZipInfo]) -> None:
        """Members must lie one after the other, from byte 0 on."""
        end = 0
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            if entry.header_offset < end:
                raise FormatError("members of the archive overlap")
            if end == 0 and entry.header_offset:
                raise FormatError("something precedes the archive")
            end = self._start(entry) + entry.compress_size
        if end > self._source.size:
            raise FormatError("a member of the archive lies past its end")

    def _start(self, entry: zipfile.ZipInfo) -> int:
        """Where the member's data starts, from its local header, which must agree with the directory."""
        header = self._source.bytes_at(entry.header_offset, _LOCAL.size)
        magic, _, flags, method, _, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack(header)
        name = self._source.bytes_at(entry.header_offset + _LOCAL.size, name_size)
        same = name.decode("utf-8" if flags & 0x800 else "cp437", "replace") == entry.orig_filename
        if not flags & _SIZES_FOLLOW:
            same &= crc == entry.CRC
            elsewhere = {_IN_EXTRA} if extra_size else set()
            same &= packed in {entry.compress_size, *elsewhere} and size in {entry.file_size, *elsewhere}
        same &= method == entry.compress_type and not (flags ^ entry.flag_bits) & _ENCRYPTED
        if magic != MAGIC or not same:
            raise FormatError(f"the archive describes its member {quoted(entry.orig_filename)} in two ways")
        return int(entry.header_offset + _LOCAL.size + name_size + extra_size)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str, most: int | None = None) -> Source:
        """The member ``name`` as a source of its own: a window if it is stored, in memory if compressed.

        Parameters
        ----------
        name : str
        most : int or None
            A limit on its size in bytes. Without one, a compressed member may not be out of proportion.
        """
        entry = self._members[name]
        size, packed = entry.file_size, entry.compress_size
        if entry.flag_bits & _ENCRYPTED:
            raise UnsupportedError(f"{name} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsupportedError(f"{name} uses zip method {entry.compress_type}; we read 0 and 8")
        if size > most if most is not None else size > max(RATIO_FREE, MAX_RATIO * packed):
            raise LimitError(f"{name} claims to hold {size} bytes, in {packed} of the archive")
        data = self._source.window(self._start(entry), packed)
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            data = _inflated(data, name, size)
        elif size != packed:
            raise FormatError(f"{name} is stored, yet has two sizes: {size} and {packed} bytes")
        check = 0
        for start in range(0, size, _BLOCK):
            check = zlib.crc32(data.bytes_at(start, min(_BLOCK, size - start)), check)
        if check != entry.CRC:
            raise FormatError(f"{name} does not match its checksum: the archive is damaged")
        return data


def _inflated(data: Source, name: str, size: int) -> Source:
    """A deflated member in memory, if it has exactly ``size`` bytes."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = stream.decompress(data.bytes_at(0, data.size), size + 1)
    except (zlib.error, OverflowError) as error:
        raise FormatError(f"{name} is damaged: {error}") from None
    except MemoryError:
        raise LimitError(f"not enough memory for the {size} bytes of {name}") from None
    if len(out) != size or not stream.eof or stream.unused_data:
        raise FormatError(f"{name} does not hold the {size} bytes it claims")
    return Source(io.BytesIO(out), 0, size)
