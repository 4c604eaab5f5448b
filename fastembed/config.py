"""Settings of the whole program, under the names of keras.config."""

from __future__ import annotations

from fastembed.dtype_policies import dtype_policy, set_dtype_policy
from fastembed.dtypes import epsilon, floatx, set_epsilon, set_floatx

__all__ = ["dtype_policy", "epsilon", "floatx", "set_dtype_policy", "set_epsilon", "set_floatx"]
