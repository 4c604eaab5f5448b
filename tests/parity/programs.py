"""Random programs: lines of Python that a layer's user might write, well or badly.

`program` draws one with a `random.Random`, the same one for the same state. The lines speak to the public API
alone, so that a failing program can be read, run and pasted anywhere.
"""

from __future__ import annotations

import ast
import re
from random import Random
from typing import Any

DTYPES = ["float16", "float32", "float64", "bfloat16"]
POLICIES = ["mixed_float16", "mixed_bfloat16"]
QUANTISED = ["int8_from_float32", "int4_from_float32", "int4/2_from_float32", "int8_from_mixed_bfloat16"]

INITIALIZERS = [
    "'uniform'",
    "'ones'",
    "'zeros'",
    "'normal'",
    "'glorot_uniform'",
    "'he_normal'",
    "'orthogonal'",
    "'RandomUniform'",
    "'lecun_uniform'",
    "initializers.Constant(2)",
    "initializers.RandomUniform(-1,1,seed=3)",
    "initializers.RandomNormal(0,0.5,seed=1)",
    "initializers.TruncatedNormal(seed=5)",
    "initializers.VarianceScaling(2.0,'fan_avg','uniform',seed=7)",
    "initializers.GlorotNormal(seed=2)",
    "initializers.HeUniform(seed=2)",
    "initializers.Orthogonal(seed=4)",
    "initializers.Zeros()",
    "{'class_name':'RandomUniform','config':{'minval':-1,'maxval':0,'seed':4}}",
]
REGULARIZERS = [
    "None",
    "'l1'",
    "'l2'",
    "'L2'",
    "regularizers.L1(0.5)",
    "regularizers.L2(0.25)",
    "regularizers.L1L2(0.1,0.2)",
    "regularizers.OrthogonalRegularizer(0.1)",
    "{'class_name':'L2','config':{'l2':0.5}}",
]
CONSTRAINTS = [
    "None",
    "'non_neg'",
    "'max_norm'",
    "'unit_norm'",
    "'min_max_norm'",
    "constraints.MaxNorm(1.5,axis=1)",
    "constraints.NonNeg()",
    "constraints.UnitNorm(axis=1)",
    "constraints.MinMaxNorm(0.5,1.0,rate=0.5)",
]
BAD_DIMENSIONS = ["0", "-3", "2.0", "'4'", "None", "True", "np.array([3])", "np.int64(4)", "1.5"]
BAD_OPTIONS = [
    "colour=1",
    "name='a/b'",
    "name=3",
    "trainable=1",
    "dtype='float99'",
    "embeddings_initializer='unknown'",
    "embeddings_regularizer='unknown'",
    "embeddings_constraint='unknown'",
    "activity_regularizer='unknown'",
    "trainable=None",
]

# By position in Keras 3's order after the dimensions. (Beyond weights: lora_rank, lora_alpha.)
ORDER = {
    "keras3": (
        "embeddings_initializer", "embeddings_regularizer", "embeddings_constraint", "mask_zero", "weights",
    ),
    "tf.keras": (
        "embeddings_initializer", "embeddings_regularizer", "activity_regularizer", "embeddings_constraint",
        "mask_zero", "input_length",
    ),
}  # fmt: skip


def program(r: Random, backend: str = "numpy") -> list[str]:
    """The lines of a program, the first of which makes ``layer``, for the Keras that has this backend."""
    era = "tf.keras" if backend == "tf_keras" else "keras3"
    kinds = {_embedding: 14, _reversible: 2, _nested: 3, _bare: 2, _dense: 2, _small: 2}
    if era == "tf.keras":
        kinds = {_embedding: 14, _nested: 2, _dense: 1}
    lines = r.choices(list(kinds), list(kinds.values()))[0](r, era)
    if any("lora" in line for line in lines):  # the table is then an array that has been computed
        lines = [line for line in lines if "embeddings.trainable" not in line]
    if era == "tf.keras":
        lines = [line for line in lines if not _NOT_IN_TF_KERAS.search(line)]
    if backend != "numpy":  # each backend draws its own numbers
        lines = [line for line in lines if "enable_lora" not in line or "a_initializer" in line]
        if any("int4" in line or "lora" in line for line in lines):  # an array of that backend's own kind
            lines = [line for line in lines if "embeddings." not in line]
        lines = [*map(without_chance, lines)]
    return lines


