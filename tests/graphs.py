"""Random models: a plan is data, and every library builds the same model of it.

All tensors between layers are of shape (None, 3), so that any can be an argument of any call: layers called
several times, models inside, several inputs and outputs in a list, tuple or dict.
"""

from __future__ import annotations

from hypothesis import strategies as st

WIDTH = 3
KINDS = ("dense", "add", "multiply", "concatenate", "again", "model", "row", "late row", "pair", "dropout")


@st.composite
def plans(draw, masks=True, structures=("one", "list", "dict")):
    """(kinds of inputs, structure of inputs, steps, outputs, structure of outputs)."""
    inputs = draw(st.lists(st.sampled_from(["ids", "numbers"]), min_size=1, max_size=3))
    many = [each for each in structures if each != "one"]
    struct = draw(st.sampled_from(structures if len(inputs) == 1 else many))
    masked = draw(st.booleans()) and masks
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
            min_size=1,
            max_size=8,
        )
    )
    outputs = draw(st.lists(st.integers(0, 99), min_size=0, max_size=2))
    ends = draw(st.sampled_from(structures if not outputs else many))
    return inputs, struct, masked, steps, outputs, ends


def build(library, plan):
    """The model of a plan, its names chosen here."""
    layers, Model, Sequential, Input = library.layers, library.Model, library.Sequential, library.Input
    kinds, struct, masked, steps, ends, end_struct = plan
    inputs, tensors, callables = [], [], []
    for n, kind in enumerate(kinds):
        if kind == "ids":
            inputs.append(Input((4,), dtype="int32", name=f"in{n}"))
            rows = layers.Embedding(9, WIDTH, mask_zero=masked, name=f"rows{n}")(inputs[-1])
            tensors.append(layers.GlobalAveragePooling1D(name=f"mean{n}")(rows))
        else:
            inputs.append(Input((WIDTH,), name=f"in{n}"))
            tensors.append(inputs[-1])
    used = set()

    def pick(number):
        used.add(number % len(tensors))
        return tensors[number % len(tensors)]

    for n, (kind, a, b, which) in enumerate(steps):
        name = f"{kind.replace(' ', '_')}{n}"
        if kind == "again" and callables:
            made = callables[which % len(callables)](pick(a))
        elif kind in ("add", "multiply"):
            made = getattr(layers, kind.title())(name=name)([pick(a), pick(b)])
        elif kind == "concatenate":
            both = layers.Concatenate(name=name)([pick(a), pick(b)])
            made = layers.Dense(WIDTH, name=f"{name}_dense")(both)
        elif kind == "pair":
            x, y = (Input((WIDTH,), name=f"{name}_{each}") for each in "xy")
            pair = Model(
                [x, y], [layers.Add(name="sum")([x, y]), layers.Dense(WIDTH, name="turn")(y)], name=name
            )
            made, other = pair([pick(a), pick(b)])
            tensors.append(other)
        else:
            if kind == "model":
                x = Input((WIDTH,), name=f"{name}_x")
                inner = layers.Dense(WIDTH, activation="tanh", name="inner")
                made = Model(x, inner(inner(x)), name=name)
            elif kind in ("row", "late row"):
                row = [layers.Dense(WIDTH, activation="relu", name="a"), layers.Dense(WIDTH, name="b")]
                first = [Input((WIDTH,), name=f"{name}_in")] if kind == "row" else []
                made = Sequential([*first, *row], name=name)
            elif kind == "dropout":
                made = layers.Dropout(0.5, name=name)
            else:
                made = layers.Dense(WIDTH, use_bias=bool(which % 2), name=name)
            callables.append(made)
            made = made(pick(a))
        tensors.append(made)
    # What nothing else takes is an output, so that every layer is one of the model.
    loose = [n for n in range(len(tensors)) if n not in used]
    chosen = list(dict.fromkeys([*loose, *(n % len(tensors) for n in ends)]))
    outputs = [tensors[n] for n in chosen]
    return Model(_packed(struct, inputs, "in"), _packed(end_struct, outputs, "out"), name="outer")


def _packed(struct, tensors, name):
    if struct == "dict":
        return {f"{name}{n}": tensor for n, tensor in enumerate(tensors)}
    return tensors[0] if struct == "one" and len(tensors) == 1 else list(tensors)


def data(plan, rng, examples=5):
    """Arrays for the inputs, as the model takes them."""
    kinds, struct, *_ = plan
    arrays = [
        rng.integers(0, 9, (examples, 4)).astype("int32")
        if kind == "ids"
        else rng.standard_normal((examples, WIDTH)).astype("float32")
        for kind in kinds
    ]
    return _packed(struct, arrays, "in")
