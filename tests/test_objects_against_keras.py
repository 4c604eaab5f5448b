"""What layers are given, against real Keras 3: dtype policies, initializers, regularizers, constraints.

Programs run by both libraries, as in test_against_keras.py.
"""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_against_keras import FLOATS, agree, agree_to_raise, keras, make, outcome, process

import fastembed.config
import fastembed.mixed_precision
import fastembed.saving
import fastembed.utils

__all__ = ["keras"]  # the fixture


# --- Dtype policies -------------------------------------------------------------------------------

SOURCES = [*FLOATS, "mixed_float16", "mixed_bfloat16"]
MODES = ["int8", "int4", "int4/1", "int4/7", "int4/128", "int4/-1"]
policy_names = st.one_of(
    st.sampled_from(SOURCES),
    st.tuples(st.sampled_from(MODES), st.sampled_from(SOURCES)).map("_from_".join),
    # Some that are policies and some that are not.
    st.tuples(
        st.sampled_from(["mixed", "int8", "int4", "int4/0", "int4/x", "int8/8", "int7", ""]),
        st.sampled_from(["_", "_from_", ""]),
        st.sampled_from([*SOURCES, "int8", "float99", ""]),
    ).map("".join),
)


def described(library, policy):
    """All that can be seen of a policy; of a refused one the error's class."""
    module = library.dtype_policies
    config = module.serialize(policy)
    again = module.deserialize(config)
    return [
        repr(policy), policy.name, policy.variable_dtype, policy.compute_dtype, policy.quantization_mode,
        config, policy.get_config(), repr(again), again == policy, type(policy).__name__,
        type(policy).from_config(policy.get_config()) == policy, policy == module.DTypePolicy("float32"),
    ]  # fmt: skip


def policy_called(library, name):
    try:
        policy = library.dtype_policies.get(name)
    except ValueError:
        return "refused"
    return described(library, policy)


@given(name=policy_names)
def test_policies(keras, name):
    if name in ("int8", "int4"):
        return  # plain dtypes here, as in tf.keras; see below
    agree(keras, policy_called, name)


def policy_made(library, expression):
    return described(library, make(library, expression))


@pytest.mark.parametrize(
    "expression",
    [
        "dtype_policies.DTypePolicy()",
        "dtype_policies.DTypePolicy('int32')",
        "dtype_policies.DTypePolicy('bool')",
        "dtype_policies.QuantizedDTypePolicy('int8')",
        "dtype_policies.QuantizedDTypePolicy('int4', source_name='mixed_float16')",
        "dtype_policies.Int4DTypePolicy('int4/32', 'bfloat16')",
        "dtype_policies.get(np.float16)",
        "dtype_policies.get(np.dtype('float64'))",
        "dtype_policies.get(float)",
        "dtype_policies.get({'class_name': 'DTypePolicy', 'config': None})",
        "dtype_policies.get({'class_name': 'FloatDTypePolicy', 'config': {'name': 'bfloat16'}}) and "
        "dtype_policies.get('bfloat16')",
        "layers.Embedding(3, 2, dtype=dtype_policies.get('mixed_bfloat16')).dtype_policy",
    ],
)
def test_policies_that_are_made(keras, expression):
    agree(keras, policy_made, expression)


def policy_map(library, default, names, paths):
    policies = library.dtype_policies.DTypePolicyMap(default and library.dtype_policies.get(default))
    for key, name in names.items():
        policies[key] = name
    found = []
    for path in paths:
        try:
            found.append(policies[path].name)
        except ValueError:
            found.append("several")
    seen = policies.name, policies.variable_dtype, policies.compute_dtype, policies.quantization_mode
    described = repr(policies).partition(" default_policy=")[2], library.dtype_policies.serialize(policies)
    again = library.dtype_policies.deserialize(described[1])
    # Without a default Keras reads "int4/8_from_None"; see test_policies_where_we_differ.
    read = [(key, policy.name) for key, policy in again.items() if default]
    return found, seen, len(policies), list(policies), described, read


keys = st.sampled_from(["a", "a/b", "a/.*", ".*", "a/b/c", "b", "[ab]/c"])


