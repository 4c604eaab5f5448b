"""fastembed against real Keras 3: the same program, run by both.

A program is a function of a library (`fastembed` here, `keras` in another process, because this one may
need another backend) that returns what a user would see of it. Names, configs and numbers must be equal,
numbers bit for bit. Where we differ on purpose, both answers are pinned, at the end of the file.
"""

from __future__ import annotations

import contextlib
import importlib.util

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_libraries import (
    Raised,
    agree,
    agree_to_raise,
    assert_same,
    make,
    outcome,
    process,
    subclasses,
)

import fastembed

if not importlib.util.find_spec("keras"):
    pytest.skip("real Keras is not installed (it needs NumPy 2)", allow_module_level=True)


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


# --- Lookups --------------------------------------------------------------------------------------

FLOATS = ["float16", "bfloat16", "float32", "float64"]


def lookup(library, table, ids, dtype):
    layer = library.layers.Embedding(*table.shape, weights=table, dtype=dtype)
    return [np.asarray(layer(ids)) for _ in range(2)]  # ours answers the second call by a shorter way


@st.composite
def cases(draw):
    dtype = draw(st.sampled_from(FLOATS))
    shape = st.tuples(st.integers(1, 9), st.integers(1, 9))
    table = draw(hnp.arrays("float32" if dtype == "bfloat16" else dtype, shape))
    below = st.integers(0, len(table) - 1)
    shape = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    ids = hnp.arrays(st.sampled_from(["i1", "i2", "i4", "i8", "u1", "f2", "f4", "f8"]), shape, elements=below)
    return table, draw(ids), dtype


@given(case=cases())
def test_lookups(keras, case):
    agree(keras, lookup, *case)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "id_dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "bool", "float32"]
)
@pytest.mark.parametrize("shape", [(), (0,), (6,), (2, 0), (2, 3), (1, 2, 3)], ids=str)
def test_every_dtype_and_rank(keras, rng, dtype, id_dtype, shape):
    table = rng.standard_normal((5, 3)).astype("float32" if dtype == "bfloat16" else dtype)
    ids = rng.integers(0, 2 if id_dtype == "bool" else 5, shape).astype(id_dtype)
    rows, _ = agree(keras, lookup, table, ids, dtype)
    assert rows.shape == (*shape, 3)


def policy_of(library, policy):
    table = np.linspace(-6e4, 6e4, 600).reshape(300, 2)
    layer = library.layers.Embedding(300, 2, dtype=policy, weights=table)
    dtypes = layer.dtype, layer.variable_dtype, layer.compute_dtype, layer.embeddings.dtype
    weights = [] if policy == "bfloat16" else layer.get_weights()  # NumPy has no bfloat16: see below
    return np.asarray(layer(np.arange(300))), dtypes, layer.dtype_policy.name, weights


@pytest.mark.parametrize("policy", [*FLOATS, "mixed_float16", "mixed_bfloat16"])
def test_dtype_policies(keras, policy):
    agree(keras, policy_of, policy)


def value_of(library, expression):
    return np.asarray(make(library, expression))


@pytest.mark.parametrize(
    "expression",
    [
        "layers.Embedding(9, 3).compute_mask(np.array([0, 3])) is None",
        "[layers.Embedding(9, 3, mask_zero=x).supports_masking for x in (False, True)]",
        *(
            f"layers.Embedding(9, 3, mask_zero=True).compute_mask(np.array({ids}))"
            for ids in ["0", "[[0, 3], [8, 0]]", "[]", "[0.0, 2.0]", "[0, 1], 'int8'"]
        ),
        "layers.Embedding(9, 3).compute_output_shape(())",
        "layers.Embedding(9, 3).compute_output_shape((None, None, 4)) == (None, None, 4, 3)",
        "layers.Dense(9).compute_output_shape((None, 4, 3)) == (None, 4, 9)",
        *(f"ops.one_hot(np.array({ids}, 'int64'), 5)" for ids in [3, [], [0, 4], [[1, -1], [-5, -7]]]),
        *(
            f"ops.one_hot(np.array([[1, 0]]), 2, dtype={x!r})"
            for x in ["float16", "float64", "int32", "bool"]
        ),
    ],
)
def test_masks_shapes_and_one_hot(keras, expression):
    agree(keras, value_of, expression)


