"""fastembed.saving on files made to harm: each is refused, or read, quickly and in little memory.

Every case is a function that writes one file, and its name says what is wrong with that. The valid files that
they start from are those of `h5_model` and `keras_model`.
"""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import struct
import sys
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastembed.errors import FormatError, LimitError, UnsupportedError
from fastembed.saving import list_embeddings, load_embedding
from fastembed.saving.embeddings import read_embedding
from fastembed.saving.source import opened

TABLE = np.arange(12, dtype="float32").reshape(4, 3)
EMBEDDING = {
    "class_name": "Embedding",
    "config": {"name": "words", "input_dim": 4, "output_dim": 3, "mask_zero": True},
}
CONFIG = {"class_name": "Sequential", "config": {"name": "m", "layers": [EMBEDDING]}}

SECONDS, MEBIBYTES = 5, 96  # a case takes some milliseconds; the limits are for what goes wrong


def dataset(*arguments, **options):
    """A writer of a table with h5py's ``create_dataset``."""
    return lambda group, name: group.create_dataset(name, *arguments, **options)


def as_text(config):
    return config if isinstance(config, str) else json.dumps(config)


_PLAIN = dataset(data=TABLE)


def h5_model(path, config=CONFIG, make=_PLAIN, **options):
    """The smallest whole model in HDF5; ``make(group, name)`` writes its table."""
    with h5py.File(path, "w", **options) as file:
        if config is not None:
            file.attrs["model_config"] = np.bytes_(config) if isinstance(config, bytes) else as_text(config)
        root = file.create_group("model_weights") if config is not None else file
        root.attrs["keras_version"] = "2.2.4"
        root.attrs["layer_names"] = [b"words"]
        group = root.create_group("words")
        group.attrs["weight_names"] = [b"words/embeddings:0"]
        make(group, "words/embeddings:0")


def weights_h5():
    """The member of a `.keras` file that holds its weights."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/embedding/vars/0"] = TABLE
    return buffer.getvalue()


WEIGHTS = weights_h5()


def members(config=CONFIG, weights=WEIGHTS):
    config = config if isinstance(config, bytes) else as_text(config)
    return {"metadata.json": '{"keras_version": "3.5.0"}', "config.json": config, "model.weights.h5": weights}


def keras_model(path, files=None, extra=(), **options):
    """The smallest `.keras` file."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in [*(files or members()).items(), *extra]:
            archive.writestr(name, content)


def outcome(path):
    """What a user gets of the file at ``path``: a list of tables, or the class of the error."""
    tracemalloc.start()
    start, resident = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result, message = FormatError, ""
    try:
        records = list_embeddings(path)
        result = [read_embedding(path, record.name)[1] for record in records] or result
        for record in records:
            if record.dtype in ("int8", "int4") or record.class_name != "Embedding":
                load_embedding(path, record.name)(np.arange(record.shape[0]))
    except FormatError as error:
        result, message = type(error), str(error)
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident
    assert seconds < SECONDS
    assert max(peak >> 20, grown >> 10) < MEBIBYTES
    assert message.isascii()  # nothing out of a file reaches a terminal raw
    assert message.isprintable()
    assert len(message) < 1000
    return result


def is_the_table(result):
    return isinstance(result, list) and len(result) == 1 and np.array_equal(result[0], TABLE)


CASES = []


def case(expected=FormatError):
    """Registers a function that writes a file at the path it is given, with what has to come of it."""

    def register(write):
        CASES.append(pytest.param(write, expected, id=write.__name__))
        return write

    return register


# HDF5: what a path may lead to


def link(target):
    """A writer of a link where the table should be."""

    def make(group, name):
        group.create_group("words")["embeddings:0"] = target

    return make


@case()
def external_link_for_a_group(path):
    other = path.with_name("other.h5")
    h5_model(other)
    h5_model(path)
    with h5py.File(path, "r+") as file:
        del file["model_weights/words"]
        file["model_weights/words"] = h5py.ExternalLink(other.name, "/model_weights/words")


@case()
def external_link_for_a_table(path):
    other = path.with_name("other.h5")
    h5_model(other)
    h5_model(path, make=link(h5py.ExternalLink(other.name, "/model_weights/words/words/embeddings:0")))


@case()
def soft_link_for_a_table(path):
    h5_model(path, make=link(h5py.SoftLink("/elsewhere")))


@case()
def soft_link_half_way(path):
    h5_model(path)
    with h5py.File(path, "r+") as file:
        file.move("model_weights/words/words", "hidden")
        file["model_weights/words/words"] = h5py.SoftLink("/hidden")


@case()
def data_in_another_file(path):
    os.mkfifo(path.with_name("secret"))  # who opens it blocks
    h5_model(path, make=dataset((4, 3), "f4", external=[(str(path.with_name("secret")), 0, 48)]))


