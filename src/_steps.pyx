"""Rows that learn: an optimizer's steps, and what rows are owed that had no gradient for a while.

steps.h says what is computed, stepping.h who computes it; here it is decided what a step must do, and the
past is kept. Nothing here locks: a variable takes one step at a time (fastembed/optimizers/ledger.py).
"""

import numpy as np

cimport cython
cimport numpy as cnp
from libc.math cimport HUGE_VAL, log1p, sqrt
from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from _numpy cimport PyArray_IS_C_CONTIGUOUS, PyArray_ISALIGNED, PyArray_ISNOTSWAPPED, PyArray_NBYTES

from fastembed._additions cimport addable, copy_and_sort, fe_additions, open_sums
from fastembed._memory cimport new_output
from fastembed._rows cimport (
    Ids,
    Outside,
    Owed,
    fe_best_isa,
    fe_table,
    fe_take,
    for_table,
    kernels,
    open_ids,
    outside_error,
    policy_of,
    rows_ahead,
)
from fastembed._team cimport Team, run, team_for

from fastembed._rows import isa

cdef extern from "steps.h" nogil:
    enum: FE_MOST_SLOTS, FE_MOST_TERMS, FE_MOST_CONSTANTS, FE_MOST_NUMBERS
    enum: FE_LOG_KEPT, FE_MOVED, FE_CORRECTED, FE_TERMS
    enum:
        FE_SGD, FE_MOMENTUM, FE_NESTEROV, FE_RMSPROP, FE_RMSPROP_CENTERED, FE_RMSPROP_MOMENTUM
        FE_RMSPROP_CENTERED_MOMENTUM, FE_ADAGRAD, FE_ROWWISE_ADAGRAD, FE_ADADELTA
        FE_ADAM, FE_AMSGRAD, FE_ADAMAX, FE_NADAM, FE_FTRL, FE_LION, FE_LAMB
    ctypedef struct fe_steps:
        int rule
        char* rows
        char** slots
        Py_ssize_t n_rows
        Py_ssize_t dim
        size_t row_bytes
        double* constants
        double* numbers
        double decay
        int is_nonneg
        int32_t* last
        int32_t now
        const double* past
        int width
        int terms
        int32_t window
        int decays
        const double** fades
        double* log_fades
        double least
        double last_rate
    ctypedef struct fe_step_kernels:
        pass
    const fe_step_kernels* fe_steps_for(int isa, int is_double)

cdef extern from "stepping.h" nogil:
    enum: FE_NORM_BYTES
    ctypedef struct fe_stepping:
        const fe_steps* steps
        const fe_step_kernels* kernels
        const fe_additions* given
        const uint64_t* rows
        Py_ssize_t n
        const char* values
        char* sums
        int which
        char* out
        double* squares
    size_t fe_sums_bytes(size_t row_bytes)
    void fe_step_unique_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_step_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_mark_long_rows(const fe_stepping* job, Py_ssize_t parts) noexcept
    void fe_step_run_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_step_each_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_step_all_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_measure_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_finish_part(void* state, Py_ssize_t part, Py_ssize_t parts) noexcept
    void fe_take_finished(
        char* out, const fe_table* table, const uint64_t* block, Py_ssize_t n, Py_ssize_t known
    ) noexcept

cnp.import_array()

cdef enum:
    # Steps of the past for which there is room at first; ...
    FIRST_PAST = 1024
    # ... when it takes more than this, and more than a quarter of the table, all rows are brought up to date.
    LEAST_PAST = 1024 * 1024
    # What is brought forward at each step: 20 us at most. Rules that would need more take the dense pass.
    MOST_OF_PAST = 65536
    # What a step of rows counts for each byte of its gradient, when it is decided whether to share it: rows
    # and two slots are read and written, with two roots and two divisions a number. 1,000 rows of Adam's in
    # 1M x 64 took 115 us on the thread that called, and take 86 with a team that is woken.
    RANDOM = 12
    # Powers that are kept of slots which move no rows; beyond, they are computed.
    KEPT_POWERS = 512