# --- Dense, and the gradient of both --------------------------------------------------------------


def dense(library, inputs, arguments):
    layer = make(library, f"layers.Dense(2, {arguments})")
    layer.build(inputs.shape)
    layer.set_weights([np.linspace(-1, 1.5, 6).reshape(3, 2), np.array([0.5, -3])][: len(layer.weights)])
    return np.asarray(layer(inputs)), layer.compute_output_shape(inputs.shape)


@pytest.mark.parametrize(
    "dtype",
    ["float16", "float32", "float64", "int32"],
)
@pytest.mark.parametrize("shape", [(1, 3), (2, 4, 3), (0, 3)], ids=str)
@pytest.mark.parametrize("arguments", ["activation=np.tanh", "use_bias=False", "dtype='mixed_float16'"])
def test_dense(keras, rng, dtype, shape, arguments):
    agree(keras, dense, (4 * rng.standard_normal(shape)).astype(dtype), arguments)


def jax_gradients(_, ids, *weights):
    import jax

    def loss(table, kernel, bias):
        return ((table[ids].mean(axis=1) @ kernel + bias) ** 2).sum()

    return [np.asarray(x) for x in jax.grad(loss, argnums=(0, 1, 2))(*map(jax.numpy.asarray, weights))]


def test_gradients_are_those_of_jax(keras, rng):
    embedding, dense = fastembed.layers.Embedding(7, 4, "glorot_normal"), fastembed.layers.Dense(3)
    ids = np.array([[1, 1, 6], [0, 1, 2]])
    outputs = dense(embedding(ids, training=True).mean(axis=1), training=True)
    upstream = dense.backward(2 * outputs)
    embedding.backward(np.repeat(upstream[:, None] / 3, 3, axis=1))
    ours = [embedding.embeddings.gradient.to_dense(), dense.kernel.gradient, dense.bias.gradient]
    theirs = keras(jax_gradients, ids, *embedding.get_weights(), *dense.get_weights())
    for our, their in zip(ours, theirs):
        assert np.abs(their).max() > 0.01
        np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-6)


# --- Configs --------------------------------------------------------------------------------------

LAYERS = [
    "layers.Embedding(7, 3, name='x')",
    "layers.Embedding(7, 3, 'zeros', 'l2', 'non_neg', True, name='x')",
    "layers.Embedding(7, 3, mask_zero=True, trainable=False, dtype='float16', name='x')",
    "layers.Embedding(7, 3, dtype='mixed_float16', activity_regularizer='l1', name='x')",
    "layers.Embedding(7, 3, initializers.RandomNormal(0, 0.5, seed=3), regularizers.L1L2(0.1, 0.2),"
    " constraints.MaxNorm(3), name='x')",
    "layers.Embedding(7, 3, initializers.Constant(2), weights=np.ones((7, 3)), name='x')",
]
DENSES = [
    "layers.Dense(4, name='x')",
    "layers.Dense(4, 'linear', False, 'ones', kernel_regularizer='l2', dtype='float16', name='x')",
    "layers.Dense(4, bias_initializer='ones', kernel_constraint='max_norm', bias_constraint='non_neg',"
    " activity_regularizer=regularizers.L2(0.5), bias_regularizer='l1', trainable=False, name='x')",
]
INPUTS = {"Embedding": np.array([[6, 0, 2]]), "Dense": np.linspace(-1, 1, 7, dtype="float32")[None]}


def written_down(library, expression):
    """Config, weights and output of a layer."""
    layer = make(library, expression)
    kind = type(layer).__name__
    outputs = np.asarray(layer(INPUTS[kind]))
    return kind, layer.get_config(), layer.get_weights(), outputs