@case()
def virtual_data(path):
    layout = h5py.VirtualLayout((4, 3), "f4", maxshape=(None, 3))
    layout[:] = h5py.VirtualSource(str(path.with_name("secret")), "t", (4, 3), "f4", maxshape=(None, 3))
    h5_model(path, make=lambda group, name: group.create_virtual_dataset(name, layout))
    os.mkfifo(path.with_name("secret"))


@case(is_the_table)
def hard_link_in_a_circle(path):
    h5_model(path)
    with h5py.File(path, "r+") as file:
        file["model_weights/words/loop"] = file["model_weights"]
        file["model_weights/words/words/root"] = file["/"]


def nested(depth, name, expected):
    def write(path):
        h5_model(path)
        with h5py.File(path, "r+") as file:
            group = file
            for _ in range(depth):
                group = group.create_group("g")

    write.__name__ = name
    case(expected)(write)


nested(500, "five_hundred_groups_deep", is_the_table)
nested(3000, "three_thousand_groups_deep", LimitError)


@case(LimitError)
def a_hundred_thousand_groups(path):
    h5_model(path)
    with h5py.File(path, "r+", libver="latest") as file:
        group = file.create_group("many")
        for number in range(100_000):
            group.id.links.create_soft(b"%d" % number, b"/nowhere")


# HDF5: sizes that lie


@case(LimitError)
def four_tebibytes_of_fill_value(path):
    h5_model(path, None, dataset((2**28, 4096), "f4", chunks=(2**12, 2**12), compression="gzip"))


@case(LimitError)
def two_gibibytes_of_fill_value(path):
    h5_model(path, None, dataset((2**19, 1024), "f4", chunks=(2**12, 1024), compression="gzip"))


@case()
def two_gibibytes_never_written(path):
    h5_model(path, None, dataset((2**19, 1024), "f4"))


@case()
def twelve_numbers_never_written(path):
    h5_model(path, make=dataset((4, 3), "f4"))


@case()
def one_chunk_never_written(path):
    def make(group, name):
        group.create_dataset(name, (4, 3), "f4", chunks=(2, 3))[:2] = 1

    h5_model(path, make=make)


@case(LimitError)
def a_chunk_for_every_number(path):
    h5_model(path, None, dataset((2000, 300), "f4", chunks=(1, 1)))


@case(LimitError)
def one_chunk_of_256_mebibytes(path):
    h5_model(path, None, dataset((2**16, 1024), "f4", chunks=(2**16, 1024), compression="gzip"))


def chunk_of(*stored):
    """A writer of tables in one gzip chunk with the given stored bytes."""

    def make(group, name):
        dataset = group.create_dataset(name, (4, 3), "f4", chunks=(4, 3), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), *stored)

    return make


@case()
def chunk_that_inflates_to_60_mebibytes(path):
    h5_model(path, make=chunk_of(zlib.compress(bytes(60 << 20))))


@case()
def chunk_that_is_too_short(path):
    h5_model(path, make=chunk_of(zlib.compress(bytes(40))))


@case()
def chunk_that_is_no_zlib_stream(path):
    h5_model(path, make=chunk_of(b"x" * 48))


@case(is_the_table)
def chunk_that_says_it_is_not_filtered(path):
    h5_model(path, make=chunk_of(TABLE.tobytes(), 1))


@case()
def chunk_of_four_gibibytes_in_the_tree(path):
    h5_model(path, make=chunk_of(zlib.compress(TABLE.tobytes())))
    data = bytearray(path.read_bytes())
    key = data.index(b"TREE\x01") + 24  # the first key of the tree of chunks begins with the chunk's size
    data[key : key + 4] = b"\xff" * 4
    path.write_bytes(data)


@case()
def checksum_of_other_data(path):
    h5_model(path, make=dataset(data=TABLE, chunks=(4, 3), fletcher32=True))
    data = path.read_bytes()
    path.write_bytes(data.replace(TABLE.tobytes(), TABLE[::-1].tobytes()))


# HDF5: types, shapes, filters


def of_type(kind, name, **options):
    def write(path):
        h5_model(path, make=dataset((4, 3), kind, **options))

    write.__name__ = name
    case()(write)


of_type(np.dtype([("a", "f4"), ("b", "f4")]), "compound")
of_type(h5py.string_dtype(), "strings")
of_type(h5py.vlen_dtype("f4"), "ragged")
of_type(h5py.ref_dtype, "references")
of_type(h5py.regionref_dtype, "regions")
of_type(np.dtype("V8"), "opaque")
of_type(h5py.enum_dtype({"a": 1}, "i1"), "enumeration")
of_type(np.dtype("bool"), "booleans")
of_type(np.dtype("c8"), "complex_numbers")
of_type(np.dtype("S4"), "fixed_strings")
of_type(np.dtype(("f4", (2,))), "arrays")