@given(
    default=st.sampled_from([*SOURCES, "int8_from_float32", None]),
    names=st.dictionaries(keys, st.sampled_from([*SOURCES, "int4/8_from_float32"])),
    paths=st.lists(st.sampled_from(["a", "a/b", "a/c", "b", "b/c", "", "x"]), max_size=4),
)
def test_policy_maps(keras, default, names, paths):
    agree(keras, policy_map, default, names, paths)


def set_policy(library, names):
    api, seen = library.dtype_policies, []
    set_one = library.mixed_precision.set_dtype_policy
    try:
        for name in names:
            set_one(name)
            layer = library.layers.Embedding(3, 2, name="x")
            seen += [library.mixed_precision.dtype_policy().name, layer.get_config()["dtype"]]
            seen += [layer.compute_dtype, api.get(None) is library.mixed_precision.dtype_policy()]
    finally:
        set_one(None if library is fastembed else "float32")
    return seen


@given(names=st.lists(st.sampled_from(SOURCES), max_size=3))
def test_the_policy_that_is_set(keras, names):
    agree(keras, set_policy, names)


def attempt(library, expression):
    make(library, expression)


@pytest.mark.parametrize(
    "expression",
    [
        "dtype_policies.DTypePolicy(3)",
        "dtype_policies.DTypePolicy(np.float32)",
        "dtype_policies.DTypePolicy('int8_from_float32')",
        "dtype_policies.QuantizedDTypePolicy('int9', 'float32')",
        "dtype_policies.QuantizedDTypePolicy('int8', 'float16')",
        "dtype_policies.QuantizedDTypePolicy('int4/8', 'float32')",
        "dtype_policies.Int4DTypePolicy('int4', 'float32')",
        "dtype_policies.Int4DTypePolicy('int4/-3', 'float32')",
        "dtype_policies.DTypePolicyMap(dtype_policies.DTypePolicyMap())",
        "dtype_policies.DTypePolicyMap(policy_map=3)",
        "dtype_policies.DTypePolicyMap().__setitem__('a', 'float99')",
        "dtype_policies.DTypePolicyMap().__delitem__('a')",
        "dtype_policies.get(3)",
        "dtype_policies.get({})",
        "mixed_precision.set_dtype_policy('float99')",
        "mixed_precision.set_dtype_policy(3)",
    ],
)
def test_policies_that_are_refused(keras, expression):
    agree_to_raise(keras, attempt, expression)


def differ(keras, expression, *expected):
    """Both answers are as expected; of an error its class."""
    for answer, known in zip(
        (outcome(value_of, fastembed, expression), keras(value_of, expression)), expected
    ):
        assert getattr(answer, "name", answer) == known


def value_of(library, expression):
    return make(library, expression)


@pytest.mark.parametrize(
    ("expression", "ours", "theirs"),
    [
        ("dtype_policies.get('int8').name", "int8", "ValueError"),  # "cannot convert into a valid pair"
        ("dtype_policies.get({'class_name': 'Policy', 'config': {'name': 'float16'}}).name", "float16",
         "AttributeError"),
        ("dtype_policies.get({'class_name': 'Other', 'config': {}})", "ValueError", "Other"),
        ("dtype_policies.get('float8_from_float32').name", "ValueError", "float8_from_float32"),
        ("dtype_policies.get('string').name", "ValueError", "string"),
        ("dtype_policies.Int4DTypePolicy('int4/8').name", "int4/8_from_float32", "int4/8_from_None"),
        ("hash(dtype_policies.get('float16')) == hash(dtype_policies.get('float16'))", True, "TypeError"),
        ("dtype_policies.serialize(dtype_policies.FloatDTypePolicy('float16'))['class_name']",
         "DTypePolicy", "FloatDTypePolicy"),
        ("[m.get_config() and m['a'].name for m in [dtype_policies.DTypePolicyMap(None, "
         "{'a': dtype_policies.get('float16')})]]", ["float16"], [None]),
        ("[mixed_precision.dtype_policy() and config.set_floatx('float16') or dtype_policies.get(None).name, "
         "config.set_floatx('float32')][0]", "float16", "float32"),
    ],
)  # fmt: skip
def test_policies_where_we_differ(keras, expression, ours, theirs):
    differ(keras, expression, ours, theirs)


