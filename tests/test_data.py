"""Sources of batches: every example once an epoch, with its label and weight, in an order to be repeated."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_libraries import Raised, agree, outcome, process

import fastembed
from fastembed.backend import floatx, set_floatx
from fastembed.models import data
from fastembed.models.data import (
    PyDataset,
    pack_x_y_sample_weight,
    source,
    split,
    unpack_x_y_sample_weight,
)
from fastembed.utils import set_random_seed


def epochs_of(batches, number=1):
    return [list(batches.epoch()) for _ in range(number)]


def joined(epoch, part=0):
    return np.concatenate([batch[part] for batch in epoch])


# --- Arrays ---------------------------------------------------------------------------------------

SHUFFLES = [False, True, "batch"]


@st.composite
def data_sets(draw):
    """As many numbered examples with labels and weights that follow from the number, and a batch size."""
    count = draw(st.integers(1, 70))
    numbers = np.arange(count, dtype=draw(st.sampled_from(["i1", "i4", "i8", "u2", "f4"])))
    return numbers, draw(st.integers(1, 80)), draw(st.sampled_from(SHUFFLES))


@given(data_sets(), st.integers(0, 2**32 - 1))
def test_every_example_comes_once_an_epoch_with_what_belongs_to_it(case, seed):
    numbers, size, shuffle = case
    x = {"a": np.stack([numbers, numbers], 1), "b": [numbers, (numbers,)]}
    batches = source(x, numbers * 2.0, numbers * 3.0, batch_size=size, shuffle=shuffle)
    assert batches.num_batches == -(-len(numbers) // size)
    assert batches.batch_size == size

    set_random_seed(seed)
    both = epochs_of(batches, 2)
    for epoch in both:
        assert len(epoch) == batches.num_batches
        assert [len(y) for _, y, _ in epoch[:-1]] == [size] * (len(epoch) - 1)
        order = np.concatenate([x["a"][:, 1] for x, _, _ in epoch])
        assert order.dtype == numbers.dtype
        np.testing.assert_array_equal(np.sort(order), numbers)
        for x, y, w in epoch:
            for other in (x["a"][:, 0], x["b"][0], x["b"][1][0], y / 2, w / 3):
                np.testing.assert_array_equal(other, x["a"][:, 1])
        if shuffle != True:  # noqa: E712 (batches hold the same examples as ever)
            for i, (x, _, _) in enumerate(epoch):
                assert set(x["a"][:, 0].tolist()) == set(numbers[i * size : (i + 1) * size].tolist())
        if not shuffle:
            np.testing.assert_array_equal(order, numbers)

    set_random_seed(seed)
    again = epochs_of(source(numbers, batch_size=size, shuffle=shuffle), 2)
    for epoch, same in zip(both, again):
        np.testing.assert_array_equal(joined(same), np.concatenate([x["a"][:, 0] for x, _, _ in epoch]))


def test_each_epoch_has_another_order():
    set_random_seed(1)
    for shuffle in (True, "batch"):
        first, second = epochs_of(source(np.arange(1000), batch_size=100, shuffle=shuffle), 2)
        assert (joined(first) != joined(second)).any()
        assert (joined(first) != np.arange(1000)).any()
    # inside each batch another one
    orders = [batch[0] - batch[0].min() for batch in first]
    assert any((orders[0] != order).any() for order in orders[1:])


def test_the_last_batch_of_a_shuffle_by_batch_is_shuffled_too():
    set_random_seed(1)
    [epoch] = epochs_of(source(np.arange(150), batch_size=100, shuffle="batch"))
    assert (epoch[1][0] != np.arange(100, 150)).any()


def test_a_batch_in_order_is_a_view_and_another_a_copy():
    x = np.arange(100)
    assert all(np.shares_memory(batch, x) for batch, _, _ in source(x).epoch())
    assert not any(np.shares_memory(batch, x) for batch, _, _ in source(x, shuffle=True).epoch())


@pytest.mark.parametrize("given", [
    [1, 2, 3], (1, 2, 3), range(1, 4), [np.int64(1), 2, 3], memoryview(np.array([1, 2, 3])),
])  # fmt: skip
def test_lists_of_numbers_are_arrays(given):
    [[(x, y, _)]] = epochs_of(source(given, [[0.0], [1.0], [0.5]]))
    assert x.tolist() == [1, 2, 3]
    assert (x.dtype, y.dtype, y.shape) == (np.int64, np.float32, (3, 1))


def test_lists_of_arrays_are_several_inputs():
    users, items = np.arange(3), [5, 6, 7]
    [[(x, y, _)]] = epochs_of(source([users, items], (np.ones(3), np.zeros(3))))
    assert isinstance(x, list)
    assert isinstance(y, tuple)
    np.testing.assert_array_equal(x, [[0, 1, 2], [5, 6, 7]])


@given(hnp.arrays(st.sampled_from(["f2", ">f4", "f4", "f8", "?", "i1", ">i4", "u8"]), st.integers(1, 5)))
def test_integers_keep_their_dtype_and_floats_become_floatx(values):
    [[(x, _, _)]] = epochs_of(source(values))
    assert x.dtype == ("f4" if values.dtype.kind == "f" else values.dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(x, values.astype(x.dtype))


def test_floatx_is_that_of_now():
    before = floatx()
    try:
        set_floatx("float64")
        assert source(np.ones(2, "f4")).peek()[0].dtype == np.float64
    finally:
        set_floatx(before)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert source(np.ones(2, ml_dtypes.bfloat16)).peek()[0].dtype == np.float32


def test_columns_of_pandas_and_tensors():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"user": [3, 1, 2], "rating": [0.5, 1.0, 0.0]})
    x, y, w = source({"user": table["user"]}, table["rating"], table["rating"]).peek()
    assert x["user"].tolist() == [3, 1, 2]
    assert y.dtype == w.dtype == np.float32
    assert source(table).peek()[0].shape == (3, 2)
    with pytest.raises(ValueError, match=r"x\['user'\] holds no numbers"):
        source({"user": pandas.Series(["a", "b", "c"])}, table["rating"])


class Tensor:
    """As torch's are: they can be read, once `detach` is called."""

    def __init__(self, values, attached=True):
        self.values, self.attached = values, attached

    def detach(self):
        return Tensor(self.values, False)

    def __array__(self, dtype=None, copy=None):
        assert not self.attached
        return np.array(self.values)


