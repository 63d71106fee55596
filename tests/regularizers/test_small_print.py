"""What is said of every regularizer in a word: defaults, limits, attributes, and which draw makes what."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

import regularizers
from regularizers import (
    L1,
    L2,
    Affine,
    AlphaNorm,
    Blur,
    Bound,
    ColorShift,
    Edits,
    Flip,
    Jitter,
    LInf,
    LogSum,
    Noise,
    Pad,
    Penalty,
    PixelNorm,
    RandomBox,
    RandomCrop,
    Rotate,
    Scale,
    Shift,
    TotalVariation,
    base,
    random,
)
from regularizers.decorated import FunctionPenalty, FunctionTransform
from tests.conformance.regularizer_catalogue import public_classes

STEP = tf.constant(3)
PENALTIES = sorted(
    (kind for kind in public_classes() if issubclass(kind, Penalty)), key=lambda kind: kind.__name__
)
NAN = float("nan")


def images(shape=(5, 6, 3), n=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *shape))


def seeds(n):
    return random.fold_in(tf.fill([n, 2], 5), tf.range(n))


# Attributes.


@regularizers.transform
def nothing(images, seeds, step):
    return images


@pytest.mark.parametrize(
    ("part", "keeps_range", "draws"),
    [
        (Jitter(1), True, True),
        (Rotate(5), True, True),
        (Scale(0.9, 1.1), True, True),
        (Shift(1), True, True),
        (RandomBox(0.2, 0.5), True, True),
        (RandomCrop((3, 3)), True, True),
        (Flip(), True, True),
        (Noise(0.1), False, True),
        (ColorShift(0.1, 0.1), False, True),
        (Pad(1), False, False),
        (Blur(1.0), True, False),
        (nothing, False, True),
    ],
    ids=lambda part: getattr(part, "name", None),
)
def test_what_a_transform_says_of_itself(part, keeps_range, draws):
    """A sweep of robust scores leaves out draws where there are none; ranges are checked where kept."""
    assert (part.keeps_range, part.draws, part.couples_images) == (keeps_range, draws, False)
    assert part.on is None


# What a penalty has no default of.
GIVEN = {Edits: {"original": [[1.0, 0.0], [0.0, 1.0]]}}


@pytest.mark.parametrize("kind", PENALTIES, ids=lambda kind: kind.__name__)
def test_a_penalty_is_for_one_image_has_weight_1_and_checks_it(kind):
    make = functools.partial(kind, **GIVEN.get(kind, {}))
    assert make().weight == 1.0
    assert make().couples_images is False
    assert make([1, 2]).weight == (1.0, 2.0)
    assert make(on="left").on == "left"
    with pytest.raises(ValueError, match=f"the weight of {make().name} to be finite"):
        make(NAN)
    with pytest.raises(TypeError, match=f"the weight of {make().name} to be a number"):
        make("1")


def test_settings_that_are_not_given():
    assert TotalVariation().beta is None
    assert AlphaNorm().alpha == PixelNorm().alpha == 6.0
    assert PixelNorm().center == 0.0
    assert (LogSum().epsilon, LogSum().center) == (0.1, 0.0)
    assert (Bound().low, Bound().high) == (0.0, 1.0)
    assert Flip().axis == "horizontal"
    assert Pad(1).value == "edge"
    assert RandomBox(0.2, 0.5).center_std == 0.15


def test_a_function_is_given_by_its_name_because_a_weight_comes_first():
    with pytest.raises(TypeError):
        FunctionPenalty(lambda images: images)
    with pytest.raises(TypeError):
        FunctionTransform(lambda images, seeds, step: images)


def run(first, second, images):
    """Two transforms in a row."""
    own = tf.stack([seeds(4), seeds(4)])
    return regularizers.compose([first, second])(images, own, STEP)


def test_a_run_of_maps_that_is_traced_without_sizes_names_its_first():
    signature = [tf.TensorSpec([None, None, 5, 3])]
    graph = tf.function(
        lambda x: run(Rotate(5), Shift(1.0), x), input_signature=signature, autograph=False
    )
    with pytest.raises(ValueError, match=r"sizes are all known but the first.*in rotate"):
        graph.get_concrete_function()


# Limits: each is the last value that is refused, or the first that is not.


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: AlphaNorm(alpha=0.999), ValueError, "alpha of alpha_norm .* at least 1"),
        (lambda: AlphaNorm(alpha=True), TypeError, "alpha of alpha_norm"),
        (lambda: PixelNorm(alpha=1.999), ValueError, "alpha of pixel_norm .* at least 2"),
        (lambda: PixelNorm(alpha="2"), TypeError, "alpha of pixel_norm"),
        (lambda: PixelNorm(center=NAN), ValueError, "center of pixel_norm"),
        (lambda: PixelNorm(center=None), TypeError, "center of pixel_norm"),
        (lambda: TotalVariation(beta=-1.0), ValueError, "beta of total_variation"),
        (lambda: LogSum(epsilon=-1.0), ValueError, "epsilon of log_sum"),
        (lambda: LogSum(epsilon="1"), TypeError, "epsilon of log_sum"),
        (lambda: LogSum(center=NAN), ValueError, "center of log_sum"),
        (lambda: LogSum(center=None), TypeError, "center of log_sum"),
        (lambda: Bound(low=2.0), ValueError, "low < high in bound"),
        (lambda: Bound(high=math.inf), ValueError, "high of bound"),
        (lambda: Rotate("5"), TypeError, "degrees of rotate"),
        (lambda: Shift(True), TypeError, "pixels of shift"),
        (lambda: Scale(0.5, NAN), ValueError, "high of scale"),
        (lambda: Scale(lambda step: 0.5, 0.0), ValueError, "high of scale .* above 0"),
        (lambda: Scale(0.0, lambda step: 0.5), ValueError, "low of scale .* above 0"),
        (lambda: RandomBox(lambda step: 0.5, 0.0), ValueError, "high of random_box .* above 0"),
        (lambda: RandomBox(lambda step: 0.5, 1.01), ValueError, "low <= high <= 1 in random_box"),
        (lambda: RandomBox(1.01, lambda step: 0.5), ValueError, "low <= high <= 1 in random_box"),
        (lambda: RandomBox(0.2, 0.5, -0.01), ValueError, "center_std of random_box .* at least 0"),
        (lambda: RandomBox(0.2, 0.5, "0"), TypeError, "center_std of random_box"),
        (lambda: ColorShift(0, -0.01), ValueError, "shift of color_shift .* at least 0"),
        (lambda: ColorShift(-0.01, 0), ValueError, "scale of color_shift .* at least 0"),
        (lambda: RandomCrop("88"), TypeError, "size of random_crop to be a tuple"),
        (lambda: RandomCrop((3, True)), TypeError, "size of random_crop"),
        (lambda: RandomCrop((7, 1))(images(), seeds(4), STEP), ValueError, r"at most \(5, 6\)"),
        (lambda: RandomCrop((2, 2, 2))(images(), seeds(4), STEP), ValueError, r"at most \(5, 6\)"),
        (lambda: Noise(NAN), ValueError, "std of noise"),
        (lambda: Pad(1, value=NAN), ValueError, "value of pad"),
        (lambda: Pad(1, value=None), TypeError, "value of pad"),
        (lambda: Pad(True), TypeError, "pixels of pad"),
        (lambda: Jitter(math.inf), ValueError, "pixels of jitter"),
        (lambda: base.check_number(True, "x"), TypeError, "Expected the x to be a finite number"),
        (lambda: base.check_number("1", "x"), TypeError, "of type str"),
        (lambda: base.image_sizes(tf.TensorSpec(None), "here"), ValueError, "sizes are all known"),
        (lambda: base.image_sizes(tf.TensorSpec([3, None]), "here"), ValueError, "sizes are all known"),
        (lambda: base.check_spatial(tf.TensorSpec([3, None, 2]), "here"), ValueError, "all known.*here"),
        (lambda: run(Scale(0.9, 1.1), Shift(1.0), tf.zeros([4, 5, 3])), ValueError, "in scale. Received"),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: AlphaNorm(alpha=1.0),
        lambda: PixelNorm(alpha=2.0),
        lambda: TotalVariation(beta=0.01),
        lambda: LogSum(epsilon=0.01),
        lambda: Bound(low=-1.0, high=-0.5),
        lambda: Rotate(0.5),
        lambda: Shift(0.5),
        lambda: Noise(0.5),
        lambda: Blur(0.5),
        lambda: Jitter(2.0),
        lambda: Scale(0.5, 0.5),
        lambda: Scale(lambda step: 2.0, 0.5),
        lambda: Scale(2.0, lambda step: 3.0),
        lambda: RandomBox(0.5, 0.5, 0.0),
        lambda: RandomBox(1.0, 1.0, None),
        lambda: RandomBox(lambda step: 0.1, 0.01),
        lambda: RandomBox(0.2, 0.5, lambda step: 0.1),
        lambda: RandomCrop((1, 1)),
        lambda: RandomCrop([2.0, 3]),
        lambda: ColorShift(0.0, 0.0),
        lambda: Pad(0, value=-1.0),
        lambda: Pad(1, value=lambda step: 0.0),
    ],
)
def test_what_is_not(make):
    make()


def test_a_crop_keeps_its_size_as_whole_numbers():
    part = RandomCrop(np.array([2.0, 3.0]))
    assert part.size == (2, 3)
    assert [type(number) for number in part.size] == [int, int]


# Values.


@pytest.mark.parametrize("shape", [(5, 6, 3), (4, 2), (7,)])
@pytest.mark.parametrize(("alpha", "center"), [(6.0, 0.0), (2.0, 0.5), (2.5, -0.75)])
def test_a_pixel_norm_is_that_of_naive_loops(shape, alpha, center):
    batch = images(shape)
    expected = []
    for image in batch:
        pixels = image.reshape(-1, shape[-1])
        powers = [sum((value - center) ** 2 for value in pixel) ** (alpha / 2) for pixel in pixels]
        expected.append(sum(powers) / len(powers))
    found = PixelNorm(alpha=alpha, center=center)(batch)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_pixel_norm_of_half_precision_does_not_overflow_on_the_way():
    x = np.full((1, 2, 2, 3), 3.0, np.float16)
    found = PixelNorm(alpha=4.0, center=-6.0)(x)  # (3 * 81)^2 = 59049, below 65504
    assert found.dtype == tf.float16
    np.testing.assert_allclose(found, [59049], rtol=1e-3)


def test_a_total_variation_knows_its_epsilon():
    """`(d^2 + 1e-12)^(1/2) - 1e-6`: of a difference of 1e-6 there remains sqrt(2) - 1 of it."""
    step = np.array([[[0.0], [1e-6]]])
    found = TotalVariation(beta=1.0)(step)
    np.testing.assert_allclose(found, [(math.sqrt(2) - 1) * 1e-6 / 2], rtol=1e-9)


@pytest.mark.parametrize(("part", "value"), [(LogSum(), math.log(11)), (Bound(), 0.0), (L1(), 1.0)])
def test_values_at_1_of_what_has_defaults(part, value):
    np.testing.assert_allclose(part(np.ones((1, 4))), [value], atol=1e-15)


def test_a_bound_counts_what_is_beyond_its_default_ends():
    np.testing.assert_allclose(Bound()(np.array([[1.5, -0.5, 0.5]])), [0.5 / 3])


@pytest.mark.parametrize("part", [L1(), L2(), LInf(), AlphaNorm(), LogSum(), PixelNorm()])
def test_float64_is_not_rounded_on_the_way(part):
    x = 1.0 + 1e-12 * images()
    at_one = part(np.ones_like(x))
    assert np.any(np.abs(part(x) - at_one) > 0)
    assert np.all(np.abs(part(x) - at_one) < 1e-9)


# Which draw makes what: a seed kept from an old run gives the same images again.


def test_the_draws_of_every_transform_are_those_of_its_seeds():
    own, batch = seeds(4), images()
    dtype = tf.float64
    first, second = random.fold_in(own, 0), random.fold_in(own, 1)

    def uniform(shape, reach, at=own):
        return random.uniform(at, shape, -reach, reach, dtype).numpy()

    angle = Rotate(90).matrix(own, STEP, dtype).numpy()
    np.testing.assert_allclose(
        np.arctan2(angle[:, 1, 0], angle[:, 0, 0]), np.pi / 180 * uniform([], 90)
    )
    np.testing.assert_array_equal(Shift(2).matrix(own, STEP, dtype)[:, :, 2], uniform([2], 2))
    scale = Scale(0.5, 4.0).matrix(own, STEP, dtype)[:, 0, 0]
    exponents = random.uniform(own, [], math.log(2.0), -math.log(4.0), dtype)
    np.testing.assert_allclose(scale, np.exp(exponents))
    np.testing.assert_array_equal(
        Noise(0.5)(batch, own, STEP), batch + random.normal(own, [5, 6, 3], 0.0, 0.5, dtype)
    )
    factor, summand = np.exp(uniform([3], 0.7, first)), uniform([3], 0.2, second)
    np.testing.assert_allclose(
        ColorShift(0.7, 0.2)(batch, own, STEP),
        batch * factor[:, None, None] + summand[:, None, None],
        rtol=1e-13,
    )
    side, centre = RandomBox(0.2, 0.6, 0.1).box(own, STEP, dtype)
    np.testing.assert_array_equal(side, random.uniform(first, [], 0.2, 0.6, dtype))
    middle = 0.5 + random.normal(second, [2], 0.0, 0.1, dtype)
    half = np.asarray(side)[:, None] / 2
    np.testing.assert_allclose(centre, np.clip(middle, half, 1 - half))
    _, anywhere = RandomBox(0.5, 0.5, None).box(own, STEP, dtype)
    np.testing.assert_array_equal(anywhere, random.uniform(second, [2], 0.25, 0.75, dtype))


def test_normal_draws_are_box_and_mullers_of_two_uniform_ones():
    own = seeds(3)
    radius = random.uniform(random.fold_in(own, 0), [16], dtype=tf.float64).numpy()
    angle = 2 * np.pi * random.uniform(random.fold_in(own, 1), [16], dtype=tf.float64).numpy()
    radius = np.sqrt(-2 * np.log(1 - radius))
    for count in (1, 4, 5, 31):
        pairs = (count + 1) // 2
        expected = [(radius * turned)[:, :pairs] for turned in (np.cos(angle), np.sin(angle))]
        expected = np.concatenate(expected, axis=1)[:, :count]
        found = random.normal(own, [count], dtype=tf.float64)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        found = random.normal(own, [count], -2.0, 3.0, tf.float64)
        np.testing.assert_allclose(found, 3 * expected - 2, rtol=1e-12)


def test_draws_in_a_graph_know_their_shape():
    graph = tf.function(
        lambda own: (
            random.bits(own, [2, 3]), random.uniform(own, [2, 3]), random.normal(own, [2, 3])
        ),
        input_signature=[tf.TensorSpec([None, 2], tf.int32)],
        autograph=False,
    )  # fmt: skip
    for found in graph.get_concrete_function().structured_outputs:
        assert found.shape.as_list() == [None, 2, 3]


def test_a_box_larger_than_the_image_stays_in_the_middle():
    """A schedule may ask for more than there is, which no check at construction can tell."""
    for part in (RandomBox(lambda step: 1.5, 1.0), RandomBox(lambda step: 1.5, 1.0, None)):
        _, centre = part.box(seeds(4), STEP, tf.float64)
        np.testing.assert_array_equal(centre, np.full((4, 2), 0.5))


def test_sides_and_places_of_boxes_do_not_depend_on_one_another():
    n = 4000
    own = random.fold_in(tf.fill([n, 2], 5), tf.range(n))
    side, centre = RandomBox(0.2, 0.4, None).box(own, STEP, tf.float64)
    side, centre = side.numpy(), centre.numpy()
    place = (centre - side[:, None] / 2) / (1 - side[:, None])
    together = np.corrcoef(np.concatenate([side[:, None], place], axis=1).T)
    assert np.abs(together - np.eye(3)).max() < 4.5 / np.sqrt(n)


def test_a_flip_of_volumes_mirrors_the_last_axes():
    batch = images((2, 3, 4, 1), 64)
    own = random.fold_in(tf.fill([64, 2], 5), tf.range(64))
    for axis, mirrored in (("horizontal", batch[:, :, :, ::-1]), ("vertical", batch[:, :, ::-1])):
        found = Flip(axis)(batch, own, STEP).numpy()
        flipped = [np.array_equal(*pair) for pair in zip(found, mirrored, strict=True)]
        kept = [np.array_equal(*pair) for pair in zip(found, batch, strict=True)]
        assert np.not_equal(flipped, kept).all()
        assert 16 < sum(flipped) < 48


def test_a_padded_border_of_numbers_follows_the_step():
    found = Pad(1, value=lambda step: tf.cast(step, tf.float64) / 2)(
        np.zeros((1, 2, 1)), seeds(1), STEP
    )
    assert found.numpy().ravel().tolist() == [1.5, 0, 0, 1.5]


def test_a_map_that_needs_no_sizes_is_the_same_at_all():
    part = Rotate(30)
    assert isinstance(part, Affine)
    at = part.matrix_at((4, 9), seeds(3), STEP, tf.float64)
    np.testing.assert_array_equal(at, part.matrix(seeds(3), STEP, tf.float64))


def test_a_crop_leaves_no_gradient_where_it_did_not_cut():
    """Its gradient reads clipped places: what they hold is not to come in from the crop's border."""
    batch = np.ones((3, 7, 2))
    x = tf.constant(batch)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(RandomCrop((2,))(x, seeds(3), STEP))
    gradient = tape.gradient(value, x).numpy()
    assert gradient.sum(axis=(1, 2)).tolist() == [4.0, 4.0, 4.0]
    assert set(gradient.ravel()) == {0.0, 1.0}