# --- Initializers ---------------------------------------------------------------------------------

small = st.floats(-4, 4, width=32)
seeds = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 3))
axes = st.lists(st.integers(-2, 1), max_size=2)


def settings(draw, **strategies):
    """A config with some of these keys, so that defaults are drawn too."""
    return {key: draw(values) for key, values in strategies.items() if draw(st.booleans())}


@st.composite
def initializer_configs(draw, seed=seeds):
    """Class and settings, with a seed."""
    name = draw(st.sampled_from([
        "RandomUniform", "RandomNormal", "TruncatedNormal", "VarianceScaling", "GlorotUniform",
        "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "Orthogonal", "Zeros", "Ones",
        "Constant", "Identity", "STFT",
    ]))  # fmt: skip
    config = {}
    if name == "RandomUniform":
        low, high = sorted([draw(small), draw(small)])
        config = settings(draw, minval=st.sampled_from([-4.5, low]), maxval=st.sampled_from([4.5, high]))
    elif name in ("RandomNormal", "TruncatedNormal"):
        config = settings(draw, mean=small, stddev=st.sampled_from([0.0, 1e-3, 1.0, 30]))
    elif name == "VarianceScaling":
        config = settings(
            draw,
            scale=st.sampled_from([0.1, 1, 2.5]),
            mode=st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
            distribution=st.sampled_from(
                ["uniform", "normal", "truncated_normal", "untruncated_normal", "NORMAL"]
            ),
        )
    elif name == "Orthogonal":
        config = settings(draw, gain=st.sampled_from([1, 0.5, -2.0]))
    elif name == "Constant":
        config = {"value": draw(st.one_of(small, st.integers(-3, 3), st.booleans()))}
    elif name == "STFT":
        config = settings(
            draw,
            side=st.sampled_from(["real", "imag"]),
            window=st.sampled_from(["hann", "hamming", "boxcar", None, [1.0, 0.5, 0.25, 2.0]]),
            scaling=st.sampled_from([None, "density", "spectrum"]),
            periodic=st.booleans(),
        )
    if name[:2] in ("Va", "Gl", "He", "Le"):
        config |= settings(draw, input_axes=st.none() | axes, output_axes=st.none() | axes)
    if name not in ("Zeros", "Ones", "Constant", "Identity", "STFT"):
        config["seed"] = draw(seed)
    return name, config


@st.composite
def drawn(draw):
    name, config = draw(initializer_configs())
    sides = st.integers(0, 5)
    shape = draw({
        "Orthogonal": st.lists(st.integers(1, 5), min_size=2, max_size=4),
        "Identity": st.lists(sides, min_size=2, max_size=2),
        "STFT": st.tuples(st.sampled_from([1, 4, 9]), st.just(1), st.integers(2, 6)),
    }.get(name, st.lists(sides, min_size=2 if "input_axes" in config else 0, max_size=4)))  # fmt: skip
    dtypes = [*FLOATS, "int32", "uint8", "bool"]
    if name == "Orthogonal":
        dtypes = ["float32"]  # Keras fails on float16 and answers float64 with float32
    elif name == "STFT":
        dtypes = ["float32"]  # Keras's numpy backend answers float64 with it
    elif name in ("Constant", "Identity"):
        dtypes = FLOATS  # Keras cuts 1.5 to 1; see below
    elif name in ("RandomNormal", "TruncatedNormal", "VarianceScaling") or "Normal" in name:
        dtypes = [*FLOATS, "int32", "bool"]  # what a negative number is in uint8, C does not say
    return name, config, tuple(shape), draw(st.sampled_from(dtypes))


def made_by_initializer(library, name, config, shape, dtype, calls=1):
    """Values, config, and values of what the config makes; bfloat16 as what a variable holds of it."""
    initializer = getattr(library.initializers, name)(**config)
    serialized = library.initializers.serialize(initializer)
    again = library.initializers.deserialize(serialized)
    try:
        values = [
            np.asarray(library.Variable(x, shape=shape, dtype=dtype).numpy()).astype("float32")
            if dtype == "bfloat16"
            else np.asarray(x(shape, dtype))
            for x in (initializer,) * calls + (again,) * calls
        ]
    except ValueError:
        values = "refused"
    if name == "Identity":
        return values  # Keras leaves out the gain; see test_initializers_where_we_differ
    return values, serialized, library.initializers.serialize(again)


