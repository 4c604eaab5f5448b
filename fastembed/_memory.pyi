from typing import Any

from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import disjoint_base

@disjoint_base
class Buffer: ...

def empty(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]: ...
def copy(values: ArrayLike, dtype: DTypeLike | None = None) -> NDArray[Any]: ...
