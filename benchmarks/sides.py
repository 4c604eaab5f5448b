"""Who is measured. To add a peer, write a function that takes `Data` and returns a `Side`::

    @side("name in the report", needs=["its_package"])
    def its_lookup(data):
        table = data.shared("table", lambda: its_package.array(data.table))
        return Side(lambda ids: its_package.take(table, ids))

A library has a process of its own, which runs all its sides, one after the other, so it may set whatever it
needs. Every side uses `data.threads` threads.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import ADAM, Case, make_ids, make_table, make_updates, table_parts

OURS = "fastembed"
LIMIT = "the limit"


@dataclass
class Data:
    """What a side is made of."""

    case: Case
    threads: int
    kept: dict[str, Any]  # by the process, as long as cases have the same table
    memory: Callable[[Case], NDArray[np.float32] | None]  # where the table is to lie

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        """What all sides of a library make of one table, made once."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    @property
    def table(self) -> NDArray[np.float32]:
        return self.shared("table", lambda: make_table(self.case, self.memory(self.case)))

    @functools.cached_property
    def updates(self) -> NDArray[np.float32]:
        """What is added, by the cases that add; the gradient of each id, in those that learn."""
        return make_updates(self.case)

    @functools.cached_property
    def dense_gradient(self) -> NDArray[np.float32]:
        """Of the first ids."""
        gradient = np.zeros((self.case.rows, self.case.dim), np.float32)
        np.add.at(gradient, make_ids(self.case)[0], self.updates)
        return gradient


def _as_it_is(value: Any) -> Any:
    return value


def _nothing() -> None:
    pass


@dataclass
class Side:
    """What a call is, in one library's own terms."""

    call: Callable[[Any], Any]  # native ids -> native result; returns when the result is there
    ids: Callable[[NDArray[np.int64]], Any] = _as_it_is  # to native ids, not timed
    # A native result as an ndarray, copying nothing where that can be; None where there is no answer.
    array: Callable[[Any], Any] | None = _as_it_is
    adds_to_table: bool = False  # the result is the table, changed in place
    computed_seconds: float = 0.0  # per call, besides the time it takes: only the limit has some
    prepare: Callable[[], None] = _nothing  # before each timed run of calls
    loop: Callable[[Iterator[Any]], None] | None = None  # calls, written out where `call` would add to them
    # Of what learns: the table's rows after the calls so far; whether rows without a gradient stay; whether
    # each call takes the same gradient, that of the first ids.
    rows_at: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None
    is_lazy: bool = False
    takes_one_gradient: bool = False


@dataclass
class Entry:
    """A side in the list."""

    name: str
    needs: list[str]
    is_peer: bool
    smallest: int  # bytes of a batch
    factories: dict[str, Callable[[Data], Side]] = field(default_factory=dict)  # by the kind of case

    @property
    def home(self) -> str:
        """Whose process runs it."""
        return (self.needs or ["numpy"])[-1] if self.is_peer else OURS

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.needs if importlib.util.find_spec(package) is None]

    def takes(self, case: Case) -> bool:
        """Whether this case is measured."""
        return case.kind in self.factories and case.batch_bytes >= self.smallest


SIDES: dict[str, Entry] = {}


def side(
    name: str,
    needs: list[str] | None = None,
    kinds: tuple[str, ...] = ("lookup",),
    is_peer: bool = True,
    smallest: int = 0,
) -> Callable[[Callable[[Data], Side]], Callable[[Data], Side]]:
    """Put a function into the list of sides, for some kinds of cases."""

    def put(factory: Callable[[Data], Side]) -> Callable[[Data], Side]:
        entry = SIDES.setdefault(name, Entry(name, needs or [], is_peer, smallest))
        entry.factories.update(dict.fromkeys(kinds, factory))
        return factory

    return put


# --- Ours. Its process keeps what it has loaded, for all peers. ---


def _embedding(data: Data, **options: Any) -> Any:
    import fastembed

    case = data.case
    layer = fastembed.layers.Embedding(case.rows, case.dim, embeddings_initializer="zeros", **options)
    layer.build(None)
    for first, block, more in table_parts(
        case
    ):  # no second table, whose pages would take as long as this one's
        fastembed.ops.scatter_add(layer.embeddings, np.arange(first, first + len(block)), block + more)
    return layer