@given(case=drawn())
def test_initializers(keras, case):
    agree(keras, made_by_initializer, *case)


def bounded(minval=-0.05, maxval=0.05, **others):
    return minval <= maxval


def drawn_one_after_another(library, name, config, shape, seed, times):
    """Values of an initializer whose seed is a generator, and the generator's state."""
    generator = library.random.SeedGenerator(seed, name="of_this_test")
    initializer = getattr(library.initializers, name)(**config, seed=generator)
    other = library.initializers.RandomNormal(seed=generator)
    values = [np.asarray(x(shape)) for x in (initializer, other) * times]
    state = generator.state
    about = state.name, state.path, state.trainable, state.dtype, state.shape, np.asarray(state)
    serialized = library.initializers.serialize(initializer)
    again = library.initializers.get(serialized)
    return (
        values,
        about,
        generator.get_config(),
        serialized,
        np.asarray(again(shape)),
        np.asarray(again(shape)),
    )


@given(
    case=initializer_configs(st.none()).filter(lambda case: "seed" in case[1] and bounded(**case[1])),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    seed=seeds,
    times=st.integers(1, 4),
)
def test_seed_generators(keras, case, shape, seed, times):
    name, config = case
    config = {key: value for key, value in config.items() if key != "seed"}
    agree(keras, drawn_one_after_another, name, config, shape, seed, times)


def drawn_from_random(library, seed, shape, bounds):
    library.utils.set_random_seed(seed)
    random = library.random
    draws = [
        random.uniform(shape), random.uniform(shape, *bounds, dtype="float64", seed=seed),
        random.normal(shape), random.normal(shape, *bounds, seed=random.SeedGenerator(seed)),
        random.truncated_normal(shape, dtype="float16"), random.uniform(shape),
        library.initializers.GlorotUniform()((2, 3)), library.initializers.get("normal")((3,)),
        random.SeedGenerator().next(), random.SeedGenerator(seed).next(ordered=False),
    ]  # fmt: skip
    return [np.asarray(x) for x in draws]


@given(
    seed=st.integers(0, 2**31 - 1),
    shape=st.lists(st.integers(0, 4), max_size=3).map(tuple),
    bounds=st.sampled_from([(0, 1), (-2, 3.5), (1, 1)]),
)
def test_draws_of_a_program_that_sets_the_seed(keras, seed, shape, bounds):
    agree(keras, drawn_from_random, seed, shape, bounds)


def names_of_seed_generators(library):
    return [library.random.SeedGenerator().name for _ in range(2)]


def test_automatic_names_of_seed_generators():
    with process("keras") as keras, process("fastembed") as ours:
        assert ours(names_of_seed_generators) == keras(names_of_seed_generators)


@pytest.mark.parametrize(
    "expression",
    [
        "initializers.get('')",
        "initializers.get([1])",
        "initializers.RandomUniform(seed='a')",
        "initializers.RandomNormal(seed=1.5)",
        "initializers.RandomNormal(stddev=-1.0)((2,))",
        "initializers.RandomUniform(1, 0)((2,))",
        "initializers.VarianceScaling(scale=0)",
        "initializers.VarianceScaling(scale=-1)",
        "initializers.VarianceScaling(mode='fan')",
        "initializers.VarianceScaling(distribution='cauchy')",
        "initializers.Orthogonal()((2,))",
        "initializers.Identity()((2,))",
        "initializers.Identity()((2, 2, 2))",
        "initializers.Zeros()((2,), 'float99')",
        "initializers.get(np.ones((2, 2)))((2, 3))",
        "initializers.STFT('both')",
        "initializers.STFT(scaling='length')",
        "initializers.STFT(window='unheard')",
        "initializers.STFT(window=[1.0, 2.0])((3, 1, 4))",
        "initializers.GlorotUniform(1, [0], [1], 'more')",
        "initializers.RandomUniform(colour=1)",
        "random.SeedGenerator('a')",
        "random.SeedGenerator(1.5)",
        "random.uniform((2,), dtype='int32')",
        "random.normal((2,), seed='a')",
        "utils.set_random_seed('a')",
        "utils.set_random_seed(-1)",
        "utils.set_random_seed(2**32)",
        "initializers.serialize(object())",
        "initializers.serialize(np.random.default_rng(0))",
    ],
)  # fmt: skip
def test_initializers_that_are_refused(keras, expression):
    agree_to_raise(keras, attempt, expression)


