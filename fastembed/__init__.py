"""Keras's Embedding layer and what lives around it, for CPUs.

>>> import numpy as np
>>> import fastembed
>>> embedding = fastembed.layers.Embedding(input_dim=1000, output_dim=64)
>>> embedding(np.array([[4, 10], [2, 999]])).shape
(2, 2, 64)
"""

from fastembed import backend, constraints, initializers, layers, ops, regularizers, saving
from fastembed._version import __version__
from fastembed.layers.layer import recording
from fastembed.ops import IndexedSlices
from fastembed.threads import get_num_threads, num_threads, set_num_threads
from fastembed.variable import Variable

__all__ = [
    "IndexedSlices",
    "Variable",
    "__version__",
    "backend",
    "constraints",
    "get_num_threads",
    "initializers",
    "layers",
    "num_threads",
    "ops",
    "recording",
    "regularizers",
    "saving",
    "set_num_threads",
]