def of_shape(shape, name):
    def write(path):
        h5_model(path, make=dataset(data=np.ones(shape, "f4")))

    write.__name__ = name
    case()(write)


for _shape in [(), (4,), (4, 3, 1), (0, 3), (4, 0), (3, 4)]:
    of_shape(_shape, f"shape_{'x'.join(map(str, _shape)) or 'scalar'}")


@case()
def no_shape_at_all(path):
    h5_model(path, make=dataset(data=h5py.Empty("f4")))


@case()
def floats_that_numpy_does_not_have(path):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 20, 11, 0, 20)
    kind.set_ebias(1023)

    def make(group, name):
        space = h5py.h5s.create_simple((4, 3))
        h5py.h5d.create(group.create_group("words").id, b"embeddings:0", kind, space)

    h5_model(path, make=make)


@case(UnsupportedError)
def filter_lzf(path):
    h5_model(path, make=dataset(data=TABLE, compression="lzf"))


@case(UnsupportedError)
def filter_scaleoffset(path):
    h5_model(path, make=dataset(data=TABLE, scaleoffset=2))


@case(UnsupportedError)
def filter_of_a_plugin(path):
    def make(group, name):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4, 3))
        plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((4, 3))
        dataset = h5py.h5d.create(
            group.create_group("words").id, b"embeddings:0", h5py.h5t.IEEE_F32LE, space, plist
        )
        dataset.write_direct_chunk((0, 0), TABLE.tobytes(), 1)

    h5_model(path, make=make)


# HDF5: attributes


def with_names(layers, weights, name, expected=FormatError, libver=None):
    def write(path):
        h5_model(path, None, libver=libver)
        with h5py.File(path, "r+", libver=libver) as file:
            file.attrs["layer_names"] = layers
            file["words"].attrs["weight_names"] = weights

    write.__name__ = name
    case(expected)(write)


HERE = [b"words/embeddings:0"]
with_names([b"../../words"], HERE, "layer_outside")
with_names([b"/"], HERE, "layer_root")
with_names([b"words", b"missing"], HERE, "layer_missing")
with_names([b"words"], [b"/words/words/embeddings:0"], "weight_absolute")
with_names([b"words"], [b"../words/words/embeddings:0"], "weight_outside")
with_names([b"words"], [b"words"], "weight_is_a_group")
with_names([b"w\xff\xferds"], HERE, "names_not_utf8")
with_names(np.array([b"wor\0ds"]), HERE, "names_with_nul")
with_names(np.array([b"words"] * 2_000_000), HERE, "two_million_names", UnsupportedError, "latest")
with_names([3, 4], HERE, "names_are_numbers")
with_names(h5py.Empty("f4"), HERE, "names_are_empty")
with_names([b"words"] * 1000, HERE, "same_layer_a_thousand_times", is_the_table)
with_names([b"\x1b[2J\x07" * 300], HERE, "names_with_escape_codes")


@case(LimitError)
def config_of_17_mebibytes(path):
    h5_model(path, json.dumps({**CONFIG, "x": "x" * (17 << 20)}), libver="latest")