KINDS = ["initializers", "regularizers", "constraints"]


def names_that_keras_has(library, kind):
    """What the module exports: of each class all its names, and which of them `get` understands."""
    module = getattr(library, kind)
    base = getattr(module, kind.capitalize()[:-1])
    found = {}
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, base) and value is not base:
            try:
                known = type(module.get(name)).__name__
            except (ValueError, TypeError, KeyError):  # "constant" is a KeyError in Keras
                known = None
            found[name] = value.__name__, known
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_that_keras_exports_is_here(keras, kind):
    theirs, ours = keras(names_that_keras_has, kind), names_that_keras_has(fastembed, kind)
    assert len(theirs) >= 4
    for name, (class_name, known) in theirs.items():
        if name == "l1_l2":
            continue  # a function here, as in Keras 2: see tests/test_regularizers.py
        assert ours[name][0] == class_name
        assert ours[name][1] == (known or class_name)


def aliases(library, kind):
    source = library.src if hasattr(library, "src") else None
    names = getattr(source, kind).ALL_OBJECTS_DICT
    return {name: cls.__name__ for name, cls in names.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_that_keras_understands_is_understood(keras, kind):
    for name, class_name in keras(aliases, kind).items():
        if class_name.lower() != kind[:-1]:  # the base class, which is nothing to be made
            assert type(getattr(fastembed, kind).get(name)).__name__ == class_name


@pytest.mark.parametrize(
    ("expression", "ours", "theirs"),
    [
        ("initializers.Identity(2).get_config()", {"gain": 2}, {}),
        ("initializers.Identity(0.5)((1, 1), 'int32').dtype.name", "int32", "float64"),
        ("initializers.Constant(1.5)((1,), 'int32').tolist()", "ValueError", [1]),
        ("type(initializers.Constant('a')).__name__", "ValueError", "Constant"),
        ("initializers.get('constant')((1,)).tolist()", [0], "KeyError"),
        ("type(initializers.get('Initializer')).__name__", "ValueError", "Initializer"),
        ("initializers.STFT(window=None)((4, 2, 3)).shape", "ValueError", (4, 1, 3)),
        ("initializers.RandomUniform(seed=2**32 + 1)((1,)) == initializers.RandomUniform(seed=1)((1,))",
         [True], "OverflowError"),
        ("initializers.RandomUniform(seed=np.int64(1)).get_config()['seed']", 1, "ValueError"),
        ("type(initializers.RandomNormal(0.0, float('inf'))).__name__", "ValueError", "RandomNormal"),
        ("initializers.deserialize({'class_name': 'Unheard', 'config': {}})", "ValueError", "Unheard"),
        ("initializers.deserialize({'class_name': 'Zeros', 'config': {'a': 1}})", "ValueError", "TypeError"),
        ("initializers.Constant(np.ones(1, 'float32')).get_config()['value']['class_name']", "__numpy__",
         "__tensor__"),  # on its numpy backend; the others write what we write
    ],
)  # fmt: skip
def test_initializers_where_we_differ(keras, expression, ours, theirs):
    differ(keras, expression, ours, theirs)


# --- Regularizers and constraints -----------------------------------------------------------------

factors = st.one_of(st.floats(0, 3), st.integers(0, 2), st.sampled_from([0.01, 1e-8]))
arrays = hnp.arrays(
    "float32",
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5),
    elements=st.one_of(
        st.floats(-8, 8, width=32), st.sampled_from([0.0, -0.0, float("inf"), float("nan"), 1e-30])
    ),
)


@st.composite
def regularizer_configs(draw):
    name = draw(st.sampled_from(["L1", "L2", "L1L2", "l1", "l2"]))
    if name == "L1L2":
        return name, settings(draw, l1=factors | st.none(), l2=factors | st.none())
    return name, settings(draw, **{name.lower(): factors | st.none()})


