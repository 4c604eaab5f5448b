import threading
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

isa: str

@final
class OutOfRange:
    def __init__(self, policy: str | int | OutOfRange) -> None: ...
    @property
    def spelling(self) -> str | int: ...
    def check(self, rows: int, dtype: Any) -> None: ...
    def rows_for(self, ids: NDArray[Any], rows: int) -> NDArray[np.int64]: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@disjoint_base
class Owed:
    def settle_for_writing(self) -> None: ...

@disjoint_base
class Table:
    def __init__(self, array: NDArray[Any], *, widen: bool = False, writable: bool | None = None) -> None: ...
    @property
    def array(self) -> NDArray[Any]: ...
    @property
    def row_dtype(self) -> np.dtype[Any]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    @property
    def owed(self) -> Owed | None: ...
    @property
    def additions(self) -> int: ...
    def replace(self, array: NDArray[Any], owed: Owed | None = None) -> None: ...
    def gather(
        self,
        ids: NDArray[Any],
        out: NDArray[Any] | None = None,
        out_of_range: str | int | OutOfRange = "raise",
    ) -> NDArray[Any]: ...

@disjoint_base
class CodeTable(Table):
    def __init__(
        self,
        codes: NDArray[np.int8],
        scale: NDArray[Any],
        zero: NDArray[np.int8] | None,
        *,
        columns: int,
        is_packed: bool,
        row_dtype: np.dtype[Any],
        group_of: NDArray[Any] | None = None,
    ) -> None: ...

def gather(
    array: NDArray[Any],
    ids: NDArray[Any],
    out: NDArray[Any] | None = None,
    out_of_range: str | int | OutOfRange = "raise",
) -> NDArray[Any]: ...
def add_detours(change: int) -> None: ...

@disjoint_base
class TableCall:
    @property
    def _table(self) -> Table | None: ...
    @property
    def _recorded(self) -> threading.local: ...
    @property
    def _changes(self) -> int: ...
    def _reconsider(self) -> None: ...
    def _answer_with(
        self,
        table: Table | None,
        changes: int,
        records: bool = False,
        out_of_range: str | int | OutOfRange = "raise",
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
