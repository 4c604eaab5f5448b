"""The paths under which programs for Keras 1, 2 and tf.keras find what is elsewhere now."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

import fastembed
from fastembed import layers

PATHS = {
    "engine": "Input InputLayer InputSpec Layer Model",
    "engine.base_layer": "InputSpec Layer",
    "engine.input_layer": "Input InputLayer",
    "engine.sequential": "Sequential",
    "engine.topology": "Input InputLayer InputSpec Layer",
    "engine.training": "Model",
    "layers.advanced_activations": "ELU LeakyReLU PReLU ReLU Softmax ThresholdedReLU",
    "layers.core": "Activation Dense Dropout Flatten Lambda Masking Merge Permute RepeatVector Reshape",
    "layers.embeddings": "Embedding",
    "layers.merge": "Add Average Concatenate Dot Maximum Minimum Multiply Subtract add average concatenate "
    "dot maximum minimum multiply subtract",
    "layers.normalization": "BatchNormalization",
    "layers.pooling": "GlobalAveragePooling1D GlobalMaxPooling1D",
    "models": "Model Sequential",
    "utils.data_utils": "Sequence",
    "utils.generic_utils": "Progbar CustomObjectScope custom_object_scope get_custom_objects",
    "utils.np_utils": "normalize to_categorical",
}


@pytest.mark.parametrize("path", PATHS)
def test_what_an_old_path_leads_to(path):
    module = import_module(f"fastembed.{path}")
    for name in PATHS[path].split():
        assert getattr(module, name) is next(
            getattr(each, name)
            for each in (fastembed, fastembed.utils, layers, layers.merging)
            if hasattr(each, name)
        )


def test_a_container_is_a_model():
    from fastembed.engine.topology import Container

    assert Container is fastembed.Model


def test_merge_is_the_function_of_keras_1_and_the_module_of_keras_2():
    from fastembed.layers import merge
    from fastembed.layers.merge import Add

    assert Add is layers.Add
    for each in (merge, layers.merge):  # which is the module, now that it was imported
        assert each([np.ones((1, 2)), np.ones((1, 3))], mode="concat").shape == (1, 5)
