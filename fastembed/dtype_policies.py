"""Which dtype a layer computes in, and which its variables have."""

from __future__ import annotations

from typing import Any

from fastembed.dtypes import array_dtype, is_float, standardize_dtype


class DTypePolicy:
    """The dtypes of one layer.

    Parameters
    ----------
    name : str or dtype, optional
        A dtype, for variables and results alike (default: `fastembed.backend.floatx`); or
        ``"mixed_float16"`` or ``"mixed_bfloat16"``: float32 variables and narrower results.

    Attributes
    ----------
    name, variable_dtype, compute_dtype : str

    Raises
    ------
    ValueError
        For an unknown name, and for results in bfloat16 where ml_dtypes is not installed.

    Examples
    --------
    >>> policy = DTypePolicy("mixed_float16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'float16')
    """

    def __init__(self, name: Any = None) -> None:
        if isinstance(name, str) and name.startswith("mixed_"):
            self.name, self.variable_dtype = name, "float32"
            self.compute_dtype = name[len("mixed_") :]
            if self.compute_dtype not in ("float16", "bfloat16"):
                raise ValueError(
                    f"Unknown dtype policy {name!r}: mixed are 'mixed_float16' and 'mixed_bfloat16'"
                )
        else:
            self.name = self.variable_dtype = self.compute_dtype = standardize_dtype(name)
        array_dtype(self.compute_dtype)  # results need an array dtype

    @property
    def is_floating(self) -> bool:
        """Whether results are floats."""
        return is_float(self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<DTypePolicy {self.name!r}>"


def get(identifier: Any) -> DTypePolicy:
    """The policy that a layer's ``dtype`` argument means, in the form of any era.

    Parameters
    ----------
    identifier : None, str, dtype, DTypePolicy or dict
        A dict is a serialised policy: ``{"class_name": ..., "config": {"name": ...}}``.

    Examples
    --------
    >>> get({"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float16"}})
    <DTypePolicy 'float16'>
    """
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        settings = identifier.get("config")
        name = settings.get("name") if isinstance(settings, dict) else None
        if not isinstance(name, str):
            raise ValueError(f"not the config of a dtype policy: {identifier!r:.200}")
        return DTypePolicy(name)
    return DTypePolicy(identifier)


def serialize(policy: DTypePolicy) -> dict[str, Any]:
    """Keras 3's config of a policy.

    >>> serialize(DTypePolicy("float32"))["config"]
    {'name': 'float32'}
    """
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": policy.get_config(),
        "registered_name": None,
    }
