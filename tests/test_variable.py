"""Variables: values in and out, gradients, copies."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import threading
import weakref

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import VALUE_DTYPES

from fastembed import IndexedSlices, Variable, ops
from fastembed.dtypes import as_dtype, round_to_bfloat16, standardize_dtype, widen_bfloat16
from fastembed.variable import swap


def test_says_what_it_is():
    variable = Variable(
        np.zeros((2, 3)), dtype="float32", name="kernel", path="dense/kernel", trainable=False
    )
    assert (variable.name, variable.path, variable.shape, variable.ndim) == (
        "kernel",
        "dense/kernel",
        (2, 3),
        2,
    )
    assert (variable.dtype, variable.trainable, len(variable)) == ("float32", False, 2)
    assert (variable.regularizer, variable.constraint, variable.gradient) == (None, None, None)
    assert repr(variable) == "<Variable path=dense/kernel, shape=(2, 3), dtype=float32>"
    with pytest.raises(ValueError, match="cannot contain character `/`"):
        Variable(1.0, name="a/b")


@pytest.mark.parametrize("dtype", VALUE_DTYPES)
def test_every_dtype_keeps_its_values(dtype):
    variable = Variable([[0, 1], [2, 100]], dtype=dtype)
    assert variable.dtype == dtype
    assert variable.numpy().dtype == ("float32" if dtype == "bfloat16" else dtype)
    np.testing.assert_array_equal(variable.numpy(), [[0, 1], [2, 100]])
    variable.assign([[1, 2], [3, 4]])
    np.testing.assert_array_equal(ops.gather(variable, [1]), [[3, 4]])


def test_the_dtype_is_the_values_own_or_floatx():
    assert Variable(np.ones(2, "f8")).dtype == "float64"
    assert (Variable([1.0]).dtype, Variable([1, 2]).dtype, Variable(True).dtype) == (
        "float32",
        "int32",
        "bool",
    )
    assert (
        Variable(lambda shape, dtype: np.ones(shape, dtype), shape=(2, 2), dtype="float16").dtype == "float16"
    )
    with pytest.raises(ValueError, match="needs a shape"):
        Variable(lambda shape, dtype: 0)
    with pytest.raises(ValueError, match=r"a value of shape \(2,\) was given for a variable of shape \(3,\)"):
        Variable([1, 2], shape=(3,))


def test_numpy_copies_and_asarray_is_a_read_only_view():
    given = np.zeros((3, 2), np.float32)
    variable = Variable(given)
    given[0] = 1  # the variable has a copy
    assert not np.asarray(variable).any()
    variable.numpy()[0] = 1  # and gives copies
    assert not np.asarray(variable).any()
    view = np.asarray(variable)
    assert np.shares_memory(view, np.asarray(variable))
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="resize"):
        view.resize((100, 100), refcheck=False)
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    assert np.array(variable).flags.writeable
    assert np.asarray(variable, np.float64).dtype == np.float64


def test_a_view_goes_on_showing_the_old_value():
    variable = Variable([1.0, 2.0])
    before = np.asarray(variable)
    returned = variable.assign([3.0, 4.0])
    assert before.tolist() == [1, 2]
    assert returned.tolist() == np.asarray(variable).tolist() == [3, 4]


def test_tables_follow_what_is_assigned():
    variable = Variable(np.zeros((3, 2)))
    table = variable.table
    variable.assign_add([[1, 2], [3, 4], [5, 6]])
    variable.assign_sub(1)
    assert table.gather(np.array([2])).tolist() == [[4, 5]]
    assert variable.table is table


@pytest.mark.parametrize("value", [np.zeros((3, 2)), 1.0, [[1, 2], [3, "a"]], [[1, 2], [3]]], ids=repr)
def test_a_failed_assignment_changes_nothing(value):
    variable = Variable([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises((ValueError, TypeError)):
        variable.assign(value)
    assert variable.numpy().tolist() == [[1, 2], [3, 4]]


def test_says_which_shapes_do_not_match():
    with pytest.raises(ValueError, match=r"must match. variable.shape=\(2,\), Received: value.shape=\(3,\)"):
        Variable([1.0, 2.0]).assign([1, 2, 3])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (256, "uint8"),
        (-1, "uint8"),
        (1.5, "int32"),
        (np.nan, "int8"),
        (2**31, "int32"),
        (np.uint64(2**63), "int64"),
    ],
)
def test_integers_are_exact_or_an_error(value, dtype):
    with pytest.raises(ValueError, match=f"{dtype} cannot hold"):
        as_dtype(value, dtype)


def test_is_a_number_to_numpy_but_not_changed_in_place():
    variable = Variable([1.0, 2.0])
    assert (variable + 1).tolist() == (1 + variable).tolist() == [2, 3]
    assert (variable * variable).tolist() == [1, 4]
    assert (variable @ variable) == 5
    assert np.sqrt(variable).dtype == np.float32
    assert variable[1] == 2
    assert (variable == [1, 0]).tolist() == [True, False]
    with pytest.raises(TypeError, match="assign_add"):
        variable += 1
    with pytest.raises(TypeError, match="no truth value"):
        bool(variable)
    assert len({variable, variable}) == 1


def test_gradients_add_up():
    variable = Variable(np.zeros((3, 2)))
    sparse = IndexedSlices(np.ones((1, 2), "f4"), np.array([1]), (3, 2))
    variable.add_gradient(sparse)
    variable.add_gradient(IndexedSlices(np.ones((2, 2), "f4"), np.array([0, 1]), (3, 2)))
    assert variable.gradient.indices.tolist() == [0, 1]
    assert variable.gradient.values.tolist() == [[1, 1], [2, 2]]
    dense = np.full((3, 2), 10.0, "f4")
    variable.add_gradient(dense)
    dense[:] = 0  # what was given stays the caller's
    assert variable.gradient.tolist() == [[11, 11], [12, 12], [10, 10]]
    variable.add_gradient(sparse)
    assert variable.gradient.tolist() == [[11, 11], [13, 13], [10, 10]]
    with pytest.raises(ValueError, match="a gradient of shape"):
        variable.add_gradient(np.zeros(2))
    variable.clear_gradient()
    assert variable.gradient is None


def test_slices_that_name_a_row_twice_are_summed_before_anybody_sees_them():
    variable = Variable(np.zeros((3, 1)))
    variable.add_gradient(IndexedSlices([[1.0], [2.0]], [1, 1], (3, 1)))
    assert variable.gradient.indices.tolist() == [1]
    assert variable.gradient.values.tolist() == [[3]]


def test_adds_in_its_own_dtype_as_keras_does():
    values = np.linspace(0.1, 1, 50)
    variable = Variable(values, dtype="float32")
    variable.assign_add(values.tolist())
    np.testing.assert_array_equal(variable, values.astype("f4") + values.astype("f4"))
    assert float(Variable(2.5)) == 2.5
    assert int(Variable(2)) == 2


def test_assignments_of_several_threads_leave_value_and_tables_the_same():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            variable = Variable(np.zeros((4, 2)))
            threads = [threading.Thread(target=variable.rows) for _ in range(2)]
            for value in (1.0, 2.0):
                threads.append(threading.Thread(target=variable.assign, args=[np.full((4, 2), value)]))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            np.testing.assert_array_equal(variable.table.gather(np.arange(4)), variable.numpy())
            assert variable.rows() is variable.table
    finally:
        sys.setswitchinterval(interval)


def test_a_lock_is_free_in_a_forked_child():
    code = """