def test_tensors():
    assert source(Tensor([1, 2])).peek()[0].tolist() == [1, 2]


def test_steps_decide_the_batch_size_of_arrays():
    assert source(np.arange(10), steps=3).batch_size == 4
    assert source(np.arange(10), steps=3).num_batches == 3
    assert source(np.arange(100)).batch_size == 32
    assert source(np.arange(10), steps=3, batch_size=2).batch_size == 2


def test_a_first_batch_does_not_cost_an_example():
    for batches in (source(np.arange(5), batch_size=2, shuffle=True), source(x for x in [np.arange(2)] * 2)):
        assert len(batches.peek()[0]) == 2
        [epoch] = epochs_of(batches)
        assert sum(len(x) for x, _, _ in epoch) in (4, 5)


@pytest.mark.parametrize(("arguments", "says"), [
    ({"x": None}, "no data"),
    ({"x": "words"}, "text becomes ids by"),
    ({"x": ["one", "two"]}, "text becomes ids by"),
    ({"x": np.array(["one", "two"], object)}, "text becomes ids by"),
    ({"x": np.array([[1, 2], [3]], object)}, "`pad_sequences`"),
    ({"x": [[1, 2], [3]]}, "`pad_sequences`"),
    ({"x": np.array([1j])}, "complex"),
    ({"x": np.float32(3)}, "an axis of examples"),
    ({"x": 3}, "an axis of examples"),
    ({"x": []}, "no examples"),
    ({"x": np.zeros((0, 3))}, "no examples"),
    ({"x": {}}, "no examples"),
    ({"x": object()}, "Unrecognized data type: x="),
    ({"x": [np.ones(2), object()]}, r"Unrecognized data type: x\[1\]="),
    ({"x": np.ones(2), "y": iter([1])}, "Unrecognized data type: y="),
    ({"x": np.ones(2), "batch_size": -1}, "`batch_size` must be at least 1"),
    ({"x": np.ones(2), "batch_size": 2.5}, "`batch_size` must be a whole number"),
    ({"x": np.ones(2), "steps": -1}, "`steps` must be at least 1"),
    ({"x": np.ones(2), "shuffle": "epoch"}, "`shuffle` must be True, False or 'batch'"),
])  # fmt: skip
def test_what_is_no_data(arguments, says):
    with pytest.raises(ValueError, match=says):
        source(**arguments)


