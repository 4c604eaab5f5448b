"""The life of an optimizer: it is made, built for its variables, applies gradients, is saved and restored.

A class of optimizers has a rule and computes the numbers of each step; what a step does to one variable, and
which of its rows it has to touch for that, is the business of the variable's `Ledger`.
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, ClassVar, TypedDict, TypeVar, Union

import numpy as np

from fastembed import eras
from fastembed._registry import Configurable, deserialize_keras_object, serialize_keras_object
from fastembed.dtypes import floatx, is_float, stored_dtype
from fastembed.locks import Lock
from fastembed.ops import IndexedSlices
from fastembed.optimizers import gradients as of_gradients
from fastembed.optimizers.gradients import Accumulator, Gradient, checked, compute_dtype
from fastembed.optimizers.ledger import Ledger, Rule
from fastembed.optimizers.schedules import LearningRateSchedule
from fastembed.variable import Variable, readable, swap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Self

LearningRate = Union[float, LearningRateSchedule, Callable[[], float]]
Init = TypeVar("Init", bound=Callable[..., None])


class SettingsBesideDecay(TypedDict, total=False):
    """What every optimizer takes beside the arguments of its class, AdamW among them: see `Optimizer`."""

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None
    lazy: bool
    decay: float


class Settings(SettingsBesideDecay, total=False):
    """What the other optimizers take."""

    weight_decay: float | None


def of_every_keras(init: Init) -> Init:
    """Let a constructor be called with the positions and defaults of the current era.

    After the arguments of its class, the common settings may come by position, too.
    """
    kind = init.__qualname__.partition(".")[0]
    parameters = [p for p in inspect.signature(init).parameters.values() if p.kind is not p.VAR_KEYWORD]
    own = tuple(p.name for p in parameters[1:] if p.kind is p.POSITIONAL_OR_KEYWORD)

    @functools.wraps(init)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, **eras.current().optimizer_arguments(kind, own, args, kwargs))

    # Say what may be given, instead of **settings.
    common = inspect.signature(Optimizer.__init__).parameters.values()
    named = {p.name for p in parameters}
    every = parameters + [p for p in common if p.name not in named and p.kind is not p.VAR_KEYWORD]
    made.__signature__ = inspect.Signature(sorted(every, key=lambda p: p.kind))  # type: ignore[attr-defined]
    return made  # type: ignore[return-value]


class Optimizer(Configurable):
    """Base class of the optimizers, and what all of them take.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
        A schedule is called with the steps done so far, another callable with nothing, once a step.
    weight_decay : float, optional
        Before a step, the variable loses this fraction, times the learning rate: all of its rows.
    clipnorm : float, optional
        The gradient of each variable is scaled down to this norm where it has a larger one.
    clipvalue : float, optional
        Each number of a gradient is brought between ``-clipvalue`` and ``clipvalue``.
    global_clipnorm : float, optional
        All gradients of a step are scaled by one factor, so that they have at most this norm together.
    use_ema : bool, default False
        Keep a moving average of each variable, ``average = ema_momentum * average + (1 - ema_momentum) *
        variable`` after each step.
    ema_momentum : float, default 0.99
    ema_overwrite_frequency : int, optional
        Overwrite the variables with their averages every so many steps; otherwise it is done by
        `finalize_variable_values`.
    loss_scale_factor : float, optional
        What the loss was multiplied by; the gradients are divided by it first.
    gradient_accumulation_steps : int, optional
        Take the mean of the gradients of so many calls for one step.
    name : str, optional
        Default: of the class, with a number.
    lazy : bool, default False
        Rows that a sparse gradient does not name stay as they are: neither are they moved by the moments of
        earlier steps nor do their moments and weights decay. This is what "lazy Adam" or "sparse Adam" mean
        elsewhere; it is not what Keras computes.
    decay : float, default 0.0
        In the eras before Keras 3, ``learning_rate / (1 + decay * steps)`` is what is used. Keras 3 ignores
        it with a warning.

    Attributes
    ----------
    built : bool
        Whether it has its variables.

    Raises
    ------
    ValueError
        If more than one way of clipping is asked for, if a number is out of its bounds, or if the learning
        rate is none (as in Keras 3, 1 is none: write 1.0).

    Notes
    -----
    A step is Keras 3's: for every row, also those that a sparse gradient does not name, the result is what
    a dense Keras computes. `describe` says at what cost.

    Before a step the rows that a gradient names twice are added up; then it is clipped; then the weights
    decay; then the rule moves them; then moving averages are taken and constraints applied. Everything that
    may be wrong with any of the gradients is looked at before the first variable is changed. The numbers of
    a step, such as powers and products over all steps, are computed in float64.

    What a rule is made of (``beta_1``, ``momentum``, ``epsilon`` ...) is fixed once the optimizer is built;
    `learning_rate`, `weight_decay` and the ways of clipping can be set at any time.

    Examples
    --------
    >>> from fastembed import Variable
    >>> from fastembed.optimizers import SGD
    >>> variable = Variable([1.0, 2.0], name="embeddings")
    >>> optimizer = SGD(learning_rate=0.5, weight_decay=0.1)
    >>> optimizer.apply([np.array([1.0, 0.0])], [variable])
    >>> variable.numpy()
    array([0.45, 1.9 ], dtype=float32)
    """

    # Attributes that are fixed once the optimizer is built, because its ledgers hold them.
    _fixed: ClassVar[frozenset[str]] = frozenset({"use_ema", "gradient_accumulation_steps", "lazy"})
    # The arguments of the class, as its config has them.
    _own: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        lazy: bool = False,
        decay: float = 0.0,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise eras.current().unknown_arguments(type(self).__name__, unknown)
        clipping = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        if sum(limit is not None for limit in clipping.values()) > 1:
            raise ValueError(
                "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: "
                + ", ".join(f"{key}={value}" for key, value in clipping.items())
            )
        if gradient_accumulation_steps and not gradient_accumulation_steps >= 2:
            raise ValueError(
                "`gradient_accumulation_steps` must be an integer >= 2. Received: "
                f"gradient_accumulation_steps={gradient_accumulation_steps}"
            )
        if use_ema and not 0 <= ema_momentum <= 1:
            raise ValueError(
                f"`ema_momentum` must be in the range [0, 1]. Received: ema_momentum={ema_momentum}"
            )
        frequency = ema_overwrite_frequency
        if use_ema and frequency and not (isinstance(frequency, int) and frequency >= 1):
            raise ValueError(
                "`ema_overwrite_frequency` must be an integer >= 1 or None. Received: "
                f"ema_overwrite_frequency={frequency}"
            )
        self.built = False
        self.name = eras.current().optimizer_name(type(self).__name__, name)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.lazy = lazy
        self.decay = decay
        self._lock = Lock()  # for whatever changes this optimizer and its variables
        self._iterations = self._number(0, "iteration", "int64")
        self._learning_rate: _Number | LearningRateSchedule | Callable[[], float]
        if callable(learning_rate):
            self._learning_rate = learning_rate
        else:
            rate = eras.current().as_float(learning_rate)
            if rate is None:
                raise ValueError(
                    "Argument `learning_rate` should be float, or an instance of LearningRateSchedule, or a "
                    "callable (that takes no arguments and returns the learning rate). Received instead: "
                    f"learning_rate={learning_rate!r} (write {learning_rate!r} as a float, such as 1.0)"
                )
            self._learning_rate = self._number(rate, "learning_rate", compute_dtype(floatx()).__name__)
        self._excluded: tuple[frozenset[Variable], re.Pattern[str] | None] = (frozenset(), None)
        self._ledgers: dict[Variable, Ledger] = {}
        self._averages: dict[Variable, Variable] = {}
        self._accumulators: dict[Variable, Accumulator] = {}
        self._slots: list[
            Variable
        ] = []  # all that `variables` has beside the iteration and the learning rate
        self._loose_slots: list[Variable] = []  # those of them that belong to no variable
        self._undecayed: frozenset[Variable] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if (name in self._fixed or name in self._own) and self.__dict__.get("built"):
            raise AttributeError(
                f"`{name}` of a built optimizer is fixed: its state follows from it. Make a new one with "
                f"{type(self).__name__}.from_config({{**optimizer.get_config(), {name!r}: {value!r}}})"
            )
        super().__setattr__(name, value)

    # --- What a class of optimizers says --------------------------------------------------------------

    def _rule(self) -> Rule:
        """The formula of a step and its constants."""
        raise NotImplementedError(
            f"{type(self).__name__} has no rule: use one of the optimizers of fastembed.optimizers"
        )

    def _numbers(self, learning_rate: float, step: int) -> tuple[float, ...]:
        """What the rule is told in a step; the first one has the number 1."""
        return (learning_rate,)

    def _slot_groups(self, rule: Rule) -> Sequence[tuple[str, ...]]:
        """The rule's slots in the order in which Keras makes them: by variable within each group."""
        return [rule.slots]

    def _slot(self, variable: Variable, name: str) -> Variable:
        """A new slot of a variable."""
        return self._beside(variable, name, variable.shape)

    def _number_slots(self, variables: Sequence[Variable]) -> list[Variable]:
        """Further state, which belongs to no variable."""
        return []

    def _number_slots_after(self, steps: int) -> list[float]:
        """What that state is after so many steps."""
        return []

    def _done(self, step: int) -> None:
        """Called after each step."""

    # --- Built ----------------------------------------------------------------------------------------

    def _number(self, value: float, name: str, dtype: str) -> _Number:
        return _Number(value, dtype=dtype, trainable=False, name=name, path=f"{self.name}/{name}")

    def _beside(self, variable: Variable, name: str, shape: tuple[int, ...], first: float = 0.0) -> Variable:
        """A variable of the optimizer's that follows one of the model's."""
        full = f"{variable.path.replace('/', '_')}_{name}"
        return Variable(
            np.broadcast_to(np.asarray(first, compute_dtype(variable.dtype)), shape),
            trainable=False,
            name=full,
            path=f"{self.name}/{full}",
        )

    def build(self, variables: Iterable[Variable]) -> None:
        """Make the state for these variables. Only the first call does something.

        Parameters
        ----------
        variables : iterable of Variable
            What the optimizer will move: of floats, each once.

        Raises
        ------
        TypeError, ValueError
            If one of them cannot be trained.
        """
        with self._lock:
            if self.built:
                return
            variables = list(variables)
            _check_trainable(variables)
            rule = self._rule()
            if self.use_ema:
                self._averages = {v: self._beside(v, "average", v.shape) for v in variables}
            if self.gradient_accumulation_steps:
                self._accumulators = {
                    v: Accumulator(self._beside(v, "gradient_accumulator", v.shape)) for v in variables
                }
            slots: dict[Variable, dict[str, Variable]] = {v: {} for v in variables}
            made = [*self._averages.values(), *(a.variable for a in self._accumulators.values())]
            for group in self._slot_groups(rule):
                for variable in variables:
                    for name in group:
                        slots[variable][name] = self._slot(variable, name)
                        made.append(slots[variable][name])
            self._loose_slots = self._number_slots(variables)
            self._slots = [*made, *self._loose_slots]
            because = "use_ema averages all rows at every step" if self.use_ema else None
            self._ledgers = {
                v: Ledger(v, [slots[v][s] for s in rule.slots], rule, lazy=self.lazy, dense_because=because)
                for v in variables
            }
            self._mark_undecayed()
            self.built = True

    @property
    def variables(self) -> list[Variable]:
        """The state: the iteration, the learning rate (if it is a number), then what each variable has."""
        rate = [self._learning_rate] if isinstance(self._learning_rate, _Number) else []
        return [self._iterations, *rate, *self._slots]

    @property
    def iterations(self) -> Variable | int:
        """The number of steps; of a variable, unless gradients are accumulated."""
        accumulated = self.gradient_accumulation_steps
        return self._iterations.number // accumulated if accumulated else self._iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate: a variable, or what the schedule or the callable gives now.

        It can be set to a number, a schedule or a callable, and counts from the next step on. Where it is a
        schedule or a callable it can only be set to another one (TypeError).
        """
        rate = self._learning_rate
        return rate if isinstance(rate, _Number) else self._current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, learning_rate: LearningRate | ArrayLike) -> None:
        with self._lock:
            if callable(learning_rate):
                self._learning_rate = learning_rate
            elif isinstance(self._learning_rate, _Number):
                self._learning_rate.assign(learning_rate)
            else:
                raise TypeError(
                    "This optimizer was created with a `LearningRateSchedule` object or a callable as its "
                    "`learning_rate`, hence its learning rate is not settable. If you need the learning rate "
                    "to be settable, you should instantiate the optimizer with a float `learning_rate`, or "
                    "set another schedule."
                )

    lr = learning_rate  # its name in Keras 1 and 2

    def _current_learning_rate(self) -> float:
        """Of the next step, without `decay`."""
        rate = self._learning_rate
        if isinstance(rate, _Number):
            return rate.number
        now = rate(self._iterations.number) if isinstance(rate, LearningRateSchedule) else rate()
        try:
            return float(now)
        except (TypeError, ValueError) as error:
            raise TypeError(f"learning_rate gave {now!r:.80}, which is no number") from error

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Let these variables, and no others, keep their size.

        Parameters
        ----------
        var_list : iterable of Variable, optional
        var_names : iterable of str, optional
            Regular expressions; a variable in whose name one of them is found is excluded.

        Examples
        --------
        >>> from fastembed import Variable
        >>> from fastembed.optimizers import SGD
        >>> table, bias = Variable([1.0], name="embeddings"), Variable([1.0], name="bias")
        >>> optimizer = SGD(0.1, weight_decay=0.5)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        >>> optimizer.apply([np.zeros(1), np.zeros(1)], [table, bias])
        >>> table.numpy(), bias.numpy()
        (array([0.95], dtype=float32), array([1.], dtype=float32))
        """
        names = list(var_names or ())
        with self._lock:
            self._excluded = frozenset(var_list or ()), re.compile("|".join(names)) if names else None
            self._mark_undecayed()

    def _mark_undecayed(self) -> None:
        listed, pattern = self._excluded
        self._undecayed = frozenset(
            v for v in self._ledgers if v in listed or (pattern is not None and pattern.search(v.name))
        )

    # --- Applied --------------------------------------------------------------------------------------

    def apply_gradients(
        self, grads_and_vars: Iterable[tuple[Any, Variable]], name: str | None = None
    ) -> Variable:
        """`apply` for pairs of a gradient and its variable; return the variable that counts the steps.

        ``name`` is tf.keras's, and says nothing here.
        """
        pairs = list(grads_and_vars)
        if not pairs:
            raise ValueError("apply_gradients() got no pairs of a gradient and its variable")
        for pair in pairs:
            if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[1], Variable)):
                raise TypeError(
                    f"apply_gradients() takes pairs of a gradient and its variable, got {pair!r:.200}"
                )
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return self._iterations

    def apply(self, grads: Iterable[Any], trainable_variables: Iterable[Variable] | None = None) -> None:
        """Move variables by their gradients.

        Parameters
        ----------
        grads : iterable of IndexedSlices, array_like of the variable's shape, or None
            A variable whose gradient is None is left alone, with a warning.
        trainable_variables : iterable of Variable, optional
            Those of the gradients. The first call builds the optimizer for them; without them, they are all
            that it was built for. The gradient of each that is moved is then cleared.

        Raises
        ------
        IndexError
            If a gradient names a row that is not there.
        ValueError
            If there is no gradient at all, if one does not fit its variable, if the optimizer was not built
            for a variable, or if a gradient that is clipped by its norm has none (a NaN or an infinity).
        TypeError
            If a gradient holds no numbers.

        Notes
        -----
        Nothing is changed by a call that raises one of these. (A constraint that raises does so when its
        variable has been moved, and so do variables before it stay moved.)
        """
        if isinstance(grads, IndexedSlices) or isinstance(trainable_variables, Variable):
            raise TypeError("apply() takes lists: of gradients, and of the variables they belong to")
        grads = list(grads)
        if not grads:
            return
        with self._lock:
            variables = self._variables_of(grads, trainable_variables)
            missing = [v.path for g, v in zip(grads, variables) if g is None]
            if missing:
                if len(missing) == len(grads):
                    raise ValueError(
                        "No gradients provided for any variable. `layer.backward(upstream)` leaves them in "
                        "`variable.gradient`, after a call with training=True."
                    )
                warnings.warn(
                    f"Gradients do not exist for variables {missing} when minimizing the loss: they are left "
                    "as they are.",
                    stacklevel=2,
                )
            moved = [(checked(g, v), v) for g, v in zip(grads, variables) if g is not None]
            if not self.built:
                self.build(variables)
            self._move([g for g, _ in moved], [v for _, v in moved])
            self._iterations.number += 1
        for _, variable in moved:
            variable.clear_gradient()

    def _variables_of(self, grads: list[Any], given: Iterable[Variable] | None) -> list[Variable]:
        if given is None and not self.built:
            raise ValueError(
                "When passing `grads` without `variables`, the optimizer must already be built on a list of "
                "variables. Call `optimizer.build(trainable_variables)` first."
            )
        variables = list(self._ledgers if given is None else given)
        if len(variables) != len(grads):
            raise ValueError(
                f"There must be one gradient for each variable, or None. Received a list of {len(grads)} "
                f"gradients for {len(variables)} trainable variables"
            )
        if not self.built:
            _check_trainable(variables)
        elif not self._ledgers.keys() >= set(variables):
            unknown = next(v for v in variables if v not in self._ledgers)
            raise ValueError(
                f"Unknown variable: {unknown}. This optimizer can only be called for the variables it was "
                "originally built with. When working with a new set of variables, you should recreate a new "
                "optimizer instance."
            )
        elif given is not None:
            _check_once(variables)
        return variables

    def _move(self, gradients: list[Gradient], variables: list[Variable]) -> None:
        """One step, or one addition to the gradients of the next one. What may fail comes first."""
        calls = self._iterations.number
        steps, moves = calls, True
        if self.loss_scale_factor is not None:
            scale = self.loss_scale_factor
            gradients = [of_gradients.with_values(g, lambda values: values / scale) for g in gradients]
        if self.gradient_accumulation_steps:
            steps, done = divmod(calls, self.gradient_accumulation_steps)
            moves = done + 1 == self.gradient_accumulation_steps
            gradients = self._accumulated(gradients, variables, moves)
        if moves:
            self._step(gradients, variables, steps + 1)
        elif not self.use_ema:  # of what a step has moved, it has seen to the constraint
            self._constrain([v for v in variables if not self._ledgers[v].moved_last()])
        if self.use_ema:  # of the weights before the constraints, as in Keras
            self._average(steps)
            self._constrain(variables)

    def _step(self, gradients: list[Gradient], variables: list[Variable], step: int) -> None:
        gradients = self._clipped(gradients)
        rate = self._current_learning_rate()
        if self.decay:
            rate /= 1 + self.decay * self._iterations.number
        numbers = self._numbers(rate, step)
        decay = self.weight_decay * rate if self.weight_decay else 0.0
        constrained = not self.use_ema
        for gradient, variable in zip(gradients, variables):
            self._ledgers[variable].step(
                gradient,
                numbers,
                0.0 if variable in self._undecayed else decay,
                variable.constraint if constrained else None,
            )
            if self._accumulators:
                self._accumulators[variable].clear()
        self._done(step)

    def _accumulated(
        self, gradients: list[Gradient], variables: list[Variable], moves: bool
    ) -> list[Gradient]:
        """The means of the gradients since the last step; before the last one they are only added up."""
        pairs = [(self._accumulators[v], g) for g, v in zip(gradients, variables)]
        if not moves:
            for accumulator, gradient in pairs:
                accumulator.add(gradient)
            return []
        count = self.gradient_accumulation_steps
        return [of_gradients.with_values(a.with_(g), lambda values: values / count) for a, g in pairs]

    def _clipped(self, gradients: list[Gradient]) -> list[Gradient]:
        if self.clipnorm and self.clipnorm > 0:
            return of_gradients.clip_norms(gradients, self.clipnorm)
        if self.global_clipnorm and self.global_clipnorm > 0:
            return of_gradients.clip_joint_norm(gradients, self.global_clipnorm)
        if self.clipvalue and self.clipvalue > 0:
            return of_gradients.clip_values(gradients, self.clipvalue)
        return gradients

    def _constrain(self, variables: Iterable[Variable]) -> None:
        for variable in variables:
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable.value))

    def _average(self, steps: int) -> None:
        momentum = self.ema_momentum if steps else 0.0
        for variable, average in self._averages.items():
            average.assign(momentum * average.value + (1 - momentum) * variable.value)
        if self.ema_overwrite_frequency and (steps + 1) % self.ema_overwrite_frequency == 0:
            self.finalize_variable_values(self._averages)

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Bring variables up to date, and overwrite them with their moving averages, if there are any.

        What ends a training: afterwards nothing is owed to any row until the next step, lookups are those of
        a plain table, and its memory is all that is kept.

        Parameters
        ----------
        var_list : iterable of Variable
            All variables that the optimizer was built for, in that order.

        Raises
        ------
        ValueError
            If they are not as many. Nothing is changed then.
        """
        variables = list(var_list)
        if not self.use_ema:
            with self._lock:
                for variable in variables:
                    if variable in self._ledgers:
                        self._ledgers[variable].release()
            return
        if len(variables) != len(self._averages):
            raise ValueError(
                f"The length of model variables ({len(variables)}) to override does not match the length of "
                f"model variables stored in the optimizer ({len(self._averages)}). Please check if the "
                "optimizer was called on your model."
            )
        pairs = zip(variables, self._averages.values())
        swap([(variable, variable.memory_for(average.value)) for variable, average in pairs])

    def scale_loss(self, loss: Any) -> Any:
        """``loss * loss_scale_factor``; of the gradients of that, `apply` takes the factor out again."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def describe(self) -> str:
        """How each variable is moved, and why: a table to print.

        ``sparse``: a step touches the rows that the gradient names and gives the others the moves that they
        missed when somebody looks. ``dense``: it passes over all rows. ``lazy``: the others stay.

        Examples
        --------
        >>> from fastembed import Variable
        >>> from fastembed.optimizers import Adam
        >>> optimizer = Adam(use_ema=True)
        >>> optimizer.build([Variable([[1.0]], name="embeddings")])
        >>> print(optimizer.describe())
        variable    shape   path   why
        embeddings  (1, 1)  dense  use_ema averages all rows at every step
        """
        lines = [("variable", "shape", "path", "why")]
        lines += [(v.path, str(v.shape), ledger.path, ledger.why) for v, ledger in self._ledgers.items()]
        widths = [max(map(len, column)) for column in zip(*lines)][:3]
        return "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[3]]) for line in lines
        )

    # --- Saved ----------------------------------------------------------------------------------------

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of the values of `variables`, as in Keras 2."""
        return [variable.numpy() for variable in self.variables]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set the values of `variables`.

        Raises
        ------
        ValueError
            If the optimizer is not built, or if number or shapes do not fit. Nothing is changed then.
        """
        if not self.built:
            raise ValueError(
                "You are calling `set_weights()` on an optimizer that has not yet been built. Please call "
                "`optimizer.build(trainable_variables)` to create the optimizer weights before calling "
                "`set_weights()`."
            )
        values = self._arranged(list(weights))
        if values is None:
            raise ValueError(
                f"This optimizer has {len(self.variables)} variables ({self._names()}), but {len(weights)} "
                "values were given: they are of another optimizer, or of one with other settings"
            )
        self._restore(values)

    def save_own_variables(self, store: Any) -> None:
        """Put the values of `variables` into a mapping, under "0", "1", ..."""
        for i, variable in enumerate(self.variables):
            store[str(i)] = variable.stored()

    def load_own_variables(self, store: Any) -> None:
        """Take what `save_own_variables` put there, here or in Keras.

        Where the number of variables differs nothing is loaded, and a warning says so, as in Keras; a value
        of another shape is a ValueError. Nothing is changed then.
        """
        count = len(store.keys())
        values = self._arranged([readable(store, str(i)) for i in range(count)])
        if values is None:
            unbuilt = " It has not been built yet: call `optimizer.build(trainable_variables)` first."
            warnings.warn(
                f"Skipping variable loading for optimizer '{self.name}', because it has "
                f"{len(self.variables)} variables whereas the saved optimizer has {count} "
                f"variables.{'' if self.built else unbuilt}",
                stacklevel=2,
            )
            return
        self._restore(values)

    def as_in_tf_keras(self) -> list[tuple[str, NDArray[Any]]]:
        """The state as tf.keras 2.11 to 2.15 has it, with names: without what Keras 3 has added.

        >>> from fastembed import Variable
        >>> from fastembed.optimizers import Adam
        >>> optimizer = Adam(name="adam")
        >>> optimizer.build([Variable([[1.0]], name="embeddings")])
        >>> [name for name, _ in optimizer.as_in_tf_keras()]
        ['iteration:0', 'adam/embeddings_momentum:0', 'adam/embeddings_velocity:0']
        """
        kept = [variable for variable in self._slots if not _is_in(variable, self._loose_slots)]
        state = [("iteration:0", self._iterations.stored())]
        state += [(f"{self.name}/{variable.name}:0", variable.stored()) for variable in kept]
        if not kept:  # of SGD, which has a momentum there whether it uses it or not
            for variable in self._ledgers:
                name = f"{self.name}/{variable.path.replace('/', '_')}_momentum:0"
                state.append((name, np.zeros(variable.shape, compute_dtype(variable.dtype))))
        return state

    def _arranged(self, values: list[Any]) -> list[Any] | None:
        """The values for `variables`, where these are those of this Keras, or else of an earlier one.

        tf.keras 2.11 to 2.15 keep neither the learning rate among them nor state that belongs to no variable.
        Keras 2 and tf.keras before begin with the first slot of all variables and then have the second one;
        RMSprop, Adagrad and Adadelta do not count steps there, and behind the slots may be placeholders.
        """
        own = self.variables
        if len(values) == len(own):
            return values
        shapes = [np.shape(value) for value in values]
        kept = [variable for variable in self._slots if not _is_in(variable, self._loose_slots)]
        by_slot = [
            slot for column in zip(*(ledger.slots for ledger in self._ledgers.values())) for slot in column
        ]
        counted = 1 if shapes and shapes[0] == () else 0
        for slots in (kept, by_slot):
            end = counted + len(slots)
            beyond = shapes[end:]
            unused = not slots and beyond == [variable.shape for variable in self._ledgers]
            placeholders = slots is by_slot and len(slots) == len(kept) and set(beyond) <= {(1,)}
            if shapes[counted:end] == [slot.shape for slot in slots] and (
                not beyond or unused or placeholders
            ):
                break
        else:
            return None
        found = {id(slot): value for slot, value in zip(slots, values[counted:])}
        if counted:
            found[id(self._iterations)] = values[0]
            after = self._number_slots_after(int(np.asarray(values[0])))
            found.update((id(slot), number) for slot, number in zip(self._loose_slots, after))
        return [found.get(id(variable), variable.value) for variable in own]

    def _restore(self, values: list[Any]) -> None:
        with self._lock:
            for variable, value in zip(self.variables, values):
                if np.shape(value) != variable.shape:
                    raise ValueError(
                        f"Optimizer variable {variable.path} has shape {variable.shape}, not compatible with "
                        f"the given value's shape {np.shape(value)}: the state is of another optimizer, or "
                        f"of one that was built for other variables. Expected are: {self._names()}"
                    )
            pairs = zip(self.variables, values)
            swap([(variable, variable.memory_for(value)) for variable, value in pairs])
            for accumulator in self._accumulators.values():
                accumulator.forget_rows()

    def _names(self) -> str:
        return ", ".join(f"{variable.name} {variable.shape}" for variable in self.variables)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras 3 writes them.

        What Keras 3 does not have (``lazy``, ``decay``) is written only where it says something.

        Raises
        ------
        TypeError
            If the learning rate is a lambda, which cannot be written as data.
        """
        rate = self._learning_rate
        said = {"lazy": self.lazy, "decay": self.decay}
        return {
            "name": self.name,
            "learning_rate": rate.number if isinstance(rate, _Number) else serialize_keras_object(rate),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
            **{name: getattr(self, name) for name in self._own},
            **{name: value for name, value in said.items() if value},
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Self:
        """The optimizer that a config of any Keras describes.

        A config with ``lr`` is one of Keras 1 or 2, one with ``decay`` or ``jit_compile`` one of tf.keras:
        what it does not say is then what it was there.
        """
        settings = dict(config)
        if isinstance(settings.get("learning_rate"), Mapping):
            settings["learning_rate"] = deserialize_keras_object(settings["learning_rate"], custom_objects)
        with eras.era(eras.of_optimizer_config(config).name):
            return cls(**settings)

    def __repr__(self) -> str:
        built = f"built for {len(self._ledgers)} variables" if self.built else "not built"
        return f"<{type(self).__name__} name={self.name}, {built}, iterations={int(self.iterations)}>"


class _Number(Variable):
    """A variable of one number, which is read and counted on without memory of its own.

    ``optimizer.learning_rate *= 0.5`` gives the number that the property is then set to, as in Keras 3.
    """

    __iadd__ = Variable.__add__
    __isub__ = Variable.__sub__
    __imul__ = Variable.__mul__
    __itruediv__ = Variable.__truediv__

    number: Any

    @property
    def _memory(self) -> NDArray[Any]:
        memory = np.array(self.number, stored_dtype(self.dtype))
        memory.flags.writeable = False
        return memory

    @_memory.setter
    def _memory(self, memory: NDArray[Any]) -> None:
        self.number = memory.item()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_memory": self._memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "number": state["number"]})


def _check_trainable(variables: Sequence[Variable]) -> None:
    for variable in variables:
        if not isinstance(variable, Variable):
            raise TypeError(f"An optimizer moves variables, not a {type(variable).__name__}")
        if not is_float(variable.dtype):
            raise ValueError(f"{variable} cannot be trained: its dtype has no fractions")
    _check_once(variables)


def _is_in(variable: Variable, variables: Sequence[Variable]) -> bool:
    return any(variable is each for each in variables)  # variables compare as arrays do


def _check_once(variables: Sequence[Variable]) -> None:
    if len(set(variables)) != len(variables):
        twice = next(v for v in variables if sum(v is other for other in variables) > 1)
        raise ValueError(
            f"{twice} was given twice: add its gradients up first, as `variable.add_gradient` does (two "
            "steps by halves are not one step)"
        )
