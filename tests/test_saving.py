"""fastembed.saving on files that Keras wrote: strangers' models, fixtures, Keras 3 as it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from real_files import READ, real_file, real_models

from fastembed.errors import FormatError, UnsupportedError
from fastembed.layers import Embedding, ReversibleEmbedding
from fastembed.saving import EmbeddingRecord, embedding_arguments, list_embeddings, load_embedding
from fastembed.saving.configs import dtype_policy, model_tree, quantisation
from fastembed.saving.embeddings import read_embedding
from fastembed.saving.model_file import opened_model

FIXTURES = Path(__file__).parent / "fixtures"
MANIFEST = FIXTURES / "manifest.json"


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def cases(entries):
    return [pytest.param(entry, id=entry["file"]) for entry in entries]


# Files of others


@pytest.mark.skipif(not real_models(), reason="no real files: set FASTEMBED_REAL_FILES")
@pytest.mark.parametrize("model", cases(real_models()))
class TestRealModels:
    def test_lists_every_table_and_nothing_else(self, model):
        records = list_embeddings(real_file(model["file"]))
        found = {(r.location, r.shape, r.dtype) for r in records}
        assert found == {(e["dataset"], tuple(e["shape"]), e["dtype"]) for e in model["embeddings"]}
        assert len({r.name for r in records}) == len(records)
        claimed = {r.keras_version for r in records} - {None}
        assert claimed <= {model["keras_version"]}
        assert all((r.config is not None) == (model["kind"] == "full model") for r in records)

    def test_in_the_models_order(self, model):
        path = real_file(model["file"])
        with h5py.File(path) as file:
            weights = file.get("model_weights", file)
            layers = [
                name if isinstance(name, str) else name.decode() for name in weights.attrs["layer_names"]
            ]
        order = [layers.index(record.name) for record in list_embeddings(path)]
        assert order == sorted(order)

    def test_loads_bit_for_bit(self, model):
        path = real_file(model["file"])
        expected = {e["dataset"]: e for e in model["embeddings"]}
        for record in list_embeddings(path):
            table = expected[record.location]
            layer = load_embedding(path, record.name)
            assert sha256(layer.get_weights()[0]) == table["sha256"]
            assert sha256(read_embedding(path, record.location)[1]) == table["sha256"]
            assert (layer.name, layer.input_dim, layer.output_dim) == (record.name, *record.shape)
            assert layer.mask_zero == (record.config or {}).get("mask_zero", False)
        assert model["file"] in READ

    def test_reads_and_only_reads(self, model, opened_files):
        path = real_file(model["file"])
        before = path.stat()
        with opened_files as opened:
            list_embeddings(path, candidates=True)
            read_embedding(path, list_embeddings(path)[0].name)
        ours = [flags for name, flags in opened if name == str(path)]
        assert len(ours) == 3  # once a call
        assert not any(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC) for flags in ours)
        after = path.stat()
        assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


class _OpenedFiles:
    """What is opened inside a ``with``. An audit hook stays for good, so there is one for the whole run."""

    def __init__(self):
        self._seen = None
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self._seen is not None and event == "open" and not isinstance(arguments[0], int):
            self._seen.append((os.fsdecode(arguments[0]), arguments[2]))

    def __enter__(self):
        self._seen = []
        return self._seen

    def __exit__(self, *_):
        self._seen = None


@pytest.fixture(scope="session")
def opened_files():
    return _OpenedFiles()


# Fixtures: small files of many versions, with their content declared by the scripts that wrote them

# Without a config, names decide: these are the places that the rules of `list_embeddings` accept.
NAMED = re.compile(
    r"(?:^|/)(?:embeddings(?::\d+)?|(?:reversible_)?embedding(?:_\d+)?/vars/0|([^/]+)/\1_W(?::\d+)?)$"
)


def fixture_entries():
    return json.loads(MANIFEST.read_text()) if MANIFEST.exists() else []


@pytest.mark.parametrize("entry", cases(fixture_entries()))
class TestFixtures:
    def test_lists_what_was_written(self, entry):
        path = FIXTURES / entry["file"]
        expected = [(place(e["location"]), tuple(e["shape"]), e["dtype"]) for e in entry["embeddings"]]
        records = list_embeddings(path)
        found = [(r.location.lstrip("/"), r.shape, r.dtype) for r in records]
        if all(r.config is not None for r in records) and records:
            assert found == expected
        else:  # no config: no order that we could know, and no Embedding but by its name
            named = {e[0] for e in expected if NAMED.search(e[0])}
            assert {f[0] for f in found} == named
            others = {
                (r.location.lstrip("/"), r.shape, r.dtype) for r in list_embeddings(path, candidates=True)
            }
            assert set(expected) <= others
        assert {r.keras_version for r in records} <= {entry["keras_version"]}

    def test_names_and_masks(self, entry):
        expected = {place(e["location"]): e for e in entry["embeddings"]}
        for record in list_embeddings(FIXTURES / entry["file"]):
            table = expected[record.location.lstrip("/")]
            shared = [e["name"] for e in entry["embeddings"]].count(table["name"]) > 1
            assert record.name.rpartition("/")[2] == table["name"] if shared else record.name == table["name"]
            assert (record.config or {}).get("mask_zero") == table["mask_zero"]

    def test_loads_bit_for_bit(self, entry):
        path = FIXTURES / entry["file"]
        for table in entry["embeddings"]:
            name = place(table["location"])
            record, array = read_embedding(path, record_at(path, name).name)
            assert sha256(array) == table["sha256"]
            stored = {"bfloat16": "uint16", "int4": "int8"}.get(record.dtype, table["dtype"])
            assert array.dtype == stored
            if "rows_sha256" in table:
                layer = load_embedding(path, record.name)
                assert layer.quantization_mode == table["dtype"]
                assert sha256(layer(np.arange(layer.input_dim))) == table["rows_sha256"]
            if "class_name" in table:
                layer, arrays = load_embedding(path, record.name), {}
                assert record.class_name == type(layer).__name__ == table["class_name"]
                layer.save_own_variables(arrays)
                assert [sha256(array) for array in arrays.values()] == [
                    table["sha256"],
                    *table["beside_sha256"],
                ]


def place(location):
    return location.replace("\\", "/")


def record_at(path, location):
    [record] = [r for r in list_embeddings(path, candidates=True) if r.location.lstrip("/") == location]
    return record


# Keras 3 as it is installed

WRITE_WITH_KERAS = textwrap.dedent(
    """
    import sys, warnings
    warnings.simplefilter("ignore")
    import keras, numpy as np
    from keras import Input, Model, Sequential, layers

    def values(model):
        rng = np.random.default_rng(1)
        model.set_weights([rng.standard_normal(w.shape).astype(w.dtype) for w in model.get_weights()])
        return model

    ids, more = Input((5,), name="ids"), Input((3, 4), name="more")
    words = layers.Embedding(7, 3, mask_zero=True, name="words", embeddings_regularizer="l2")
    frozen = Sequential([Input((5,)), layers.Embedding(9, 6, name="words", trainable=False)], name="frozen")
    both = Model(ids, [frozen(ids), layers.Embedding(9, 6, name="late")(ids), words(ids)], name="both")
    inner = layers.TimeDistributed(layers.Embedding(4, 2, name="inner"), name="each")
    model = values(Model([ids, more], [words(ids), *both(ids), inner(more), layers.Dense(2)(words(ids))]))
    tables = {"words": words, "both/frozen/words": frozen.layers[0], "late": both.get_layer("late"),
              "inner": inner.layer}
    np.savez("expected.npz", **{name: layer.get_weights()[0] for name, layer in tables.items()})
    model.save("model.keras")
    model.save("model.h5")
    model.save_weights("model.weights.h5")
    for mode in ("int8", "int4"):
        quantised = values(Sequential([Input((5,)), layers.Embedding(9, 5, name="codes")]))
        quantised.quantize(mode)
        np.save(mode, quantised.layers[0](np.arange(9)))
        for ending in ("keras", "h5", "weights.h5"):
            getattr(quantised, "save_weights" if "w" in ending else "save")(f"{mode}.{ending}")
    lora = Sequential([Input((5,)), layers.Embedding(9, 6, name="lora", lora_rank=2)])
    lora.save("lora.keras")
    lora.save("lora.h5")
    vectors = np.linspace(-1, 1, 15, dtype="float32").reshape(3, 5)
    for tied in (True, False):
        for how in ("plain", "int8", "int4", "blocks", "lora"):
            layer = layers.ReversibleEmbedding(9, 5, tie_weights=tied, logit_soft_cap=3.0, name="back")
            ids = Input((4,))
            model = values(Model(ids, layer(layer(ids), reverse=True)))
            if how == "lora":
                layer.enable_lora(2, b_initializer="ones")
            elif how == "blocks":
                model.quantize("int4", config=keras.quantizers.Int4QuantizationConfig(block_size=2))
            elif how != "plain":
                model.quantize(how)
            stem = f"{'tied' if tied else 'untied'}-{how}"
            arrays = {}
            layer.save_own_variables(arrays)
            np.savez(stem, *(np.asarray(arrays[str(n)]) for n in range(len(arrays))),
                     rows=layer(np.arange(9)), logits=layer(vectors, reverse=True), vectors=vectors)
            for ending in ("keras", "h5", "weights.h5"):
                getattr(model, "save_weights" if "w" in ending else "save")(f"{stem}.{ending}")
    """
)


@pytest.fixture(scope="session")
def keras3(tmp_path_factory):
    """A folder of files that the installed Keras 3 wrote, in a process of its own for its warnings' sake."""
    folder = tmp_path_factory.mktemp("keras3")
    environment = {**os.environ, "KERAS_BACKEND": "numpy", "PYTHONPATH": ""}
    code = [sys.executable, "-c", "import keras"]
    if subprocess.run(code, env=environment, capture_output=True, check=False).returncode:
        pytest.skip("Keras 3 cannot be imported here")
    code = [sys.executable, "-c", WRITE_WITH_KERAS]
    run = subprocess.run(code, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return folder


class TestKeras3:
    @pytest.mark.parametrize("file", ["model.keras", "model.h5"])
    def test_nested_shared_wrapped_and_frozen(self, keras3, file):
        expected = np.load(keras3 / "expected.npz")
        records = list_embeddings(keras3 / file)
        if file == "model.keras":  # stored once, where it was met first
            assert [r.name for r in records] == ["words", "both/frozen/words", "late", "inner"]
        else:  # stored twice: in the layer, and in the model that shares it
            assert [r.name for r in records] == ["words", "both/frozen/words", "late", "both/words", "inner"]
        for record in records:
            name = "words" if record.name == "both/words" else record.name
            np.testing.assert_array_equal(
                read_embedding(keras3 / file, record.name)[1], expected[name], strict=True
            )

    def test_weights_only(self, keras3):
        expected = {sha256(array) for array in np.load(keras3 / "expected.npz").values()}
        path = keras3 / "model.weights.h5"
        named = list_embeddings(path)
        assert len(named) == 3  # the one inside TimeDistributed is stored as ".../layer"
        assert {sha256(read_embedding(path, r.name)[1]) for r in named} < expected
        every = list_embeddings(path, candidates=True)
        assert {sha256(read_embedding(path, r.name)[1]) for r in every} > expected
        for record in list_embeddings(keras3 / "model.keras", candidates=True):
            assert read_embedding(keras3 / "model.keras", record.location)[0] == record

    @pytest.mark.parametrize("mode", ["int8", "int4"])
    @pytest.mark.parametrize("ending", ["keras", "h5", "weights.h5"])
    def test_codes_are_listed_and_loaded_where_a_config_says_how(self, keras3, mode, ending):
        path = keras3 / f"{mode}.{ending}"
        [record] = list_embeddings(path)
        assert record.name == "codes"
        # Without a config, packed int4 cannot be told from int8.
        assert record.dtype == (mode if record.config else "int8")
        assert record.shape == ((9, 5) if record.config or mode == "int8" else (9, 3))
        for name in (None, "codes", record.location):
            if ending == "keras":
                layer = load_embedding(path, name)
                config = json.loads(json.dumps(layer.get_config()["quantization_config"]))
                assert config == record.config["quantization_config"]
                np.testing.assert_array_equal(layer(np.arange(9)), np.load(keras3 / f"{mode}.npy"))
                continue
            with pytest.raises(UnsupportedError, match="quantised"):
                load_embedding(path, name)

    def test_lora(self, keras3):
        assert load_embedding(keras3 / "lora.keras").name == "lora"  # merged by the writer
        with pytest.raises(UnsupportedError, match="LoRA"):
            load_embedding(keras3 / "lora.h5")

    @pytest.mark.parametrize("ending", ["keras", "h5", "weights.h5"])
    @pytest.mark.parametrize("how", ["plain", "int8", "int4", "blocks", "lora"])
    @pytest.mark.parametrize("tied", ["tied", "untied"])
    def test_reversible_embedding(self, keras3, tied, how, ending):
        path, expected = keras3 / f"{tied}-{how}.{ending}", np.load(keras3 / f"{tied}-{how}.npz")
        [record] = list_embeddings(path)
        assert (record.name, record.class_name) == ("back", "ReversibleEmbedding")
        readable = {"plain": ("keras", "h5", "weights.h5"), "lora": ("keras", "weights.h5")}
        if ending not in readable.get(how, ("keras",)):
            for name in (None, "back", record.location):
                with pytest.raises(UnsupportedError, match="LoRA" if how == "lora" else "quantised"):
                    load_embedding(path, name)
            return
        layer = load_embedding(path)
        assert type(layer) is ReversibleEmbedding
        assert layer.tie_weights == (tied == "tied")
        assert layer.logit_soft_cap == (None if record.config is None else 3.0)
        arrays = {}
        layer.save_own_variables(arrays)
        assert len(arrays) == len(expected.files) - 3
        for number, array in arrays.items():
            np.testing.assert_array_equal(array, expected[f"arr_{number}"], strict=True)
        rows = layer(np.arange(9))
        assert rows.dtype == "float32"
        np.testing.assert_array_equal(rows, expected["rows"] if how != "lora" else expected["arr_0"])
        layer.logit_soft_cap = 3.0
        logits = layer(expected["vectors"], reverse=True)
        np.testing.assert_allclose(logits, expected["logits"], rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("ending", ["keras", "h5", "weights.h5"])
    @pytest.mark.parametrize("how", ["int8", "int4", "blocks"])
    def test_codes_are_never_rows(self, keras3, how, ending):
        """By whatever path: those of an Embedding, of a ReversibleEmbedding, and of what is neither."""
        path = keras3 / f"untied-{how}.{ending}"
        listed = {record.location for record in list_embeddings(path)}
        for record in list_embeddings(path, candidates=True):
            assert record.location in listed or record.dtype == "float32"
        found = []
        with opened_model(path) as model:
            found = [name for name in model._file.arrays if model._file.array(name).dtype == "int8"]
        assert len(found) >= 2
        for name in found:
            location = f"/{name}" if ending != "keras" else f"model.weights.h5/{name}"
            if ending == "keras" and location in listed:
                assert load_embedding(path, location).quantization_mode == how.replace("blocks", "int4")
                continue
            with pytest.raises(UnsupportedError, match=r"codes.*load_own_variables"):
                load_embedding(path, location)


# HDF5 as Keras lays it out, made here


def write_h5(path, layers, config=None, version="2.2.4", **storage):
    """A file of ``layers``, {layer: {weight: array}}: weights only, or a whole model with its config."""
    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
            root = file.create_group("model_weights")
        if version is not None:
            root.attrs["keras_version"] = version.encode()
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, weights in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, array in weights.items():
                group.create_dataset(weight, data=array, **storage)
    return path


def table(rows, columns, seed=0, dtype="float32"):
    return np.random.default_rng((rows, columns, seed)).standard_normal((rows, columns)).astype(dtype)


def embedding(name, rows, columns, **config):
    config = {"name": name, "input_dim": rows, "output_dim": columns, "trainable": True, **config}
    return {"class_name": "Embedding", "config": config}


def reversible(*arguments, **config):
    return {**embedding(*arguments, **config), "class_name": "ReversibleEmbedding"}


def sequential(name, *layers, **config):
    return {
        "class_name": "Sequential",
        "name": name,
        "config": {"name": name, "layers": list(layers), **config},
    }


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.h5"


class TestHdf5:
    def test_sequential_before_2_2_3_is_a_list(self, file):
        config = {"class_name": "Sequential", "config": [embedding("a", 4, 2), embedding("b", 5, 2)]}
        write_h5(file, {"a": {"a_W:0": table(4, 2)}, "b": {"b_W:0": table(5, 2)}}, config, "1.2.2")
        assert [r.name for r in list_embeddings(file)] == ["a", "b"]
        np.testing.assert_array_equal(read_embedding(file, "b")[1], table(5, 2))

    def test_nested_weights_are_in_order_of_training(self, file):
        """Without names to go by: trainable weights come first in a nested model's group."""
        config = sequential(
            "outer", sequential("sub", embedding("cold", 4, 2, trainable=False), embedding("warm", 4, 2))
        )
        stored = {"embeddings:0": table(4, 2, 1), "embeddings:0_2": table(4, 2, 2)}
        write_h5(file, {"sub": stored}, config)
        np.testing.assert_array_equal(read_embedding(file, "warm")[1], table(4, 2, 1))
        np.testing.assert_array_equal(read_embedding(file, "cold")[1], table(4, 2, 2))
        assert [r.name for r in list_embeddings(file)] == ["cold", "warm"]  # the model's order all the same

    def test_names_overrule_order(self, file):
        config = sequential("outer", sequential("sub", embedding("a", 4, 2), embedding("b", 4, 2)))
        write_h5(
            file,
            {"sub": {"sub/b/embeddings:0": table(4, 2, 1), "sub/a/embeddings:0": table(4, 2, 2)}},
            config,
        )
        np.testing.assert_array_equal(read_embedding(file, "b")[1], table(4, 2, 1))

    def test_equal_names_are_told_apart_by_the_layers_around(self, file):
        towers = sequential("left", embedding("words", 4, 2)), sequential("right", embedding("words", 4, 2))
        config = sequential("outer", sequential("both", *towers))
        stored = {"right/words/embeddings:0": table(4, 2, 1), "left/words/embeddings:0": table(4, 2, 2)}
        write_h5(file, {"both": stored}, config)
        assert [r.name for r in list_embeddings(file)] == ["both/left/words", "both/right/words"]
        np.testing.assert_array_equal(read_embedding(file, "both/left/words")[1], table(4, 2, 2))
        with pytest.raises(ValueError, match=r"'both/left/words' \(4, 2\), 'both/right/words' \(4, 2\)"):
            read_embedding(file, "words")

    def test_a_custom_layer_inside_leaves_no_doubt_or_is_refused(self, file):
        """Two tables of one shape, one Embedding in the config: a guess would be wrong half of the time."""
        config = sequential(
            "outer", sequential("sub", embedding("words", 4, 2), {"class_name": "Mine", "config": {}})
        )
        other = {"mine/embeddings:0": table(4, 2, 2)}
        write_h5(file, {"sub": {**other, "words/embeddings:0": table(4, 2, 1)}}, config)
        np.testing.assert_array_equal(read_embedding(file)[1], table(4, 2, 1))
        write_h5(file, {"sub": {**other, "words_1/embeddings:0": table(4, 2, 1)}}, config)
        with pytest.raises(FormatError, match="disagree"):
            list_embeddings(file)

    def test_wrapper_and_merge(self, file):
        wrapped = {
            "class_name": "TimeDistributed",
            "config": {"name": "each", "layer": embedding("words", 4, 2)},
        }
        merge = {"class_name": "Merge", "config": {"name": "merge_1", "layers": [
            {"class_name": "Sequential", "config": [embedding("left", 3, 2)]},
            {"class_name": "Sequential", "config": [embedding("right", 5, 2)]}]}}  # fmt: skip
        config = {"class_name": "Sequential", "config": [merge, wrapped]}
        # Keras 1 stored the layers inside a Merge on their own.
        layers = {"left": {"left_W": table(3, 2)}, "right": {"right_W": table(5, 2)}, "merge_1": {},
                  "each": {"words_W": table(4, 2)}}  # fmt: skip
        write_h5(file, layers, config, "1.1.0")
        assert [(r.name, r.shape) for r in list_embeddings(file)] == [
            ("left", (3, 2)),
            ("right", (5, 2)),
            ("words", (4, 2)),
        ]

    def test_theano_left_no_names(self, file):
        write_h5(file, {"words": {"param_0": table(4, 2)}}, sequential("m", embedding("words", 4, 2)))
        np.testing.assert_array_equal(read_embedding(file)[1], table(4, 2))

    def test_shared_layer_is_listed_once(self, file):
        node = {
            **embedding("words", 4, 2),
            "name": "words",
            "inbound_nodes": [[["a", 0, 0, {}]], [["b", 0, 0, {}]]],
        }
        write_h5(
            file,
            {"words": {"words/embeddings:0": table(4, 2)}},
            {"class_name": "Model", "config": {"name": "m", "layers": [node]}},
        )
        assert len(list_embeddings(file)) == 1

    def test_never_built_is_not_listed(self, file):
        write_h5(
            file,
            {"a": {"a/embeddings:0": table(4, 2)}, "b": {}},
            sequential("m", embedding("a", 4, 2), embedding("b", 5, 2)),
        )
        assert [r.name for r in list_embeddings(file)] == ["a"]

    @pytest.mark.parametrize("shape", [(5, 2), (4, 3), (2, 4)])
    def test_config_and_table_must_agree(self, file, shape):
        write_h5(file, {"a": {"a/embeddings:0": table(*shape)}}, sequential("m", embedding("a", 4, 2)))
        with pytest.raises(FormatError, match=r"\(4, 2\)"):
            list_embeddings(file)

    @pytest.mark.parametrize("version", [None, "1.2.2", "2.0.0"])
    def test_keras_1_weights_only(self, file, version):
        layers = {"words": {"words_W": table(4, 2)}, "dense": {"dense_W": table(4, 2), "dense_b": np.ones(2)},
                  "other": {"attention_W": table(4, 2)}}  # fmt: skip
        write_h5(file, layers, version=version)
        expected = [] if version == "2.0.0" else ["words"]  # since 2.0, "_W" is a name that people give
        assert [r.name for r in list_embeddings(file)] == expected
        every = [r.name for r in list_embeddings(file, candidates=True)]
        assert set(every) - {"/words/words_W"} == {*expected, "/dense/dense_W", "/other/attention_W"}

    def test_names_in_parts(self, file):
        write_h5(file, {"a": {"a/embeddings:0": table(4, 2)}, "b": {"b/embeddings:0": table(5, 2)}})
        with h5py.File(file, "r+") as h5:
            del h5.attrs["layer_names"]
            h5.attrs["layer_names0"], h5.attrs["layer_names1"] = [b"b"], ["a"]
        assert [r.name for r in list_embeddings(file)] == ["b", "a"]

    def test_optimizer_and_top_level_weights(self, file):
        write_h5(file, {"a": {"a/embeddings:0": table(4, 2)}}, sequential("m", embedding("a", 4, 2)))
        with h5py.File(file, "r+") as h5:
            h5.create_dataset("optimizer_weights/Adam/a/embeddings/m:0", data=table(4, 2, 1))
            top = h5.create_group("model_weights/top_level_model_weights")
            top.attrs["weight_names"] = [b"scale:0"]
            top["scale:0"] = table(3, 3)
        names = [r.name for r in list_embeddings(file, candidates=True)]
        assert names == ["a", "/model_weights/top_level_model_weights/scale:0"]

    @pytest.mark.parametrize("storage", [
        {"chunks": (3, 2)}, {"chunks": (3, 2), "compression": "gzip"}, {"chunks": (4, 5), "shuffle": True},
        {"chunks": (3, 4), "fletcher32": True},
        {"chunks": (7, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    ], ids=str)  # fmt: skip
    @pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f2", "<i4", "|i1", "|u1"])
    def test_chunks_filters_and_byte_orders(self, file, storage, dtype):
        array = (100 * table(10, 5)).astype(dtype)
        write_h5(file, {"a": {"a/embeddings:0": array}}, **storage)
        record, loaded = read_embedding(file)
        assert record.dtype == array.dtype.name
        np.testing.assert_array_equal(loaded, array.astype(array.dtype.newbyteorder("=")), strict=True)

    def test_compact(self, file):
        with h5py.File(file, "w") as h5:
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_layout(h5py.h5d.COMPACT)
            space, kind = h5py.h5s.create_simple((4, 2)), h5py.h5t.IEEE_F32BE
            dataset = h5py.h5d.create(h5.create_group("layer_0").id, b"param_0", kind, space, plist)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, table(4, 2))
        np.testing.assert_array_equal(read_embedding(file, "layer_0/param_0")[1], table(4, 2))

    def test_bfloat16(self, file):
        words = np.arange(8, dtype="<u2").reshape(4, 2)
        write_h5(
            file,
            {"a": {"a/embeddings:0": words.view("V2")}},
            sequential("m", embedding("a", 4, 2, dtype="bfloat16")),
        )
        record, loaded = read_embedding(file)
        assert record.dtype == "bfloat16"
        np.testing.assert_array_equal(loaded, words, strict=True)
        write_h5(file, {"a": {"a/embeddings:0": words.view("V2")}})
        assert list_embeddings(file)[0].dtype == "void16"
        with pytest.raises(UnsupportedError, match="two-byte values"):
            read_embedding(file)

    def test_name(self, file):
        write_h5(
            file,
            {
                "a": {"a/embeddings:0": table(4, 2)},
                "b": {"b/embeddings:0": table(5, 2)},
                "d": {"d/kernel:0": table(2, 2)},
            },
        )
        for name in ("b", "/b/b/embeddings:0", "b/b/embeddings:0"):
            assert read_embedding(file, name)[0].name == "b"
        assert read_embedding(file, "/d/d/kernel:0")[0] == EmbeddingRecord(
            "/d/d/kernel:0", (2, 2), "float32", None, "2.2.4", "/d/d/kernel:0"
        )
        with pytest.raises(ValueError, match=r"several.*'a' \(4, 2\), 'b' \(5, 2\)"):
            read_embedding(file)
        with pytest.raises(ValueError, match=r"no embedding 'c'.*'a' \(4, 2\), 'b' \(5, 2\)"):
            read_embedding(file, "c")

    def test_reversible_embedding_by_names(self, file):
        """Without a config: the other matrix tells, if it is one."""
        reverse = np.ascontiguousarray(table(4, 2, 1).T)
        weights = {"a/embeddings": table(4, 2), "a/reverse_embeddings": reverse}
        write_h5(file, {"a": weights, "b": {"b/embeddings": table(5, 2)}}, version="3.15.1")
        assert [r.class_name for r in list_embeddings(file, candidates=True)] == [
            "ReversibleEmbedding",
            "Embedding",
        ]
        layer = load_embedding(file, "a")
        assert layer.tie_weights is False
        np.testing.assert_array_equal(layer.reverse_embeddings, reverse)
        np.testing.assert_array_equal(layer([3]), table(4, 2)[[3]])
        for other in (table(4, 2, 1), reverse.astype("float64"), reverse[:1]):
            write_h5(file, {"a": {**weights, "a/reverse_embeddings": other}})
            assert [r.class_name for r in list_embeddings(file)] == ["Embedding"]
            assert type(load_embedding(file)) is Embedding
        weights["a/reverse_embeddings_scale"] = weights["a/embeddings_scale"] = np.ones(4)
        write_h5(file, {"a": weights})
        with pytest.raises(UnsupportedError, match="quantised"):
            load_embedding(file)

    def test_codes_by_path(self, file):
        codes = {f"d/{dtype}": table(4, 2, dtype=dtype) for dtype in ("int8", "uint8", "int32", "float32")}
        write_h5(file, {"d": codes})
        assert [r.name for r in list_embeddings(file, candidates=True)] == ["/d/d/int32", "/d/d/float32"]
        np.testing.assert_array_equal(load_embedding(file, "/d/d/int32").get_weights()[0], codes["d/int32"])
        for dtype in ("int8", "uint8"):
            with pytest.raises(UnsupportedError, match=f"{dtype}.*codes.*load_own_variables.*h5py"):
                load_embedding(file, f"/d/d/{dtype}")
        write_h5(file, {"d": {"d/int8": table(4, 2, dtype="int8")}})
        with pytest.raises(FormatError, match="no Embedding in this file; other weights open by name: none"):
            load_embedding(file)

    def test_an_embedding_of_int8_is_one(self, file):
        """Not quantised, for nothing is stored beside it: its dtype is int8."""
        numbers = np.arange(8, dtype="int8").reshape(4, 2)
        for config in (None, sequential("m", embedding("a", 4, 2, dtype="int8"))):
            write_h5(file, {"a": {"a/embeddings:0": numbers}}, config)
            np.testing.assert_array_equal(load_embedding(file)([1]), numbers[[1]], strict=True)

    def test_no_embedding(self, file):
        write_h5(file, {"d": {"d/kernel:0": table(2, 2)}})
        with pytest.raises(FormatError, match=r"no Embedding.*'/d/d/kernel:0' \(2, 2\)"):
            load_embedding(file)

    def test_without_h5py(self, file, monkeypatch):
        write_h5(file, {"a": {"a/embeddings:0": table(4, 2)}})
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(ImportError, match=re.escape("pip install 'keras-fastembed[keras-files]'")):
            list_embeddings(file)


# Object layouts, made here: what no version at hand can be made to write on demand


def write_keras(path, arrays, config, labels=(), version="3.5.0", weights="model.weights.h5", **zip_options):
    """A `.keras` file with the weights {object: [array, ...]}, and ``labels`` of layers if it has them."""
    with h5py.File(path.with_suffix(".part"), "w") as file:
        for name, values in arrays.items():
            group = file.create_group(f"{name}/vars")
            for number, value in enumerate(values):
                group[str(number)] = value
            if name in labels:
                group.attrs["name"] = labels[name]
    with zipfile.ZipFile(path, "w", **zip_options) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
        archive.write(path.with_suffix(".part"), weights)
    return path


@pytest.fixture
def keras(tmp_path):
    return tmp_path / "model.keras"


class TestObjects:
    def test_counters_of_2_12_skip_numbers(self, keras):
        config = sequential("m", *(embedding(name, 4, 2) for name in "abc"))
        places = ["embedding", "embedding_2", "embedding_4"]
        arrays = {f"_layer_checkpoint_dependencies/{p}": [table(4, 2, i)] for i, p in enumerate(places)}
        write_keras(keras, arrays, config, version="2.12.0")
        assert [r.name for r in list_embeddings(keras)] == ["a", "b", "c"]
        np.testing.assert_array_equal(read_embedding(keras, "c")[1], table(4, 2, 2))

    def test_ten_and_more_are_in_order_of_number(self, keras):
        config = sequential("m", *(embedding(f"e{i}", 4, 2) for i in range(12)))
        arrays = {f"layers/embedding_{i}" if i else "layers/embedding": [table(4, 2, i)] for i in range(12)}
        write_keras(keras, arrays, config)
        np.testing.assert_array_equal(read_embedding(keras, "e10")[1], table(4, 2, 10))

    @pytest.mark.parametrize(
        "second", ["embedding", "embedding_1"]
    )  # tf_keras counts what it stores, Keras 3 all
    def test_layer_shared_with_an_inner_model(self, keras, second):
        inner = sequential("inner", embedding("shared", 4, 2), embedding("own", 4, 2))
        config = sequential("outer", embedding("shared", 4, 2), inner)
        arrays = {
            "layers/embedding": [table(4, 2, 1)],
            f"layers/sequential/layers/{second}": [table(4, 2, 2)],
        }
        write_keras(keras, arrays, config)
        assert [r.name for r in list_embeddings(keras)] == ["shared", "own"]
        np.testing.assert_array_equal(read_embedding(keras, "own")[1], table(4, 2, 2))

    def test_labels_overrule_counters(self, keras):
        config = sequential("m", embedding("a", 4, 2), embedding("b", 4, 2))
        arrays = {"layers/embedding": [table(4, 2, 1)], "layers/embedding_1": [table(4, 2, 2)]}
        write_keras(keras, arrays, config, {"layers/embedding": "b", "layers/embedding_1": "a"})
        np.testing.assert_array_equal(read_embedding(keras, "a")[1], table(4, 2, 2))

    def test_class_names_become_group_names(self, keras):
        inner = {
            "class_name": "My Package>TwoTowers2D",
            "config": {"name": "t", "layers": [embedding("a", 4, 2)]},
        }
        write_keras(keras, {"layers/two_towers2d/layers/embedding": [table(4, 2)]}, sequential("m", inner))
        assert [r.name for r in list_embeddings(keras)] == ["a"]

    def test_optimizer_weights_are_none(self, keras):
        arrays = {"layers/embedding": [table(4, 2)], "optimizer": [table(4, 2, 1), table(4, 2, 2)]}
        write_keras(keras, arrays, sequential("m", embedding("a", 4, 2)))
        assert [r.location for r in list_embeddings(keras, candidates=True)] == [
            "model.weights.h5/layers/embedding/vars/0"
        ]

    @pytest.mark.parametrize("config", [None, "subclassed"])
    def test_reversible_embedding_by_names(self, keras, config):
        """In `.weights.h5`, and in the `.keras` file of a subclassed model."""
        reverse = np.ascontiguousarray(table(4, 2, 1).T)
        codes, scale = np.ones((4, 2), "int8"), np.ones(4, "float32")
        arrays = {
            "back": [table(4, 2), reverse],  # an attribute of the model
            "layers/reversible_embedding": [table(4, 2, 2)],
            "layers/reversible_embedding_1": [table(4, 2, 3), reverse],
            "layers/reversible_embedding_2": [codes, scale],
            "layers/reversible_embedding_3": [table(4, 2, 4), np.ones(4, "float32")],  # another of this name
            "layers/reversible_embedding_b": [table(4, 2, 5)],
            "layers/embedding": [table(4, 2, 6), reverse],  # an Embedding all the same
        }
        labels = {name: name.rpartition("/")[2] for name in arrays}
        write_keras(keras, arrays, {"class_name": "Mine", "config": {"name": "m"}}, labels)
        if config is None:
            with zipfile.ZipFile(keras) as archive:
                keras = Path(archive.extract("model.weights.h5", keras.parent))
        found = {r.name: r.class_name for r in list_embeddings(keras)}
        numbers = ["reversible_embedding", "reversible_embedding_1", "reversible_embedding_2"]
        assert found == {"embedding": "Embedding", **dict.fromkeys(numbers, "ReversibleEmbedding")}
        tied, untied = (load_embedding(keras, name) for name in numbers[:2])
        assert (tied.tie_weights, untied.tie_weights) == (True, False)
        np.testing.assert_array_equal(tied.get_weights(), [table(4, 2, 2)])
        for weights, stored in zip(untied.get_weights(), arrays["layers/reversible_embedding_1"]):
            np.testing.assert_array_equal(weights, stored, strict=True)
        with pytest.raises(UnsupportedError, match="quantised"):
            load_embedding(keras, numbers[2])
        assert type(load_embedding(keras, "embedding")) is Embedding

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
    def test_reversible_embedding_of_any_dtype(self, keras, dtype):
        config = sequential("m", reversible("a", 4, 2, tie_weights=False, trainable=False))
        arrays = [(10 * table(4, 2)).astype(dtype), (10 * table(2, 4)).astype(dtype)]
        write_keras(keras, {"layers/reversible_embedding": arrays}, config)
        layer = load_embedding(keras)
        assert not layer.trainable_weights
        for weights, stored in zip(layer.get_weights(), arrays):
            np.testing.assert_array_equal(weights, stored, strict=True)

    @pytest.mark.parametrize("told", ["by the config", "by the arrays"])
    def test_reversible_embedding_of_bfloat16(self, keras, told):
        words = [np.uint16([[0x3F80, 0xC000]]), np.uint16([[0x4049], [0x4000]])]  # 1, -2; 3.140625, 2
        config = sequential("m", reversible("a", 1, 2, tie_weights=False, dtype="bfloat16"))
        write_keras(keras, {"layers/reversible_embedding": [array.view("V2") for array in words]}, config)
        if told == "by the arrays":
            keras = keras.with_suffix(".part")  # the weights alone
            with h5py.File(keras, "r+") as file:
                for array in file["layers/reversible_embedding/vars"].values():
                    array.attrs["dtype"] = "bfloat16"
        layer = load_embedding(keras)
        assert [weight.dtype for weight in layer.weights] == ["bfloat16"] * 2
        np.testing.assert_array_equal(layer([0]), np.float32([[1, -2]]), strict=True)
        vectors = np.float32([[1, 1]])
        np.testing.assert_array_equal(layer(vectors, reverse=True), np.float32([[5.140625]]), strict=True)

    def test_reversible_embedding_keeps_its_settings(self, keras):
        settings = {"mask_zero": True, "reverse_dtype": "float64", "logit_soft_cap": 2.5, "tie_weights": True}
        config = sequential("m", reversible("a", 4, 2, dtype="mixed_float16", **settings))
        write_keras(keras, {"layers/reversible_embedding": [table(4, 2)]}, config)
        layer = load_embedding(keras)
        assert {key: getattr(layer, key) for key in settings} == settings
        assert (layer.name, layer([1]).dtype, layer.dtype) == ("a", "float16", "float32")

    def test_deflated(self, keras):
        arrays = {"layers/embedding": [table(400, 20)]}
        write_keras(keras, arrays, sequential("m", embedding("a", 400, 20)), compression=zipfile.ZIP_DEFLATED)
        np.testing.assert_array_equal(read_embedding(keras)[1], table(400, 20))

    def test_another_store(self, keras):
        write_keras(keras, {"layers/embedding": [table(4, 2)]}, sequential("m"), weights="model.weights.npz")
        with pytest.raises(UnsupportedError, match=r"model\.weights\.h5"):
            list_embeddings(keras)


# Configs


L2 = {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.01}}


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        pytest.param(
            {"init": "uniform", "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.1},
             "dropout": 0.2, "W_constraint": None, "mask_zero": False, "input_length": 9},
            {"embeddings_initializer": "uniform", "embeddings_constraint": None, "mask_zero": False,
             "embeddings_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.1}},
            id="keras 1",
        ),
        pytest.param(
            {"embeddings_initializer": {"class_name": "Zeros", "config": {}}, "embeddings_regularizer": L2,
             "embeddings_constraint": None, "mask_zero": True, "trainable": False, "dtype": "float32",
             "name": "a", "batch_input_shape": [None, 3], "input_length": 3, "activity_regularizer": None},
            {"embeddings_initializer": {"class_name": "Zeros", "config": {}}, "embeddings_regularizer": L2,
             "embeddings_constraint": None, "mask_zero": True, "trainable": False, "dtype": "float32",
             "name": "a"},
            id="keras 2",
        ),
        pytest.param(
            {"dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
             "quantization_config": None, "lora_rank": 4, "mask_zero": 1},
            {"dtype": "mixed_float16", "mask_zero": True},
            id="keras 3",
        ),
    ],
)  # fmt: skip
def test_embedding_arguments(config, arguments):
    dims = {"input_dim": 4, "output_dim": 2}
    assert embedding_arguments({**dims, **config}) == {**dims, **arguments}
    more = {"tie_weights": False, "reverse_dtype": None, "logit_soft_cap": 5.0}
    assert embedding_arguments({**dims, **config, **more}) == {**dims, **arguments}
    reverse = embedding_arguments({**dims, **config, **more}, "ReversibleEmbedding")
    assert reverse == {**dims, **arguments, **more}


@pytest.mark.parametrize("value", [10**16 * 1.0, -4, 0, 4.5, "4", True, None, [4]])
def test_dimensions_are_positive_integers(value):
    with pytest.raises(FormatError, match="input_dim in the config is"):
        embedding_arguments({"input_dim": value, "output_dim": 2})


@pytest.mark.parametrize(
    ("dtype", "policy", "mode"),
    [
        ("float32", "float32", None),
        (None, None, None),
        ({"class_name": "Policy", "config": {"name": "mixed_bfloat16"}}, "mixed_bfloat16", None),
        ({"class_name": "DTypePolicy", "config": {"name": "int8_from_float32"}}, "int8_from_float32", "int8"),
        ({"config": {"mode": "int8", "source_name": "bfloat16"}}, "int8_from_bfloat16", "int8"),
        ({"config": {"mode": "int4/128", "source_name": "float32"}}, "int4/128_from_float32", "int4"),
        ({"config": {"mode": "int4/-1", "source_name": "float32"}}, "int4/-1_from_float32", "int4"),
        ({"config": {"mode": "float8", "source_name": "float32"}}, "float8_from_float32", None),
    ],
)
def test_dtype_policies(dtype, policy, mode):
    assert dtype_policy({"dtype": dtype}) == policy
    assert quantisation({"dtype": dtype}) == mode


def test_tree_of_a_bidirectional_wrapper():
    """Whatever holds a layer is searched, under whatever name."""
    wrapper = {
        "class_name": "Anything",
        "config": {"cells": [{"class_name": "C", "config": {"e": embedding("a", 4, 2)}}]},
    }
    chains = list(model_tree(sequential("m", wrapper)).embeddings())
    assert [[node.class_name for node in chain] for chain in chains] == [
        ["Sequential", "Anything", "C", "Embedding"]
    ]


# Layers


class TestLayer:
    def load(self, file, stored="float32", **config):
        array = table(4, 2, dtype=stored)
        write_h5(
            file, {"a/b": {"a/b/embeddings:0": array}}, sequential("m", embedding("a/b", 4, 2, **config))
        )
        layer = load_embedding(file)
        np.testing.assert_array_equal(layer.get_weights()[0], array, strict=True)
        return layer

    def test_is_ready(self, file):
        layer = self.load(file, mask_zero=True, trainable=False, embeddings_regularizer=L2)
        assert (layer.name, layer.built, layer.mask_zero, layer.trainable) == ("a_b", True, True, False)
        assert layer.embeddings_regularizer is not None
        np.testing.assert_array_equal(layer(np.array([[3, 1]])), table(4, 2)[[[3, 1]]])

    @pytest.mark.parametrize("dtype", ["float16", "float64"])
    def test_what_is_stored_overrules_the_configs_dtype(self, file, dtype):
        self.load(file, dtype, dtype="float32")

    def test_keras_2_0_called_the_ids_dtype_dtype(self, file):
        self.load(file, dtype="float32")
        write_h5(
            file, {"a": {"a/embeddings:0": table(4, 2)}}, sequential("m", embedding("a", 4, 2, dtype="int32"))
        )
        assert load_embedding(file).get_weights()[0].dtype == "float32"

    def test_bfloat16(self, file):
        words = np.array([[0x3F80, 0xC000], [0x4049, 0x0000]], "<u2")  # 1, -2; 3.140625, 0
        config = sequential("m", embedding("a", 2, 2, dtype="bfloat16", mask_zero=True))
        write_h5(file, {"a": {"a/embeddings:0": words.view("V2")}}, config)
        layer = load_embedding(file)
        assert (layer.embeddings.dtype, layer.name, layer.mask_zero) == ("bfloat16", "a", True)
        expected = np.array([[3.140625, 0.0], [1.0, -2.0]], "float32")
        np.testing.assert_array_equal(layer(np.array([1, 0])), expected, strict=True)

    def test_mixed_policy(self, file):
        write_h5(
            file,
            {"a": {"a/embeddings:0": table(4, 2)}},
            sequential("m", embedding("a", 4, 2, dtype="mixed_float16")),
        )
        layer = load_embedding(file)
        assert layer.get_weights()[0].dtype == "float32"
        assert layer(np.array([1])).dtype == "float16"

    @pytest.mark.parametrize(
        "argument", ["embeddings_initializer", "embeddings_regularizer", "embeddings_constraint"]
    )
    def test_custom_class_is_left_out_with_a_warning(self, file, argument):
        custom = {
            "module": "os",
            "class_name": "system",
            "config": {"command": "true"},
            "registered_name": "system",
        }
        with pytest.warns(UserWarning, match=f"without its {argument}") as caught:
            layer = self.load(file, **{argument: custom})
        assert Path(caught[0].filename).name == Path(__file__).name
        np.testing.assert_array_equal(layer(np.array([2])), table(4, 2)[[2]])

    def test_without_a_config(self, file):
        write_h5(file, {"a": {"a/embeddings:0": table(4, 2)}, "d": {"d/kernel:0": table(2, 2)}})
        assert load_embedding(file).name == "a"
        layer = load_embedding(file, "/d/d/kernel:0")
        np.testing.assert_array_equal(layer.get_weights()[0], table(2, 2))
