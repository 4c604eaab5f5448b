"""What is right to differ, for machines: each entry belongs to a row of docs/differences.md.

At a line where an entry holds, the libraries may part company: the rest of the program is not compared, save
where the entry says that both mean the same (``goes_on``). Each has an example, which the tests run: an entry
whose example does not differ any more is one too many.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
from two_libraries import Raised, Shown, same


class Line(NamedTuple):
    """A line of a program, and what both libraries showed for it."""

    text: str
    ours: Any
    theirs: Any
    before: tuple[Line, ...]  # the lines before it

    @property
    def program(self) -> str:
        """All lines up to this one."""
        return "\n".join(each.text for each in (*self.before, self))

    @property
    def is_first(self) -> bool:
        """Whether it makes the layer."""
        return not self.before and self.text.startswith("layer = ")

    @property
    def is_call(self) -> bool:
        return self.text.startswith("layer(")

    def mentions(self, *words: str) -> bool:
        """Whether the program has one of these words."""
        return any(word in self.program for word in words)

    @property
    def is_called(self) -> bool:
        """Whether the layer was called before, and well."""
        return any(each.is_call and not isinstance(each.theirs, Raised) for each in self.before)


class Difference(NamedTuple):
    """A way in which the libraries differ on purpose."""

    name: str
    row: str  # how the row's first cell in docs/differences.md begins
    example: str  # lines of a program, joined by newlines
    here: Callable[[Line], bool]
    goes_on: bool = False
    backends: tuple[str, ...] = ("numpy", "jax", "tensorflow", "tf_keras")


# --- How an entry knows its line ------------------------------------------------------------------


def _raised(answer: Any, name: str, *words: str) -> bool:
    return (
        isinstance(answer, Raised) and answer.name == name and all(word in answer.message for word in words)
    )


def _with_arrays(answer: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """An answer with all its arrays changed."""
    if isinstance(answer, np.ndarray):
        return change(answer)
    if isinstance(answer, Shown):
        return Shown(answer.kind, _with_arrays(answer.facts, change))
    if isinstance(answer, (list, tuple)):
        return type(answer)(_with_arrays(item, change) for item in answer)
    if isinstance(answer, dict):
        return {key: _with_arrays(item, change) for key, item in answer.items()}
    return answer


def _in_32_bits(array: np.ndarray) -> np.ndarray:
    return array.astype({"float64": "float32", "int64": "int32"}.get(array.dtype.name, array.dtype))


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _as_float(array: np.ndarray) -> np.ndarray:
    return array.astype("float32") if array.dtype.kind in "iub" else _in_32_bits(_widened(array))


def _equal_after(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Line], bool]:
    return lambda line: same(_with_arrays(line.ours, change), _with_arrays(line.theirs, change))


def _nearly_equal(line: Line) -> bool:
    """Equal but for the last digits of floats."""
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []

    def shapes(answer: Any, arrays: list[np.ndarray]) -> Any:
        def noted(array: np.ndarray) -> np.ndarray:
            arrays.append(_as_float(array))
            return np.zeros(array.shape, bool)

        return _with_arrays(answer, noted)

    if not same(shapes(line.ours, ours), shapes(line.theirs, theirs)):
        return False
    narrow = next((t for name, t in (("bfloat16", 2e-2), ("float16", 3e-3)) if name in line.program), None)
    near = {"rtol": narrow or 1e-5, "atol": narrow or 1e-6, "equal_nan": True}
    return all(
        our.dtype == their.dtype and np.allclose(our, their, **near) for our, their in zip(ours, theirs)
    )


def _computes(line: Line) -> bool:
    """Whether a line shows sums and products, not copies of rows."""
    first = line.before[0].text if line.before else line.text
    return (
        any(word in line.text for word in ("losses", "assign_", "embeddings + 1", "reverse=True"))
        or first.startswith(("x = ", "layer = layers.Dense", "layer = Several"))
        or line.mentions("rthogonal", "lora")
        or line.mentions("quantize(", "dtype_policy = ", "assign_")
    )


def _no_shape(answer: Any) -> bool:
    return _raised(answer, "AttributeError", "has no attribute 'shape'")


def _locked(answer: Any) -> bool:
    return _raised(answer, "ValueError", "You cannot add new elements of state")


def _both_failed(line: Line, what: str) -> bool:
    return what in line.text and isinstance(line.ours, Raised) and isinstance(line.theirs, Raised)


def _after_an_error(line: Line) -> bool:
    # Keras has then used up names, listed what it refused, and built what came before the error.
    calls = [each for each in line.before if each.is_call]
    refused = any(_locked(each.theirs) or _both_failed(each, "add_weight(") for each in line.before)
    refused = refused or any(
        _both_failed(each, what)
        for each in line.before
        for what in (".build(", "dtype_policy = ", "quantize(")
    )
    if "losses" in line.text and any(_both_failed(each, "layer(") for each in calls):
        return True  # those of the call before, or none
    return refused or (bool(calls) and _both_failed(calls[0], "layer("))


def _as_tf_keras_shows(answer: Any) -> Any:
    """Variables without what those of TensorFlow have not, factors as it keeps them."""
    if isinstance(answer, Shown) and answer.kind == "variable":
        name, _, dtype, shape, _, array = answer.facts
        return Shown("variable", (name, dtype, shape, _widened(array)))
    if isinstance(answer, Shown) and answer.kind in ("L1", "L2", "L1L2"):
        factors = ({key: float(np.float32(it)) for key, it in each.items()} for each in answer.facts)
        return Shown(answer.kind, tuple(factors))
    if isinstance(answer, (list, tuple)) and not isinstance(answer, Shown):
        return type(answer)(map(_as_tf_keras_shows, answer))
    return answer


def _without_names(answer: Any) -> Any:
    if isinstance(answer, Shown):
        return _as_tf_keras_shows(answer).facts[1:]
    return [*map(_without_names, answer)] if isinstance(answer, (list, tuple)) else answer


# --- Numbers --------------------------------------------------------------------------------------

KNOWN = [
    Difference(
        "64 bits stay 64 bits",
        "64-bit values",
        "layer = layers.Dense(1, kernel_initializer='ones', dtype='float64')\nlayer(np.ones((1, 2)))",
        _equal_after(_in_32_bits),
        goes_on=True,
    ),
    Difference(
        "bfloat16 weights as float32",
        "`get_weights` of a bfloat16 layer",
        "layer = layers.Embedding(2, 1, 'ones', dtype='bfloat16')\nlayer.build((None,))\nlayer.get_weights()",
        lambda line: _equal_after(lambda array: _in_32_bits(_widened(array)))(line),
        goes_on=True,
    ),
    Difference(
        "the last digits of sums",
        "the last digits of sums",
        "x = regularizers.OrthogonalRegularizer()\nx(np.linspace(0, 1, 30, dtype='float32').reshape(5, 6))",
        lambda line: _computes(line) and _nearly_equal(line),
        goes_on=True,
    ),
    Difference(
        "a number that an integer or a bool cannot hold",
        "a fraction assigned to",
        "layer = layers.Layer()\nlayer.add_weight(initializer=initializers.Constant(2), dtype='bool')",
        lambda line: _raised(line.ours, "ValueError", "cannot hold"),
    ),
    # --- Ids ---
    Difference(
        "a negative id, or one that int32 cannot hold",
        "id in [-rows, -1]",
        "layer = layers.Embedding(2, 1, 'ones')\nlayer(np.array([-1]))",
        lambda line: (
            line.is_call
            and _raised(line.ours, "IndexError", "outside the table")
            and ('out_of_range="wrap"' in line.ours.message or "uint" in line.text)
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "wrapping, beyond the end too",
        "an id that is too large",
        "layer = layers.Embedding(2, 1, 'ones', **as_keras)\nlayer(np.array([2]))",
        lambda line: (
            line.mentions("as_keras")
            and line.is_call
            and isinstance(line.ours, np.ndarray)
            and (isinstance(line.theirs, Raised) or "uint" in line.text or bool(np.isnan(line.theirs).any()))
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "NaN rows on JAX",
        "an id that is too large",
        "layer = layers.Embedding(2, 1, 'ones')\nlayer(np.array([2]))",
        lambda line: (
            line.is_call
            and _raised(line.ours, "IndexError", "outside the table")
            and (isinstance(line.theirs, np.ndarray) or line.mentions("Several"))
        ),
        backends=("jax",),
    ),
    Difference(
        "the class of the error for an id that is too large",
        "an id that is too large",
        "layer = layers.Embedding(2, 1, embeddings_initializer='ones')\nlayer(np.array([2]))",
        lambda line: (
            "layer(" in line.text
            and _raised(line.ours, "IndexError", "outside the table")
            and _raised(line.theirs, "InvalidArgumentError")
        ),
        backends=("tensorflow", "tf_keras"),
    ),
    Difference(
        "what a config says of ids",
        "id in [-rows, -1]",
        "layer = layers.Embedding(2, 1, **as_keras)\nlayer.get_config()",
        lambda line: (
            line.mentions("as_keras")
            and "get_config" in line.text
            and isinstance(line.ours, dict)
            and line.ours == {**line.theirs, "out_of_range": "wrap", "float_ids": "truncate"}
        ),
        goes_on=True,
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "a fraction as an id",
        "2.7, -0.5 as ids",
        "layer = layers.Embedding(2, 1, embeddings_initializer='ones')\nlayer(np.array([0.5]))",
        lambda line: line.is_call and _raised(line.ours, "ValueError", "is not an integer"),
    ),
    Difference(
        "lists and numbers of Python as inputs",
        "ids as lists",
        "layer = layers.Embedding(2, 1, 'ones')\nlayer([1])",
        lambda line: (
            line.is_call
            and (
                _raised(line.theirs, "ValueError", "Only input tensors")
                or (
                    _raised(line.theirs, "AttributeError", "has no attribute 'dtype'")
                    and isinstance(line.ours, np.ndarray)
                )
            )
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "lists and numbers of Python as inputs, which tf.keras converts, or not",
        "ids as lists",
        "layer = Late()\nlayer(0)",
        lambda line: line.is_call and (".tolist()" in line.text or not line.text.startswith("layer(np.")),
        backends=("tf_keras",),
    ),
    Difference(
        "ids that are no numbers",
        "ids that are no numbers",
        "layer = layers.Embedding(2, 1, embeddings_initializer='ones')\nlayer(np.array([None]))",
        lambda line: (
            line.is_call
            and (
                _raised(line.theirs, "ValueError", "Invalid dtype")
                or _raised(line.ours, "TypeError", "ids must be integers")
                or "object)" in line.text
                or "[None]" in line.text
            )
        ),
    ),
    # --- Arguments ---
    Difference(
        "dimensions as NumPy integers",
        "NumPy integers as",
        "layer = layers.Embedding(np.int64(4), 2)",
        lambda line: (
            line.mentions("np.int64(")
            and (
                _raised(line.theirs, "ValueError", "must be a positive integer")
                or _raised(line.theirs, "ValueError", "int64")
            )
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "an integer as a shape",
        "NumPy integers as",
        "layer = layers.Layer()\nlayer.add_weight(shape=3)",
        lambda line: (
            "add_weight(" in line.text and _raised(line.theirs, "ValueError", "Cannot convert '3' to a shape")
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "weights as nested lists, or of a wrong number",
        "`weights=` of a wrong number",
        "layer = layers.Embedding(2, 1, weights=[])",
        lambda line: (
            line.is_first
            and _no_shape(line.theirs)
            and (line.ours is None or _raised(line.ours, "ValueError", "weight"))
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "set_weights with what has no shape",
        "`weights=` of a wrong number",
        "layer = layers.Embedding(1, 1, embeddings_initializer='ones')\nlayer(np.array([0]))\n"
        "layer.set_weights([[[2.0]]])",
        lambda line: (
            "set_weights(" in line.text
            and (_no_shape(line.theirs) or _raised(line.theirs, "ValueError", "provided weight shape ()"))
        ),
    ),
    Difference(
        "arrays that are no tensors of the backend",
        "NumPy integers as",
        "layer = layers.Layer()\nlayer.add_loss(np.float32(1))",
        lambda line: "add_loss(" in line.text and _raised(line.theirs, "ValueError", "on a tensor input"),
        backends=("tensorflow", "jax"),
    ),
    Difference(
        "orthogonal numbers in float16, bfloat16 and of integers",
        "`Orthogonal` in float16",
        "layer = layers.Embedding(2, 2, 'orthogonal', dtype='float16')\nlayer.build()",
        lambda line: (
            line.mentions("rthogonal")
            and (
                _raised(line.theirs, "TypeError", "array type float16 is unsupported in linalg")
                or line.mentions("bfloat16", "int", "bool")
            )
        ),
        backends=("numpy",),
    ),
    Difference(
        "add_weight(trainable=None)",
        "`add_weight(trainable=None)`",
        "layer = layers.Layer()\nlayer.add_weight(shape=(1,), initializer='ones', trainable=None)",
        lambda line: (
            line.mentions("trainable=None")
            and (
                ("add_weight(" in line.text and isinstance(line.theirs, Shown))
                or any(each in line.text for each in ("weights", "variables", "losses"))
            )
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    # --- A layer's life ---
    Difference(
        "a variable's repr",
        "`repr` of a variable",
        "layer = Pair()\nrepr(layer.own)",
        lambda line: (
            "repr(" in line.text
            and line.ours.startswith("<Variable")
            and line.theirs.startswith(line.ours[:-1])
        ),
        goes_on=True,
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "building what is built",
        "`build` of a layer that is built",
        "layer = layers.Dense(2)\nlayer.build((None, 3))\nlayer.build((None, 3))",
        lambda line: ".build(" in line.text and line.ours is None and _locked(line.theirs),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "the orthogonal penalty of one row",
        "`OrthogonalRegularizer` of one row",
        "x = regularizers.OrthogonalRegularizer()\nx(np.array([[1.0, 0.0]], 'float32'))",
        lambda line: (
            line.mentions("rthogonalRegularizer")
            and "nan" in repr(line.theirs)
            and "nan" not in repr(line.ours)
        ),
        backends=("numpy", "jax", "tensorflow", "tf_keras"),
    ),
    Difference(
        "a penalty in float16",
        "penalty and norm of float16",
        "layer = layers.Embedding(2, 2, 'ones', regularizers.OrthogonalRegularizer(), dtype='float16')\n"
        "layer.build()\nlayer.losses",
        lambda line: "losses" in line.text and line.mentions("float16"),
        backends=("numpy", "jax", "tensorflow", "tf_keras"),
    ),
    Difference(
        "a penalty of integers",
        "penalty of integers",
        "layer = layers.Layer()\n"
        "layer.add_weight((1,), 'ones', 'int32', regularizer=regularizers.L2(0.25))\nlayer.losses",
        lambda line: "losses" in line.text and line.mentions("'int", "'bool'"),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "a weight that an Embedding has besides its table",
        "the weights that a subclass",
        "layer = layers.Embedding(1, 1, 'ones')\nlayer.add_weight(shape=(), initializer='ones')\n"
        "(lambda store: layer.save_own_variables(store) or layer.load_own_variables(store))({})",
        lambda line: "own_variables(" in line.text and line.mentions("add_weight("),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "after an error",
        "after an error",
        "layer = layers.Layer()\nlayer.add_weight(shape=(2, None))\nlayer.add_weight(initializer='ones')",
        _after_an_error,
        backends=("numpy", "jax", "tensorflow", "tf_keras"),
    ),
    Difference(
        "a copy of a layer",
        "a copy or pickle of a layer",
        "layer = layers.Embedding(1, 1)\nlayer.more = 3\nlayer = copy.deepcopy(layer)\nlayer.more",
        lambda line: (
            line.mentions("deepcopy(", "pickle.")
            and (not isinstance(line.ours, Raised) or line.mentions("add_weight("))
            and (
                not line.mentions("seed")
                or line.text == "layer.more"
                or line.mentions(
                    ".name = ", "add_weight(", "add_loss(", "supports_masking = ", "lora", "quantize("
                )
            )
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "set_weights with a bad array",
        "`set_weights` with one bad array",
        "layer = layers.Dense(1, kernel_initializer='zeros')\nlayer.build((None, 1))\n"
        "layer.set_weights([np.ones((1, 1)), np.ones(2)])\nlayer.get_weights()",
        lambda line: any(_both_failed(each, "set_weights(") for each in line.before),
        backends=("numpy", "jax", "tensorflow"),
    ),
    # --- Tables that are stored otherwise ---
    Difference(
        "LoRA on an int4 layer",
        "`enable_lora` on an int4 layer",
        "layer = layers.Embedding(1, 1, 'ones')\nlayer.build()\nlayer.quantize('int4')\nlayer.enable_lora(1)",
        lambda line: (
            line.mentions("lora")
            and line.mentions("int4")
            and _raised(line.theirs, "AttributeError", "has no attribute 'trainable'")
        ),
        backends=("numpy",),
    ),
    Difference(
        "the table of a quantised layer with LoRA",
        "`embeddings` of a quantised layer with LoRA",
        "layer = layers.Embedding(1, 1, 'ones')\nlayer.build()\nlayer.enable_lora(1)\n"
        "layer.quantize('int8')\nnp.asarray(layer.embeddings)",
        lambda line: line.mentions("lora") and line.mentions("int8", "int4") and "embeddings" in line.text,
        backends=("numpy",),
    ),
    Difference(
        "the way back through a quantised table with LoRA",
        "`reverse=True` of a quantised layer with LoRA",
        "layer = layers.ReversibleEmbedding(1, 1, dtype='int8_from_float32')\nlayer.build()\n"
        "layer.enable_lora(1, b_initializer='ones')\nlayer(np.array([1.0]), reverse=True)",
        lambda line: line.mentions("lora") and line.mentions("int8", "int4") and "reverse=True" in line.text,
        backends=("numpy",),
    ),
    Difference(
        "quantised logits of narrow inputs",
        "logits in float16 or bfloat16",
        "layer = layers.ReversibleEmbedding(1, 2, embeddings_initializer=initializers.Constant(2))\n"
        "layer.build()\nlayer.quantize('int8')\n"
        "layer(np.array([[0, 0.25], [0.5, -0.25]], 'float16'), reverse=True)",
        lambda line: (
            "reverse=True" in line.text
            and line.mentions("int8")
            and ("float16" in line.text or "float" not in line.text)
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "what a layer with LoRA and without a seed draws",
        "a copy or pickle of a layer",
        "layer = layers.Embedding(1, 1)\nlayer.build()\nlayer.enable_lora(1)\n"
        "layer = type(layer).from_config(layer.get_config())\nlayer(np.array([0]))",
        lambda line: line.mentions("lora") and line.mentions("from_config(") and not line.mentions("seed="),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "A and B after a table was loaded",
        "A and B of a layer with LoRA",
        "layer = layers.Embedding(1, 1, 'ones', lora_rank=1)\nlayer.build()\n"
        "layer.load_own_variables({'0': np.ones((1, 1))})\nlayer.get_weights()",
        lambda line: line.mentions("lora") and any("load_own" in each.text for each in line.before),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "lora_alpha of the constructor",
        "`lora_alpha=` of the constructor",
        "layer = layers.Embedding(1, 1, lora_rank=1, lora_alpha=3)\nlayer.build()\nlayer.lora_alpha",
        lambda line: line.mentions("lora_alpha=") and "lora_alpha" in repr(line.ours) + line.text,
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "reverse_dtype of a quantised layer",
        "`reverse_dtype` of a quantised layer",
        "layer = layers.ReversibleEmbedding(1, 1, reverse_dtype='float16', dtype='int4_from_float32')\n"
        "layer(np.array([0.5]), reverse=True)",
        lambda line: (
            line.mentions("reverse_dtype=") and line.mentions("int8", "int4") and "reverse=" in line.text
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "weights= where there are others as well",
        "`weights=` or `lora_rank=`",
        "layer = layers.Embedding(1, 1, weights=np.ones((1, 1)), dtype='int8_from_float32')",
        lambda line: (
            line.is_first
            and line.ours is None
            and _raised(
                line.theirs, "ValueError", "with a weight list of length 1, but the layer was expecting"
            )
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "LoRA that loads arrays of another number",
        "a layer with LoRA that loads",
        "layer = layers.Embedding(1, 1, 'ones', lora_rank=1)\nlayer.build()\nlayer.load_own_variables({})",
        lambda line: (
            "load_own_variables(" in line.text and line.mentions("lora") and _raised(line.ours, "ValueError")
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "a quantised layer that gets another policy",
        "a policy without quantisation",
        "layer = layers.Embedding(1, 1, 'ones')\nlayer.build()\nlayer.quantize('int8')\n"
        "layer.dtype_policy = 'float16'",
        lambda line: "dtype_policy = " in line.text and _raised(line.ours, "ValueError", "cannot be undone"),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "blocks of one sign",
        "int4 blocks whose numbers have one sign",
        "layer = layers.Embedding(1, 2, 'ones')\nlayer.build()\n"
        "layer.quantize('int4', config=quantizers.Int4QuantizationConfig(block_size=2))\n"
        "layer(np.array([0]))",
        lambda line: (
            line.mentions("int4")
            and not (line.mentions("block_size=-1", "block_size=None") or "int4_from" in line.program)
            and not isinstance(line.ours, Raised)
            and not isinstance(line.theirs, Raised)
        ),
        backends=("numpy", "jax", "tensorflow"),
    ),
    Difference(
        "ranks and alphas that no LoRA can have",
        "rank, `lora_alpha` that no LoRA can have",
        "layer = layers.Embedding(1, 1, 'ones')\nlayer.build()\nlayer.enable_lora(0)",
        lambda line: _raised(line.ours, "ValueError", "`rank` must be a positive integer"),
        backends=("numpy", "jax", "tensorflow"),
    ),
    # --- One backend of Keras ---
    Difference(
        "what TensorFlow's kernels cannot do",
        "what TensorFlow's kernels cannot do",
        "x = constraints.MaxNorm(axis=1)\nx(np.array([1.5, 0.5], 'float32'))",
        lambda line: (
            _raised(line.theirs, "InvalidArgumentError")
            and (line.mentions("int8", "int4", "float64") or _raised(line.ours, "AxisError"))
        ),
        backends=("tensorflow",),
    ),
    Difference(
        "setting trainable to what it is",
        "setting `trainable` to what it is",
        "layer = Holder()\nlayer.costly.embeddings.trainable = False\nlayer.trainable = True\nlayer.weights",
        lambda line: line.mentions("Holder", "Pair", "Several") and line.mentions("trainable = "),
        backends=("tensorflow",),
    ),
    # --- The era of tf.keras ---
    Difference(
        "variables of TensorFlow; factors in floatx",
        "variables, and factors of regularizers",
        "layer = layers.Embedding(1, 1, embeddings_initializer='ones', activity_regularizer='l2')\n"
        "layer.activity_regularizer",
        lambda line: same(_as_tf_keras_shows(line.ours), _as_tf_keras_shows(line.theirs)),
        goes_on=True,
        backends=("tf_keras",),
    ),
    Difference(
        "names of weights of a layer that was built by hand",
        "names of weights of a layer that was built by hand",
        "layer = layers.Embedding(1, 1, embeddings_initializer='ones')\nlayer.build((None,))\nlayer.weights",
        lambda line: (
            line.mentions(".build(", "Holder", "Pair")
            and "variable" in repr(line.ours)
            and same(_without_names(line.ours), _without_names(line.theirs))
        ),
        goes_on=True,
        backends=("tf_keras",),
    ),
    Difference(
        "building by hand, with weights= or once more",
        "`weights=`",
        "layer = layers.Embedding(1, 1, embeddings_initializer='zeros', weights=[np.ones((1, 1))])\n"
        "layer.build((None,))\nlayer(np.array([0]))",
        lambda line: line.mentions(".build("),
        backends=("tf_keras",),
    ),
    Difference(
        "weights= that are set at the first call",
        "`weights=`",
        "layer = layers.Embedding(1, 1, weights=[np.ones((1, 1))])\nlayer.built",
        lambda line: (
            line.mentions("weights=")
            and (not line.is_called or any("set_weights(" in each.text for each in line.before))
        ),
        goes_on=True,
        backends=("tf_keras",),
    ),
    Difference(
        "what tf.keras does not check, or finds in another way",
        "a wrong argument of a constructor",
        "layer = layers.Embedding(4, 1.5)",
        lambda line: (
            line.is_first
            and _raised(line.ours, "ValueError")
            and (line.theirs is None or _raised(line.theirs, "TypeError"))
        ),
        backends=("tf_keras",),
    ),
    Difference(
        "an error of a constructor that has two reasons",
        "an error that has two reasons",
        "layer = layers.Embedding(1, 0, embeddings_initializer='ones', name=3)",
        lambda line: line.is_first and isinstance(line.ours, Raised) and isinstance(line.theirs, Raised),
        backends=("tf_keras",),
    ),
    Difference(
        "a mask of bool ids",
        "`mask_zero` and ids of dtype bool",
        "layer = layers.Embedding(2, 1, embeddings_initializer='ones', mask_zero=True)\n"
        "layer(np.array([True]))",
        lambda line: _raised(line.theirs, "TypeError", "of dtype bool"),
        backends=("tf_keras",),
    ),
    Difference(
        "a weight that takes another's place in an attribute",
        "a weight that takes the place",
        "layer = Late()\nlayer(np.array([1.0]))\nlayer(np.array([1.0]))\nlayer.count_params()",
        lambda line: line.before != () and line.before[0].text.startswith("layer = Late(") and line.is_called,
        backends=("tf_keras",),
    ),
    Difference(
        "trainable in the config of a layer without get_config",
        "`trainable` in the config",
        "layer = layers.Layer(trainable=False)\nlayer.trainable = True\nlayer.get_config()",
        lambda line: (
            "get_config" in line.text
            and {**line.ours, "trainable": None} == {**line.theirs, "trainable": None}
        ),
        goes_on=True,
        backends=("tf_keras",),
    ),
    Difference(
        "dimensions as NumPy integers, which tf.keras keeps",
        "NumPy integers as",
        "layer = layers.Embedding(np.int64(4), 2)\nlayer.input_dim",
        lambda line: line.mentions("np.int64("),
        backends=("tf_keras",),
    ),
]