def test_a_mask_is_not_ignored():
    masked = np.ma.array([1, 2], mask=[False, True])
    with pytest.raises(TypeError, match="masked"):
        source(masked)
    assert source(np.ma.array([1, 2])).peek()[0].tolist() == [1, 2]


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="cardinality is ambiguous") as error:
        source({"a": np.ones(10), "b": np.ones(9)}, np.ones(4))
    assert str(error.value).splitlines()[1:] == ["'x' sizes: 10, 9", "'y' sizes: 4"]


def test_a_source_is_one_already():
    batches = source(np.arange(3))
    assert source(batches) is batches


# --- Weights --------------------------------------------------------------------------------------


@given(st.data())
def test_weights_of_classes(data):
    labels = np.array(data.draw(st.lists(st.integers(-1, 4), min_size=1, max_size=40)))
    by_class = data.draw(st.dictionaries(st.integers(0, 4), st.floats(0.125, 8, width=32)))
    expected = np.array([by_class.get(label, 1.0) for label in labels.tolist()], np.float32)
    one_hot = np.eye(6)[labels]  # in which -1 is the last class, which has no weight
    for y in (labels, labels.astype("f4") + 0.25, labels[:, None], one_hot):
        [epoch] = epochs_of(source(labels, y, class_weight=by_class, batch_size=7, shuffle=True))
        for x, _, w in epoch:
            np.testing.assert_array_equal(w, [by_class.get(label, 1.0) for label in x.tolist()])
            assert w.dtype == np.float32
        [[(_, _, w)]] = epochs_of(source(iter([(labels, y)]), class_weight=by_class))
        np.testing.assert_array_equal(w, expected)


def test_one_array_of_weights_is_for_every_output():
    y = {"a": np.ones(3), "b": [np.ones(3)]}
    for w in (np.arange(3.0), np.arange(3.0)[:, None]):
        _, _, weights = source(np.ones(3), y, w).peek()
        np.testing.assert_array_equal(weights["a"], w)
        np.testing.assert_array_equal(weights["b"][0], w)
    assert source(np.ones(3), y, {"a": np.ones(3), "b": [None]}).peek()[2]["b"] == [None]


@pytest.mark.parametrize(("y", "arguments", "says"), [
    (np.ones(2), {"class_weight": [1, 2]}, "`class_weight` is a dict"),
    (np.ones(2), {"class_weight": {"1": 2.0}}, "names classes by their number"),
    (np.ones(2), {"class_weight": {0.5: 2.0}}, "names classes by their number"),
    (np.ones(2), {"class_weight": {0: 2.0}, "sample_weight": np.ones(2)}, "at the same time"),
    (None, {"class_weight": {0: 2.0}}, "there is no `y`"),
    ([np.ones(2)], {"class_weight": {0: 2.0}}, "a single output"),
    (np.ones((2, 3, 4)), {"class_weight": {0: 2.0}}, "one label an example"),
    ([np.ones(2)] * 2, {"sample_weight": [np.ones(2)]}, "did not match"),
    ({"a": np.ones(2)}, {"sample_weight": {"b": np.ones(2)}}, "did not match"),
    ({"a": np.ones(2)}, {"sample_weight": [np.ones(2)]}, "did not match"),
    ([np.ones(2)] * 2, {"sample_weight": np.ones((2, 3))}, "one number an example"),
])  # fmt: skip
def test_weights_that_cannot_be(y, arguments, says):
    with pytest.raises(ValueError, match=says):
        source(np.ones(2), y, **arguments)


# --- A part for validation ------------------------------------------------------------------------


