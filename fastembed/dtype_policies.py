"""Which dtype a layer computes in, which its variables have, and how its table is quantised.

The names are those of keras.dtype_policies in Keras 3.15, whose configs and names these policies have:
keras/src/dtype_policies/dtype_policy.py and dtype_policy_map.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from fastembed._registry import Registry, serialize_keras_object
from fastembed.dtypes import array_dtype, floatx, is_float, standardize_dtype

if TYPE_CHECKING:
    from typing_extensions import Self


class DTypePolicy:
    """The dtypes of one layer.

    Parameters
    ----------
    name : str, optional
        A dtype, for variables and results alike; or ``"mixed_float16"`` or ``"mixed_bfloat16"``: float32
        variables and narrower results. By default that of the policy that is set (see `dtype_policy`).

    Attributes
    ----------
    name, variable_dtype, compute_dtype : str
    quantization_mode : str or None
        ``"int8"`` or ``"int4"`` for a `QuantizedDTypePolicy`, else None.
    block_size : int or None
        Columns that share a scale; None and -1 where a whole row does.

    Raises
    ------
    TypeError
        If the name is no string. (`get` understands other things too.)
    ValueError
        For an unknown name, and for results in bfloat16 where ml_dtypes is not installed.

    Examples
    --------
    >>> policy = DTypePolicy("mixed_float16")
    >>> policy.variable_dtype, policy.compute_dtype
    ('float32', 'float16')
    """

    name: str
    quantization_mode: str | None = None
    block_size: int | None = None

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            name = dtype_policy().name
        if not isinstance(name, str):
            raise TypeError(
                f"'name' must be a string, such as 'mixed_float16'. Received: name={name!r:.200} (of type "
                f"{type(name).__name__}). dtype_policies.get() also takes dtypes and configs"
            )
        self.variable_dtype, self.compute_dtype = _dtypes_of(name)
        self.name = name if name in _MIXED else self.variable_dtype

    @property
    def is_floating(self) -> bool:
        """Whether results are floats."""
        return is_float(self.compute_dtype)

    def of(self, path: str) -> DTypePolicy:
        """The policy of the layer that has this path: this one, unless it is a map.

        >>> DTypePolicy("float16").of("model/embedding")
        <DTypePolicy "float16">
        """
        return self

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as values that JSON can hold."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The policy whose `get_config` gave ``config``."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<{type(self).__name__} "{self.name}">'


FloatDTypePolicy = DTypePolicy  # for a while the class had this name in Keras 3


_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


def _dtypes_of(name: str) -> tuple[str, str]:
    """Dtype of variables and dtype of results under the policy of this name."""
    try:
        results = _MIXED.get(name) or standardize_dtype(name)
    except ValueError:
        raise ValueError(
            f"Unknown dtype policy {name!r:.200}. Valid are 'mixed_float16', 'mixed_bfloat16', the name of "
            "a dtype such as 'float32', and for quantised tables 'int8_from_float32' or "
            "'int4/128_from_float32', with any of the others behind '_from_'"
        ) from None
    array_dtype(results)  # results need an array dtype
    return ("float32" if name in _MIXED else results), results


class QuantizedDTypePolicy(DTypePolicy):
    """The dtypes of a layer with a quantised table.

    Parameters
    ----------
    mode : {"int8", "int4"}
        How rows are stored. ``"int4"`` has one scale for a row; see `Int4DTypePolicy` for blocks.
    source_name : str, optional
        The policy that the layer had before: scales and results keep its dtypes. By default that of the
        policy that is set.

    Attributes
    ----------
    name : str
        ``"int8_from_float32"``, say.
    quantization_mode, source_name : str

    Raises
    ------
    ValueError
        For another mode, an unknown source, and for int8 with results in float16, which Keras refuses: a
        float16 holds too few values between two codes.

    Notes
    -----
    Keras's other modes, float8, GPTQ and AWQ, store kernels of Dense layers; its Embedding refuses them
    when it is built, here they are refused at once.

    Examples
    --------
    >>> policy = QuantizedDTypePolicy("int8", "float64")
    >>> policy.name, policy.variable_dtype, policy.compute_dtype, policy.quantization_mode
    ('int8_from_float64', 'float64', 'float64', 'int8')
    """

    quantization_mode: str

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        if mode not in ("int8", "int4"):
            raise ValueError(
                f"Invalid quantization mode. Expected 'int8' or 'int4'. Received: mode={mode!r:.200}. "
                "(float8, gptq and awq are Keras's ways of storing Dense kernels; no Embedding has them. A "
                "block size belongs to Int4DTypePolicy: 'int4/128')"
            )
        self.source_name = DTypePolicy(source_name).name
        self.name = f"{mode}_from_{self.source_name}"
        self.variable_dtype, self.compute_dtype = _dtypes_of(self.source_name)
        self.quantization_mode = mode
        if (mode, self.compute_dtype) == ("int8", "float16"):
            raise ValueError(
                f"Quantization mode={mode!r} doesn't work well with compute_dtype='float16'. Use bfloat16 or "
                f"float32 instead of {self.source_name!r}"
            )

    def get_config(self) -> dict[str, Any]:
        return {"mode": self.quantization_mode, "source_name": self.source_name}


class Int4DTypePolicy(QuantizedDTypePolicy):
    """The dtypes of a layer whose int4 table has a scale for each block of columns.

    Parameters
    ----------
    mode : str
        ``"int4/128"``: blocks of 128 columns. ``"int4/-1"``: one scale for a row.
    source_name : str, optional
        As for `QuantizedDTypePolicy`.

    Raises
    ------
    ValueError
        If the block size is neither positive nor -1.

    Examples
    --------
    >>> policy = Int4DTypePolicy("int4/128", "float32")
    >>> policy.name, policy.quantization_mode, policy.block_size
    ('int4/128_from_float32', 'int4', 128)
    """

    block_size: int

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        found = re.fullmatch(r"int4/(-1|[1-9][0-9]*)", mode) if isinstance(mode, str) else None
        if found is None:
            raise ValueError(
                "Invalid mode for Int4DTypePolicy. Expected 'int4/<block_size>', where the block size is a "
                f"positive integer or -1 for one scale a row. Received: mode={mode!r:.200}"
            )
        super().__init__("int4", source_name)
        self.block_size = int(found.group(1))
        self.mode = self.quantization_mode
        self.name = f"int4/{self.block_size}_from_{self.source_name}"

    def get_config(self) -> dict[str, Any]:
        return {"mode": f"{self.mode}/{self.block_size}", "source_name": self.source_name}


class DTypePolicyMap(DTypePolicy, MutableMapping[str, DTypePolicy]):
    """Policies by the paths of layers, for a model whose layers do not all have the same.

    Parameters
    ----------
    default_policy : DTypePolicy, str or dict, optional
        Of all layers whose path is not in the map; by default the policy that is set.
    policy_map : dict of str to DTypePolicy, optional
        A key is a path, or a regular expression that must match the whole of one. Those in a file by a
        stranger are his: matching one can take long.

    Raises
    ------
    TypeError
        If ``policy_map`` is no dict.
    ValueError
        If the default is itself a map, a value is no policy, or a key is no regular expression.

    Examples
    --------
    >>> policies = DTypePolicyMap("float32", {"encoder/.*": "float16"})
    >>> policies["encoder/words"], policies["decoder/words"]
    (<DTypePolicy "float16">, <DTypePolicy "float32">)
    """

    def __init__(self, default_policy: Any = None, policy_map: dict[str, Any] | None = None) -> None:
        if isinstance(default_policy, DTypePolicyMap):
            raise ValueError("`default_policy` cannot be a `DTypePolicyMap`.")
        if policy_map is not None and not isinstance(policy_map, dict):
            raise TypeError(f"`policy_map` must be a dict. Received: policy_map={policy_map!r:.200}")
        self._given_default = default_policy
        self.default_policy = get(default_policy)
        self.name = f"map_{self.default_policy.name}"
        self.variable_dtype = self.default_policy.variable_dtype
        self.compute_dtype = self.default_policy.compute_dtype
        self.quantization_mode = self.default_policy.quantization_mode
        self.block_size = self.default_policy.block_size
        self._policies: dict[str, DTypePolicy] = {}
        self.update(policy_map or {})

    def of(self, path: str) -> DTypePolicy:
        return self[path]

    def __getitem__(self, path: str) -> DTypePolicy:
        if path in self._policies:
            return self._policies[path]
        matching = [key for key in self._policies if re.fullmatch(key, path)]
        if len(matching) > 1:
            raise ValueError(
                f"Path {path!r} matches several keys of the DTypePolicyMap: {matching}. At most one may "
                "match; add the path itself as a key, which counts first"
            )
        return self._policies[matching[0]] if matching else self.default_policy

    def __setitem__(self, key: str, policy: Any) -> None:
        if key in self._policies:
            raise ValueError(
                f"{key!r} is in the DTypePolicyMap already, as {self._policies[key]}. Delete it first"
            )
        try:
            re.compile(key)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"a key of a DTypePolicyMap is a path or a regular expression; {key!r:.200} is neither: "
                f"{error}"
            ) from None
        self._policies[key] = get(policy)

    def __delitem__(self, key: str) -> None:
        del self._policies[key]

    def __contains__(self, key: object) -> bool:
        return key in self._policies  # as it was set; `[]` has an answer for every path

    def __iter__(self) -> Iterator[str]:
        return iter(self._policies)

    def __len__(self) -> int:
        return len(self._policies)

    def get_config(self) -> dict[str, Any]:
        policies = {key: serialize(policy) for key, policy in self._policies.items()}
        default = self._given_default
        if default is None:
            # The reader's policy is to count, in place of the one that counts here. (Keras 3 writes this
            # down by taking the names from the policies themselves, which then have none.)
            for policy in policies.values():
                for key in {"name", "source_name"} & set(policy["config"]):
                    policy["config"][key] = None
        return {
            "default_policy": serialize(default) if isinstance(default, DTypePolicy) else default,
            "policy_map": policies,
        }

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        default, mapping = self.default_policy.name, [(key, policy.name) for key, policy in self.items()]
        return f"<DTypePolicyMap at {hex(id(self))} default_policy={default}, mapping={mapping}>"


# --- The policy of layers that name none ---

_dtype_policy: DTypePolicy | None = None


def dtype_policy() -> DTypePolicy:
    """The policy of layers that name none: that of `set_dtype_policy`, or `fastembed.backend.floatx`.

    >>> dtype_policy()
    <DTypePolicy "float32">
    """
    return DTypePolicy(floatx()) if _dtype_policy is None else _dtype_policy


def set_dtype_policy(policy: Any) -> None:
    """Set the policy of layers that name none: for layers made from now on, in all threads.

    Parameters
    ----------
    policy : str, DTypePolicy or None
        As for `get`; None for `fastembed.backend.floatx` again.

    Raises
    ------
    ValueError
        If there is no such policy. The one that was set stays.

    Examples
    --------
    >>> set_dtype_policy("mixed_float16")
    >>> dtype_policy()
    <DTypePolicy "mixed_float16">
    >>> set_dtype_policy(None)
    """
    global _dtype_policy
    _dtype_policy = None if policy is None else get(policy)


# --- Names and configs ---

_registry = Registry(
    "dtype policy",
    {
        "DTypePolicy": DTypePolicy,
        "FloatDTypePolicy": DTypePolicy,
        "Policy": DTypePolicy,  # tf.keras
        "PolicyV1": DTypePolicy,  # tf.keras 2.4 to 2.10, under mixed_precision.experimental
        "QuantizedDTypePolicy": QuantizedDTypePolicy,
        "Int4DTypePolicy": Int4DTypePolicy,
        "DTypePolicyMap": DTypePolicyMap,
    },
    # The experimental policies of tf.keras also said how the optimizer scales the loss.
    old_keys={"loss_scale": None},
    module="keras.dtype_policies",
    elsewhere={DTypePolicy: "keras"},
)


def get(identifier: Any) -> DTypePolicy:
    """The policy that a layer's ``dtype`` argument means, in the form of any era.

    Parameters
    ----------
    identifier : None, str, dtype, DTypePolicy or dict
        None for the policy that is set (see `dtype_policy`); the name of a policy, ``"float16"``,
        ``"mixed_bfloat16"``, ``"int8_from_float32"`` or ``"int4/128_from_float32"``; a dtype of NumPy, JAX,
        TensorFlow, torch or ml_dtypes; or a config (see `deserialize`).

    Raises
    ------
    ValueError
        If there is no such policy.

    Examples
    --------
    >>> import numpy as np
    >>> get("int8_from_float32"), get(np.float16)
    (<QuantizedDTypePolicy "int8_from_float32">, <DTypePolicy "float16">)
    >>> get({"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float16"}})
    <DTypePolicy "float16">
    """
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if not isinstance(identifier, str):
        return DTypePolicy(standardize_dtype(identifier))
    mode, separator, source_name = identifier.partition("_from_")
    if not separator:
        return DTypePolicy(identifier)
    return (Int4DTypePolicy if mode.startswith("int4/") else QuantizedDTypePolicy)(mode, source_name)


def serialize(policy: DTypePolicy) -> Any:
    """The config of a policy as Keras 3 writes it, ready for JSON.

    >>> serialize(DTypePolicy("float32"))
    {'module': 'keras', 'class_name': 'DTypePolicy', 'config': {'name': 'float32'}, 'registered_name': None}
    """
    return serialize_keras_object(policy)


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The policy that a config describes.

    Parameters
    ----------
    config : dict
        ``{"class_name", "config"}``, in Keras 3 with ``"module"`` and ``"registered_name"``. tf.keras calls
        the class Policy.
    custom_objects : mapping of str to class, optional
        Classes of the caller's own, by the names that configs give them.

    Raises
    ------
    ValueError
        If the class is unknown or does not take these settings.

    Examples
    --------
    >>> deserialize({"class_name": "Policy", "config": {"name": "mixed_float16"}})
    <DTypePolicy "mixed_float16">
    """
    return _registry.deserialize(config, custom_objects)