# What tf.keras has not, or spells otherwise.
_NOT_IN_TF_KERAS = re.compile(
    r"\.path|autocast|repr\(|\.name = |build\(\)|build\(None\)|add_loss|dtype_policy|variable_dtype"
    r"|add_weight|Variable\(|assign|input_spec|embeddings [+]|own_variables|pickle|copy\.|supports_masking ="
    r"|activity_regularizer =|embeddings = |(embeddings|own|steady)\.|numpy\(\)|mask=|colour|trainable = 1"
    r"|lora|quantiz"
)


# --- Without chance -------------------------------------------------------------------------------

_DRAWN = re.compile(
    r"'(uniform|normal|glorot_uniform|he_normal|orthogonal|RandomUniform|lecun_uniform)'"
    r"|initializers\.(RandomUniform|RandomNormal|TruncatedNormal|VarianceScaling|GlorotNormal|HeUniform|Orthogonal)\([^()]*\)"
    r"|\{'class_name':'RandomUniform'[^}]*\}\}"
)
_FILLED = {"Embedding": ("embeddings_initializer", 2), "Costly": ("embeddings_initializer", 2),
           "ReversibleEmbedding": ("embeddings_initializer", 3),
           "Dense": ("kernel_initializer", 3), "add_weight": ("initializer", 1)}  # fmt: skip


def without_chance(line: str) -> str:
    """A line that draws no numbers."""
    tree = ast.parse(_DRAWN.sub("'ones'", line))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            call.keywords = [each for each in call.keywords if each.arg != "lora_rank"]
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            keyword, position = _FILLED.get(name, ("", 0))
            if keyword and len(call.args) <= position and keyword not in [each.arg for each in call.keywords]:
                call.keywords.insert(0, ast.keyword(keyword, ast.Constant("ones")))
    return ast.unparse(tree)


# --- Numbers --------------------------------------------------------------------------------------


def _shape(r: Random, ranks=(0, 1, 1, 1, 2, 2, 3)) -> tuple[int, ...]:
    return tuple(r.choice([1, 1, 2, 2, 3, 0]) for _ in range(r.choice(ranks)))


def _nest(shape: tuple[int, ...], draw: Any) -> Any:
    return [_nest(shape[1:], draw) for _ in range(shape[0])] if shape else draw()


def numbers(r: Random, shape: tuple[int, ...], dtype: str = "float32") -> str:
    """An array of numbers that every float dtype holds exactly."""
    if 0 in shape:
        return f"np.zeros({shape}, {dtype!r})"
    values = _nest(shape, lambda: r.choice([-2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.5, 3]))
    return f"np.array({values}, {dtype!r})"


ID_DTYPES = [
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
    "float32",
    "float64",
]


def ids(r: Random, rows: int) -> str:
    """Ids, mostly in range; what they may be and must not be."""
    dtype, shape = r.choice([*ID_DTYPES, "int32", "int64"]), _shape(r)
    if 0 in shape:
        return f"np.zeros({shape}, {dtype!r})"
    bad = []
    if r.random() < 0.15:
        bad = {
            "i": [-1, -rows, -rows - 1, rows, rows + 1],
            "u": [rows, rows + 1],
            "b": [],
            "f": [-1, rows, 0.5, 1.7],
        }[dtype[0]]
        if dtype in ("int64", "uint64", "uint32"):
            bad = [*bad, 2**31, 2**32 - 1]
    largest = min(rows - 1, 1 if dtype == "bool" else 99)
    values = _nest(shape, lambda: r.choice(bad) if bad and r.random() < 0.4 else r.randint(0, largest))
    text = f"np.array({values}, {dtype!r})"
    form = r.random()
    if form < 0.03:
        return str(values)
    if form < 0.06:
        return f"{text}.T"
    if form < 0.08:
        return f"{text}.tolist()"
    if form < 0.09:
        return r.choice(
            ["None", "'a'", "np.array(['a'])", "np.array([None])", "np.array([1, 0], object)", "{}", "()"]
        )
    return text