# A slot that has faded to less than 2^-60 moves nothing any more: 395 steps with 0.9.
cdef double _FADED = 2.0**-60

cdef bytes _limit = isa.encode()  # of _rows, which has looked at the environment
cdef int _isa = fe_best_isa(<const char*>_limit)


# --- Rules ----------------------------------------------------------------------------------------

# For each rule its number, its constants in the order of the kernels, how many slots it has, and by which
# constant each of them fades while there is no gradient (None: not at all; in brackets: it moves its rows).
_RULES = {
    "sgd": (FE_SGD, (), 0, ()),
    "momentum": (FE_MOMENTUM, ("momentum",), 1, (["momentum"],)),
    "nesterov": (FE_NESTEROV, ("momentum",), 1, (["momentum"],)),
    "rmsprop": (FE_RMSPROP, ("rho", "epsilon"), 1, ("rho",)),
    "rmsprop_centered": (FE_RMSPROP_CENTERED, ("rho", "epsilon"), 2, ("rho", "rho")),
    "rmsprop_momentum": (FE_RMSPROP_MOMENTUM, ("rho", "epsilon", "momentum"), 2, ("rho", ["momentum"])),
    "rmsprop_centered_momentum": (
        FE_RMSPROP_CENTERED_MOMENTUM, ("rho", "epsilon", "momentum"), 3, ("rho", "rho", ["momentum"])
    ),
    "adagrad": (FE_ADAGRAD, ("epsilon",), 1, (None,)),
    "rowwise_adagrad": (FE_ROWWISE_ADAGRAD, ("epsilon",), 1, (None,)),
    "adadelta": (FE_ADADELTA, ("rho", "epsilon"), 2, ("rho", "rho")),
    "adam": (FE_ADAM, ("beta_1", "beta_2", "epsilon"), 2, (["beta_1"], "beta_2")),
    "amsgrad": (FE_AMSGRAD, ("beta_1", "beta_2", "epsilon"), 3, (["beta_1"], "beta_2", None)),
    "adamax": (FE_ADAMAX, ("beta_1", "beta_2", "epsilon"), 2, (["beta_1"], "beta_2")),
    "nadam": (FE_NADAM, ("beta_1", "beta_2", "epsilon"), 2, (["beta_1"], "beta_2")),
    "ftrl": (
        FE_FTRL, ("learning_rate_power", "l1", "l2", "l2_shrinkage", "beta"), 2, (None, None)
    ),
    "lion": (FE_LION, ("beta_1", "beta_2"), 1, ("beta_2",)),
    "lamb": (FE_LAMB, ("beta_1", "beta_2", "epsilon"), 2, ("beta_1", "beta_2")),
}

# Nadam: rows that had their last gradient before this step are walked.
NADAM_SETTLED = 128


def _shrinkage(rule, constants, window):
    """a_k for k = 0 ... window (steps.h): how much smaller the denominator is after so many idle steps."""
    k = np.arange(window + 1.0)
    if rule == "adam":
        return -np.expm1(k / 2 * np.log(constants["beta_2"]))
    if rule == "adamax":
        return -np.expm1(k * np.log(constants["beta_2"]))
    if rule == "nadam":  # for a row whose last step was the first that is not walked, where it is largest
        b = constants["beta_2"]
        corrected = np.sqrt((1 - b**NADAM_SETTLED) / (1 - b ** (NADAM_SETTLED + k)))
        return 1 - b ** (k / 2) * corrected
    return np.zeros(window + 1)  # what divides does not fade, or nothing does: N_0 alone


