"""Where Keras 1 and 2 had the layers that are neither recurrent nor of images."""

from __future__ import annotations

from fastembed.layers.activation import Activation
from fastembed.layers.dense import Dense
from fastembed.layers.lambda_layer import Lambda
from fastembed.layers.masking import Masking
from fastembed.layers.merging import Merge
from fastembed.layers.regularization import Dropout, SpatialDropout1D
from fastembed.layers.reshaping import Flatten, Permute, RepeatVector, Reshape

__all__ = [
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Lambda",
    "Masking",
    "Merge",
    "Permute",
    "RepeatVector",
    "Reshape",
    "SpatialDropout1D",
]