def _weights(r: Random, rows: int, columns: int, era: str) -> str:
    text = numbers(r, (rows, columns), r.choice(DTYPES[:3]))
    if era == "tf.keras":
        return f"[{text}]"
    how = r.random()
    if how < 0.6:
        return text
    if how < 0.85:
        return f"[{text}]"
    return r.choice(
        [numbers(r, (columns, rows + 1)), f"[{text}, {text}]", "[]", numbers(r, (rows,)), f"{text}.tolist()"]
    )


# --- Embedding ------------------------------------------------------------------------------------


def _option(r: Random, name: str, rows: int, columns: int, era: str) -> str:
    """A value for an argument of the constructor, mostly right."""
    return {
        "embeddings_initializer": lambda: r.choice(INITIALIZERS),
        "embeddings_regularizer": lambda: r.choice(REGULARIZERS),
        "embeddings_constraint": lambda: r.choice(CONSTRAINTS),
        "activity_regularizer": lambda: r.choice(REGULARIZERS[:-2]),
        "mask_zero": lambda: r.choice(["True", "False"]),
        "weights": lambda: _weights(r, rows, columns, era),
        "dtype": lambda: repr(
            r.choice(
                [*DTYPES, *POLICIES, "float32", *(QUANTISED if era == "keras3" and r.random() < 0.3 else ())]
            )
        ),
        "trainable": lambda: r.choice(["True", "False", "False"]),
        "name": lambda: repr(r.choice(["x", "words", "embedding", "embedding_1"])),
        "input_length": lambda: r.choice(["None", "3", "2"]),
        "input_shape": lambda: r.choice(["(3,)", "(None,)"]),
    }[name]()


def _embedding(r: Random, era: str) -> list[str]:
    rows, columns = r.randint(1, 6), r.randint(1, 5)
    dims = [str(rows), str(columns)]
    if r.random() < 0.04:
        dims[r.randrange(2)] = r.choice(BAD_DIMENSIONS)
    chances = {
        "embeddings_initializer": 0.6, "embeddings_regularizer": 0.3, "embeddings_constraint": 0.2,
        "activity_regularizer": 0.15, "mask_zero": 0.3, "weights": 0.35, "dtype": 0.4, "trainable": 0.2,
        "name": 0.5,
        "input_length": 0.05, "input_shape": 0.03,
    }  # fmt: skip
    asked = {
        name: _option(r, name, rows, columns, era) for name, chance in chances.items() if r.random() < chance
    }
    arguments = dims if r.random() < 0.9 else [f"input_dim={dims[0]}", f"output_dim={dims[1]}"]
    if arguments is dims and r.random() < 0.3:  # some by position
        for name in ORDER[era][: r.randint(1, len(ORDER[era]))]:
            arguments.append(asked.pop(name, None) or _option(r, name, rows, columns, era))
    if era == "keras3" and r.random() < 0.05:
        arguments.append(
            r.choice(["lora_rank=2", "lora_rank=1, lora_alpha=3", "lora_rank=None", "lora_alpha=2"])
        )
    if r.random() < 0.04:
        arguments.append(r.choice(BAD_OPTIONS))
    written = {argument.partition("=")[0] for argument in arguments if "=" in argument}
    arguments += [f"{name}={value}" for name, value in asked.items() if name not in written]
    if era == "keras3" and r.random() < 0.2:
        arguments.append("**as_keras")
    cls = r.choices(["layers.Embedding", "Costly"], [12, 1])[0]
    lines = [f"layer = {cls}({', '.join(arguments)})"]
    return lines + [_use(r, rows, columns, cls == "Costly") for _ in range(r.randint(1, 9))]


def _reversible(r: Random, era: str) -> list[str]:
    rows, columns = r.randint(1, 5), r.randint(1, 5)
    options = {
        "tie_weights": r.choice(["True", "False"]),
        "embeddings_initializer": r.choice(INITIALIZERS),
        "embeddings_regularizer": r.choice(REGULARIZERS[:6]),
        "mask_zero": "True",
        "reverse_dtype": r.choice(["'float32'", "'float16'", "None"]),
        "logit_soft_cap": r.choice(["1.5", "2", "None"]),
        "dtype": repr(r.choice([*DTYPES[:3], *POLICIES, *QUANTISED])),
        "name": "'r'",
    }
    chosen = [f"{key}={value}" for key, value in options.items() if r.random() < 0.3]
    lines = [f"layer = layers.ReversibleEmbedding({', '.join([str(rows), str(columns), *chosen])})"]
    for _ in range(r.randint(1, 7)):
        if r.random() < 0.3:
            shape = (*_shape(r, (0, 1, 1, 2)), columns)
            lines.append(
                f"layer({numbers(r, shape, r.choice(['float32', 'float32', 'float16']))}, reverse=True)"
            )
        else:
            lines.append(_use(r, rows, columns, is_subclass=True))
    return lines


