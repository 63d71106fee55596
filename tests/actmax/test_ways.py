"""Every way of running the loop computes what the plain one computes, and leaves the model alone."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax import models
from actmax.loop import Loop, Way, agreement, check_fold
from actmax.maximizer import fastest_way
from actmax.models.folding import Chain
from actmax.objectives import LOGITS
from regularizers import L2, Jitter, TotalVariation

L = keras.layers
TARGETS = [0, 1, 2]


def randomize(model):
    """Statistics and scales as after training: no fold is the identity."""
    draws = np.random.default_rng(1)
    for layer in models.layers(model).values():
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights(
                [w + np.abs(draws.normal(0, 0.3, w.shape)) for w in layer.get_weights()]
            )
    return model


def block(x, channels, activation="relu"):
    x = L.Conv2D(channels, 3, padding="same", use_bias=False)(x)
    return L.Activation(activation)(L.BatchNormalization()(x))


def network(activation="relu", seed=0):
    """Nested; every kind of layer that takes a norm; a norm behind an activation, which stays."""
    keras.utils.set_random_seed(seed)
    inner_input = keras.Input((12, 12, 4))
    inner = keras.Model(inner_input, block(inner_input, 6, activation), name="inner")
    images = keras.Input((12, 12, 3))
    x = inner(block(images, 4, activation))
    x = L.BatchNormalization()(L.DepthwiseConv2D(3, strides=2, depth_multiplier=2)(x))
    x = L.BatchNormalization()(L.SeparableConv2D(8, 3, bias_initializer="ones")(x))
    x = L.BatchNormalization()(L.Activation(activation)(x))
    x = L.GlobalAveragePooling2D()(x)
    x = L.BatchNormalization(center=False, scale=False)(L.Dense(7, bias_initializer="ones")(x))
    return randomize(keras.Model(images, L.Dense(5, activation="softmax")(x)))


@pytest.fixture(scope="module")
def relu():
    return network()


@pytest.fixture(scope="module")
def smooth():
    """Without ties, so that float32 alone must agree."""
    return network("swish")


@pytest.fixture
def one_block():
    """What there is to choose between, and no more; a new one each time, as choices are remembered."""
    keras.utils.set_random_seed(3)
    images = keras.Input((12, 12, 3))
    pooled = L.GlobalAveragePooling2D()(block(images, 4, "swish"))
    return randomize(keras.Model(images, L.Dense(5, activation="softmax")(pooled)))


def maximizer(model, **options):
    parts = [TotalVariation(0.1), L2(0.1), Jitter(2)]
    return actmax.Maximizer(model, input_range=(0, 1), **{"regularizers": parts, **options})


def pull(model, variant=None, rows=3, dtype=tf.float32):
    """Score of unit 1 and its gradient at fixed images."""
    taps = models.Taps(model, [LOGITS])
    way = taps if variant is None else models.Variant(taps, **variant)
    shape = [rows, *model.input_shape[1:]]
    images = tf.constant(np.random.default_rng(0).uniform(0, 1, shape), dtype)

    @tf.function
    def graph(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = way({"images": images})[LOGITS][:, 1]
        return score, tape.gradient(score, images)

    return [np.asarray(value, np.float64) for value in graph(images)], way


def folded(way):
    """Types of the operations that took in a norm."""
    model = way.taps.model
    inputs = {"images": tf.TensorSpec([None, *model.input_shape[1:]])}
    found = way.taps.traced(inputs)
    return way.way.plan(found, ["images"], way.taps.wanted(found)[1]).program.folded


def assert_same(found, expected, relative=1e-5):
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=relative * np.abs(wanted).max())


def test_every_norm_but_the_one_behind_an_activation_goes_into_the_layer_before_it(relu):
    _, way = pull(relu, {"fold": True})
    # A separable convolution is a depthwise one and one of single pixels, which takes the norm.
    kinds = ["Conv2D", "Conv2D", "Conv2D", "DepthwiseConv2dNative", "MatMul"]
    assert sorted(folded(way)) == kinds


def test_a_folded_model_has_the_same_scores_and_gradients(smooth):
    assert_same(pull(smooth, {"fold": True})[0], pull(smooth)[0])


def test_ties_are_told_apart_in_float64(relu):
    compute = {"compute": "float64"}
    exact = pull(relu, compute, dtype=tf.float64)[0]
    folded = pull(relu, {"fold": True, **compute}, dtype=tf.float64)[0]
    # Keras models begin with a cast to their own float32, which the gradient goes back through.
    assert_same(folded, exact, 1e-7)


def test_folds_follow_the_weights():
    model = network("swish")
    folding = maximizer(model, compile="fold", regularizers=[])
    first = folding(TARGETS, steps=1)
    kernel = model.layers[1].kernel
    kernel.assign(2.0 * kernel + 0.1)
    again = folding(TARGETS, steps=1)
    plain = maximizer(model, regularizers=[])(TARGETS, steps=1)
    assert np.abs(first.history["score"] - plain.history["score"]).max() > 1e-3
    np.testing.assert_allclose(again.history["score"], plain.history["score"], rtol=1e-5)
    assert folding.traces == 1


def test_no_trace_of_a_variant_is_left_in_the_model(relu):
    def look():
        layers = models.layers(relu).values()
        weights = [weight.numpy().tobytes() for weight in relu.weights]
        return [(layer.dtype_policy, "call" in vars(layer)) for layer in layers], weights

    before = look()
    pull(relu, {"fold": True, "compute": "bfloat16"})
    assert look() == before


def test_a_layer_that_is_tapped_is_not_folded(relu):
    name = relu.layers[1].name
    taps = models.Taps(relu, [name, LOGITS])
    images = {"images": tf.random.stateless_uniform([2, 12, 12, 3], [0, 1])}
    found = models.Variant(taps, fold=True)(images)
    np.testing.assert_allclose(found[name], taps(images)[name], atol=1e-6)
    np.testing.assert_allclose(found[LOGITS], taps(images)[LOGITS], atol=1e-5)


def shared_norm():
    images = keras.Input((8, 8, 3))
    norm, convolution = L.BatchNormalization(), L.Conv2D(3, 3, padding="same")
    return keras.Model(images, L.Flatten()(norm(convolution(norm(convolution(images))))))


def read_twice():
    images = keras.Input((8, 8, 3))
    x = L.Conv2D(3, 3)(images)
    return keras.Model(images, L.Flatten()(L.Add()([L.BatchNormalization()(x), x])))


def in_training_mode():
    class Training(L.Layer):
        def __init__(self):
            super().__init__()
            self.convolution, self.norm = L.Conv2D(3, 3), L.BatchNormalization()

        def call(self, images):
            return self.norm(self.convolution(images), training=True)

    return keras.Sequential([keras.Input((8, 8, 3)), Training(), L.Flatten()])


def test_a_layer_called_twice_takes_its_norm_in_twice():
    """Each call is an operation of its own."""
    model = randomize(shared_norm())
    found, way = pull(model, {"fold": True})
    assert folded(way) == ("Conv2D", "Conv2D")
    assert_same(found, pull(model)[0])


@pytest.mark.parametrize("build", [read_twice, in_training_mode])
def test_what_cannot_be_folded_stays(build):
    model = randomize(build())
    found, way = pull(model, {"fold": True})
    assert folded(way) == ()
    assert_same(found, pull(model)[0])


def test_a_fold_that_differs_raises(relu, monkeypatch):
    scaled = Chain.scaled
    monkeypatch.setattr(
        Chain, "scaled", lambda *given: (1.01 * scaled(*given)[0], scaled(*given)[1])
    )
    with pytest.raises(
        ValueError, match=r"^Expected a model that computes the same with its batch"
    ):
        maximizer(relu, compile="fold")(TARGETS, steps=1)


@pytest.mark.parametrize("way", ["fold", "tail", "xla"])
def test_a_run_ends_where_the_plain_one_does(smooth, way):
    if way == "tail":  # only ever chosen by "auto"
        fast = maximizer(smooth)
        fast._speed._plain = fast._speed.loop("tail")
    else:
        fast = maximizer(smooth, compile=way)
    found, plain = fast(TARGETS, steps=70), maximizer(smooth)(TARGETS, steps=70)
    np.testing.assert_allclose(found.scores, plain.scores, rtol=0.01)
    np.testing.assert_allclose(
        found.history["total_variation"][:2], plain.history["total_variation"][:2], rtol=1e-5
    )
    if way != "tail":
        assert found.config["compile"] == way
        assert fast.compilations == 1
        fast([0], steps=3)
        assert fast.compilations == (2 if way == "xla" else 1)


def test_what_is_chosen_by_timing_is_no_part_of_a_job_that_is_taken_up_again(smooth, tmp_path):
    with pytest.raises(ValueError, match="which each process measures for itself"):
        maximizer(smooth, compile="auto")(TARGETS, steps=1, checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())


def test_draws_are_the_same_under_xla(smooth):
    """Jitter's shifts decide the first score: another shift is another score."""
    runs = [maximizer(smooth, compile=way)(TARGETS, steps=1) for way in ("plain", "xla", False)]
    for run in runs[1:]:
        np.testing.assert_allclose(run.history["score"], runs[0].history["score"], rtol=1e-5)


