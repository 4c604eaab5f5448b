"""What is right to differ, for machines: each entry belongs to a row of docs/differences.md.

At a line where an entry holds, the libraries may part company: the rest of the program is not compared, save
where the entry says that both mean the same (``goes_on``).
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


class Difference(NamedTuple):
    """A way in which the libraries differ on purpose."""

    name: str
    row: str  # how the row's first cell in docs/differences.md begins
    here: Callable[[Line], bool]
    goes_on: bool = False
    backends: tuple[str, ...] = ()  # of Keras, for those that one has and not all


# --- How an entry knows its line ------------------------------------------------------------------


def _raised(answer: Any, name: str, *words: str) -> bool:
    return (
        isinstance(answer, Raised) and answer.name == name and all(word in answer.message for word in words)
    )


def _is_call(line: Line) -> bool:
    return line.text.startswith("layer(")


def _makes(line: Line) -> bool:
    return not line.before and line.text.startswith("layer = ")


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


def _equal_after(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Line], bool]:
    return lambda line: same(_with_arrays(line.ours, change), _with_arrays(line.theirs, change))


def _nearly_equal(line: Line) -> bool:
    """Equal but for the last digits of floats."""
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    shapes = [
        _with_arrays(
            answer,
            lambda array, to=to: to.append(_in_32_bits(_widened(array))) or np.zeros(array.shape, bool),
        )
        for answer, to in ((line.ours, ours), (line.theirs, theirs))
    ]
    pairs = list(zip(ours, theirs))
    tolerance = next((t for name, t in (("bfloat16", 1e-2), ("float16", 2e-3)) if name in _text(line)), 1e-5)
    return same(*shapes) and all(
        our.dtype == their.dtype and np.allclose(our, their, rtol=tolerance, atol=1e-6, equal_nan=True)
        for our, their in pairs
    )


def _computes(line: Line) -> bool:
    """Whether a line shows sums and products, not copies of rows."""
    first = line.before[0].text if line.before else line.text
    if "rthogonal" in _text(line) and not isinstance(line.theirs, Raised):
        return True
    return any(word in line.text for word in ("losses", "assign_", "embeddings + 1")) or first.startswith(
        ("x = ", "layer = layers.Dense", "layer = Several")
    )


def _text(line: Line) -> str:
    return "\n".join(each.text for each in (*line.before, line))


def _as_tf_keras_shows(answer: Any) -> Any:
    """Variables without what those of TensorFlow have not, factors as it keeps them."""
    if isinstance(answer, Shown) and answer.kind == "variable":
        name, _, dtype, shape, _, array = answer.facts
        return Shown("variable", (name, dtype, shape, _widened(array)))
    if isinstance(answer, Shown) and answer.kind in ("L1", "L2", "L1L2"):
        return Shown(
            answer.kind, tuple({k: float(np.float32(v)) for k, v in each.items()} for each in answer.facts)
        )
    if isinstance(answer, (list, tuple)) and not isinstance(answer, Shown):
        return type(answer)(map(_as_tf_keras_shows, answer))
    return answer


def _without_names(answer: Any) -> Any:
    shown = _as_tf_keras_shows(answer)
    if isinstance(shown, Shown):
        return Shown(shown.kind, shown.facts[1:])
    return [*map(_without_names, shown)] if isinstance(shown, (list, tuple)) else shown


def _called(line: Line) -> bool:
    return any(_is_call(each) and not isinstance(each.theirs, Raised) for each in line.before)


def _no_shape(answer: Any) -> bool:
    return _raised(answer, "AttributeError", "has no attribute 'shape'")


def _failed(line: Line, what: str) -> bool:
    return what in line.text and isinstance(line.ours, Raised) and isinstance(line.theirs, Raised)


def _first_call_failed(line: Line) -> bool:
    calls = [each for each in line.before if _is_call(each)]
    return bool(calls) and _failed(calls[0], "layer(")


def _locked(answer: Any) -> bool:
    return _raised(answer, "ValueError", "You cannot add new elements of state")


# --- The list -------------------------------------------------------------------------------------

KNOWN = [
    Difference("64 bits stay 64 bits", "64-bit values", _equal_after(_in_32_bits), goes_on=True),
    Difference(
        "bfloat16 weights as float32",
        "`get_weights` of a bfloat16 layer",
        _equal_after(_widened),
        goes_on=True,
    ),
    Difference(
        "what a config says of ids",
        "id in [-rows, -1]",
        lambda line: (
            "as_keras" in _text(line)
            and "get_config" in line.text
            and isinstance(line.ours, dict)
            and {**line.ours} == {**line.theirs, "out_of_range": "wrap", "float_ids": "truncate"}
        ),
        goes_on=True,
    ),
    Difference(
        "the last digits of sums",
        "the last digits of sums",
        lambda line: _computes(line) and _nearly_equal(line),
        goes_on=True,
    ),
    Difference(
        "a negative id, or one that int32 cannot hold",
        "id in [-rows, -1]",
        lambda line: (
            _is_call(line)
            and _raised(line.ours, "IndexError", "outside the table")
            and (not isinstance(line.theirs, Raised) or "out_of_range" in line.ours.message)
        ),
    ),
    Difference(
        "a fraction as an id",
        "2.7, -0.5 as ids",
        lambda line: _is_call(line) and _raised(line.ours, "ValueError", "is not an integer"),
    ),
    Difference(
        "lists and numbers of Python as inputs",
        "ids as lists",
        lambda line: (
            _is_call(line)
            and (
                _raised(line.theirs, "ValueError", "Only input tensors")
                or (
                    _raised(line.theirs, "AttributeError", "has no attribute 'dtype'")
                    and isinstance(line.ours, np.ndarray)
                )
            )
        ),
    ),
    Difference(
        "ids that are no numbers",
        "ids that are no numbers",
        lambda line: (
            _is_call(line)
            and (
                _raised(line.theirs, "ValueError", "Invalid dtype")
                or (
                    _raised(line.ours, "TypeError", "ids must be integers")
                    and isinstance(line.theirs, Raised)
                )
            )
        ),
    ),
    Difference(
        "dimensions as NumPy integers",
        "NumPy integers as",
        lambda line: (
            _makes(line)
            and line.ours is None
            and _raised(line.theirs, "ValueError", "must be a positive integer", "of type int64")
        ),
    ),
    Difference(
        "an integer as a shape",
        "NumPy integers as",
        lambda line: (
            "add_weight(" in line.text and _raised(line.theirs, "ValueError", "Cannot convert '3' to a shape")
        ),
    ),
    Difference(
        "weights as nested lists, or of a wrong number",
        "`weights=` of a wrong number",
        lambda line: (
            _makes(line)
            and _no_shape(line.theirs)
            and (line.ours is None or _raised(line.ours, "ValueError", "weight"))
        ),
    ),
    Difference(
        "set_weights with what has no shape",
        "`weights=` of a wrong number",
        lambda line: (
            "set_weights(" in line.text
            and (_no_shape(line.theirs) or _raised(line.theirs, "ValueError", "provided weight shape ()"))
        ),
    ),
    Difference(
        "orthogonal numbers in float16",
        "`Orthogonal` in float16",
        lambda line: (
            "rthogonal" in _text(line)
            and (
                _raised(line.theirs, "TypeError", "array type float16 is unsupported in linalg")
                or any(dtype in _text(line) for dtype in ("bfloat16", "int", "bool"))
            )
        ),
    ),
    Difference(
        "add_weight(trainable=None)",
        "`add_weight(trainable=None)`",
        lambda line: (
            ("add_weight(" in line.text and "trainable=None" in line.text and isinstance(line.theirs, Shown))
            or ("weights" in line.text and "trainable=None" in _text(line))
        ),
    ),
    Difference(
        "a variable's repr",
        "`repr` of a variable",
        lambda line: (
            "repr(" in line.text
            and line.ours.startswith("<Variable")
            and line.theirs.startswith(line.ours[:-1])
        ),
        goes_on=True,
    ),
    Difference(
        "building what is built",
        "`build` of a layer that is built",
        lambda line: ".build(" in line.text and line.ours is None and _locked(line.theirs),
    ),
    Difference(
        "the orthogonal penalty of one row, or in float16",
        "`OrthogonalRegularizer` of one row",
        lambda line: (
            "rthogonalRegularizer" in _text(line)
            and (
                ("nan" in repr(line.theirs) and "nan" not in repr(line.ours))
                or ("losses" in line.text and "float16" in _text(line))
            )
        ),
    ),
    Difference(
        "a weight that an Embedding has besides its table",
        "weights that a subclass or `add_weight` gives an Embedding",
        lambda line: "own_variables(" in line.text and "add_weight(" in _text(line),
    ),
    Difference(
        "after an error",
        "after an error",
        lambda line: (
            any(_locked(each.theirs) or _failed(each, "add_weight(") for each in line.before)
            or _first_call_failed(line)
        ),
    ),
    Difference(
        "a copy of a layer that is not built",
        "a copy or pickle of a layer",
        lambda line: (
            any(word in _text(line) for word in ("deepcopy(", "pickle."))
            and not isinstance(line.ours, Raised)
            and ("seed" not in _text(line) or line.text == "layer.more")
        ),
    ),
    Difference(
        "wrapping, beyond the end too",
        "id in [-rows, -1]",
        lambda line: (
            "as_keras" in _text(line)
            and _is_call(line)
            and isinstance(line.ours, np.ndarray)
            and (isinstance(line.theirs, Raised) or "uint" in line.text or np.isnan(line.theirs).any())
        ),
    ),
    Difference(
        "NaN rows on JAX",
        "an id that is too large",
        lambda line: (
            _is_call(line)
            and _raised(line.ours, "IndexError", "outside the table")
            and isinstance(line.theirs, np.ndarray)
        ),
        backends=("jax",),
    ),
    Difference(
        "the class of the error for an id that is too large",
        "an id that is too large",
        lambda line: (
            "layer(" in line.text
            and _raised(line.ours, "IndexError", "outside the table")
            and _raised(line.theirs, "InvalidArgumentError")
        ),
        backends=("tensorflow", "tf_keras"),
    ),
    Difference(
        "arrays that are no tensors of the backend",
        "NumPy integers as",
        lambda line: "add_loss(" in line.text and _raised(line.theirs, "ValueError", "on a tensor input"),
        backends=("tensorflow", "jax"),
    ),
    Difference(
        "variables of TensorFlow; factors in floatx",
        "names of weights of a layer that was built by hand",
        lambda line: same(_as_tf_keras_shows(line.ours), _as_tf_keras_shows(line.theirs)),
        goes_on=True,
        backends=("tf_keras",),
    ),
    Difference(
        "names of weights of a layer that was built by hand",
        "names of weights of a layer that was built by hand",
        lambda line: (
            (".build(" in _text(line) or "Holder" in _text(line))
            and "variable" in repr(line.ours)
            and same(_without_names(line.ours), _without_names(line.theirs))
        ),
        goes_on=True,
        backends=("tf_keras",),
    ),
    Difference(
        "building what is built",
        "`weights=`",
        lambda line: ".build(" in _text(line),
        backends=("tf_keras",),
    ),
    Difference(
        "what tf.keras does not check, or finds in another way",
        "a wrong argument of a constructor",
        lambda line: (
            _makes(line)
            and _raised(line.ours, "ValueError")
            and (line.theirs is None or _raised(line.theirs, "TypeError"))
        ),
        backends=("tf_keras",),
    ),
    Difference(
        "weights= that are set at the first call",
        "`weights=`",
        lambda line: "weights=" in _text(line) and not _called(line),
        goes_on=True,
        backends=("tf_keras",),
    ),
    Difference(
        "a mask of bool ids",
        "`mask_zero` and ids of dtype bool",
        lambda line: "bool" in line.text and _raised(line.theirs, "TypeError", "of dtype bool"),
        backends=("tf_keras",),
    ),
]