@given(st.integers(2, 200), st.floats(0.01, 0.99))
def test_the_last_part_is_for_validation(count, share):
    x, y, w = {"a": np.arange(count)}, [np.arange(count) * 2], np.arange(count) * 3
    at = int(np.floor(count * (1.0 - share)))
    if at in (0, count):
        with pytest.raises(ValueError, match="not sufficient"):
            split(x, y, w, share)
        return
    parts = split(x, y, w, share)
    for (part_x, part_y, part_w), numbers in zip(parts, (np.arange(at), np.arange(at, count))):
        np.testing.assert_array_equal(part_x["a"], numbers)
        np.testing.assert_array_equal(part_y[0], numbers * 2)
        np.testing.assert_array_equal(part_w, numbers * 3)
        assert np.shares_memory(part_x["a"], x["a"])


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, 0.9999, float("nan")])
def test_shares_that_leave_nothing(share):
    with pytest.raises(ValueError, match="not sufficient"):
        split(np.ones(3), None, None, share)


def test_what_is_not_split():
    with pytest.raises(ValueError, match="`validation_data` instead"):
        split((x for x in [1]), None, None, 0.5)
    with pytest.raises(ValueError, match="cardinality"):
        split(np.ones(4), np.ones(6), None, 0.5)


# --- Generators -----------------------------------------------------------------------------------


def numbered(count, size=2):
    for i in range(count):
        yield np.full((size, 3), i), np.full(size, float(i))


def test_what_a_generator_may_yield():
    x, y, w = np.arange(3), np.ones(3), np.zeros(3)
    for yielded, absent in [
        ([x], 2), ([(x,)], 2), ([{"a": x}], 2), ([[0, 1, 2]], 2), ([(x, y)], 1), ([[x, y]], 1),
        ([([0, 1, 2], [1, 1, 1])], 1), ([(x, y, w)], 0), ([(x, y, None)], 1), ([([x, x], y)], 1),
    ]:  # fmt: skip
        [[batch]] = epochs_of(source(iter(yielded)))
        assert sum(part is None for part in batch) == absent
        first = batch[0]["a"] if isinstance(batch[0], dict) else batch[0]
        np.testing.assert_array_equal(first[0] if isinstance(first, list) else first, x)
    with pytest.raises(ValueError, match=r"batch 0 of the list_iterator must be a tuple.*\(1, 2, 3, 4\)"):
        source(iter([(1, 2, 3, 4)]))


def test_a_bad_batch_is_named():
    batches = source(iter([(np.ones(2), np.ones(2)), (np.ones(2), np.ones(1))]))
    with pytest.raises(ValueError, match=r"(?s)samples. This is batch 1 of the list_iterator.*'y' sizes: 1"):
        list(batches.epoch())
    with pytest.raises(ValueError, match="no examples"):
        source(iter([(np.ones(0), np.ones(0))]))


def test_a_generator_is_not_shuffled():
    """Keras warns of that, though it is `fit` that asks for it where nobody does: `docs/differences.md`."""
    assert joined(epochs_of(source(numbered(3, 1), shuffle=True))[0], 1).tolist() == [0.0, 1.0, 2.0]


def test_an_empty_generator():
    with pytest.raises(ValueError, match="at least one batch"):
        source(numbered(0))


@pytest.mark.parametrize("name", ["y", "sample_weight"])
def test_labels_come_out_of_the_generator(name):
    for kind, x in (("generator", numbered(1)), ("PyDataset", Dataset(2))):
        with pytest.raises(ValueError, match=f"as a {kind}.*`{name}` should not be passed"):
            source(x, **{name: np.ones(2)})


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_a_generator_goes_on_from_epoch_to_epoch(count, steps, epochs):
    batches = source(numbered(count), steps=steps)
    assert (batches.num_batches, batches.batch_size) == (steps, None)
    seen = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(epochs):
            if not batches.ready():
                break
            seen.append([y[0] for _, y, _ in batches.epoch()])
    assert [*itertools.chain(*seen)] == list(range(min(count, steps * epochs)))
    assert all(len(epoch) == steps for epoch in seen[:-1])
    # Warned once, if the generator ended before the epochs did.
    assert len(caught) == (count < steps * epochs)
    assert all(str(w.message).startswith("Your input ran out of data; interrupting") for w in caught)


def test_a_generator_without_steps_is_one_epoch():
    batches = source(numbered(3))
    assert batches.num_batches is None
    assert batches.ready()
    assert len(list(batches.epoch())) == 3
    with pytest.warns(UserWarning, match="ran out of data"):
        assert not batches.ready()
    assert not batches.ready()
    assert list(batches.epoch()) == []