import os, signal, threading, time
from fastembed import Variable
variable = Variable([1.0])
held = threading.Event()
def hold():
    with variable._lock:
        held.set()
        time.sleep(5)
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(3)
    variable.assign([2.0])
    os._exit(0)
print(os.waitpid(child, 0)[1])
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n", done.stderr


def test_copies_and_pickles():
    variable = Variable(np.arange(6.0).reshape(3, 2), name="v", dtype="bfloat16")
    variable.table  # noqa: B018  (a table that exists is not carried along)
    for other in (copy.deepcopy(variable), pickle.loads(pickle.dumps(variable))):
        other.assign(np.zeros((3, 2)))
        assert (other.name, other.dtype) == ("v", "bfloat16")
    np.testing.assert_array_equal(variable, np.arange(6).reshape(3, 2))


# --- bfloat16 -------------------------------------------------------------------------------------


def test_every_bfloat16_is_widened_exactly_and_comes_back():
    words = np.arange(2**16, dtype=np.uint16)
    wide = widen_bfloat16(words)
    numbers = ~np.isnan(wide)
    np.testing.assert_array_equal(round_to_bfloat16(wide)[numbers], words[numbers])
    assert np.isnan(widen_bfloat16(round_to_bfloat16(wide)))[~numbers].all()


