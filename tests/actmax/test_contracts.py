"""What a part is for is part of its type, and asked for through a run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import loop as loops
from actmax.maximizer import beginning

L = keras.layers
STATUS = actmax.Status


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8, 8, 3)), L.Flatten(), L.Dense(3)])


def decoder(activation="sigmoid"):
    dense = L.Dense(192, activation=activation)
    return keras.Sequential([keras.Input([4]), dense, L.Reshape([8, 8, 3])])


def fade(images, gradients, step):
    return images * 0.5


def after(*operators, base=None):
    return {"optimizer": actmax.AfterUpdate(base or actmax.SGD(0.05), list(operators))}


FOR_IMAGES = {
    "DecayImage": after(actmax.DecayImage(0.1)),
    "BlurImage": after(actmax.BlurImage(1.0)),
    "ClipSmallNorms": after(actmax.ClipSmallNorms(30.0)),
    "a function": after(fade),
    "one below another": after(base=after(fade)["optimizer"]),
    "BlurGradient": {"gradients": [actmax.Normalize(), actmax.BlurGradient(1.0)]},
    "InverseFrequency": {"gradients": [actmax.InverseFrequency()]},
}
NO_IMAGES = {
    "default recipe": {},
    "Fourier": {"parameterization": actmax.Fourier()},
    "Decorrelated": {"parameterization": actmax.Decorrelated(actmax.Pixels())},
    "Pyramid": {"parameterization": actmax.LaplacianPyramid()},
    "Generator": {"parameterization": actmax.Generator(decoder(), output_range=(0, 1))},
}


@pytest.mark.parametrize("params", NO_IMAGES)
@pytest.mark.parametrize("part", FOR_IMAGES)
def test_what_is_for_images_is_given_nothing_else(model, part, params):
    """A decay of images halved Fourier coefficients, and a blur ran over frequencies."""
    settings = {"input_range": (0, 1), **FOR_IMAGES[part], **NO_IMAGES[params]}
    with pytest.raises(ValueError, match=r"Expected .*images.* Give parameterization=actmax\.Pix"):
        actmax.Maximizer(model, **settings)
    pixels = {"parameterization": actmax.Pixels(), "regularizers": []}
    actmax.Maximizer(model, **{**settings, **pixels})


def test_a_run_looks_at_the_range_of_a_generator(model):
    """It cut off what left the range; only `init`, called by itself, looked."""
    part = actmax.Generator(decoder("tanh"), output_range=(0, 1))
    with pytest.raises(ValueError, match=r"in its output_range 0 \.\. 1\. Received: values in -"):
        actmax.maximize(
            model,
            targets=[0],
            input_range=(0, 1),
            parameterization=part,
            regularizers=[],
            steps=1,
        )


def test_operators_are_given_no_pixels_before_a_map(model):
    pixels = {"parameterization": actmax.Pixels(), "regularizers": []}
    with pytest.raises(ValueError, match="pixels before Sigmoid maps them"):
        actmax.Maximizer(model, input_range=actmax.Sigmoid(0, 1), **pixels, **after(fade))


def test_operators_on_params_are_asked_for(model):
    seen = []

    def spy(params, gradients, step):
        seen.append(tuple(params.shape[1:]))
        return params

    optimizer = actmax.AfterUpdate(actmax.SGD(0.05), [spy], on="params")
    settings = {"input_range": (0, 1), "regularizers": [], "parameterization": actmax.Fourier()}
    actmax.maximize(model, targets=[0], steps=1, optimizer=optimizer, **settings)
    assert (8, 5, 3, 2) in seen
    with pytest.raises(ValueError, match=r"on .*'images', 'params'"):
        actmax.AfterUpdate(actmax.SGD(0.05), [spy], on="gradients")


def test_no_optimizer_moves_what_has_no_gradient(model):
    """Weight decay of a Keras optimizer made the contrast limit of every row smaller."""

    def run(**decay):
        result = actmax.maximize(
            model,
            targets=[0],
            input_range=(0, 1),
            regularizers=[],
            parameterization=actmax.LimitedContrast(actmax.Fourier()),
            optimizer=keras.optimizers.SGD(0.05, **decay),
            steps=3,
        )
        return result.params["limit"], result.params["base"]

    limit, base = run()
    decayed, moved = run(weight_decay=0.5)
    np.testing.assert_array_equal(limit, decayed)
    assert not np.array_equal(*(np.asarray(tf.nest.flatten(x)[0]) for x in (base, moved)))


@pytest.mark.parametrize("balance", [False, True])
def test_ctrl_c_before_the_first_step_gives_the_start(model, monkeypatch, tmp_path, balance):
    """It raised KeyboardInterrupt out of the look for dead starts."""

    def interrupted(*arguments, **named):
        raise KeyboardInterrupt

    told = []

    class Told(actmax.Callback):
        def on_begin(self, snapshot):
            told.append(("begin", snapshot.step))

        def on_end(self, snapshot):
            told.append(("end", snapshot.step))

    maximizer = actmax.Maximizer(model, input_range=(0, 1), regularizers=[], balance=balance)
    start = maximizer([0, 1], steps=0).images
    with monkeypatch.context() as patch:
        patch.setattr(loops.Loop, "sensitivity" if balance else "run", interrupted)
        result = maximizer([0, 1], steps=4, callbacks=[Told()], checkpoint=tmp_path)
    assert [STATUS(status).name for status in result.status] == ["INTERRUPTED"] * 2
    assert result.messages[0].startswith("Interrupted after 0 of 4 steps")
    assert "nothing is kept in" in result.messages[0]
    np.testing.assert_array_equal(result.images, start)
    assert told == [("begin", 0), ("end", 0)]
    assert beginning.Revived(np.zeros(2, bool), np.zeros(2, int)).record() == {}
    whole = maximizer([0, 1], steps=4, checkpoint=tmp_path)
    assert whole.status.tolist() == [STATUS.OK] * 2