def read_back(library, kind, config, weights, _):
    """The same of a layer made from what the other library wrote down."""
    layer = getattr(library.layers, kind).from_config(config)
    layer(INPUTS[kind])
    layer.set_weights(weights)
    return kind, layer.get_config(), layer.get_weights(), np.asarray(layer(INPUTS[kind]))


@pytest.mark.parametrize("expression", [*LAYERS, *DENSES])
def test_configs_are_equal_and_travel_both_ways(keras, expression):
    ours, theirs = written_down(fastembed, expression), keras(written_down, expression)
    assert ours[1] == theirs[1]
    assert_same(read_back(fastembed, *theirs), theirs)
    assert_same(keras(read_back, *ours), ours)


def config_of_a_subclass(library):
    class Mine(library.layers.Layer):
        def get_config(self):
            return {**super().get_config(), "mine": 1}

    return Mine(name="mine", activity_regularizer="l2").get_config()


def test_configs_of_subclasses(keras):
    agree(keras, config_of_a_subclass)


# --- The life of a layer --------------------------------------------------------------------------


def layer_names(library):
    def name(class_name, **kwargs):
        return type(class_name, (library.layers.Layer,), {})(**kwargs).name

    names = [library.layers.Embedding(2, 2).name, library.layers.Dense(2).name, name("Layer")]
    names += [name("Embedding"), name("Embedding", name="embedding_2"), name("embedding"), name("Dense")]
    return [*names, name("GlobalPooling1D"), name("LSTM"), name("HTTPServer2D"), name("_Private")]


def variable_names(library):
    layer = library.layers.Layer()
    return [v.name for v in (library.Variable(1.0), layer.add_weight(), library.Variable(1.0, name="v"))]


@pytest.mark.parametrize("names", [layer_names, variable_names])
def test_automatic_names(names):
    with process("keras") as keras, process("fastembed") as ours:  # where nothing has been counted yet
        assert ours(names) == keras(names)


def nested(library):
    return subclasses(library)["Pair"](name="pair")


def look_at(layer):
    lists = layer.weights, layer.trainable_weights, layer.non_trainable_weights
    again = layer.variables, layer.trainable_variables, layer.non_trainable_variables
    return [
        [[v.name for v in variables] for variables in (*lists, *again)],
        [(v.shape, v.dtype, v.trainable) for v in layer.weights],
        [(x.trainable, x.built) for x in (layer, layer.words, layer.scale)],
        [float(loss) for loss in layer.losses],
        layer.count_params() if layer.built else None,
    ]


def freeze(library, steps):
    pair = nested(library)
    seen = [look_at(pair)]
    for part, trainable in steps:
        if part == "call":
            seen.append(np.asarray(pair(np.array([[3]]))))
        frozen = {"pair": [pair], "words": [pair.words], "scale": [pair.scale], "table": pair.words.weights}
        for each in frozen.get(part, [pair.own] if part == "own" else []):
            each.trainable = trainable
        seen.append(look_at(pair))
    return seen


PARTS = st.sampled_from(["call", "pair", "words", "scale", "table", "own"])


@given(steps=st.lists(st.tuples(PARTS, st.booleans()), max_size=8))
def test_weights_and_losses_of_nested_layers_as_they_are_frozen(keras, steps):
    agree(keras, freeze, steps)


def paths(library):
    alone, pair = library.layers.Embedding(2, 2, name="alone"), nested(library)
    alone.build()
    pair(np.array([[3]]))
    return [v.path for v in (*alone.weights, *pair.weights)]


def test_paths(keras):
    agree(keras, paths)


def built_by_hand(library):
    scale = nested(library).scale  # its build does not say that it is built
    scale.build((None, 3))
    before = scale.built, len(scale.weights)
    scale(np.ones((2, 3), "float32"))
    return before, len(scale.weights)


def test_a_layer_built_by_hand(keras):
    agree(keras, built_by_hand)