@side(OURS, is_peer=False)
def our_layer(data: Data) -> Side:
    return Side(data.shared("layer", lambda: _embedding(data)))


@side(OURS, kinds=("add",), is_peer=False)
def our_addition(data: Data) -> Side:
    import fastembed

    table, updates = fastembed.Variable(make_table(data.case)), data.updates
    return Side(
        lambda ids: fastembed.ops.scatter_add(table, ids, updates),
        array=np.asarray,
        adds_to_table=True,
    )


@side(OURS, kinds=("gradient",), is_peer=False)
def our_gradient(data: Data) -> Side:
    import fastembed

    rows, updates = data.case.rows, data.updates
    return Side(
        lambda ids: fastembed.ops.embedding_gradient(ids, updates, rows),
        array=lambda result: result.to_dense(),
    )


def _our_adam(variable: Any, **options: Any) -> Callable[[Any], None]:
    from fastembed.optimizers import Adam

    optimizer = Adam(**ADAM, **options)
    return lambda gradient: optimizer.apply_gradients([(gradient, variable)])


@side(OURS, kinds=("step",), is_peer=False)
def our_step(data: Data, **options: Any) -> Side:
    import fastembed

    variable, updates = fastembed.Variable(make_table(data.case)), data.updates
    return Side(
        _our_adam(variable, **options),
        ids=lambda ids: fastembed.ops.IndexedSlices(updates, ids, variable.shape),
        array=None,
        rows_at=lambda rows: fastembed.ops.gather(variable, rows),
    )


@side(OURS, kinds=("lazy step",), is_peer=False)
def our_lazy_step(data: Data) -> Side:
    return replace(our_step(data, lazy=True), is_lazy=True)


@side(OURS, kinds=("dense step",), is_peer=False)
def our_dense_step(data: Data) -> Side:
    return replace(our_step(data), ids=lambda _: data.dense_gradient, takes_one_gradient=True)


@side(OURS, kinds=("training",), is_peer=False)
def our_training(data: Data) -> Side:
    import fastembed

    variable, upstream = fastembed.Variable(make_table(data.case)), data.updates
    layer, step = fastembed.layers.Embedding.from_variable(variable), _our_adam(variable)

    def call(ids: NDArray[np.int64]) -> Any:
        rows = layer(ids, training=True)
        layer.backward(upstream)
        step(variable.gradient)  # which clears it
        return rows

    return Side(call, rows_at=layer)


@side(LIMIT, kinds=("step", "dense step"), is_peer=False)
def the_limit_of_steps(data: Data) -> Side:
    from benchmarks.limit import limit_of_steps

    return limit_of_steps(data)


@side(LIMIT, is_peer=False, smallest=1_000_000)
def the_limit(data: Data) -> Side:
    """In our process, because it reads the very memory that our layer reads."""
    from benchmarks.limit import limit_of  # which needs this module

    return limit_of(data, np.asarray(our_layer(data).call.embeddings))


# Calls of one id that take more than ids. The loops are what a user writes: a call of another function
# around each would be a tenth of the time.

SMALL_GOALS = {
    "training=False": 0.35e-6,
    "training=True": 0.35e-6,
    "mask_zero=True": 0.35e-6,
    "a list": 0.6e-6,
}


@side("training=False", kinds=("small",), is_peer=False)
def not_training(data: Data) -> Side:
    layer = data.shared("layer", lambda: _embedding(data))

    def loop(turns: Iterator[Any]) -> None:
        for ids in turns:
            layer(ids, training=False)

    return Side(lambda ids: layer(ids, training=False), loop=loop)


@side("training=True", kinds=("small",), is_peer=False)
def training(data: Data) -> Side:
    layer: Any = None

    def prepare() -> None:  # a new layer: each call leaves something for `backward`, and nobody calls that
        nonlocal layer
        layer = _embedding(data)

    def loop(turns: Iterator[Any]) -> None:
        embedding = layer
        for ids in turns:
            embedding(ids, training=True)

    prepare()
    return Side(lambda ids: layer(ids, training=True), prepare=prepare, loop=loop)