def test_what_xla_cannot_compile_is_named(smooth):
    @regularizers.transform
    def tilt(images, seeds, step):
        rows = tf.tile([[1.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]], [tf.shape(images)[0], 1])
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images, transforms=rows, output_shape=[12, 12], interpolation="BILINEAR",
            fill_mode="NEAREST", fill_value=0.0,
        )  # fmt: skip

    with pytest.raises(
        ValueError, match=r"XLA can compile\. Received: .*ImageProjectiveTransformV3"
    ):
        maximizer(smooth, compile="xla", regularizers=[tilt])(TARGETS, steps=1)


@pytest.mark.parametrize(
    ("precision", "gap"), [("bfloat16", 0.05), ("float16", 0.01), ("mixed", 0.05)]
)
def test_half_precision_keeps_size_and_direction(smooth, precision, gap):
    """A gradient off by 2^15, the scale of a float16 backward pass, is none of these."""
    plain = maximizer(smooth).value_and_gradient(np.full([3, 12, 12, 3], 0.5), TARGETS)
    half = maximizer(smooth, precision=precision)
    found = half.value_and_gradient(np.full([3, 12, 12, 3], 0.5), TARGETS)
    np.testing.assert_allclose(found[0], plain[0], atol=gap * np.abs(plain[0]).max())
    ratio = np.linalg.norm(found[1]) / np.linalg.norm(plain[1])
    assert abs(ratio - 1.0) < gap
    cosine = np.sum(found[1] * plain[1]) / np.linalg.norm(found[1]) / np.linalg.norm(plain[1])
    assert cosine > 1 - gap
    assert found[1].dtype == np.float32