def losses(library):
    holder, seen = subclasses(library)["Holder"](), []
    for ids in (np.array([0, 1]), np.array([[2], [1], [1], [0]]), np.array([2])):
        holder(ids)
        seen.append([float(x) for x in holder.losses])
    holder.costly(np.array([0, 0]))
    holder.trainable = False
    return [*seen, [float(x) for x in holder.losses]]


def test_losses(keras):
    first, *_ = agree(keras, losses)
    assert sorted(first) == pytest.approx([0.02, 0.5, 3, 4])


def losses_of_two_calls_inside_one(library):
    """Both calls of the inner layer leave a loss and a value of the activity regularizer."""

    class Twice(library.layers.Layer):
        def __init__(self):
            super().__init__(activity_regularizer="l1")
            self.costly = subclasses(library)["Costly"](
                3, 2, embeddings_initializer="ones", embeddings_regularizer="l2", activity_regularizer="l2"
            )
            self.costly.build((None,))

        def call(self, inputs):
            self.add_loss(self.costly(inputs).max())
            return self.costly(inputs[:1])

    layer, seen = Twice(), []
    for ids in (np.array([0, 1, 2]), np.array([2, 2])):
        layer(ids)
        seen.append([[float(x) for x in each.losses] for each in (layer, layer.costly)])
    return seen


def test_losses_of_two_calls_inside_one(keras):
    first, _ = agree(keras, losses_of_two_calls_inside_one)
    assert len(first[0]) == 7


# Subclasses of Embedding that make their table themselves, as Keras 3's own `build` does, or have one of
# their own, or add to what `build` makes.


def own_builds(library):
    class Idiom(library.layers.Embedding):
        def build(self, input_shape=None):
            self._embeddings = self.add_weight(
                shape=(self.input_dim, self.output_dim),
                initializer=self.embeddings_initializer,
                name="embeddings",
                regularizer=self.embeddings_regularizer,
                constraint=self.embeddings_constraint,
                trainable=True,
            )
            self.built = True

    class Unsaid(library.layers.Embedding):
        """Does not say that it is built, and names the table as it likes."""

        def build(self, input_shape):
            self._embeddings = self.add_weight(
                (self.input_dim, self.output_dim), self.embeddings_initializer, name="mine"
            )

    class Wider(library.layers.Embedding):
        """Has a row more than ids, and no gradient for it."""

        def build(self, input_shape=None):
            self._embeddings = self.add_weight(
                shape=(self.input_dim + 1, self.output_dim), initializer="ones", trainable=False, name="wide"
            )
            self.built = True

    class OwnTable(library.layers.Embedding):
        def build(self, input_shape=None):
            self.words = self.add_weight(
                shape=(self.input_dim, self.output_dim), initializer="ones", name="words"
            )
            self.scale = self.add_weight(shape=(self.output_dim,), initializer="ones", name="scale")
            self.built = True

        def call(self, inputs):
            return (np.asarray(self.words)[inputs] * np.asarray(self.scale)).astype(self.compute_dtype)

    class Added(library.layers.Embedding):
        def build(self, input_shape=None):
            self.before = self.add_weight(shape=(2,), initializer="zeros", name="before")
            super().build(input_shape)
            self.after = self.add_weight(
                shape=(self.output_dim,), initializer="ones", name="after", trainable=False
            )

        def call(self, inputs):
            return super().call(inputs) + np.asarray(self.after).astype(self.compute_dtype)

        def save_own_variables(self, store):
            """Keras's saves the table alone, and ours also what was added."""
            super().save_own_variables(store)
            for key in ("1", "2"):
                store.pop(key, None)

    return {cls.__name__: cls for cls in (Idiom, Unsaid, Wider, OwnTable, Added)}


def weights_of(layer):
    lists = layer.weights, layer.trainable_weights, layer.non_trainable_weights
    return [[(v.name, v.path, tuple(v.shape), v.dtype, v.trainable) for v in each] for each in lists]


