"""What a part is for is part of its type, and asked for through a run."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import loop as loops
from actmax.maximizer import beginning
from actmax.maximizer.record import described
from actmax.throughput import measuring

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


def test_seeds_are_recorded_as_they_were_given():
    """NumPy made floats of them: 1.8446744073709552e+19."""
    seeds = [2**64 - 1, 1]
    assert described(1, seeds, None, None, "last", 2, {}, {})["seed"] == seeds
    assert described(1, np.array([3, 4]), None, None, "last", 2, {}, {})["seed"] == [3, 4]


def test_whole_numbers_of_a_fixed_input_are_not_cut_off():
    x, k = keras.Input((4,), name="x"), keras.Input((1,), name="k", dtype="int32")
    joined = L.Concatenate()([x, L.Flatten()(L.Embedding(5, 3)(k))])
    two = keras.Model([x, k], L.Dense(2)(joined))
    settings = {"input_range": {"x": (0, 1)}, "regularizers": []}
    assert actmax.Maximizer(two, fixed={"k": [[1.0]]}, **settings).fixed["k"].tolist() == [[1]]
    for value in (1.9, np.nan, 2.0**40):
        with pytest.raises(ValueError, match=r"whole numbers of type int32 in fixed\['k'\]"):
            actmax.Maximizer(two, fixed={"k": [[value]]}, **settings)


@pytest.mark.parametrize("images", [1, 3])
def test_as_many_start_images_as_images(model, images):
    maximizer = actmax.Maximizer(model, lambda o: o[:, 0], input_range=(0, 1), regularizers=[])
    with pytest.raises(ValueError, match=f"one for each of {images} images. Received: 2"):
        maximizer(images=images, steps=0, initial_images=np.full((2, 8, 8, 3), 0.5))


def test_channels_of_a_shared_layer_are_those_of_every_call():
    i, twice = keras.Input((8, 8, 1)), L.Conv2D(1, 3, padding="same", name="twice")
    pooled = L.GlobalAveragePooling2D()(L.Conv2D(3, 1, name="once")(twice(twice(i))))
    shared = keras.Model(i, L.Dense(2, name="d")(pooled))
    names = [objective.layer for objective in actmax.channels(shared)]
    assert names == ["twice:0", "twice:1", "once", "d"]
    scores = [
        actmax.maximize(
            shared,
            actmax.Channel(name),
            targets=[0],
            input_range=(0, 1),
            regularizers=[],
            initial_images=np.full((1, 8, 8, 1), 0.5),
            steps=0,
        ).scores[0]
        for name in ("twice:0", "twice:1")
    ]
    one = twice(np.full((1, 8, 8, 1), 0.5, "float32"))
    expected = [np.mean(one), np.mean(twice(one))]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_a_catalog_of_terms_has_the_units_that_its_targets_pick(tmp_path):
    """It had as many units as the layer that came first."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [keras.Input((6, 6, 1)), L.Conv2D(4, 3, name="conv"), L.Flatten(), L.Dense(7, name="out")]
    )
    objectives = [
        0.1 * actmax.Channel("conv", 3) + actmax.Logit(),
        actmax.Logit() + actmax.Channel("conv"),
    ]
    settings = {"input_range": (0, 1), "regularizers": [], "compile": False}
    found = actmax.catalog(net, objectives, out=tmp_path, steps=1, batch_size=7, **settings)
    assert [row["target"] for row in found.select()] == [*range(7), *range(4)]
    assert {row["layer"] for row in found.select()} == {":logits"}


def test_the_price_of_a_regularizer_is_of_the_loop_that_it_was_left_out_of():
    """The loop without it had neither the recipe's balance nor its optimizer."""
    net = keras.Sequential(
        [keras.Input((16, 16, 3)), L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(3)]
    )
    settings = {"input_range": (0, 1)}
    full = actmax.Maximizer(net, **settings)
    spelled = measuring._spelled_out(full.problem, settings)
    other = actmax.Maximizer(net, **{**spelled, "regularizers": spelled["regularizers"][:-1]})
    assert other.problem.balance is full.problem.balance is True
    assert other.problem.optimizer == full.problem.optimizer
    assert other.problem.inputs[0].parameterization == full.problem.inputs[0].parameterization


def test_a_warning_points_to_the_line_of_the_user(model):
    settings = {"input_range": actmax.L2Ball(1.0), "regularizers": []}
    with pytest.warns(UserWarning, match="divides every value by a history") as caught:
        actmax.maximize(model, targets=[0], optimizer=actmax.Adam(0.05), steps=0, **settings)
    assert {found.filename for found in caught} == {__file__}


def test_a_dead_unit_beside_operators_is_no_start(model):
    """The image had moved by half of its range, and the message called it the start."""
    start = np.random.default_rng(0).random((1, 8, 8, 3))
    run = {"targets": [0], "initial_images": start, "steps": 2, "compile": False}
    result = actmax.maximize(
        model, 0.0 * actmax.Logit(), input_range=(0, 1), regularizers=[], **run, **after(fade)
    )
    assert "so only the operators after the update moved the image" in result.messages[0]
    frames = actmax.Frames()
    frames.frames = [{"a": start, "b": start}]
    with pytest.raises(ValueError, match=r"one input.*save_gif\(path, input='a'\)"):
        frames.film(0, 1)