@pytest.mark.parametrize("size", [1e-7, 1.0, 1e3])
def test_the_scale_of_float16_neither_vanishes_nor_overflows(size):
    """Gradients of 1e-7 are below float16's normal numbers; 1e3 times 2^14 is above its largest."""
    dense = L.Dense(2, use_bias=False, kernel_initializer=keras.initializers.Constant(size))
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, kernel_initializer="ones"), dense])
    half = maximizer(model, precision="float16", regularizers=[], input_shape=None)
    _, gradient = half.value_and_gradient(np.full([2, 4], 0.01), [0, 1])
    np.testing.assert_allclose(gradient, 3.0 * size, rtol=0.2 if size < 1e-6 else 1e-2)


def test_a_large_weight_does_not_go_through_half_precision(smooth):
    """DESIGN: weights act in float32, after the model's backward pass."""
    run = maximizer(smooth, precision="float16", regularizers=[1e6 * L2()])(TARGETS, steps=2)
    assert (run.status == actmax.Status.OK).all()


def test_what_is_no_keras_model_is_computed_in_another_way_too(smooth):
    options = {"input_range": (0, 1), "regularizers": [], "input_shape": smooth.input_shape[1:]}
    images = np.full([2, *smooth.input_shape[1:]], 0.4)

    def found(model, **way):
        return actmax.Maximizer(model, **options, **way).value_and_gradient(images, [0, 1])

    def function(images):
        return smooth(images, training=False)

    for way in ({"compile": "fold"}, {"precision": "bfloat16"}):
        for ours, theirs in zip(found(function, **way), found(smooth, **way), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_auto_keeps_what_is_fastest_and_remembers_it(one_block, monkeypatch):
    monkeypatch.setattr(fastest_way, "SHARE", 1e6)
    first = maximizer(one_block, compile="auto")
    probe = first(TARGETS, steps=2).config["probe"]
    assert set(probe["milliseconds"]) == {"plain", "fold", "tail"}
    assert probe["used"] == min(probe["milliseconds"], key=probe["milliseconds"].get)
    assert probe["seconds"] > 0
    second = maximizer(one_block, compile="auto")
    again = second(TARGETS, steps=2).config["probe"]
    assert again == {**probe, "seconds": 0.0}
    # The plain loop is traced only where it is used.
    assert second.traces <= 2


def test_auto_does_not_probe_a_run_that_is_over_sooner(one_block):
    run = maximizer(one_block, compile="auto")(TARGETS, steps=2)
    assert run.config["probe"]["used"] == "plain"
    assert "more than 5% of the 2 steps so far" in run.config["probe"]["left_out"]["fold"]
    assert run.config["probe"]["seconds"] == 0


def test_auto_pays_for_its_probe_from_all_runs_together(one_block, monkeypatch):
    """Short runs were each timed anew, at the price of five steps a call, and never got a choice."""
    auto = maximizer(one_block, compile="auto")
    (plain,) = auto._speed.loops
    ran = []
    run = plain.run
    monkeypatch.setattr(
        plain, "run", lambda *given, **more: ran.append(given[2:]) or run(*given, **more)
    )
    probes = [auto(TARGETS, steps=40).config["probe"] for _ in range(4)]
    # Once, when 100 steps had been asked for; every run looks at its start and its end besides.
    assert [bounds for bounds in ran if bounds == (0, 2)] == [(0, 2), (0, 2)]
    assert [probe["seconds"] > 0 for probe in probes] == [False, False, True, True]
    assert "of the 120 steps so far" in probes[2]["left_out"]["fold"]
    # What they have earned is in the end enough, and the choice is kept.
    monkeypatch.setattr(fastest_way, "SHARE", 1e6)
    chosen = auto(TARGETS, steps=40).config["probe"]
    assert set(chosen["milliseconds"]) >= {"plain"}
    assert len(chosen["milliseconds"]) + len(chosen["left_out"]) == 3
    assert auto(TARGETS, steps=40).config["probe"] == {**chosen, "seconds": 0.0}


def test_auto_leaves_out_what_does_not_agree(one_block, monkeypatch):
    monkeypatch.setattr(fastest_way, "SHARE", 1e6)
    scaled = Chain.scaled
    monkeypatch.setattr(
        Chain, "scaled", lambda *given: (1.01 * scaled(*given)[0], scaled(*given)[1])
    )
    run = maximizer(one_block, compile="auto")(TARGETS, steps=1)
    assert run.config["probe"]["used"] != "fold"
    assert run.config["probe"]["left_out"]["fold"].startswith("Expected a model that computes")


def test_agreement_sees_a_difference_of_one_part_in_a_thousand(smooth):
    problem = maximizer(smooth).problem
    other = dataclasses.replace(problem, objective=1.001 * problem.objective)
    images, arguments = _start(smooth)
    assert agreement(Loop(problem), Loop(problem), images, arguments).holds
    found = agreement(Loop(problem), Loop(other), images, arguments)
    assert not found.holds
    assert found.cosine > 0.999999  # a scale has no direction: the relative difference sees it


def _start(model):
    from actmax.maximizer import rows

    problem = maximizer(model).problem
    count = len(TARGETS)
    weights, rates = rows.tables(problem, None, None, 1, count)
    seeds = rows.row_seeds(0, np.array(TARGETS), count)
    given = rows.arguments(problem, np.array(TARGETS), weights, rates, seeds, {}, {})
    return problem.finish(problem.start(seeds, {}), {}), given


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("MobileNetV2", "block_4_add"),
        ("ResNet50", "conv3_block2_out"),
        ("EfficientNetB0", "block3b_add"),
    ],
)
def test_networks_of_keras_applications_fold(name, last):
    """Up to the first layer after which no other kind of block comes."""
    build = getattr(keras.applications, name)
    whole = build(weights=None, input_shape=(64, 64, 3), include_top=False)
    pooled = L.GlobalAveragePooling2D()(whole.get_layer(last).output)
    model = randomize(keras.Model(whole.input, L.Dense(10, activation="softmax")(pooled)))
    problem = maximizer(model).problem
    images, arguments = _start(model)
    loop = Loop(problem, Way(fold=True))
    assert check_fold(loop, images, arguments).holds
    loop.score_and_gradient(images, arguments)  # the check has loops of its own
    norms = sum(isinstance(x, L.BatchNormalization) for x in models.layers(model).values())
    assert len(folded(loop.models[0])) == norms