def test_one_seed_has_one_number_more_where_it_is_mirrored():
    mirrored = random.mirror(seeds(3), tf.constant([True, False, True]))
    assert mirrored.numpy()[:, 2].tolist() == [1, 0, 1]
    again = random.mirror(mirrored, tf.constant([False, False, True]))
    np.testing.assert_array_equal(again[:, :2], seeds(3))
    assert again.numpy()[:, 2].tolist() == [0, 0, 1]


def test_a_mirrored_draw_is_taken_around_the_middle_of_its_range():
    own = random.mirror(seeds(2), tf.constant([True, False]))
    plain = random.uniform(seeds(2), [3], 2.0, 5.0, tf.float64)
    found = random.uniform(own, [3], 2.0, 5.0, tf.float64)
    np.testing.assert_allclose(found, np.stack([7 - plain[0], plain[1]]), rtol=1e-14)
    plain = random.normal(seeds(2), [3], 2.0, 5.0, tf.float64)
    found = random.normal(own, [3], 2.0, 5.0, tf.float64)
    np.testing.assert_allclose(found, np.stack([4 - plain[0], plain[1]]), rtol=1e-14)


def test_a_blur_of_one_line_has_a_gaussian_as_its_weights():
    point = np.zeros((1, 21, 1))
    point[0, 10] = 1
    found = Blur(1.7)(point, seeds(1), STEP).numpy()[0, :, 0]
    weights = np.exp(-((np.arange(-40, 41)) ** 2) / (2 * 1.7**2))
    np.testing.assert_allclose(found, weights[30:51] / weights.sum(), atol=1e-12)