@given(hnp.arrays(np.float32, 20, elements=st.floats(width=32)))
def test_rounds_as_ml_dtypes_does(values):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    with np.errstate(all="ignore"):
        expected = values.astype(bfloat16).astype(np.float32)
    np.testing.assert_array_equal(widen_bfloat16(round_to_bfloat16(values)), expected)


def test_bfloat16_words():
    variable = Variable.from_bfloat16_words(np.array([[0x3F80, 0x4049]], np.uint16))
    assert variable.dtype == "bfloat16"
    np.testing.assert_array_equal(variable.numpy(), np.array([[1.0, 3.140625]], "f4"), strict=True)
    with pytest.raises(TypeError, match="bfloat16 words are uint16"):
        Variable.from_bfloat16_words(np.array([1.0]))


def test_dtype_names():
    assert [standardize_dtype(d) for d in (None, "float16", np.int8, np.dtype(">f4"), bool, float)] == [
        "float32", "float16", "int8", "float32", "bool", "float32",
    ]  # fmt: skip
    for wrong in ("complex64", object, "int4", 3):
        with pytest.raises(ValueError, match="Invalid dtype"):
            standardize_dtype(wrong)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_variable_without_axes(dtype):
    variable = Variable(1.5, dtype=dtype)
    variable.assign_add(1)
    assert variable.shape == variable.value.shape == variable.numpy().shape == ()
    assert float(variable) == 2.5


class TestWhatFollows:
    """Objects made of several variables, which `swap` changes together."""

    class Follower:
        def __init__(self, *variables):
            self.variables, self.seen, self.refuses = variables, [], lambda values: False
            for variable in variables:
                variable.follow_with(self)

        def refresh(self):
            values = [variable.numpy().tolist() for variable in self.variables]
            if self.refuses(values):
                raise ValueError("refused")
            self.seen.append(values)

    def test_is_refreshed_once_after_the_last(self):
        a, b, c = (Variable([0.0]) for _ in range(3))
        follower, other = self.Follower(a, b), self.Follower(b)
        swap([(variable, variable.memory_for([1.0])) for variable in (a, c, b)])
        assert follower.seen == [[[1.0], [1.0]]]
        assert other.seen == [[[1.0]]]
        c.assign([2.0])
        b.assign([3.0])
        assert follower.seen[1:] == [[[1.0], [3.0]]]

    def test_may_refuse_all_of_it(self):
        a, b = Variable([0.0]), Variable([0.0])
        follower, table = self.Follower(a, b), a.table
        follower.refuses = lambda values: [1.0] in values
        with pytest.raises(ValueError, match="refused"):
            swap([(variable, variable.memory_for([1.0])) for variable in (a, b)])
        with pytest.raises(ValueError, match="refused"):
            a.assign([1.0])
        assert (a.numpy(), b.numpy(), table.array) == ([0.0], [0.0], [0.0])
        assert all(values == [[0.0], [0.0]] for values in follower.seen)

    def test_does_not_outlive_its_holder(self):
        variable = Variable([0.0])
        follower = weakref.ref(self.Follower(variable))
        assert follower() is None
        variable.assign([1.0])

    def test_stays_behind_when_a_variable_is_copied(self):
        variable = Variable([0.0])
        follower = self.Follower(variable)
        copy.deepcopy(variable).assign([1.0])
        assert follower.seen == []

    def test_the_memory_of_a_dropped_variable_is_freed_at_once(self):
        variable = Variable(np.zeros(10))
        variable.rows()
        held = weakref.ref(variable)
        gc.disable()
        try:
            del variable
            assert held() is None
        finally:
            gc.enable()