LOOKS = """
layer.weights
layer.trainable_weights
layer.non_trainable_weights
layer.variables
layer.trainable_variables
layer.non_trainable_variables
layer.get_weights()
layer.losses
layer.get_config()
layer.count_params()
layer.name
layer.built
layer.trainable
layer.supports_masking
layer.dtype
layer.variable_dtype
layer.compute_dtype
layer.dtype_policy.name
layer.input_spec
layer.autocast
layer.path
layer
repr(layer)
""".strip().splitlines()
EMBEDDING_LOOKS = """
layer.embeddings
layer.input_dim, layer.output_dim, layer.mask_zero
layer.embeddings_initializer
layer.embeddings_regularizer
layer.embeddings_constraint
layer.activity_regularizer
""".strip().splitlines()
CHANGES = """
layer.trainable = True
layer.trainable = False
layer.name = 'other'
layer.supports_masking = True
layer = type(layer).from_config(layer.get_config())
layer.trainable = 1
layer.activity_regularizer = regularizers.L1(0.5)
""".strip().splitlines()


def _use(r: Random, rows: int, columns: int, is_subclass: bool = False) -> str:
    """One more line about an Embedding."""
    shape = _shape(r)
    many = {
        "look": 30,
        "call": 34,
        "change": 14,
        "set": 8,
        "build": 6,
        "mask": 5,
        "shape": 3,
        "store": 5,
        "copy": 0 if is_subclass else 1,
        "variable": 5,
        "add": 5,
        "storage": 4,
    }
    kind = r.choices(list(many), list(many.values()))[0]
    if kind == "look":
        return r.choice(LOOKS + EMBEDDING_LOOKS)
    if kind == "call":
        more = r.choices(
            ["", ", training=True", ", training=False", ", mask=None", ", colour=1"], [20, 2, 2, 1, 0.3]
        )[0]
        return f"layer({ids(r, rows)}{more})"
    if kind == "change":
        return r.choice(CHANGES)
    if kind == "set":
        text = numbers(r, (rows, columns), r.choice(DTYPES[:3]))
        bad = [
            "[]",
            f"[{numbers(r, (columns, rows))}]",
            f"[{text}, {text}]",
            f"[{text}.tolist()]",
            "None",
            "[None]",
        ]
        return f"layer.set_weights({r.choice(bad) if r.random() < 0.25 else f'[{text}]'})"
    if kind == "build":
        return f"layer.build({r.choice(['', 'None', shape, (None, 3), '[2, 3]'])})"
    if kind == "mask":
        dtype = r.choice(ID_DTYPES)
        return f"layer.compute_mask(np.array({_nest(shape, lambda: r.randint(0, 1))}, {dtype!r}))"
    if kind == "shape":
        return f"layer.compute_output_shape({r.choice([shape, (None, 3), (None, None, 2)])})"
    if kind == "store":
        return r.choice(
            [
                "(lambda s: layer.save_own_variables(s) or {k: np.array(v) for k, v in s.items()})({})",
                "(lambda store: layer.save_own_variables(store) or layer.load_own_variables(store))({})",
                f"layer.load_own_variables({{'0': {numbers(r, (rows, columns))}}})",
                f"layer.load_own_variables({{'0': {numbers(r, (columns, rows))}}})",
                "layer.load_own_variables({})",
            ]
        )
    if kind == "copy":
        return r.choice(["layer = copy.deepcopy(layer)", "layer = pickle.loads(pickle.dumps(layer))"])
    if kind == "storage":
        return _stored_otherwise(r, columns)
    if kind == "variable":
        text = numbers(r, (rows, columns))
        return r.choice(
            [
                f"layer.embeddings.assign({text})",
                f"layer.embeddings.assign_add({text})",
                f"layer.embeddings.assign_sub({numbers(r, (columns,))})",
                f"layer.embeddings.assign({numbers(r, (columns, rows, 1))})",
                "layer.embeddings.numpy()",
                "np.asarray(layer.embeddings)",
                "layer.embeddings + 1",
                "layer.embeddings[0]",
                "layer.embeddings.shape",
                "layer.embeddings.dtype",
                "layer.embeddings.trainable = False",
                "layer.embeddings.regularizer",
                "layer.embeddings.constraint",
                "layer.embeddings = 1",
            ]
        )
    return r.choice(
        [
            "layer.add_loss(np.float32(2.5))",
            "layer.add_loss(np.array([0.5, 1.0], 'float32'))",
            "layer.add_weight(shape=(2,), name='more')",
            "layer.more = 3",
            "layer.more",
            "layer.sub = layers.Embedding(2, 2, name='sub')",
        ]
    )


