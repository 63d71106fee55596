"""Models that Keras quantized: their layers, their own answers, and the precision that they leave open."""

import warnings

import keras
import numpy as np
import pytest

import actmax

L = keras.layers
KW = {"targets": [0, 1], "input_range": (0, 1), "regularizers": [], "steps": 2}


def quantized(mode):
    keras.utils.set_random_seed(0)
    hidden, last = L.Dense(16, activation="relu", name="hidden"), L.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((8,)), hidden, last])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says which layers it leaves alone
        model.quantize(mode)
    return model


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_scores_and_probabilities_are_the_quantized_models(mode):
    model = quantized(mode)
    result = actmax.maximize(model, **KW)
    np.testing.assert_allclose(
        result.probabilities, np.diag(np.asarray(model(result.images))[:, :2]), rtol=1e-4
    )
    units = actmax.maximize(model, actmax.Channel("hidden"), **KW)
    wanted = np.asarray(model.get_layer("hidden")(units.images))
    np.testing.assert_allclose(units.scores, np.diag(wanted[:, :2]), rtol=1e-4)


def test_float16_of_whole_numbers_is_refused():
    """Sums of products of 8 bits go beyond 65504."""
    with pytest.raises(ValueError, match="float16 ends at 65504"):
        actmax.maximize(quantized("int8"), precision="float16", **KW)