def saved(layer):
    store: dict[str, np.ndarray] = {}
    layer.save_own_variables(store)
    return {key: np.array(value) for key, value in store.items()}


def own_build(library, cls, arguments, steps):
    arguments = eval(arguments, {**vars(library), "dict": dict})
    layer = own_builds(library)[cls](4, 2, name="words", embeddings_initializer="ones", **arguments)
    names, seen = {**vars(library), "layer": layer, "np": np}, []
    for step in steps.splitlines():
        if step == "save":
            value = outcome(saved, layer)
        elif step == "again":
            value = outcome(lambda _: type(layer).from_config(layer.get_config()).get_config(), library)
        elif step == "freeze":
            layer.trainable = not layer.trainable
            value = None
        else:
            value = outcome(lambda _, step=step: eval(step, names), library)
        if isinstance(value, Raised):
            value = value.name
        losses = [float(x) for x in layer.losses]
        seen.append((step, layer.built, weights_of(layer), losses, layer.get_weights(), value))
    return seen


CALLED = "np.asarray(layer(np.array([[3, 0]])))"
TABLE = "np.arange(8.0).reshape(4, 2)"


@pytest.mark.parametrize("cls", ["Idiom", "Unsaid", "Wider", "OwnTable", "Added"])
@pytest.mark.parametrize(
    "arguments",
    [
        "dict()",
        "dict(embeddings_regularizer='l2', activity_regularizer='l1')",
        "dict(dtype='mixed_float16', mask_zero=True)",
        "dict(trainable=False)",
    ],
)
@pytest.mark.parametrize(
    "steps",
    [
        f"layer.build((None, 2))\n{CALLED}\nfreeze\nfreeze\nsave\nagain\nlayer.count_params()",
        f"{CALLED}\n{CALLED}\nlayer.set_weights([{TABLE}])\n{CALLED}\nsave",
        f"{CALLED}\nlayer.set_weights([2 * w for w in layer.get_weights()])\n{CALLED}\n{CALLED}",
        f"{CALLED}\nlayer.quantize('int8')\nlayer.get_build_config()\nlayer.add_weight(shape=(1,))",
    ],
    ids=["by hand", "called", "set", "too late"],
)
def test_subclasses_with_a_build_of_their_own(keras, cls, arguments, steps):
    agree(keras, own_build, cls, arguments, steps)


def variable(library, dtype):
    v = library.Variable(np.arange(6).reshape(2, 3), dtype=dtype, name="v", trainable=False)
    v.numpy()[:] = 9  # a copy
    seen = [v.shape, v.ndim, v.dtype, v.name, v.path, v.trainable, v.numpy(), np.asarray(v)]
    for change, value in [("assign", 2), ("assign_add", 3), ("assign_sub", 1)]:
        returned = getattr(v, change)(np.full((2, 3), value))
        seen += [np.asarray(returned), v.numpy(), v.dtype]
    v.assign(library.Variable([[1.0, 2.0, 3.0]] * 2, dtype="float32"))
    with contextlib.suppress(ValueError):
        v.assign(np.zeros((3, 2)))
    return [*seen, v.numpy(), *(np.asarray(x) for x in (v + 1, 2 * v, v[1], v * v, -v))]


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "uint8"])
def test_variables(keras, dtype):
    agree(keras, variable, dtype)


@pytest.mark.parametrize(
    "value",
    [
        "1.5",
        "[1.5]",
        "np.ones(1, 'float16')",
        "np.ones(1, 'int8')",
        "np.ones(1, bool)",
        "1",
        "[1, 2]",
        "True",
    ],
)
def test_dtypes_of_variables_without_one(keras, value):
    agree(keras, value_of, f"Variable({value}).numpy()")


def added(library, arguments):
    layer = library.layers.Layer(dtype="float16")
    v = make(library, f"lambda layer: layer.add_weight({arguments})")(layer)
    kinds = type(v.regularizer).__name__, type(v.constraint).__name__
    known = [] if "drawn" in arguments else [v.numpy().tolist()]
    name = v.name if "name" in arguments else None
    return v.shape, v.dtype, v.trainable, kinds, name, known, len(layer.trainable_weights)


