from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastembed._rows import OutOfRange, Table

def accumulate(table: Table, ids: NDArray[Any], values: NDArray[Any]) -> None: ...
def add_as_is(table: Any, ids: Any, values: Any) -> bool: ...
def sum_rows(
    ids: NDArray[Any],
    values: NDArray[Any],
    rows: int,
    out_of_range: str | int | OutOfRange = "raise",
    times: int = 1,
) -> tuple[NDArray[np.int64], NDArray[Any]]: ...