def _stored_otherwise(r: Random, columns: int) -> str:
    block = r.choice([1, 2, 3, columns, 128, -1, None])
    return r.choice(
        [
            "layer.quantize('int8')",
            "layer.quantize('int4')",
            f"layer.quantize('int4', config=quantizers.Int4QuantizationConfig(block_size={block}))",
            "layer.quantize('int8', config=quantizers.Int8QuantizationConfig())",
            r.choice(["layer.quantize('float8')", "layer.quantize('int3')", "layer.quantize(None)"]),
            f"layer.enable_lora({r.choice([1, 2, 3, 0])}, b_initializer=initializers.RandomNormal(seed=2))",
            "layer.enable_lora(2, lora_alpha=3, a_initializer='ones', b_initializer='ones')",
            "layer.lora_enabled, layer.lora_rank, layer.lora_alpha",
            "layer.quantization_mode",
            f"layer.dtype_policy = {r.choice([*QUANTISED, 'float16', 'mixed_float16'])!r}",
            "[v.name for v in layer.weights]",
        ]
    )


# --- Layers that hold layers ----------------------------------------------------------------------

PARTS = {
    "Pair": (
        10,
        ["layer", "layer.words", "layer.scale", "layer.own", "layer.steady", "layer.words.embeddings"],
    ),
    "Holder": (3, ["layer", "layer.costly", "layer.costly.embeddings"]),
    "Several": (3, ["layer", "layer.tables[0]", "layer.tables[1]", "layer.extra['dense']"]),
}


def _nested(r: Random, era: str) -> list[str]:
    cls = r.choice([*PARTS, "Told", "Teller", "Late"])
    arguments = [text for text in ("name='n'", "trainable=False", "dtype='float16'") if r.random() < 0.25]
    lines = [f"layer = {cls}({', '.join(arguments)})"]
    rows, parts = PARTS.get(cls, (3, ["layer"]))
    for _ in range(r.randint(2, 9)):
        part = r.choice(parts)
        if r.random() < 0.25:
            lines.append(f"{part}.trainable = {r.choice([True, False])}")
        elif r.random() < 0.4:
            mask = r.choice(["", "", ", training=True", ", mask=np.array([True])", ", training=None"])
            values = ids(r, rows) if cls in PARTS and r.random() < 0.8 else numbers(r, _shape(r))
            lines.append(f"layer({values}{mask if cls in ('Told', 'Teller') else ''})")
        elif r.random() < 0.1:
            lines.append("layer.set_weights([w + 1 for w in layer.get_weights()])")
        elif r.random() < 0.05:
            lines.append(
                r.choice(
                    ["layer.more = layers.Dense(2, name='more')", "layer.more = Variable(1.0, name='v')"]
                )
            )
        else:
            look = r.choice(LOOKS)
            lines.append(look.replace("layer", part, 1) if part.count(".") < 2 and "[" not in part else look)
    return lines


# --- A layer without anything, and what add_weight makes of its arguments -------------------------


def _bare(r: Random, era: str) -> list[str]:
    arguments = [
        text
        for text in (
            "name='bare'",
            "trainable=False",
            "dtype='float16'",
            "autocast=False",
            "activity_regularizer='l2'",
        )
        if r.random() < 0.25
    ]
    lines = [f"layer = layers.Layer({', '.join(arguments)})"]
    for _ in range(r.randint(1, 6)):
        lines.append(_added(r) if r.random() < 0.6 else r.choice(LOOKS + CHANGES[:4]))
    return lines