def test_a_generator_is_not_read_ahead_of_need():
    read = []

    def reading():
        for i in range(4):
            read.append(i)
            yield np.full(2, i)

    batches = source(reading(), steps=2)
    assert read == [0]
    list(batches.epoch())
    assert read == [0, 1]


def test_an_error_in_a_generator_is_seen():
    def failing():
        yield np.ones(2)
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        list(source(failing()).epoch())


def test_what_can_be_gone_through_again():
    class Loader:
        """As torch's DataLoader is."""

        def __len__(self):
            return 3

        def __iter__(self):
            return ([x, y] for x, y in numbered(3))

    batches = source(Loader())
    assert batches.num_batches == 3
    first, second = epochs_of(batches, 2)
    np.testing.assert_array_equal(joined(first), joined(second))
    batches = source(Loader(), steps=2)
    with pytest.warns(UserWarning, match="This epoch has 1 batches of 2"):
        assert [len(epoch) for epoch in epochs_of(batches, 3)] == [2, 1, 2]
    assert source(SimpleIterable()).num_batches is None


class SimpleIterable:
    def __iter__(self):
        return numbered(2)


# --- Datasets -------------------------------------------------------------------------------------


class Dataset(PyDataset):
    def __init__(self, length, **kwargs):
        super().__init__(**kwargs)
        self.length = length
        self.events = []

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index >= 1000:
            raise RuntimeError("there is no such batch")
        return np.full(2, index), np.full((2, 1), index * 2.0)

    def on_epoch_begin(self):
        self.events.append("begin")

    def on_epoch_end(self):
        self.events.append("end")


def test_the_batches_of_a_dataset_are_shuffled():
    set_random_seed(1)
    first, second = ([x[0] for x, _, _ in epoch] for epoch in epochs_of(source(Dataset(30), shuffle=True), 2))
    assert first != second
    assert first != sorted(first)


WORKERS = [{}, {"workers": 3}, {"workers": 2, "max_queue_size": 1}, {"workers": 3, "max_queue_size": 0}]


@given(st.integers(1, 30), st.booleans(), st.sampled_from(WORKERS), st.integers(0, 99))
def test_a_dataset_gives_each_batch_once(length, shuffle, workers, seed):
    batches = source(Dataset(length, **workers), shuffle=shuffle)
    assert (batches.num_batches, batches.batch_size) == (length, None)
    set_random_seed(seed)
    epochs = epochs_of(batches, 2)
    for epoch in epochs:
        order = [x[0] for x, _, _ in epoch]
        assert sorted(order) == list(range(length))
        assert shuffle or order == list(range(length))
        assert all(y[0, 0] == x[0] * 2 for x, y, _ in epoch)
    set_random_seed(seed)
    for epoch, again in zip(epochs, epochs_of(source(Dataset(length), shuffle=shuffle), 2)):
        np.testing.assert_array_equal(joined(epoch), joined(again))


def test_workers_are_processes_on_demand():
    batches = source(Dataset(6, workers=2, use_multiprocessing=True))
    for epoch in epochs_of(batches, 2):
        np.testing.assert_array_equal(joined(epoch), np.repeat(np.arange(6), 2))


def test_workers_work_ahead_but_not_further_than_the_queue():
    asked, lock = [], threading.Lock()

    class Counting(Dataset):
        def __getitem__(self, index):
            with lock:
                asked.append(index)
            return super().__getitem__(index)

    epoch = source(Counting(50, workers=2, max_queue_size=4)).epoch()
    next(epoch)
    time.sleep(0.1)  # for workers that would go on
    epoch.close()
    assert set(asked) <= set(range(4))


@pytest.mark.parametrize("workers", [*WORKERS, {"workers": 2, "use_multiprocessing": True}])
def test_an_error_in_a_worker_is_seen(workers):
    with pytest.raises(RuntimeError, match="there is no such batch"):
        list(source(Dataset(1001, **workers)).epoch())


def test_a_dataset_is_told_of_epochs():
    dataset = Dataset(2)
    batches = source(dataset)
    batches.on_epoch_begin()
    batches.on_epoch_end()
    assert dataset.events == ["begin", "end"]