@case()
def config_not_text(path):
    h5_model(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = np.arange(5)


def heap_with(length, name):
    """A case: the first string among the attributes says that it has ``length`` bytes."""

    def write(path):
        h5_model(path)
        data = bytearray(path.read_bytes())
        first = data.index(b"GCOL") + 16
        data[first + 8 : first + 16] = struct.pack("<Q", length)
        path.write_bytes(data)

    write.__name__ = name
    case()(write)


heap_with(2048, "string_up_to_where_no_object_is")  # libhdf5 2.0.0 never comes back from this
heap_with(2**40, "string_longer_than_the_file")
heap_with(2**64 - 1, "string_of_minus_one_byte")


@case()
def string_of_four_gibibytes(path):
    h5_model(path)
    data = path.read_bytes()
    heap = struct.pack("<Q", data.index(b"GCOL"))  # before it, the length of the string that is there
    at = data.index(heap, 100) - 4
    path.write_bytes(data[:at] + b"\xff" * 4 + data[at + 4 :])


@case(LimitError)
def four_thousand_times_one_long_string(path):
    h5_model(path, None)
    with h5py.File(path, "r+") as file:
        names = np.array(["x" * (1 << 20), *["y"] * 3999], object)
        file.attrs.create("layer_names", names, dtype=h5py.string_dtype())
    data = path.read_bytes()
    heap = data.rindex(b"GCOL", 0, data.index(b"x" * (1 << 20)))
    first = data.index(struct.pack("<IQ", 1 << 20, heap))
    path.write_bytes(data[:first] + data[first : first + 16] * 4000 + data[first + 16 * 4000 :])


@case()
def user_block(path):
    h5_model(path, userblock_size=512)


@case()
def two_names_but_for_the_backslash(path):
    h5_model(path)
    with h5py.File(path, "r+") as file:
        file["model_weights/words/words\\embeddings:0"] = TABLE


# Zip archives


@case(is_the_table)
def members_with_wicked_paths(path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    wicked = [("../../evil", "x"), ("/evil", "x"), ("C:\\evil", "x"), (link, "/etc/passwd"), ("a/../b", "x")]
    keras_model(path, extra=wicked)


@case(is_the_table)
def archive_in_an_archive(path):
    inner = io.BytesIO()
    keras_model(inner)
    keras_model(path, extra=[("assets/inner.keras", inner.getvalue())])


@case()
def member_twice(path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        keras_model(path, extra=[("config.json", "{}")])


@case()
def member_twice_but_for_case(path):
    keras_model(path, extra=[("Config.JSON", "{}")])


@case(LimitError)
def twenty_thousand_members(path):
    keras_model(path, extra=[(f"assets/{number}", "") for number in range(20_000)])


@case(LimitError)
def config_bomb(path):
    keras_model(path, members(json.dumps(CONFIG) + " " * (256 << 20)), compression=zipfile.ZIP_DEFLATED)


@case(LimitError)
def weights_bomb(path):
    keras_model(path, members(weights=WEIGHTS + bytes(256 << 20)), compression=zipfile.ZIP_DEFLATED)


@case()
def something_in_front(path):
    keras_model(path)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())


@case()
def an_archive_in_front(path):
    keras_model(path)
    path.write_bytes(b"PK\x03\x04" + path.read_bytes())


DIRECTORY, LOCAL = b"PK\x01\x02", b"PK\x03\x04"
HEADERS = {DIRECTORY: 0, LOCAL: -2}  # a field of the directory is two bytes earlier in front of the data


def patched(name, offset, value, where=(DIRECTORY, LOCAL), expected=FormatError, **options):
    """A case: the archive with ``value`` in the headers of its weights, at ``offset`` in the directory's."""

    def write(path):
        keras_model(path, **options)
        data = bytearray(path.read_bytes())
        for header in where:
            name_at = 46 if header == DIRECTORY else 30
            start = data.index(header)
            while not data[start + name_at :].startswith(b"model.weights.h5"):
                start = data.index(header, start + 1)
            at = start + offset + HEADERS[header]
            data[at : at + len(value)] = value
        path.write_bytes(data)

    write.__name__ = name
    case(expected)(write)


DEFLATED = {"compression": zipfile.ZIP_DEFLATED}
for _size in (0, 1, len(WEIGHTS) - 1, len(WEIGHTS) + 1, 2**31, 2**32 - 1):
    _field = struct.pack("<I", _size)
    patched(f"size_is_{_size}", 24, _field)
    patched(f"stored_size_is_{_size}", 20, _field)
    patched(f"both_sizes_are_{_size}", 20, 2 * _field)
    patched(f"deflated_size_is_{_size}", 24, _field, **DEFLATED)
    patched(f"deflated_stored_size_is_{_size}", 20, _field, **DEFLATED)
    patched(f"directory_says_{_size}", 24, _field, [DIRECTORY])
    patched(f"header_says_{_size}", 24, _field, [LOCAL])
patched("another_name_in_the_header", 46 - 14, b"Model.weights.h5", [LOCAL])
patched("another_method_in_the_header", 10, struct.pack("<H", 8), [LOCAL])
patched("encrypted_in_the_header", 8, struct.pack("<H", 1), [LOCAL])
patched("encrypted", 8, struct.pack("<H", 1), expected=UnsupportedError)
patched("checksum_of_nothing", 16, b"\0\0\0\0")
patched("stored_said_to_be_deflated", 10, struct.pack("<H", 8))
for _method in (1, 9, 12, 14, 93, 99):
    patched(f"method_{_method}", 10, struct.pack("<H", _method), expected=UnsupportedError)
patched("member_lies_outside", 42, struct.pack("<I", 2**31), [DIRECTORY])
patched("members_lie_on_each_other", 42, struct.pack("<I", 0), [DIRECTORY])


@case(is_the_table)
def zip64_without_need(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members().items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content if isinstance(content, bytes) else content.encode())


@case(is_the_table)
def written_to_a_pipe(path):
    """Sizes and checksum follow the data: the writer could not go back to put them in front."""

    class Pipe(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return os.write(pipe, data)

    pipe = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    keras_model(Pipe(), compression=zipfile.ZIP_DEFLATED)
    os.close(pipe)


@case()
def quoted_overlap(path):
    """The first member's data is said to hold the headers and the data of those that follow."""
    keras_model(path)
    data = bytearray(path.read_bytes())
    start = data.index(DIRECTORY)
    for header, offset in ((0, 18), (start, 20)):
        data[header + offset : header + offset + 8] = struct.pack("<2I", 400, 400)
    path.write_bytes(data)


@case()
def sixty_four_bit_sizes(path):
    extra = struct.pack("<2H2Q", 1, 16, 2**63, 2**63)
    info = zipfile.ZipInfo("big")
    keras_model(path, extra=[(info, "x")])
    data = path.read_bytes()
    at = data.rindex(DIRECTORY)
    entry = bytearray(data[at : at + 46])
    entry[20:28], entry[30:32] = b"\xff" * 8, struct.pack("<H", len(extra))
    end = bytearray(data[at + 49 :])
    end[12:16] = struct.pack("<I", struct.unpack("<I", end[12:16])[0] + len(extra))
    path.write_bytes(data[:at] + bytes(entry) + b"big" + extra + bytes(end))


@case()
def no_directory(path):
    keras_model(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(DIRECTORY)])


@case()
def no_config(path):
    keras_model(path, {name: content for name, content in members().items() if name != "config.json"})


@case()
def weights_are_not_hdf5(path):
    keras_model(path, members(weights=b"PK\x03\x04" * 10))


# Configs


def with_config(name, config, expected=FormatError):
    def in_hdf5(path):
        h5_model(path, config, libver="latest")

    def in_archive(path):
        keras_model(path, members(config))

    for write in (in_hdf5, in_archive):
        write.__name__ = f"{name}_{write.__name__}"
        case(expected)(write)


TEXT = json.dumps(CONFIG)
for _name, _value in {
    "float": "1e16",
    "negative": "-4",
    "fraction": "4.5",
    "text": '"4"',
    "true": "true",
    "null": "null",
    "infinite": "1e400",
    "nan": "NaN",
    "infinity": "-Infinity",
    "huge": "9" * 5000,
    "other": "5",
    "in_a_list": "[4]",
}.items():
    with_config(f"input_dim_{_name}", TEXT.replace('"input_dim": 4', f'"input_dim": {_value}'))
with_config("brackets", "[" * 200_000, LimitError)
with_config("deep_lists", TEXT[:-1] + ', "x": ' + "[" * 500 + "]" * 500 + "}", LimitError)
with_config("braces", "{" * 300)
with_config("key_twice", TEXT.replace('"mask_zero": true', '"input_dim": 4'))
with_config("half_a_surrogate", TEXT.replace('"m"', '"\\ud800"'))
with_config("byte_order_mark", "\ufeff" + TEXT)
with_config("not_utf8", TEXT.encode().replace(b'"m"', b'"\xff"'))
with_config("utf_16", TEXT.encode("utf-16"))
with_config("nothing", "{}")
with_config("a_list", "[]")
with_config("a_number", "4")
with_config("layers_are_numbers", '{"class_name": "Sequential", "config": {"layers": [1, 2]}}')
with_config("config_is_text", '{"class_name": "Sequential", "config": "layers"}')
with_config("name_is_a_list", TEXT.replace('"words"', '["words"]'))


@case(is_the_table)
def a_model_full_of_gadgets(path):
    def entry(module, class_name, **config):
        return {"module": module, "class_name": class_name, "config": config, "registered_name": class_name}

    touch = f"touch {path.with_name('executed')}"
    gadgets = [
        entry("os", "system", command=touch),
        entry(
            "keras.layers", "Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
        ),
        entry("keras.layers", "TFSMLayer", filepath="/etc"),
        entry("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
        entry("keras.utils", "get_file", origin="http://127.0.0.1:9/x", extract=True),
        entry("antigravity", "Embedding_", input_dim=4, output_dim=3),
    ]
    keras_model(path, members({**CONFIG, "config": {"name": "m", "layers": [*gadgets, EMBEDDING]}}))


# The corpus


# Codes and what makes numbers of them

CODES, SCALE = np.ones((4, 3), "int8"), np.ones(4, "f4")
PACKED, BLOCKS = np.ones((4, 2), "int8"), np.ones((4, 2), "f4")
IN_BLOCKS = [PACKED, BLOCKS, BLOCKS.astype("int8"), np.float32([0, 0, 1])]


def codes_model(path, policy="int8_from_float32", arrays=(CODES, SCALE), how=None, **reverse):
    """A `.keras` file with a quantised table, or with whatever a ReversibleEmbedding's config makes of it.

    An array may also be a function, which writes one.
    """
    class_name, stem = (
        ("ReversibleEmbedding", "reversible_embedding") if reverse else ("Embedding", "embedding")
    )
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group(f"layers/{stem}/vars")
        for number, array in enumerate(arrays):
            make = array if callable(array) else dataset(data=array)
            make(group, str(number))
    settings = {**EMBEDDING["config"], "dtype": policy, "quantization_config": how, **reverse}
    layer = {"class_name": class_name, "config": settings}
    keras_model(path, members({**CONFIG, "config": {"name": "m", "layers": [layer]}}, buffer.getvalue()))


def codes(name, expected=FormatError, *args, **kwargs):
    def write(path):
        codes_model(path, *args, **kwargs)

    write.__name__ = f"codes_{name}"
    case(expected)(write)


INT4 = {"module": "keras.quantizers", "class_name": "Int4QuantizationConfig", "config": {}}
codes("without_scales", UnsupportedError, arrays=[CODES])
codes("more_than_there_are", arrays=[CODES, SCALE, SCALE])
codes("scales_of_another_shape", arrays=[CODES, SCALE[:3]])
codes("scales_that_are_a_scalar", arrays=[CODES, np.float32(1)])
codes("scales_that_are_text", arrays=[CODES, np.bytes_("1")])
codes("packed_where_int8_is_said", arrays=[PACKED, SCALE])
codes("int8_where_int4_is_said", policy="int4_from_float32")
codes("blocks_without_a_word", policy="int4_from_float32", arrays=IN_BLOCKS)
codes("no_blocks_where_some_are_said", policy="int4/2_from_float32", arrays=[PACKED, SCALE])
codes("blocks_of_another_size", policy="int4/1_from_float32", arrays=IN_BLOCKS)
codes("blocks_of_no_size", policy="int4/0_from_float32", arrays=IN_BLOCKS)
codes(
    "blocks_of_text",
    policy="int4_from_float32",
    arrays=IN_BLOCKS,
    how={**INT4, "config": {"block_size": "2"}},
)
codes("blocks_of_a_huge_size", policy=f"int4/{10**18}_from_float32", arrays=IN_BLOCKS)
codes("a_column_of_no_block", policy="int4/2_from_float32", arrays=[*IN_BLOCKS[:3], np.float32([0, 0, 9])])
codes(
    "a_column_of_half_a_block", policy="int4/2_from_float32", arrays=[*IN_BLOCKS[:3], np.float32([0, 0, 0.5])]
)
codes(
    "zero_points_beyond_int8",
    policy="int4/2_from_float32",
    arrays=[PACKED, BLOCKS, BLOCKS * 200, IN_BLOCKS[3]],
)
codes("of_an_unknown_source", policy="int8_from_nowhere")
codes("with_a_strange_config", how={"class_name": "\x1b[31m", "config": {}})
codes("with_the_config_of_another_mode", how=INT4)
for number, value_range in enumerate(
    [[], [-8], {"a": 1}, "ab", [-8, 7, 7], [None, 7], [-8.5, 7], 3, {}, [{}, []]]
):
    quantizer = {
        "module": "keras.quantizers",
        "class_name": "AbsMaxQuantizer",
        "config": {"value_range": value_range},
    }
    for way, policy in (("Int8", "int8_from_float32"), ("Int4", "int4_from_float32")):
        settings_of_how = {"weight_quantizer": quantizer, "activation_quantizer": None}
        codes(
            f"of_range_{number}_as_{way}",
            policy=policy,
            arrays=[CODES, SCALE] if way == "Int8" else [PACKED, SCALE],
            how={**INT4, "class_name": f"{way}QuantizationConfig", "config": settings_of_how},
        )
codes(
    "blocks_without_end",
    policy="int4_from_float32",
    arrays=IN_BLOCKS,
    how={**INT4, "config": {"block_size": 10**400}},
)


# What an untied ReversibleEmbedding has beside its table

REVERSE, INT8_AND_BACK = np.ones((3, 4), "f4"), [CODES, SCALE, CODES.T, SCALE]
AND_BACK = [*IN_BLOCKS, PACKED.T, BLOCKS.T, BLOCKS.T]


def untied(name, arrays, policy="float32", expected=FormatError, **config):
    config = {"tie_weights": False, **config}
    codes(f"untied_{name}", expected, policy, arrays, **config)


untied("without_the_other", [TABLE])
untied("with_one_more", [TABLE, REVERSE, REVERSE])
untied("of_the_same_shape", [TABLE, TABLE])
untied("of_another_width", [TABLE, REVERSE[:, :3]])
untied("of_another_dtype", [TABLE, REVERSE.astype("f8")])
untied("of_codes_beside_floats", [TABLE, CODES.T])
untied("of_text", [TABLE, np.bytes_("1")])
untied("of_complex_numbers", [TABLE, REVERSE.astype("c8")])
untied("never_written", [TABLE, dataset((3, 4), "f4")])
untied("in_another_file", [TABLE, dataset((3, 4), "f4", external=[("secret", 0, 48)])])
untied("by_lzf", [TABLE, dataset(data=REVERSE, compression="lzf")], expected=UnsupportedError)
untied("of_chunks_never_written", [TABLE, dataset((3, 4), "f4", chunks=(3, 2))])
untied("but_tied", [TABLE, REVERSE], tie_weights=True)
untied("of_floats_said_to_be_int8_and_more", [TABLE, REVERSE, SCALE], "int8_from_float32")
untied("int8_without_the_other", [CODES, SCALE], "int8_from_float32")
untied("int8_without_its_scales", INT8_AND_BACK[:3], "int8_from_float32")
untied("int8_and_floats", [CODES, SCALE, REVERSE, SCALE], "int8_from_float32")
untied("int8_not_turned", [CODES, SCALE, CODES, SCALE], "int8_from_float32")
untied("int8_and_packed", [CODES, SCALE, PACKED.T, SCALE], "int8_from_float32")
untied("int8_but_tied", INT8_AND_BACK, "int8_from_float32", tie_weights=True)
untied("int8_by_no_policy", INT8_AND_BACK, expected=UnsupportedError)
untied("int4_and_int8", [PACKED, SCALE, CODES.T, SCALE], "int4_from_float32")
untied("blocks_without_zero_points", AND_BACK[:6], "int4/2_from_float32")
untied("blocks_not_turned", [*AND_BACK[:5], BLOCKS, BLOCKS], "int4/2_from_float32")
untied("scales_of_two_bytes", [*INT8_AND_BACK[:3], np.ones(4, "V2")], "int8_from_float32")
for _name, _value in {"text": "5", "negative": -1, "zero": 0, "a_list": [5]}.items():
    untied(f"cap_{_name}", [TABLE, REVERSE], logit_soft_cap=_value)
for _name, _value in {
    "unknown": "float33",
    "of_integers": "int8",
    "an_object": {"class_name": "x"},
    "7": 7,
}.items():
    untied(f"dtype_{_name}", [TABLE, REVERSE], reverse_dtype=_value)


def test_untied_is_read(tmp_path):
    for policy, arrays in {
        "float32": [TABLE, REVERSE],
        "int8_from_float32": INT8_AND_BACK,
        "int4_from_float32": [PACKED, SCALE, PACKED.T, SCALE],
        "int4/2_from_float32": AND_BACK,
    }.items():
        codes_model(tmp_path / "untied", policy, arrays, tie_weights=False)
        layer, stored = load_embedding(tmp_path / "untied"), {}
        layer.save_own_variables(stored)
        assert len(stored) == len(arrays)
        for array, expected in zip(stored.values(), arrays):
            np.testing.assert_array_equal(array, expected, strict=True)


def test_what_is_beside_a_table_must_be_there(tmp_path):
    """With a config or without, the bytes of the matrix for the way back are proved before it is listed."""
    path = tmp_path / "model.weights.h5"
    for make in (dataset((3, 4), "f4"), dataset((3, 4), "f4", chunks=(3, 2))):
        with h5py.File(path, "w") as file:
            group = file.create_group("layers/reversible_embedding/vars")
            group["0"] = TABLE
            make(group, "1")
        with pytest.raises(FormatError, match=r"vars/1|never written"):
            list_embeddings(path)
        codes_model(path, "float32", [TABLE, make], tie_weights=False)
        with pytest.raises(FormatError, match=r"vars/1|never written"):
            list_embeddings(path)


def test_codes_are_read(tmp_path):
    for policy, arrays in (("int8_from_float32", [CODES, SCALE]), ("int4/2_from_float32", IN_BLOCKS)):
        codes_model(tmp_path / "codes", policy, arrays)
        layer = load_embedding(tmp_path / "codes")
        assert layer.dtype_policy.name == policy
        for stored, weights in zip(arrays, layer.get_weights()):
            np.testing.assert_array_equal(weights, stored)


@pytest.mark.parametrize(("write", "expected"), CASES)
def test_corpus(write, expected, tmp_path):
    path = tmp_path / "model"
    write(path)
    modules, files = set(sys.modules), set(os.listdir(tmp_path))
    result = outcome(path)
    if expected is is_the_table:
        assert is_the_table(result), result
    else:
        assert isinstance(result, type), f"read as {result}"
        assert issubclass(result, expected)
    assert "antigravity" not in set(sys.modules) - modules
    assert set(os.listdir(tmp_path)) == files


def test_the_cases_start_from_valid_files(tmp_path):
    for number, write in enumerate([h5_model, lambda path: h5_model(path, None), keras_model]):
        write(tmp_path / str(number))
        assert is_the_table(outcome(tmp_path / str(number)))


# Things that are no files, and files that are no models


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: Path(path).write_bytes(b""),
        lambda path: Path(path).write_bytes(b"PK"),
        lambda path: Path(path).write_bytes(b"\x93NUMPY" + bytes(100)),
        lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
        lambda path: os.symlink("/dev/zero", path),
    ],
    ids=["fifo", "folder", "empty", "two bytes", "npy", "socket", "device"],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_model_file(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("model")
    start = time.perf_counter()
    with pytest.raises((FormatError, OSError)):
        list_embeddings(tmp_path / "model")
    assert time.perf_counter() - start < 1


def test_no_such_path(tmp_path):
    with pytest.raises(FileNotFoundError):
        list_embeddings(tmp_path / "missing")
    with pytest.raises(FormatError, match="not a path"):
        list_embeddings("a\0b")


@pytest.mark.parametrize("magic", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"])
def test_a_tebibyte_of_nothing(magic, tmp_path):
    path = tmp_path / "sparse"
    path.write_bytes(magic)
    os.truncate(path, 2**40)
    assert issubclass(outcome(path), FormatError)


def test_the_file_changes_while_it_is_read(tmp_path):
    path = tmp_path / "model"
    h5_model(path)
    with pytest.raises(FormatError, match="changed while it was read"), opened(path) as source:
        read_a_shrunken(path, source)


def read_a_shrunken(path, source):
    os.truncate(path, 100)
    with pytest.raises(FormatError, match="ended while it was read"):
        source.bytes_at(0, 200)


def test_a_file_under_the_same_name_is_not_seen(tmp_path):
    path, other = tmp_path / "model", tmp_path / "other"
    path.write_bytes(b"ours")
    other.write_bytes(b"theirs")
    with opened(path) as source:
        os.replace(other, path)
        assert source.bytes_at(0, 4) == b"ours"


def test_a_file_that_somebody_is_writing(tmp_path):
    path = tmp_path / "model"
    h5_model(path)
    with h5py.File(path, "r+", libver="latest") as file:
        file.attrs["x"] = 1
        outcome(path)  # no hang


# Any damage


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Small valid files, as bytes: HDF5 with a config and without, with chunks, and a `.keras` archive."""
    path = tmp_path_factory.mktemp("seeds") / "seed"
    found = []
    for write in (
        h5_model,
        lambda path: h5_model(path, None),
        lambda path: h5_model(
            path,
            libver="latest",
            make=dataset(data=TABLE, chunks=(2, 3), compression="gzip", shuffle=True, fletcher32=True),
        ),
        keras_model,
        lambda path: keras_model(path, compression=zipfile.ZIP_DEFLATED),
        lambda path: codes_model(path, "int4/2_from_float32", AND_BACK, tie_weights=False),
    ):
        write(path)
        found.append(path.read_bytes())
    return found


def survives(path, data):
    """Read ``data`` as a file: anything may come of it but an exception that is no FormatError."""
    path.write_bytes(data)
    try:
        for record in list_embeddings(path, candidates=True):
            read_embedding(path, record.location)
    except FormatError:
        return False
    return True


def test_every_truncation_is_refused(seeds, tmp_path):
    path = tmp_path / "model"
    for seed in seeds:
        assert survives(path, seed)
        for size in {*range(0, len(seed), 17), *range(max(0, len(seed) - 64), len(seed))}:
            assert not survives(path, seed[:size]), f"{size} of {len(seed)} bytes"


@settings(max_examples=400)
@given(data=st.data())
def test_any_mutation_is_read_or_refused(seeds, tmp_path_factory, data):
    seed = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(seed) - 1))
        value = data.draw(
            st.one_of(
                st.sampled_from([b"\0", b"\xff", b"\x7f" * 4, b"\xff" * 8]), st.binary(min_size=1, max_size=8)
            )
        )
        seed[at : at + len(value)] = value
    survives(tmp_path_factory.getbasetemp() / "mutant", bytes(seed))


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.text(max_size=5)
    | st.sampled_from(["Embedding", "ReversibleEmbedding", "Sequential", "words", "layers", 4, 3])
)
KEYS = st.sampled_from(
    ["class_name", "config", "layers", "name", "layer", "dtype", "input_dim", "output_dim", "trainable"]
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=150)
@given(config=st.dictionaries(KEYS, JSON, max_size=4), archive=st.booleans())
def test_any_config_is_read_or_refused(tmp_path_factory, config, archive):
    path = tmp_path_factory.getbasetemp() / "config"
    layers = {"class_name": "Sequential", "config": {"name": "m", "layers": [EMBEDDING, config]}}
    for model in (config, layers):
        if archive:
            keras_model(path, members(model))
        else:
            h5_model(path, model)
        survives(path, path.read_bytes())