@st.composite
def constraint_configs(draw):
    name = draw(st.sampled_from(["MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm", "max_norm", "min_max_norm"]))
    keys = {
        "max_value": st.sampled_from([2, 0.5, 3.0]),
        "min_value": st.sampled_from([0, 0.25, 0.5]),
        "rate": st.sampled_from([1, 0.0, 0.25]),
        "axis": st.sampled_from([0, -1, None, [0]]),
    }
    taken = {"MaxNorm": ["max_value", "axis"], "UnitNorm": ["axis"], "MinMaxNorm": list(keys)}
    taken |= {"max_norm": taken["MaxNorm"], "min_max_norm": taken["MinMaxNorm"]}
    return name, settings(draw, **{key: keys[key] for key in taken.get(name, [])})


def applied(library, kind, name, config, x):
    module = getattr(library, kind)
    made = getattr(module, name)(**config)
    serialized = module.serialize(made)
    again = module.get(serialized)
    values = [np.asarray(each(x)) for each in (made, again)]
    return values, serialized, made.get_config(), module.serialize(again)


@given(case=regularizer_configs(), x=arrays.filter(lambda x: np.isfinite(x).all()))
def test_regularizers(keras, case, x):
    with np.errstate(all="ignore"):
        agree(keras, applied, "regularizers", *case, x)


@given(
    factor=factors,
    x=hnp.arrays(
        "float32", st.tuples(st.integers(2, 5), st.integers(1, 5)), elements=st.floats(-8, 8, width=32)
    ),
)
def test_orthogonal_regularizer(keras, factor, x):
    ours, theirs = (
        run_one(applied, "regularizers", "OrthogonalRegularizer", {"factor": factor}, x)
        for run_one in (lambda program, *args: program(fastembed, *args), keras)
    )
    assert ours[1:] == theirs[1:]
    np.testing.assert_allclose(ours[0][0], theirs[0][0], rtol=1e-5, atol=1e-7)


@given(case=constraint_configs(), x=arrays)
def test_constraints(keras, case, x):
    with np.errstate(all="ignore"):
        agree(keras, applied, "constraints", *case, x)


@pytest.mark.parametrize(
    "expression",
    [
        *(f"regularizers.{name}({bad})"
          for name in ("L1", "L2", "L1L2", "OrthogonalRegularizer")
          for bad in ("-0.1", "float('nan')", "float('inf')", "'0.1'", "[0.1]", "1j")),
        "regularizers.L1(1, 2)",
        "regularizers.OrthogonalRegularizer(mode='diagonal')",
        "regularizers.OrthogonalRegularizer()(np.ones(3))",
        "regularizers.Regularizer().get_config()",
        *(f"{kind}.get({bad})" for kind in KINDS
          for bad in ("'unheard'", "5", "{}", "{'class_name': 'X', 'config': {}}")),
        *(f"{kind}.serialize(object())" for kind in KINDS),
        "saving.deserialize_keras_object({'module': 'keras.layers', 'class_name': 'Zeros', 'config': {},"
        " 'registered_name': None})",  # a name of another module
        "constraints.MaxNorm(1, 2, 3)",
        "constraints.MaxNorm(axis=5)(np.ones((2, 2), 'float32'))",
    ],
)  # fmt: skip
def test_regularizers_and_constraints_that_are_refused(keras, expression):
    ours, theirs = agree_to_raise(keras, attempt, expression)
    if "non-negative float" in theirs.message:
        assert (
            ours.message.partition("Received: ")[0].strip()
            == theirs.message.partition("Received: ")[0].strip()
        )