def test_a_dataset_without_end():
    class Endless(Dataset):
        num_batches = None

    with pytest.raises(ValueError, match="`steps_per_epoch`"):
        source(Endless(3))
    batches = source(Endless(3), steps=4, shuffle=True)
    assert [x[0] for epoch in epochs_of(batches, 2) for x, _, _ in epoch] == list(range(8))
    assert [y[0] for _, y in itertools.islice(Endless(3), 4)] == [0, 2, 4, 6]


def test_datasets_that_lack_something():
    class Nothing(PyDataset):
        pass

    with pytest.raises(NotImplementedError, match="`num_batches`"):
        source(Nothing())
    with pytest.raises(NotImplementedError, match="__getitem__"):
        Nothing()[0]
    with pytest.raises(ValueError, match="has no batches"):
        source(Dataset(0))
    with pytest.raises(ValueError, match=r"WithoutTuple\[0\] must be a tuple"):
        source(WithoutTuple(1)).peek()


class WithoutTuple(Dataset):
    def __getitem__(self, index):
        return ()


def test_a_dataset_need_not_call_its_base():
    class Old(PyDataset):
        def __init__(self):
            self.x = np.arange(4)

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return self.x[2 * index : 2 * index + 2], self.x[:2]

    assert joined(epochs_of(source(Old()))[0]).tolist() == [0, 1, 2, 3]


def test_whatever_has_a_length_and_batches_is_a_dataset():
    class Duck:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return (np.full(2, index),)

    batches = source(Duck(), shuffle=True)
    batches.on_epoch_begin()
    batches.on_epoch_end()
    assert sorted(joined(epochs_of(batches)[0]).tolist()) == [0, 0, 1, 1]


def test_packing():
    assert pack_x_y_sample_weight([1]) == ([1],)
    assert pack_x_y_sample_weight(1) == 1
    assert pack_x_y_sample_weight(1, 2, 3) == (1, 2, 3)
    assert unpack_x_y_sample_weight(1) == (1, None, None)
    assert unpack_x_y_sample_weight([1]) == (1, None, None)
    assert unpack_x_y_sample_weight((1, 2)) == (1, 2, None)
    for wrong in ((), (1, 2, 3, 4)):
        with pytest.raises(ValueError, match="in format"):
            unpack_x_y_sample_weight(wrong)


# --- Beside Keras ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keras():
    with process("keras") as ask:
        yield ask


def fitted(library, make, arguments, epochs=1):
    """The batches that `fit` would see, epoch by epoch, and how often it would warn."""
    seen, data = [], make(library)
    arguments = dict(zip(("x", "y", "sample_weight"), data), **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if library is fastembed:
            if "steps_per_epoch" in arguments:
                arguments["steps"] = arguments.pop("steps_per_epoch")
            batches = source(**arguments)
            for _ in range(epochs):
                batches.on_epoch_begin()
                seen.append([(x, y, w) for x, y, w in batches.epoch()])
                batches.on_epoch_end()
        else:
            from keras.src.trainers.epoch_iterator import EpochIterator

            batches = EpochIterator(**arguments)
            for _ in range(epochs):
                seen.append([])
                with contextlib.suppress(StopIteration):
                    for _, _, [batch] in batches:
                        seen[-1].append(library.utils.unpack_x_y_sample_weight(batch))
    return seen, len([w for w in caught if "ran out of data" in str(w.message)])


def arrays(library):
    rng = np.random.default_rng(0)
    return {"a": rng.integers(0, 9, (11, 3)), "b": rng.standard_normal((11, 2))}, rng.standard_normal(11)


def weighted(library):
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, (11, 3), "int32"), rng.integers(0, 2, 11), rng.random(11)


def labelled(library):
    rng = np.random.default_rng(0)
    return rng.integers(0, 9, (11, 3), "int32"), rng.integers(0, 4, (11, 1))


def one_hot(library):
    x, y = labelled(library)
    return x, np.eye(4)[y[:, 0]]


def several_outputs(library):
    rng = np.random.default_rng(0)
    return [rng.random(11)] * 2, (rng.integers(0, 2, 11), rng.random((11, 2))), rng.random(11)


