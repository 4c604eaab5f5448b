"""Zip archives, which is what `.keras` files are. The only module that opens or writes one.

Members are found by exact name and read from the open file; nothing is ever extracted to disk. The archive
must be an archive from its first byte, and its two descriptions of a member (the directory at the end, the
header in front of the data) must agree: where readers can disagree about a file, one of them can be fooled.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from fastembed.errors import FormatError, LimitError, UnsupportedError
from fastembed.saving.chunks import MAX_RATIO, RATIO_FREE
from fastembed.saving.hdf5 import quoted
from fastembed.saving.sink import Sink
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


# --- Written ----------------------------------------------------------------------------------------

_DIRECTORY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_PLAIN, _WITH_64 = 20, 45  # versions of the format: for all, and the first with numbers of 64 bits
_ON_UNIX, _PRIVATE = 3 << 8, 0o600 << 16
_1980 = 0x21  # January 1, the first date there is: bytes depend on the content alone
_UTF_8 = 0x800
_SIZES_64, _PADDING = 1, 0xD935  # kinds of extra fields; the other is that of Android's zipalign
_ALIGNED = 64
MOST_IN_32 = _IN_EXTRA - 1  # bytes; larger numbers take 64 bits


class ArchiveWriter:
    """A zip archive whose members are stored as they are, one after the other.

    Their data starts at multiples of 64 bytes: what is aligned in a member is so in the archive.

    Parameters
    ----------
    sink : Sink
        Empty.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._entries: list[bytes] = []

    def write(self, name: str, data: bytes) -> None:
        """Add a member."""
        with self.member(name) as inside:
            inside.write(data)

    @contextlib.contextmanager
    def member(self, name: str) -> Iterator[Sink]:
        """A member to write, in any order of its bytes; it ends where the file then ends."""
        start, encoded = self._sink.size, name.encode()
        # How large it will be is not known yet: there is room for 64 bits.
        before = start + _LOCAL.size + len(encoded) + 24
        padding = -before % _ALIGNED
        inside = self._sink.window(before + padding)
        yield inside
        size, check = inside.size, 0
        inside.seek(0)
        for _ in range(0, size, _BLOCK):
            check = zlib.crc32(inside.read(_BLOCK) or b"", check)
        large, far = size > MOST_IN_32, start > MOST_IN_32
        sizes = struct.pack("<2H2Q", _SIZES_64, 16, size, size) if large else b""
        filled = sizes + struct.pack("<2H", _PADDING, padding + 20 - len(sizes))
        filled += bytes(padding + 24 - len(filled))
        known = 0, 0, _1980, check, *(2 * (_IN_EXTRA if large else size,)), len(encoded)
        version = _WITH_64 if large or far else _PLAIN
        self._sink.seek(start)
        self._sink.write(_LOCAL.pack(MAGIC, version, _UTF_8, *known, len(filled)) + encoded + filled)
        numbers = [size, size] * large + [start] * far
        extra = struct.pack(f"<2H{len(numbers)}Q", _SIZES_64, 8 * len(numbers), *numbers) if numbers else b""
        rest = len(extra), 0, 0, 0, _PRIVATE, _IN_EXTRA if far else start
        versions = _ON_UNIX | version, version, _UTF_8
        self._entries.append(_DIRECTORY.pack(b"PK\1\2", *versions, *known, *rest) + encoded + extra)

    def finish(self) -> None:
        """Write the directory, which makes an archive of it."""
        start, directory = self._sink.size, b"".join(self._entries)
        count, size = len(self._entries), len(directory)
        end = b""
        far = start > MOST_IN_32
        if far:
            end = _END_64.pack(b"PK\6\6", 44, _WITH_64, _WITH_64, 0, 0, count, count, size, start)
            end += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
        last = _END.pack(b"PK\5\6", 0, 0, count, count, size, _IN_EXTRA if far else start, 0)
        self._sink.seek(start)
        self._sink.write(directory + end + last)