@pytest.mark.parametrize(
    ("expression", "ours", "theirs"),
    [
        ("constraints.MaxNorm('a').get_config()", "ValueError", {"max_value": "a", "axis": 0}),
        ("constraints.UnitNorm(1.5).get_config()", "ValueError", {"axis": 1.5}),
        ("regularizers.get('l1_l2').get_config()", {"l1": 0.01, "l2": 0.01}, "ValueError"),
        ("regularizers.get('L1L2').get_config()", {"l1": 0.01, "l2": 0.01}, {"l1": 0.0, "l2": 0.0}),
        ("regularizers.l1_l2(l2=0.5).get_config()", {"l1": 0.01, "l2": 0.5}, {"l1": 0.0, "l2": 0.5}),
        ("float(regularizers.L2(0.5)(np.ones(3, 'int32')))", 1.5, 0.0),
        ("float(regularizers.L2(0.01)(np.full(4, 300, 'float16')))", 3600.0, float("inf")),
        ("str(float(regularizers.L1(0)(np.array([np.inf], 'float32'))))", "0.0", "nan"),
        ("str(float(regularizers.OrthogonalRegularizer()(np.ones((1, 2), 'float32'))))", "0.0", "nan"),
        ("regularizers.get({'name': 'L1L2Regularizer', 'l1': 0.0, 'l2': 0.5}).get_config()",
         {"l1": 0.0, "l2": 0.5}, "ValueError"),
        ("type(regularizers.get('Regularizer')).__name__", "ValueError", "Regularizer"),
        ("constraints.get('maxnorm').get_config()", {"max_value": 2, "axis": 0}, "ValueError"),
        ("constraints.MaxNorm(m=3).get_config()", {"max_value": 3, "axis": 0}, "TypeError"),
        ("constraints.get({'name': 'MaxNorm', 'm': 3}).get_config()", {"max_value": 3, "axis": 0},
         "ValueError"),
        ("str(constraints.MinMaxNorm(1)(np.zeros(1, 'float16')))", "[0.]", "[nan]"),
    ],
)  # fmt: skip
def test_regularizers_and_constraints_where_we_differ(keras, expression, ours, theirs):
    differ(keras, expression, ours, theirs)


# --- Custom objects -------------------------------------------------------------------------------


def own_objects(library, kind):
    """Classes and functions of a user's own: registered, in a scope, as an argument, in the dictionary."""
    module, saving = getattr(library, kind), library.saving
    base = getattr(module, kind.capitalize()[:-1])

    class Mine(base):
        def __init__(self, value=1.0):
            self.value = value

        def __call__(self, *args, **kwargs):
            return self.value

        def get_config(self):
            return {"value": self.value}

    class Registered(Mine):
        pass

    class Named(Mine):
        pass

    def mine(*args, **kwargs):
        return 5

    def registered(*args, **kwargs):
        return 6

    for cls in (Mine, Registered, Named):
        cls.__module__ = "a.module"  # not this file's, whose name depends on who runs it
    before = dict(saving.get_custom_objects())
    try:
        saving.register_keras_serializable()(Registered)
        saving.register_keras_serializable("package", "Other")(Named)
        saving.register_keras_serializable("package")(registered)
        things = [Mine(2), Registered(np.float32(3).item()), Named(), mine, registered]
        configs = [module.serialize(thing) for thing in things]
        seen = [configs, [saving.get_registered_name(type(x) if isinstance(x, base) else x) for x in things]]
        names = ["Custom>Registered", "package>Other", "Other", "package>registered", "Mine"]
        seen.append([getattr(saving.get_registered_object(name), "__name__", None) for name in names])
        own = {"Mine": Mine, "mine": mine}
        for way in ("argument", "scope", "dictionary", "none"):
            scope = saving.custom_object_scope(own if way == "scope" else {})
            if way == "dictionary":
                saving.get_custom_objects().update(own)
            with scope:
                for config in configs:
                    if way == "none" and "ine" in str(config):
                        continue  # Keras gives the name back, or a TypeError; see below
                    made = module.deserialize(config, own if way == "argument" else None)
                    seen.append((way, type(made).__name__, made(), getattr(made, "value", None)))
                    if way != "argument" and "function" not in str(config):
                        seen.append(type(module.get(config)).__name__)
                if way != "none":
                    seen.append(saving.get_registered_object("Mine", own).__name__)
            for name in own:
                saving.get_custom_objects().pop(name, None)
    finally:
        saving.get_custom_objects().clear()
        saving.get_custom_objects().update(before)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_own_objects(keras, kind):
    seen = agree(keras, own_objects, kind)
    assert len(seen) > 20


