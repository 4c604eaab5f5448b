from collections.abc import Mapping, Sequence
from typing import Any, Callable, final

from numpy.typing import DTypeLike, NDArray
from typing_extensions import disjoint_base

from fastembed._rows import Owed

NADAM_SETTLED: int

def why_dense(rule: str, constants: Mapping[str, float], dtype: DTypeLike) -> str | None: ...

@final
class OwedMoves(Owed):
    def settle_for_writing(self) -> None: ...

@disjoint_base
class Steps:
    rows: NDArray[Any]
    slots: tuple[NDArray[Any], ...]
    mode: str
    decays: bool
    def __init__(
        self,
        rule: str,
        rows: NDArray[Any],
        slots: Sequence[NDArray[Any]],
        constants: Mapping[str, float],
        *,
        mode: str = "sparse",
        decays: bool = False,
    ) -> None: ...
    def move_to(self, which: int, array: NDArray[Any]) -> None: ...
    def overwrite(self, values: NDArray[Any]) -> None: ...
    def owes(self, which: int = -1) -> bool: ...
    def finish(self, which: int = -1) -> NDArray[Any]: ...
    def settle(self) -> None: ...
    def for_lookups(self, settle: Callable[[], None]) -> OwedMoves | None: ...
    def step_rows(
        self,
        indices: NDArray[Any],
        values: NDArray[Any],
        numbers: tuple[float, ...],
        decay: float = 0.0,
        nonneg: bool = False,
    ) -> None: ...
    def step_all(
        self,
        gradient: NDArray[Any] | None,
        numbers: tuple[float, ...],
        decay: float = 0.0,
        nonneg: bool = False,
    ) -> None: ...
    def step_all_by_rows(
        self,
        indices: NDArray[Any],
        values: NDArray[Any],
        numbers: tuple[float, ...],
        decay: float = 0.0,
        nonneg: bool = False,
    ) -> None: ...