def dataset(library):
    class Three(PyDataset if library is fastembed else library.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return np.full(2, index), np.full(2, index)

    return (Three(),)


PROGRAMS = [
    (arrays, {}, 2), (arrays, {"batch_size": 4}, 2), (weighted, {"batch_size": 4}, 1),
    (labelled, {"class_weight": {0: 0.5, 3: 2.0}}, 1), (one_hot, {"class_weight": {0: 0.5, 3: 2.0}}, 1),
    (several_outputs, {"batch_size": 5}, 1), (arrays, {"steps_per_epoch": 3}, 2),
    (arrays, {"batch_size": 2, "steps_per_epoch": 4}, 5),
    (arrays, {"batch_size": 2, "steps_per_epoch": 8}, 2),
    (arrays, {"batch_size": 4, "steps_per_epoch": 3}, 3), (dataset, {}, 2),
    (dataset, {"class_weight": {1: 3.0}}, 1), (dataset, {"steps_per_epoch": 2}, 4),
]  # fmt: skip


@pytest.mark.parametrize(("make", "arguments", "epochs"), PROGRAMS)
def test_fit_sees_the_same_batches(keras, make, arguments, epochs):
    seen, _ = agree(keras, fitted, make, arguments, epochs)
    assert seen
    assert seen[0]


def generating(library):
    return (((np.full(2, i), np.full(2, i)) for i in range(5)),)


def test_a_generator_with_enough_batches_gives_the_same(keras):
    agree(keras, fitted, generating, {"steps_per_epoch": 2}, 2)


def test_a_generator_that_ends_begins_again_in_keras_with_its_first_two_batches(keras):
    """Here training ends: `docs/differences.md`."""
    theirs, warned = keras(fitted, generating, {"steps_per_epoch": 4}, 3)
    assert [[int(y[0]) for _, y, _ in epoch] for epoch in theirs] == [[0, 1, 2, 3], [4], [0, 1]]
    ours, warned_here = fitted(fastembed, generating, {"steps_per_epoch": 4}, 2)
    assert [[int(y[0]) for _, y, _ in epoch] for epoch in ours] == [[0, 1, 2, 3], [4]]
    assert (warned, warned_here) == (2, 1)


def parts(library, share):
    data = np.arange(11), {"a": np.arange(11.0)}, None
    if library is fastembed:
        return [list(part) for part in split(*data, share)]
    from keras.src.trainers.data_adapters.array_slicing import train_validation_split

    return [
        [x.array if hasattr(x, "array") else x, {"a": getattr(y["a"], "array", y["a"])}, w]
        for x, y, w in train_validation_split(data, share)
    ]


@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3, 0.5, 0.9])
def test_the_same_part_is_for_validation(keras, share):
    agree(keras, parts, share)


def differing(library):
    return np.ones(3), np.ones(4)


def both_weights(library):
    return np.ones(3), np.ones(3), np.ones(3)


@pytest.mark.parametrize(("make", "arguments"), [
    (differing, {}), (both_weights, {"class_weight": {0: 1.0}}),
    (several_outputs, {"class_weight": {0: 1.0}}),
])  # fmt: skip
def test_the_same_is_refused(keras, make, arguments):
    ours, theirs = outcome(fitted, fastembed, make, arguments), keras(fitted, make, arguments)
    assert isinstance(ours, Raised)
    assert ours.name == theirs.name == "ValueError"


def lists(library):
    return [[1, 2], [3, 4]], [0.0, 1.0]


def bare_arrays(library):
    return ((np.ones(2) for _ in range(2)),)


@pytest.mark.parametrize(("make", "arguments"), [
    (lists, {}), (bare_arrays, {}), (generating, {"class_weight": {0: 2.0}}),
])  # fmt: skip
def test_what_keras_refuses_is_accepted(keras, make, arguments):
    theirs = keras(fitted, make, arguments)
    assert isinstance(theirs, Raised)
    [epoch], _ = fitted(fastembed, make, arguments)
    assert epoch


def test_packing_is_the_same(keras):
    agree(keras, _packed)


def _packed(library):
    home = data if library is fastembed else library.utils
    pack, unpack = home.pack_x_y_sample_weight, home.unpack_x_y_sample_weight
    return [
        pack(1),
        pack([1]),
        pack(1, 2),
        pack(1, 2, 3),
        unpack(1),
        unpack((1,)),
        unpack([1, 2]),
        unpack((1, 2, 3)),
    ]