def which_counts_first(library, scope, registered, argument):
    """Three classes under one name: the answer of what was made."""

    def made(answer):
        def __call__(self, w):
            return answer

        base = library.constraints.Constraint
        return type("Twice", (base,), {"__call__": __call__, "__module__": "a.module"})

    objects, saving = library.saving.get_custom_objects(), library.saving
    if registered:
        objects["Twice"] = made("registered")
    try:
        with saving.CustomObjectScope({"Twice": made("scope")} if scope else None):
            config = {"class_name": "Twice", "config": {}}
            own = {"Twice": made("argument")} if argument else None
            return library.constraints.deserialize(config, own)(0), saving.get_registered_object(
                "Twice", own
            )().__call__(0)
    finally:
        objects.pop("Twice", None)


@pytest.mark.parametrize("where", [(1, 1, 1), (1, 0, 1), (0, 1, 1), (0, 0, 1), (1, 1, 0)])
def test_which_counts_first(keras, where):
    agree(keras, which_counts_first, *where)


plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3),
        st.binary(max_size=3).filter(lambda b: b.isascii()), st.just(...),
        st.builds(slice, st.none() | st.integers(0, 3), st.integers(0, 3), st.none() | st.integers(1, 3)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner),
        st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip


def written_and_read(library, value):
    written = library.saving.serialize_keras_object(value)
    return repr(written), repr(library.saving.deserialize_keras_object(written))


@given(value=plain)
def test_plain_values(keras, value):
    agree(keras, written_and_read, value)


def objects_written(library, expression):
    made = make(library, expression)
    written = library.saving.serialize_keras_object(made)
    again = library.saving.deserialize_keras_object(written)
    return written, library.saving.serialize_keras_object(again)


@pytest.mark.parametrize(
    "expression",
    [
        "[initializers.GlorotUniform(3), {'a': constraints.MaxNorm(3), 'b': (regularizers.L2(0.5), None)}]",
        "initializers.RandomUniform(seed=random.SeedGenerator(5, name='x'))",
        "random.SeedGenerator(5, name='x')",
        "layers.Embedding(3, 2, initializers.RandomUniform(seed=random.SeedGenerator(5, name='x')),"
        " regularizers.L1L2(1, 2), constraints.UnitNorm(1), name='e').get_config()",
        "dtype_policies.DTypePolicy('mixed_float16')",
        "[dtype_policies.get('int4/8_from_float32'), dtype_policies.get('int8_from_float32')]",
        "dtype_policies.DTypePolicyMap('float16', {'a': dtype_policies.get('float32')})",
    ],
)
def test_objects_inside_others(keras, expression):
    agree(keras, objects_written, expression)


@pytest.mark.parametrize(
    ("expression", "ours", "theirs"),
    [
        ("saving.deserialize_keras_object({'class_name': 'Zeros', 'config': {}}).__class__.__name__", "Zeros",
         "TypeError"),  # a config of Keras 2
        ("saving.deserialize_keras_object({'class_name': 'X', 'config': {}})", "ValueError", "TypeError"),
        ("saving.deserialize_keras_object({'class_name': '__numpy__', 'config': {'value': [1]}})",
         "ValueError", "KeyError"),
        ("saving.deserialize_keras_object({'module': 'builtins', 'class_name': 'function', 'config': 'eval',"
         " 'registered_name': 'function'})", "ValueError", "TypeError"),
        ("saving.serialize_keras_object(np.float32(0.5))", 0.5,
         {"class_name": "__tensor__", "config": {"value": 0.5, "dtype": "float32"}}),
        ("saving.serialize_keras_object(lambda: 0)", "TypeError", "OSError"),  # Keras writes the code
    ],
)  # fmt: skip
def test_custom_objects_where_we_differ(keras, expression, ours, theirs):
    differ(keras, expression, ours, theirs)


def scopes_inside_one_another(library):
    saving = library.saving
    with saving.CustomObjectScope({"a": 1, "b": 1}):
        with saving.CustomObjectScope({"b": 2}):
            inside = [saving.get_registered_object(name) for name in "ab"]
        return inside, [saving.get_registered_object(name) for name in "ab"]


def test_scopes_inside_one_another_add_up(keras):
    assert scopes_inside_one_another(fastembed) == ([1, 2], [1, 1])  # as in tf.keras
    assert keras(scopes_inside_one_another) == ([None, 2], [1, 1])