ADD_WEIGHT = """
name='drawn'
(2, 3), name='drawn'
(2, 3), 'ones'
(2, 3), 'ones', 'float64'
shape=[2, 3], initializer=initializers.Constant(4), dtype='int32', trainable=False
shape=(), dtype='int64', name='count'
shape=(2,), dtype='bool', initializer='zeros'
shape=(3,), initializer='ones', regularizer='l2', constraint='non_neg', name='w'
(2,), initializer='zeros', aggregation='mean', autocast=False, overwrite_with_gradient=False
shape=(2,), initializer=lambda shape, dtype=None: np.full(shape, 5, dtype)
shape=(2,), initializer=np.array([5, 6])
"""


@pytest.mark.parametrize("arguments", ADD_WEIGHT.strip().splitlines())
def test_add_weight(keras, arguments):
    agree(keras, added, arguments)


# --- Errors ---------------------------------------------------------------------------------------


def attempt(library, expression):
    make(library, expression)  # nothing is returned that only one of the processes can unpickle


DIMENSIONS = ["0", "-3", "2.0", "'4'", "None", "True", "np.array([3])"]
BUILT = "layers.Embedding(3, 2, name='x', weights=np.ones((3, 2)))"
SAME_WORDS = f"""
layers.Embedding(3, 2, name='a/b')
layers.Embedding(3, 2, name=3)
layers.Embedding(3, 2, trainable=1)
layers.Embedding(3, 2, colour='red')
layers.Embedding(3, 2, name='x', weights=np.ones((2, 3)))
layers.Embedding(3, 2).embeddings
layers.Embedding(3, 2, name='x').count_params()
layers.Dense(4, name='x').count_params()
layers.Embedding(3, 2, name='x').set_weights([np.ones((3, 2))])
{BUILT}.set_weights([])
{BUILT}.set_weights([np.ones((2, 3))])
{BUILT}.set_weights([np.ones((3, 2))] * 2)
type('Silent', (layers.Layer,), {{'__init__': lambda self: None}})()(np.ones(2))
Variable(np.ones(2), name='v').assign(np.ones(3))
Variable(np.ones(2), name='a/b')
"""
SAME_CLASS = """
layers.Embedding(3)
layers.Embedding(3, 2, dtype='float99')
layers.Embedding(3, 2, embeddings_initializer='unknown')
layers.Embedding(3, 2, embeddings_regularizer='unknown')
layers.Embedding(3, 2, embeddings_constraint='unknown')
layers.Layer()(np.ones(2))
layers.Dense(2, activation='unknown')
layers.Layer().add_weight((2,), 'ones', 'float32', True, None, None, None, None)
layers.Layer().add_weight(shape=(2,), colour=1)
layers.Layer().add_weight(shape=(2, None))
layers.Layer().add_weight(shape=(2,), dtype='float99')
layers.Layer().add_weight(shape=(2,), initializer='unknown')
layers.Layer().add_weight(shape=(2,), name='a/b')
layers.Embedding(4, 2)(np.array([4]))
layers.Embedding(4, 2)(np.array([2**31]))
layers.Embedding(4, 2)(np.array([-5]))
layers.Embedding(4, 2)()
Variable(np.ones(2)).assign_add(np.ones(3))
Variable(initializers.Ones())
"""


@pytest.mark.parametrize(
    "expression",
    [
        *SAME_WORDS.strip().splitlines(),
        *(f"layers.Embedding({bad}, 3)" for bad in DIMENSIONS),
        *(f"layers.Embedding(3, {bad})" for bad in DIMENSIONS),
    ],
)
def test_errors_that_say_the_same(keras, expression):
    ours, theirs = agree_to_raise(keras, attempt, expression)
    assert ours.message.partition(" Received: ")[0] == theirs.message.partition(" Received: ")[0]