def _plan(rule, constants, is_double):
    """How many steps and terms moves are owed for; or why the rule has to move all rows at each step."""
    _, _, _, fades = _RULES[rule]
    moving = [constants[fade[0]] for fade in fades if isinstance(fade, list)]
    if rule == "lamb":
        return "LAMB scales a step by norms of the whole table"
    if rule == "ftrl" and constants["l2_shrinkage"]:
        return "l2 shrinkage pulls at every row at every step"
    if rule in ("adam", "adamax", "nadam", "amsgrad") and constants["epsilon"] == 0:
        return "epsilon is 0, and so are the denominators of rows that never had a gradient"
    if not moving:
        return KEPT_POWERS, 0
    fade = moving[0]
    if not 0 <= fade < 1:
        return f"a momentum of {fade} never fades"
    window = 1 if fade == 0 else max(1, int(np.ceil(np.log(_FADED) / np.log(fade))))
    if window > MOST_OF_PAST:
        return f"a momentum of {fade} takes {window:,} steps to fade"
    if rule in ("adam", "adamax", "nadam") and not 0 < constants["beta_2"] < 1:
        return f"beta_2 is {constants['beta_2']}"
    shrinkage = _shrinkage(rule, constants, window)[1:]
    weights = fade ** np.arange(1.0, window + 1)
    allowed = weights.sum() * 2.0 ** (-54 if is_double else -26)
    for terms in range(1, FE_MOST_TERMS + 1):
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = np.where(shrinkage > 0, weights * shrinkage**terms / (1 - shrinkage), 0).sum()
        if tail <= allowed:
            break
    else:
        return f"what rows are owed would need more than {FE_MOST_TERMS} terms"
    if window * terms > MOST_OF_PAST:
        return f"what rows are owed would need {terms} terms for {window:,} steps"
    return window, terms


def why_dense(str rule, constants, dtype):
    """Why a rule has to move all rows at each step, as a sentence; None if it need not.

    Parameters
    ----------
    rule : str
    constants : mapping of str to float
    dtype : dtype
        float32 or float64: of the latter more is computed.
    """
    plan = _plan(rule, constants, np.dtype(dtype) == np.float64)
    return plan if isinstance(plan, str) else None


# --- A lookup of rows that are owed moves ---------------------------------------------------------

@cython.final
@cython.auto_pickle(False)
cdef class OwedMoves(Owed):
    """What the rows of a table are owed at one moment, for its lookups."""
    cdef:
        fe_steps steps
        fe_stepping job
        tuple memory   # keeps alive what `steps` points to
        object _settle

    def settle_for_writing(self):
        """Let whoever owes the moves give the table rows that are owed nothing."""
        self._settle()


# --- Rows that learn ------------------------------------------------------------------------------

cdef cnp.ndarray _learner(array, str what):
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        got = getattr(array, "dtype", type(array).__name__)
        raise TypeError(f"{what} must be an array of float32 or float64, got {got}")
    held = np.ndarray.view(array, np.ndarray)
    if not (PyArray_IS_C_CONTIGUOUS(held) and PyArray_ISALIGNED(held) and PyArray_ISNOTSWAPPED(held)):
        raise ValueError(f"{what} must be C-contiguous, aligned and in native byte order")
    return held