@side("mask_zero=True", kinds=("small",), is_peer=False)
def with_mask(data: Data) -> Side:
    return Side(_embedding(data, mask_zero=True))


@side("a list", kinds=("small",), is_peer=False)
def of_a_list(data: Data) -> Side:
    return Side(data.shared("layer", lambda: _embedding(data)), ids=np.ndarray.tolist)


# --- NumPy ---


@side("np.take")
def numpy_take(data: Data) -> Side:
    table = data.table
    return Side(lambda ids: np.take(table, ids, axis=0))


@side("W[ids]")
def numpy_index(data: Data) -> Side:
    table = data.table
    return Side(lambda ids: table[ids])


@side("np.take(out=)")
def numpy_take_out(data: Data) -> Side:
    """Into the same memory each time; mode="clip", because otherwise NumPy copies once more."""
    table = data.table
    out = np.ones((*data.case.ids, data.case.dim), np.float32)  # ones: its pages are there before it is timed
    return Side(lambda ids: np.take(table, ids, axis=0, out=out, mode="clip"))


@side("np.add.at", kinds=("add",))
def numpy_add_at(data: Data) -> Side:
    table, updates = data.table, data.updates

    def call(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        np.add.at(table, ids, updates)
        return table

    return Side(call, adds_to_table=True)


# --- torch ---


_entered: list[Any] = []  # contexts, which end when nobody holds them


def _torch(threads: int, learns: bool = False) -> Any:
    import torch

    torch.set_num_threads(threads)
    if not learns and not torch.is_inference_mode_enabled():
        _entered.append(torch.inference_mode())  # for good: entering it in each call would cost the peer 2 us
        _entered[-1].__enter__()
    return torch


@side("torch F.embedding", ["torch"])
def torch_embedding(data: Data) -> Side:
    torch = _torch(data.threads)
    table, embedding = torch.from_numpy(data.table), torch.nn.functional.embedding
    return Side(lambda ids: embedding(ids, table), ids=torch.from_numpy, array=torch.Tensor.numpy)


@side("torch index_select", ["torch"])
def torch_index_select(data: Data) -> Side:
    torch = _torch(data.threads)
    table = torch.from_numpy(data.table)
    return Side(  # takes one axis of ids only
        lambda ids: table.index_select(0, ids),
        ids=lambda ids: torch.from_numpy(ids.reshape(-1)),
        array=lambda rows: rows.numpy().reshape(*data.case.ids, -1),
    )


@side("torch index_add_", ["torch"], kinds=("add",))
def torch_index_add(data: Data) -> Side:
    torch = _torch(data.threads)
    table, updates = torch.from_numpy(data.table), torch.from_numpy(data.updates)
    return Side(
        lambda ids: table.index_add_(0, ids, updates),
        ids=torch.from_numpy,
        array=torch.Tensor.numpy,
        adds_to_table=True,
    )


@side("torch embedding_dense_backward", ["torch"], kinds=("add", "gradient"))
def torch_dense_backward(data: Data) -> Side:
    torch = _torch(data.threads)
    rows, updates = data.case.rows, torch.from_numpy(data.updates)
    backward = torch.ops.aten.embedding_dense_backward
    return Side(
        lambda ids: backward(updates, ids, rows, -1, False), ids=torch.from_numpy, array=torch.Tensor.numpy
    )


def _torch_parameter(torch: Any, data: Data) -> Any:
    return torch.nn.Parameter(torch.from_numpy(data.table))


def _torch_sparse_adam(torch: Any, weight: Any) -> Any:
    rate, *betas, epsilon = ADAM.values()
    optimizer = torch.optim.SparseAdam([weight], rate, tuple(betas), epsilon)
    # Moments in memory that is there: those that it makes itself get each page when a step first comes by.
    moments = {name: torch.full_like(weight.detach(), 0.0) for name in ("exp_avg", "exp_avg_sq")}
    optimizer.state[weight].update(step=0, **moments)
    return optimizer


@side("torch SparseAdam", ["torch"], kinds=("step", "lazy step"))
def torch_sparse_adam(data: Data) -> Side:
    """Of a gradient that names rows more than once, as torch's backward leaves it."""
    torch = _torch(data.threads, learns=True)
    weight, updates = _torch_parameter(torch, data), torch.from_numpy(data.updates)
    optimizer = _torch_sparse_adam(torch, weight)

    def call(gradient: Any) -> None:
        weight.grad = gradient
        optimizer.step()

    return Side(
        call,
        ids=lambda ids: torch.sparse_coo_tensor(
            torch.from_numpy(ids)[None], updates, weight.shape, check_invariants=False
        ),
        array=None,
        rows_at=lambda rows: weight.detach()[rows].numpy(),
        is_lazy=True,
    )


@side("torch SparseAdam", ["torch"], kinds=("training",))
def torch_sparse_training(data: Data) -> Side:
    torch = _torch(data.threads, learns=True)
    weight, upstream = _torch_parameter(torch, data), torch.from_numpy(data.updates)
    optimizer, embedding = _torch_sparse_adam(torch, weight), torch.nn.functional.embedding

    def call(ids: Any) -> Any:
        rows = embedding(ids, weight, sparse=True)
        rows.backward(upstream)
        optimizer.step()
        optimizer.zero_grad()
        return rows

    return Side(
        call,
        ids=torch.from_numpy,
        array=lambda rows: rows.detach().numpy(),
        rows_at=lambda rows: weight.detach()[rows].numpy(),
        is_lazy=True,
    )


def _torch_adam(data: Data, **options: Any) -> Side:
    """Of a dense gradient that is there already: making it from ids is not timed."""
    torch = _torch(data.threads, learns=True)
    weight = _torch_parameter(torch, data)
    rate, *betas, epsilon = ADAM.values()
    optimizer = torch.optim.Adam([weight], rate, tuple(betas), epsilon, **options)
    weight.grad = torch.from_numpy(data.dense_gradient)
    return Side(
        lambda _: optimizer.step(),
        array=None,
        rows_at=lambda rows: weight.detach()[rows].numpy(),
        takes_one_gradient=True,
    )


@side("torch Adam", ["torch"], kinds=("step", "dense step"))
def torch_adam(data: Data) -> Side:
    return _torch_adam(data)


@side("torch Adam(foreach=True)", ["torch"], kinds=("dense step",))
def torch_foreach_adam(data: Data) -> Side:
    return _torch_adam(data, foreach=True)


@side("torch Adam(fused=True)", ["torch"], kinds=("step", "dense step"))
def torch_fused_adam(data: Data) -> Side:
    return _torch_adam(data, fused=True)


# --- TensorFlow and Keras ---


def _tensorflow(threads: int) -> Any:
    import tensorflow

    if tensorflow.config.threading.get_intra_op_parallelism_threads() != threads:
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return tensorflow


def _view(tensor: Any) -> NDArray[Any]:
    return np.asarray(memoryview(tensor))  # .numpy() would copy


@side("tf.gather", ["tensorflow"])
def tf_gather(data: Data) -> Side:
    tf = _tensorflow(data.threads)
    table = data.shared("tensor", lambda: tf.constant(data.table))
    return Side(lambda ids: tf.gather(table, ids), ids=tf.constant, array=_view)


@side("tf.unsorted_segment_sum", ["tensorflow"], kinds=("add", "gradient"))
def tf_segment_sum(data: Data) -> Side:
    """After tf.unique: the rows that are touched and their sums. These are added to no table."""
    tf = _tensorflow(data.threads)
    updates, shape = tf.constant(data.updates), (data.case.rows, data.case.dim)

    def call(ids: Any) -> Any:
        rows, segments = tf.unique(ids)
        return rows, tf.math.unsorted_segment_sum(updates, segments, tf.size(rows))

    def dense(result: Any) -> NDArray[np.float32]:
        gradient = np.zeros(shape, np.float32)
        gradient[result[0].numpy()] = result[1].numpy()
        return gradient

    return Side(call, ids=tf.constant, array=dense)


def _keras(backend: str) -> Any:
    os.environ["KERAS_BACKEND"] = backend
    import keras

    return keras


def _keras_layer(backend: str, data: Data, table: Any) -> Any:
    keras = _keras(backend)

    def make() -> Any:
        def initializer(
            shape: Any, dtype: Any = None
        ) -> Any:  # rather than zeros, which `assign` would replace
            return table

        layer = keras.layers.Embedding(data.case.rows, data.case.dim, embeddings_initializer=initializer)
        layer.build()
        return layer

    return data.shared("Keras", make)


@side("Keras on TensorFlow", ["keras", "tensorflow"])
def keras_on_tensorflow(data: Data) -> Side:
    tf = _tensorflow(data.threads)
    table = data.shared("tensor", lambda: tf.constant(data.table))
    return Side(_keras_layer("tensorflow", data, table), ids=tf.constant, array=_view)


@side("Keras on JAX", ["keras", "jax"])
def keras_on_jax(data: Data) -> Side:
    import jax

    table = data.shared("tensor", lambda: jax.numpy.asarray(data.table))
    layer = _keras_layer("jax", data, table)
    return Side(lambda ids: layer(ids).block_until_ready(), ids=jax.numpy.asarray, array=np.asarray)


# Steps as `fit` makes them: compiled. A lookup's gradient is sparse on TensorFlow, and dense on JAX.


def _keras_learner(backend: str, data: Data, table: Any) -> tuple[Any, Any]:
    """A layer of its own, and Adam built for it."""
    layer = _keras_layer(backend, data, table)
    optimizer = _keras(backend).optimizers.Adam(**ADAM)
    optimizer.build(layer.trainable_variables)
    return layer, optimizer


def _summed(tf: Any, gradient: Any) -> Any:
    """Each row once: Keras 3 on TensorFlow squares the values of a repeated id one by one, otherwise."""
    rows, segments = tf.unique(gradient.indices)
    sums = tf.math.unsorted_segment_sum(gradient.values, segments, tf.size(rows))
    return tf.IndexedSlices(sums, rows, gradient.dense_shape)


@side("Keras on TensorFlow", ["keras", "tensorflow"], kinds=("step", "dense step"))
def keras_on_tensorflow_step(data: Data) -> Side:
    tf = _tensorflow(data.threads)
    layer, optimizer = _keras_learner("tensorflow", data, tf.constant(data.table))
    is_dense = data.case.kind == "dense step"
    updates, shape = tf.constant(data.updates), tf.constant([data.case.rows, data.case.dim], tf.int64)
    gradient = tf.constant(data.dense_gradient) if is_dense else None

    @tf.function
    def step(ids: Any, updates: Any) -> None:
        optimizer.apply([updates if is_dense else _summed(tf, tf.IndexedSlices(updates, ids, shape))])

    return Side(
        lambda ids: step(ids, gradient if is_dense else updates),
        ids=tf.constant,
        array=None,
        rows_at=lambda rows: layer(tf.constant(rows)).numpy(),
        takes_one_gradient=is_dense,
    )


@side("Keras on TensorFlow", ["keras", "tensorflow"], kinds=("training",))
def keras_on_tensorflow_training(data: Data) -> Side:
    tf = _tensorflow(data.threads)
    layer, optimizer = _keras_learner("tensorflow", data, tf.constant(data.table))
    upstream = tf.constant(data.updates)

    @tf.function
    def step(ids: Any, upstream: Any) -> Any:
        with tf.GradientTape() as tape:
            rows = layer(ids)
        (variable,) = layer.trainable_variables
        optimizer.apply([_summed(tf, tape.gradient(rows, variable.value, output_gradients=upstream))])
        return rows

    return Side(
        lambda ids: step(ids, upstream),
        ids=tf.constant,
        array=_view,
        rows_at=lambda rows: layer(tf.constant(rows)).numpy(),
    )


def _keras_on_jax_steps(data: Data, trains: bool) -> Side:
    import jax

    layer, optimizer = _keras_learner("jax", data, jax.numpy.asarray(data.table))
    weights = [variable.value for variable in layer.trainable_variables]
    state = [variable.value for variable in optimizer.variables]
    given = jax.numpy.asarray(data.updates if trains else data.dense_gradient)

    def train(ids: Any, upstream: Any, weights: Any, state: Any) -> Any:
        rows, pull = jax.vjp(lambda table: jax.numpy.take(table, ids, axis=0), weights[0])
        return rows, *optimizer.stateless_apply(state, list(pull(upstream)), weights)

    def step(_: Any, gradient: Any, weights: Any, state: Any) -> Any:
        return None, *optimizer.stateless_apply(state, [gradient], weights)

    # Weights and state are donated, so that they may be written in place.
    compiled = jax.jit(train if trains else step, donate_argnums=(2, 3))

    def call(ids: Any) -> Any:
        nonlocal weights, state
        rows, weights, state = compiled(ids, given, weights, state)
        jax.block_until_ready(weights)
        return rows

    return Side(
        call,
        ids=jax.numpy.asarray if trains else _as_it_is,
        array=np.asarray if trains else None,
        rows_at=lambda rows: np.asarray(weights[0][rows]),
        takes_one_gradient=not trains,
    )


@side("Keras on JAX", ["keras", "jax"], kinds=("step", "dense step"))
def keras_on_jax_step(data: Data) -> Side:
    return _keras_on_jax_steps(data, trains=False)


@side("Keras on JAX", ["keras", "jax"], kinds=("training",))
def keras_on_jax_training(data: Data) -> Side:
    return _keras_on_jax_steps(data, trains=True)


# --- JAX. It takes its threads from the CPUs that the process may run on. ---


@side("jax.jit(take)", ["jax"])
def jax_take(data: Data) -> Side:
    import jax

    table = data.shared("tensor", lambda: jax.numpy.asarray(data.table))
    take = jax.jit(lambda table, ids: jax.numpy.take(table, ids, axis=0))
    return Side(lambda ids: take(table, ids).block_until_ready(), ids=jax.numpy.asarray, array=np.asarray)


@side("jax .at[].add", ["jax"], kinds=("add",))
def jax_at_add(data: Data) -> Side:
    """With its table donated, so that JAX may add in place."""
    import jax

    add = jax.jit(lambda table, ids, updates: table.at[ids].add(updates), donate_argnums=0)
    table, updates = jax.numpy.array(data.table), jax.numpy.asarray(data.updates)

    def call(ids: Any) -> Any:
        nonlocal table
        table = add(table, ids, updates).block_until_ready()
        return table

    return Side(call, ids=jax.numpy.asarray, array=np.asarray, adds_to_table=True)


# --- ONNX Runtime ---

# A larger table is fed as an input, which Gather reads as well: a model cannot hold 2 GB, and one of 1 GB
# takes ten seconds to make.
_ONNX_LARGEST = 2**29


@side("ONNX Runtime Gather", ["onnxruntime", "onnx"])
def onnx_gather(data: Data) -> Side:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info
    inputs = [info("ids", TensorProto.INT64, [None] * len(data.case.ids))]
    inside = data.case.table_bytes < _ONNX_LARGEST
    if not inside:
        inputs.append(info("table", TensorProto.FLOAT, list(data.table.shape)))
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["rows"])],
        "lookup",
        inputs,
        [info("rows", TensorProto.FLOAT, [None] * (len(data.case.ids) + 1))],
        [onnx.numpy_helper.from_array(data.table, "table")] if inside else [],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = data.threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    fed = {} if inside else {"table": data.shared("tensor", lambda: value(data.table))}

    def view(result: Any) -> NDArray[np.float32]:  # .numpy() would copy
        numbers = ctypes.POINTER(ctypes.c_float).from_buffer(ctypes.c_void_p(result[0].data_ptr()))
        return np.ctypeslib.as_array(numbers, result[0].shape())

    return Side(lambda ids: session.run_with_ort_values(["rows"], {"ids": ids, **fed}), ids=value, array=view)