def test_what_comes_after_the_layer_is_not_computed(relu, tmp_path):
    """Of the loop of an early layer's channel, TensorFlow runs none of the later layers."""
    early = actmax.Maximizer(
        relu, actmax.Channel(relu.layers[1].name), input_range=(0, 1), regularizers=[]
    )
    executed = _executed(lambda: early([0], steps=1), tmp_path / "early")
    assert "Conv2DBackpropInput" in executed
    assert "DepthwiseConv2dNative" not in executed
    whole = maximizer(relu, regularizers=[])
    assert "DepthwiseConv2dNative" in _executed(lambda: whole([0], steps=1), tmp_path / "whole")


def _executed(run, folder):
    """Types of the operations that TensorFlow's profiler saw executed, oneDNN's under the usual name."""
    run()
    tf.profiler.experimental.start(str(folder))
    try:
        run()
    finally:
        tf.profiler.experimental.stop()
    (record,) = folder.rglob("*.xplane.pb")
    # An event is named "operation:type"; programs of XLA, which earlier tests compiled, lie there too.
    return {
        kind.decode().replace("_MklNative", "")
        for kind in re.findall(rb"[\w/]:(\w+)", record.read_bytes())
    }


@pytest.mark.parametrize(("precision", "gap"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_where_layers_have_no_kernel_for_it(precision, gap):
    """Pooling of volumes has no kernel for float16, and loops keep lists of tensors in their own type."""
    keras.utils.set_random_seed(0)
    volumes = keras.Input((4, 4, 4, 1))
    pooled = L.MaxPooling3D(2)(L.Conv3D(3, 1)(volumes))
    last = L.SimpleRNN(3)(L.Reshape((4, 6))(pooled))
    model = keras.Model(volumes, L.Dense(2)(last))
    images = np.random.default_rng(0).uniform(size=[2, 4, 4, 4, 1]).astype("float32")
    with tf.GradientTape() as tape:
        given = tf.constant(images)
        tape.watch(given)
        wanted = tf.gather(model(given), [0, 1], batch_dims=1, axis=1)
    slope = tape.gradient(wanted, given).numpy()
    half = actmax.Maximizer(model, input_range=(0, 1), regularizers=[], precision=precision)
    value, gradient = half.value_and_gradient(images, [0, 1])
    np.testing.assert_allclose(value, wanted, atol=gap * np.abs(wanted).max())
    np.testing.assert_allclose(gradient, slope, atol=gap * np.abs(slope).max())