def _added(r: Random) -> str:
    shape = r.choice(["(2, 3)", "(2,)", "()", "[2, 3]", "None", "3", "(2, None)", "(0,)"])
    by_position = [shape, r.choice(INITIALIZERS[:9]), repr(r.choice([*DTYPES, "int32", "bool"]))][
        : r.choice([0, 1, 1, 2, 3])
    ]
    names = ("shape", "initializer", "dtype")
    options = {
        "shape": shape,
        "initializer": r.choice(["'ones'", "'zeros'", *INITIALIZERS]),
        "dtype": repr(r.choice([*DTYPES, "int32", "int64", "bool", "float99"])),
        "trainable": r.choice(["True", "False", "None"]),
        "regularizer": r.choice(REGULARIZERS),
        "constraint": r.choice(CONSTRAINTS),
        "name": repr(r.choice(["w", "kernel", "a/b"])),
        "aggregation": "'mean'",
        "colour": "1",
    }
    chances = {"colour": 0.02, "aggregation": 0.05, "shape": 0.9}
    chosen = [
        f"{key}={value}"
        for key, value in options.items()
        if key not in names[: len(by_position)] and r.random() < chances.get(key, 0.35)
    ]
    return f"layer.add_weight({', '.join([*by_position, *chosen])})"


# --- Dense ----------------------------------------------------------------------------------------


def _dense(r: Random, era: str) -> list[str]:
    units, width = r.randint(1, 4), r.randint(1, 4)
    options = {
        "use_bias": r.choice(["True", "False"]),
        "kernel_initializer": r.choice(INITIALIZERS),
        "bias_initializer": r.choice(["'zeros'", "'ones'"]),
        "kernel_regularizer": r.choice(REGULARIZERS),
        "bias_constraint": r.choice(["'non_neg'", "None"]),
        "activity_regularizer": r.choice(REGULARIZERS[:6]),
        "dtype": repr(r.choice([*DTYPES, *POLICIES])),
        "name": "'d'",
        "trainable": "False",
    }
    chosen = [f"{key}={value}" for key, value in options.items() if r.random() < 0.3]
    lines = [f"layer = layers.Dense({', '.join([str(units), *chosen])})"]
    for _ in range(r.randint(1, 7)):
        how = r.random()
        if how < 0.35:
            shape = (*_shape(r, (0, 1, 1, 2)), width)
            lines.append(f"layer({numbers(r, shape, r.choice(['float32', 'float32', 'float16', 'int32']))})")
        elif how < 0.5:
            lines.append(f"layer.build((None, {width}))")
        elif how < 0.6:
            lines.append(f"layer.set_weights([{numbers(r, (width, units))}, {numbers(r, (units,))}])")
        else:
            lines.append(
                r.choice(LOOKS + CHANGES[:4] + ["layer.compute_output_shape((None, 3))", CHANGES[5]])
            )
    return lines


# --- Initializers, regularizers, constraints ------------------------------------------------------


def _small(r: Random, era: str) -> list[str]:
    kind = r.choice(["initializers", "regularizers", "constraints"])
    known = {"initializers": INITIALIZERS, "regularizers": REGULARIZERS, "constraints": CONSTRAINTS}[kind]
    bad = ["'unknown'", "3", "{'class_name': 'unknown', 'config': {}}", "'Zeros '", "{}"]
    what = r.choice(bad) if r.random() < 0.1 else r.choice(known)
    shape = tuple(r.randint(1, 4) for _ in range(r.choice([1, 2, 2, 2, 3])))
    dtype = r.choice(DTYPES[:3])
    call = f"x({shape}, dtype={dtype!r})" if kind == "initializers" else f"x({numbers(r, shape)})"
    lines = [f"x = {kind}.get({what})"]
    looks = [
        call,
        "x.get_config()",
        f"{kind}.serialize(x)",
        f"x = {kind}.deserialize({kind}.serialize(x))",
        "x",
    ]
    if kind == "initializers":
        looks.append("x = x.clone()")
    return lines + [r.choice(looks) for _ in range(r.randint(1, 4))]