@cython.auto_pickle(False)
cdef class Steps:
    """Rows and their slots, moved in place by one rule.

    Parameters
    ----------
    rule : str
    rows : ndarray of float32 or float64, shape (rows, ...)
        Changed in place, whatever its flags say.
    slots : sequence of ndarray
        As many as the rule has, of the shape and dtype of the rows (one number a row for "rowwise_adagrad").
    constants : mapping of str to float
    mode : {"sparse", "lazy", "dense"}
        What becomes of rows without a gradient: they are owed what the rule does to them, or stay as they
        are, or are moved at each step. A rule that `why_dense` names cannot be sparse.
    decays : bool
        Whether any step will decay rows.

    Notes
    -----
    A step is ``rows -= rows * decay``, then the rule, then (``nonneg``) what is below zero becomes zero.
    """
    cdef:
        fe_steps steps
        const fe_step_kernels* kernels
        readonly cnp.ndarray rows
        readonly tuple slots
        cnp.ndarray last       # int32, or None
        cnp.ndarray past
        cnp.ndarray powers     # of each slot's fade
        cnp.ndarray shrinkage  # a_k
        readonly str mode
        readonly bint decays
        bint level             # nothing is owed to any row
        bint moves             # rows without a gradient are moved, by more than decay

    def __cinit__(self, *_, **__):
        # Whatever happens to __init__, there is memory to look at: no rows of one number.
        self.rows, self.slots, self.mode, self.level = np.empty((0, 1), np.float32), (), "dense", True
        self.kernels = fe_steps_for(_isa, False)

    def __init__(self, str rule, rows, slots, constants, *, str mode="sparse", bint decays=False):
        kind, names, n_slots, fades = _RULES[rule]
        cdef:
            fe_steps* steps = &self.steps
            cnp.ndarray array
            int i
            Py_ssize_t window, terms
        self.rows = _learner(rows, "rows")
        self.slots = tuple(_learner(slot, "a slot") for slot in slots)
        shape, dtype = rows.shape, rows.dtype
        expected = shape[:1] if rule == "rowwise_adagrad" else shape
        if len(self.slots) != n_slots or not shape:
            raise ValueError(f"{rule} has rows and {n_slots} slots, got {len(self.slots)} for shape {shape}")
        for slot in self.slots:
            if slot.shape != expected or slot.dtype != dtype:
                got = f"{slot.shape} and {slot.dtype}"
                raise ValueError(f"a slot must be of shape {expected} and {dtype}, got {got}")
        memset(steps, 0, sizeof(fe_steps))
        steps.rule = kind
        steps.n_rows = shape[0]
        steps.row_bytes = PyArray_NBYTES(self.rows) // max(1, shape[0])
        steps.dim = steps.row_bytes // dtype.itemsize
        steps.rows = <char*>cnp.PyArray_DATA(self.rows)
        for i, array in enumerate(self.slots):
            steps.slots[i] = <char*>cnp.PyArray_DATA(array)
        for i, name in enumerate(names):
            steps.constants[i] = constants[name]
        if rule == "nadam":
            steps.constants[3] = np.sqrt(1 - constants["beta_2"] ** NADAM_SETTLED)
        is_double = dtype == np.float64
        self.kernels = fe_steps_for(_isa, is_double)
        # XLA, which computes for Keras, takes numbers below the normal ones for zero.
        steps.least = np.finfo(dtype).tiny / constants["beta_1"] if constants.get("beta_1") else HUGE_VAL
        self.mode, self.decays, self.level, self.moves = mode, decays, True, False
        if mode != "sparse":
            return
        if rule == "amsgrad":
            # What a row is owed goes by the largest v, and takes it that no later one is larger. In a slot
            # that was given, as zeros, one may be: Keras finds it at the next step.
            largest = np.maximum(self.slots[2], self.slots[1] * dtype.type(constants["beta_2"]))
            array = largest
            memcpy(steps.slots[2], cnp.PyArray_DATA(array), PyArray_NBYTES(array))
        plan = _plan(rule, constants, is_double)
        if isinstance(plan, str):
            raise ValueError(plan)
        window, terms = plan
        steps.window, steps.terms = window, terms
        self.moves = terms > 0 or rule in ("ftrl", "lion")
        if not (self.moves or decays or any(fade is not None for fade in fades)):
            return  # a row without a gradient stays as it is, and so do its slots
        steps.width = FE_TERMS + terms
        self.shrinkage = _shrinkage(rule, constants, window)
        self.powers = np.ones((max(1, n_slots), window + 1))
        for i, fade in enumerate(fades):
            steps.log_fades[i] = 0
            if fade is None:
                continue
            factor = constants[fade[0] if isinstance(fade, list) else fade]
            self.powers[i] = factor ** np.arange(window + 1.0)
            steps.fades[i] = <const double*>cnp.PyArray_DATA(self.powers) + i * (window + 1)
            steps.log_fades[i] = -HUGE_VAL if isinstance(fade, list) or factor == 0 else np.log(factor)
        self._forget_past(self._no_past(), 0.0)

    # --- The past ---------------------------------------------------------------------------------

    cdef tuple _no_past(self):
        """Memory for `_forget_past`, to be had before anything is moved."""
        return np.zeros(self.steps.n_rows, np.int32), np.zeros((FIRST_PAST, self.steps.width))

    cdef void _forget_past(self, tuple memory, double corrected) noexcept:
        """All rows are up to date: their last step is the one before the first.

        Lookups that know of no such thing go on with what they have: each row is marked as moved.
        """
        cdef fe_steps* steps = &self.steps
        self.last, self.past = memory
        steps.last = <int32_t*>cnp.PyArray_DATA(self.last)
        steps.past = <const double*>cnp.PyArray_DATA(self.past)
        (<double*>steps.past)[FE_CORRECTED] = corrected
        steps.now, steps.decays, self.level = 0, False, True

    cdef double _last_corrected(self) noexcept:
        return self.steps.past[<size_t>self.steps.now * self.steps.width + FE_CORRECTED]

    cdef bint _has_long_past(self) noexcept:
        cdef Py_ssize_t nbytes = <Py_ssize_t>self.steps.now * self.steps.width * sizeof(double)
        return nbytes > LEAST_PAST and nbytes > PyArray_NBYTES(self.rows) // 4

    cdef _make_room(self):
        """For one more step in the past."""
        cdef Py_ssize_t n = cnp.PyArray_DIM(self.past, 0)
        if self.steps.now + 1 >= n:
            longer = np.zeros((2 * n, self.steps.width))
            longer[:n] = self.past
            self.past = longer
            self.steps.past = <const double*>cnp.PyArray_DATA(self.past)

    cdef void _advance(self) noexcept:
        """After a step: bring forward what rows are owed that it did not move."""
        cdef:
            fe_steps* steps = &self.steps
            int32_t now, s, k
            int width = steps.width, j
            double kept = 1 - steps.decay, term, shrunk
            double* past
            double* entry
            const double* fades
            const double* shrinkage
            bint is_nadam = steps.rule == FE_NADAM
        if steps.last is NULL:
            return
        steps.now += 1
        self.level = False
        steps.decays |= steps.decay != 0
        now, past = steps.now, <double*>steps.past
        entry = past + <size_t>now * width
        entry[FE_LOG_KEPT] = entry[FE_LOG_KEPT - width] + (log1p(-steps.decay) if steps.decay != 0 else 0)
        steps.last_rate = steps.numbers[0]
        if steps.rule == FE_LION:
            entry[FE_MOVED] = entry[FE_MOVED - width] * kept + steps.numbers[0]
        if is_nadam:
            entry[FE_MOVED], entry[FE_CORRECTED] = steps.numbers[0], steps.numbers[2]
        if steps.terms == 0:
            return
        fades = steps.fades[0]
        if steps.rule == FE_RMSPROP_MOMENTUM:
            fades = steps.fades[1]
        elif steps.rule == FE_RMSPROP_CENTERED_MOMENTUM:
            fades = steps.fades[2]
        shrinkage = <const double*>cnp.PyArray_DATA(self.shrinkage)
        for s in range(max(0, now - steps.window), now):
            k = now - s
            entry = past + <size_t>s * width
            term = self._rate() * fades[k]
            if is_nadam:
                shrunk = 1 - sqrt(steps.fades[1][k]) * (entry[FE_CORRECTED] / steps.numbers[2])
            else:
                shrunk = shrinkage[k]
            for j in range(steps.terms):
                entry[FE_TERMS + j] = entry[FE_TERMS + j] * kept + term
                term = term * shrunk

    cdef double _rate(self) noexcept:
        """By how much the last step moves a row without a gradient, for each unit of its slot."""
        if self.steps.rule == FE_NESTEROV:
            return self.steps.constants[0]
        if self.steps.rule in (FE_MOMENTUM, FE_RMSPROP_MOMENTUM, FE_RMSPROP_CENTERED_MOMENTUM):
            return 1
        return self.steps.numbers[0]

    cdef cnp.ndarray _check(self, values, tuple shape):
        """Values that can be used as they lie, of this shape and the rows' dtype."""
        if not addable(values) or values.dtype != self.rows.dtype or values.shape != shape:
            got = f"{getattr(values, 'dtype', type(values).__name__)}, {np.shape(values)}"
            raise ValueError(f"expected a C-contiguous array of {self.rows.dtype}, {shape}; got {got}")
        return values

    # --- Memory -----------------------------------------------------------------------------------

    def move_to(self, int which, array):
        """Go on in other memory, which holds the same: of rows (-1) or a slot."""
        held = _learner(array, "rows" if which < 0 else "a slot")
        if which < 0:
            self.rows, self.steps.rows = held, <char*>cnp.PyArray_DATA(<cnp.ndarray>held)
        else:
            self.slots = (*self.slots[:which], held, *self.slots[which + 1:])
            self.steps.slots[which] = <char*>cnp.PyArray_DATA(<cnp.ndarray>held)

    def overwrite(self, values):
        """Give the rows, to which nothing may be owed, other values."""
        self._check(values, (<object>self.rows).shape)
        if self.owes():
            raise ValueError("rows that are owed moves cannot be given other values")
        memcpy(self.steps.rows, cnp.PyArray_DATA(<cnp.ndarray>values), PyArray_NBYTES(self.rows))

    # --- What is owed -----------------------------------------------------------------------------

    def owes(self, int which=-1):
        """Whether anything is owed to rows (-1) or to those of a slot."""
        if self.level or self.steps.last is NULL:
            return False
        if which >= 0:
            return self.steps.fades[which] is not NULL
        return bool(self.moves or self.steps.decays)

    def finish(self, int which=-1):
        """A copy of the rows (-1) or of a slot as they are when nothing is owed to them."""
        cdef:
            cnp.ndarray array = self.rows if which < 0 else self.slots[which]
            cnp.ndarray out = new_output(
                <cnp.dtype>cnp.PyArray_DESCR(array), cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array)
            )
        if not self.owes(which):
            (<object>out)[...] = array
        else:
            self._finish(which, <char*>cnp.PyArray_DATA(out))
        return out

    cdef _finish(self, int which, char* out):
        """Into ``out``, or (NULL) rows and slots in place."""
        cdef:
            fe_stepping job
            Team team = team_for(3 * PyArray_NBYTES(self.rows), self.steps.n_rows)
        memset(&job, 0, sizeof(fe_stepping))
        job.steps, job.kernels, job.which, job.out = &self.steps, self.kernels, which, out
        with nogil:
            run(fe_finish_part, &job, team)

    def settle(self):
        """Give all rows and slots, in place, what is owed to them."""
        if self.level or self.steps.last is NULL:
            return
        memory = self._no_past()
        self._finish(-1, NULL)
        self._forget_past(memory, self._last_corrected())

    def for_lookups(self, settle):
        """What a table of these rows needs so that its lookups finish them; None if nothing is owed to rows.

        ``settle()`` is called before anything is added to the table in place.
        """
        cdef OwedMoves owed
        if not self.owes():
            return None
        owed = OwedMoves.__new__(OwedMoves)
        owed.steps, owed._settle = self.steps, settle
        owed.memory = (self.rows, self.slots, self.last, self.past, self.powers)
        memset(&owed.job, 0, sizeof(fe_stepping))
        owed.job.steps, owed.job.kernels = &owed.steps, self.kernels
        owed.take, owed.state = <fe_take>fe_take_finished, &owed.job
        return owed

    # --- Steps ------------------------------------------------------------------------------------

    cdef _take_numbers(self, tuple numbers, double decay, bint nonneg):
        cdef int i, expected = 3 if self.steps.rule in (FE_NADAM, FE_LAMB) else 1
        if len(numbers) != expected:
            raise ValueError(f"a step of this rule has {expected} numbers, got {numbers}")
        if decay and self.mode == "sparse" and self.steps.last is NULL:
            raise ValueError("rows that are to be decayed need decays=True")
        if self.steps.is_nonneg != nonneg or self._has_long_past():
            self.settle()  # what was owed so far was owed under the other rule
        if self.steps.last is not NULL:
            self._make_room()
        self.steps.is_nonneg = nonneg
        for i in range(len(numbers)):
            self.steps.numbers[i] = numbers[i]
        self.steps.decay = decay

    def step_rows(self, indices, values, tuple numbers, double decay=0, bint nonneg=False):
        """One step by a gradient of some rows: the sum of the values that belong to each.

        Parameters
        ----------
        indices : ndarray of integers, shape (n,)
        values : ndarray of the rows' dtype, shape (n, ...), C-contiguous
        numbers : tuple of float
            Of the rule, for this step.
        decay : float, below 1
        nonneg : bool

        Raises
        ------
        IndexError, TypeError, ValueError
            Before anything is moved.
        """
        cdef:
            cnp.ndarray opened, held
            Ids view
            Team team = team_for(RANDOM * PyArray_NBYTES(values), cnp.PyArray_SIZE(indices))
            fe_additions given
            fe_stepping job
            Outside outside
            char* memory = NULL
            uint64_t* rows
            bint ascends
            Py_ssize_t n
        held = self._check(values, indices.shape + (<object>self.rows).shape[1:])
        opened = open_ids(indices, &view)
        n = view.n
        memset(&job, 0, sizeof(fe_stepping))
        job.steps, job.kernels, job.n = &self.steps, self.kernels, n
        job.values = <const char*>cnp.PyArray_DATA(held)
        rows = <uint64_t*>malloc(max(<Py_ssize_t>1, n) * sizeof(uint64_t))
        if rows is NULL:
            raise MemoryError(f"no memory for a step of {n:,} rows")
        try:
            with nogil:
                ascends = _load_ascending(&view, rows, self.steps.n_rows)
            if ascends:
                job.rows = rows
                self._take_numbers(numbers, decay, nonneg)
                with nogil:
                    run(fe_step_unique_part, &job, team)
                self._advance()
                return
        finally:
            free(rows)
        if self.steps.rule == FE_ROWWISE_ADAGRAD:
            raise ValueError("rowwise_adagrad steps by rows that ascend, each once, and are inside the table")
        memory = open_sums(
            &given, &team, &view, held, self.steps.n_rows,
            for_table(policy_of("raise"), self.steps.n_rows, view.is_signed),
        )
        try:
            with nogil:
                outside = copy_and_sort(&given, team)
            if outside.position >= 0:
                raise outside_error(outside, opened, self.steps.n_rows, False)
            given.add = kernels.sum_float32 if given.itemsize == 4 else kernels.sum_float64
            given.ahead = rows_ahead(given.row_bytes, given.n * <Py_ssize_t>given.row_bytes)
            job.given = &given
            job.sums = <char*>malloc(max(<size_t>1, team.parts * fe_sums_bytes(self.steps.row_bytes)))
            if job.sums is NULL:
                raise MemoryError(f"no memory for a step of {n:,} rows")
            self._take_numbers(numbers, decay, nonneg)
            with nogil:
                run(fe_step_part, &job, team)
                if self.steps.last is not NULL:
                    fe_mark_long_rows(&job, team.parts)
            self._advance()
        finally:
            free(job.sums)
            free(memory)

    def step_all(self, gradient, tuple numbers, double decay=0, bint nonneg=False):
        """One step by a gradient of all rows, an array of their shape and dtype; None is zeros."""
        cdef:
            fe_stepping job
            Team team = team_for(6 * PyArray_NBYTES(self.rows), max(<Py_ssize_t>1, self.steps.n_rows))
        memset(&job, 0, sizeof(fe_stepping))
        job.steps, job.kernels = &self.steps, self.kernels
        if gradient is not None:
            job.values = <const char*>cnp.PyArray_DATA(self._check(gradient, (<object>self.rows).shape))
        elif self.steps.rule == FE_ROWWISE_ADAGRAD:
            raise ValueError("rowwise_adagrad needs a gradient")
        self._take_numbers(numbers, decay, nonneg)
        if gradient is None:
            self.settle()
        if self.steps.rule == FE_ROWWISE_ADAGRAD or not (self.level or self.steps.last is NULL):
            memory = None if self.steps.last is NULL else self._no_past()
            with nogil:
                run(fe_step_each_part, &job, team)
            if memory is not None:
                self._forget_past(memory, self._corrected_now())
        else:
            self._step_runs(&job, team)
            self._note_corrected()

    cdef _step_runs(self, fe_stepping* job, Team team):
        cdef fe_steps* steps = &self.steps
        cdef Py_ssize_t n_runs, i
        cdef double of_rows = 0, of_ways = 0
        if steps.rule == FE_LAMB:
            n_runs = (PyArray_NBYTES(self.rows) + FE_NORM_BYTES - 1) // FE_NORM_BYTES
            job.squares = <double*>malloc(max(<Py_ssize_t>1, n_runs) * 2 * sizeof(double))
            if job.squares is NULL:
                raise MemoryError("no memory for the norms of a step")
            with nogil:
                run(fe_measure_part, job, team)
            for i in range(n_runs):
                of_rows += job.squares[2 * i]
                of_ways += job.squares[2 * i + 1]
            free(job.squares)
            if of_rows > 0 and of_ways > 0:
                steps.numbers[0] *= sqrt(of_rows) / sqrt(of_ways)
            steps.decay = 0
        with nogil:
            run(fe_step_run_part, job, team)

    cdef double _corrected_now(self) noexcept:
        return self.steps.numbers[2] if self.steps.rule == FE_NADAM else 0

    cdef void _note_corrected(self) noexcept:
        """After a step that moved all rows, to which nothing was owed before."""
        if self.steps.last is not NULL:
            (<double*>self.steps.past)[FE_CORRECTED] = self._corrected_now()

    def step_all_by_rows(self, indices, values, tuple numbers, double decay=0, bint nonneg=False):
        """One step of all rows by a gradient of some: ``indices`` ascend, each row once.

        Parameters are those of `step_rows`.
        """
        cdef:
            cnp.ndarray _opened, held
            Ids view
            fe_stepping job
            Team team = team_for(6 * PyArray_NBYTES(self.rows), max(<Py_ssize_t>1, self.steps.n_rows))
            uint64_t* rows
            bint ascends
        if self.steps.rule in (FE_LAMB, FE_ROWWISE_ADAGRAD):
            raise ValueError("lamb and rowwise_adagrad do not step by runs of rows")
        held = self._check(values, indices.shape + (<object>self.rows).shape[1:])
        _opened = open_ids(indices, &view)
        memset(&job, 0, sizeof(fe_stepping))
        rows = <uint64_t*>malloc(max(<Py_ssize_t>1, view.n) * sizeof(uint64_t))
        if rows is NULL:
            raise MemoryError(f"no memory for a step of {view.n:,} rows")
        try:
            with nogil:
                ascends = _load_ascending(&view, rows, self.steps.n_rows)
            if not ascends:
                raise ValueError("indices must ascend, each once, inside the rows")
            job.steps, job.kernels, job.rows, job.n = &self.steps, self.kernels, rows, view.n
            job.values = <const char*>cnp.PyArray_DATA(held)
            self._take_numbers(numbers, decay, nonneg)
            self.settle()
            with nogil:
                run(fe_step_all_part, &job, team)
            self._note_corrected()
        finally:
            free(rows)


cdef bint _load_ascending(Ids* view, uint64_t* rows, Py_ssize_t n_rows) noexcept nogil:
    """Copy ids, as long as each is larger than the one before it: were they so, and all rows of the table?"""
    cdef Py_ssize_t i, start, n
    for start in range(0, view.n, 256):
        n = min(<Py_ssize_t>256, view.n - start)
        view.load(view.data + start * view.stride, view.stride, n, rows + start)
        for i in range(max(<Py_ssize_t>1, start), start + n):
            if rows[i] <= rows[i - 1]:
                return False
    return view.n == 0 or rows[view.n - 1] < <uint64_t>n_rows
