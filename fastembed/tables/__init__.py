"""How rows are stored.

A table answers ``gather(ids, out=None, out_of_range="raise")`` for an array of integer ids; the layer that
holds it need not know how. Every table has ``shape``, ``row_dtype`` (of the rows that it returns) and
``gather``.
One class a way of storing, one file each.
"""

from fastembed.tables.dense import DenseTable
from fastembed.tables.lora import LoraTable
from fastembed.tables.quantized import Int4Table, Int8Table

__all__ = ["DenseTable", "Int4Table", "Int8Table", "LoraTable"]