@pytest.mark.parametrize(
    "expression",
    [
        *SAME_CLASS.strip().splitlines(),
        *(f"layers.Dense({bad})" for bad in DIMENSIONS if bad != "True"),
        "layers.Layer().add_weight((2,), shape=(2,))",
    ],
)
def test_errors_of_the_same_class(keras, expression):
    agree_to_raise(keras, attempt, expression)


# --- Where we differ on purpose -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "our_error", "their_value", "switches"),
    [
        ("np.array([-1, -4])", "IndexError", [[3], [0]], {"out_of_range": "wrap"}),
        ("np.array(2**64 - 1, 'uint64')", "IndexError", [3], None),
        ("np.array([2**32 - 1], 'uint32')", "IndexError", [[3]], None),
        ("np.array([2.7, -0.5])", "ValueError", [[2], [0]], {"float_ids": "truncate"}),
        ("np.array([-1.5])", "ValueError", [[3]], {"float_ids": "truncate", "out_of_range": "wrap"}),
    ],
)
def test_ids_that_keras_turns_into_others_are_errors(keras, expression, our_error, their_value, switches):
    """And there are switches for Keras's rows, except where those depend on the bits of an id."""
    call = f"layers.Embedding(4, 1, weights=np.arange(4.0)[:, None])({expression}{{}})"
    assert outcome(value_of, fastembed, call.format("")).name == our_error
    assert keras(value_of, call.format("")).tolist() == their_value
    if switches:
        assert value_of(fastembed, call.format(f", **{switches}")).tolist() == their_value


@pytest.mark.parametrize(
    ("expression", "their_error"),
    [
        ("layers.Embedding(np.int64(4), 2)(np.array([3]))", "ValueError"),
        ("layers.Embedding(4, np.max([2, 1]))(np.array([3]))", "ValueError"),
        ("layers.Embedding(4, 2)([3])", "ValueError"),
        ("layers.Embedding(2, 1, weights=[[0.0], [1.0]])", "AttributeError"),
        ("layers.Embedding(4, 2, batch_input_shape=(None, 3))", "ValueError"),
        ("layers.Layer().add_weight('w', (2,), 'float32', 'ones')", "TypeError"),
        ("layers.Layer().add_weight((2,), 'ones', 'w', True)", "TypeError"),
        ("layers.Layer().add_loss(3.0)", "ValueError"),
        ("ops.one_hot(np.array([5]), 5)", "IndexError"),  # on its numpy backend; others answer as we do
    ],
)
def test_what_keras_refuses_is_accepted(keras, expression, their_error):
    attempt(fastembed, expression)
    assert keras(attempt, expression).name == their_error


def test_an_integer_variable_takes_no_fractions(keras):
    expression = "Variable(np.ones(1, 'int32')).assign(np.array([1.7]))"
    assert keras(value_of, expression).tolist() == [1]
    assert outcome(value_of, fastembed, expression) == Raised("ValueError", "int32 cannot hold 1.7")


MADE = "(lambda layer: layer.build((None, 3)) or layer.get_weights()[0])(layers.Dense(2, dtype='{}'))"


@pytest.mark.parametrize(
    ("expression", "ours", "theirs"),
    [
        # Keras computes in 32 bits on every backend but TensorFlow's, we in what was asked for.
        ("layers.Dense(2, dtype='float64')(np.ones((1, 3)))", "float64", "float32"),
        ("Variable(1.0, dtype='float64') + 1", "float64", "float32"),
        ("Variable(np.ones(1)).numpy()", "float64", "float32"),
        ("Variable(np.ones(1, 'int64')).numpy()", "int64", "int32"),
        (MADE.format("float64"), "float64", "float32"),  # although weights[0].dtype is float64
        (MADE.format("bfloat16"), "float32", "bfloat16"),  # which NumPy does not have
    ],
)
def test_dtypes_of_values(keras, expression, ours, theirs):
    assert value_of(fastembed, expression).dtype == ours
    assert keras(value_of, expression).dtype == theirs
