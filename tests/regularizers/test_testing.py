"""For every law a fault that this law alone finds; and the faults of other libraries."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf

import regularizers
from regularizers import L2, Jitter, Noise, Penalty, Transform, random
from regularizers.testing import LAWS, RegularizerError, broken_laws, check_regularizer

AXES = (1, 2, 3)


@pytest.fixture(autouse=True)
def global_seed():
    tf.random.set_seed(12345)


def mean_square(images):
    return tf.reduce_mean(images**2, axis=AXES)


def penalty(function):
    return regularizers.penalty(function)


@dataclasses.dataclass(frozen=True)
class Plain(Transform):
    """A transform that draws nothing, for faults that have nothing to do with draws."""

    draws: ClassVar[bool] = False

    function: Any = dataclasses.field(default=None, hash=False)

    def __call__(self, images, seeds, step):
        return self.function(images)


# One law each


@dataclasses.dataclass(frozen=True, eq=False)
class TensorField(Penalty):
    target: Any = None

    def __call__(self, images):
        return tf.reduce_mean((images - tf.cast(self.target, images.dtype)) ** 2, AXES)


@dataclasses.dataclass(frozen=True)
class ListField(Penalty):
    targets: Any = dataclasses.field(default_factory=lambda: [0.5])

    def __call__(self, images):
        return tf.reduce_mean((images - tf.cast(self.targets[0], images.dtype)) ** 2, AXES)


@penalty
def wide(images):
    return tf.cast(mean_square(images), tf.float64)


@regularizers.transform
def unseeded(images, seeds, step):
    if images.dtype != tf.float32:
        return images + random.normal(seeds, images.shape[1:], 0.0, 0.01, images.dtype)
    noise = random.normal(seeds, images.shape[1:], 0.0, 0.01, images.dtype)
    return images + noise + tf.random.normal(tf.shape(images), stddev=1e-7)


@penalty
def unseeded_penalty(images):
    value = mean_square(images)
    if images.dtype == tf.float32:
        value *= 1 + tf.random.uniform([], maxval=1e-6)
    return value


@regularizers.transform
def one_seed_for_all_steps(images, seeds, step):
    return images + random.normal(tf.zeros_like(seeds), images.shape[1:], 0.0, 0.1, images.dtype)


@penalty
def seeding(images):
    tf.random.set_seed(7)
    return mean_square(images)


@penalty
def rounded(images):
    return tf.reduce_mean(tf.round(3 * images), AXES)


@penalty
def root_of_squares(images):
    """tf-keras-vis' and xplique's norm: its gradient at the zero image is NaN."""
    return tf.sqrt(mean_square(images))


@penalty
def logarithm(images):
    return tf.math.log(mean_square(images))


@penalty
def factor_two(images):
    @tf.custom_gradient
    def value(images):
        def gradient(upstream):
            return 4 * images * upstream[:, None, None, None] / images[0].shape.num_elements()

        return mean_square(images), gradient

    return value(images)


@penalty
def float32_inside(images):
    return tf.cast(mean_square(tf.cast(images, tf.float32)), images.dtype)


@penalty
def other_in_graphs(images):
    return mean_square(images) * (1.0 if tf.executing_eagerly() else 1.01)


@penalty
def host_computation(images):
    return mean_square(images) + 0 * int(tf.shape(images).numpy()[0])


@penalty
def static_batch(images):
    return mean_square(images) * len([0 for _ in range(images.shape[0])]) / images.shape[0]


@penalty
def python_branch(images):
    return mean_square(images) if tf.shape(images)[0] < 5 else 2 * mean_square(images)


@penalty
def batch_mean(images):
    """lucid's and keras-vis' habit: the weight of an image depends on how many there are."""
    return mean_square(images) / tf.cast(tf.shape(images)[0], images.dtype)


@regularizers.transform
def one_draw_for_the_batch(images, seeds, step):
    """tf-keras-vis draws once for all images."""
    return images * random.uniform(seeds[:1], [1, 1, 1], 0.5, 1.5, images.dtype)


@penalty
def zero_times_the_batch(images):
    return mean_square(images) + 0 * tf.reduce_sum(images)


@dataclasses.dataclass(frozen=True)
class RangeBreaker(Noise):
    keeps_range: ClassVar[bool] = True


@penalty
def summed(images):
    """xplique's and lucid's variation is a sum: 224 pixels want a weight 50,176 times smaller."""
    return tf.image.total_variation(images)


@penalty
def root_of_sum(images):
    return tf.sqrt(tf.reduce_sum(images**2, AXES) + 1e-3)


@dataclasses.dataclass(frozen=True)
class Weighted(Penalty):
    def __call__(self, images):
        return tf.cast(self.weight, images.dtype) * mean_square(images)


@dataclasses.dataclass(frozen=True)
class InPlace(Penalty):
    def __call__(self, images):
        return mean_square(images)

    def __mul__(self, factor):
        object.__setattr__(self, "weight", self.weight * factor)
        return self

    __rmul__ = __mul__


@dataclasses.dataclass(frozen=True)
class Unscaled(Penalty):
    def __call__(self, images):
        return mean_square(images)

    def __mul__(self, factor):
        return dataclasses.replace(self)

    __rmul__ = __mul__


@dataclasses.dataclass(frozen=True)
class OtherWay(Jitter):
    """Shifts drawn ahead, and taken the other way."""

    def apply(self, images, ahead):
        return super().apply(images, tf.roll(ahead, images.shape[1] + images.shape[2], axis=1))


_KEPT = {}


@penalty
def kept_tensor(images):
    """A mask made in the first trace and kept by its size."""
    shape = tuple(images.shape[1:])
    if shape not in _KEPT:
        _KEPT[shape] = tf.ones(shape)
    return mean_square(images * tf.cast(_KEPT[shape], images.dtype))


@penalty
def by_place(images):
    """Rows weigh by where they stand, in float32 alone: what float64 rows do not tell."""
    weight = 1 + 1e-3 * tf.cast(tf.range(tf.shape(images)[0]), images.dtype)
    return mean_square(images) * (weight if images.dtype == tf.float32 else 1)


@regularizers.penalty(couples_images=True)
def one_for_all(images):
    center = tf.reduce_mean(images, axis=0)
    return tf.fill(tf.shape(images)[:1], tf.reduce_mean((images - center) ** 2))


@penalty
def neighbors_of_channels(images):
    """Differences along the last two axes, taken for rows and columns."""
    across = tf.reduce_mean((images[:, :, 1:] - images[:, :, :-1]) ** 2, AXES)
    if images.shape[3] == 1:
        return across
    return across + tf.reduce_mean((images[..., 1:] - images[..., :-1]) ** 2, AXES)


@penalty
def gray_levels(images):
    """Huber's penalty with a threshold in gray levels, for images of 0 to 1."""
    size = tf.abs(images)
    return tf.reduce_mean(tf.where(size < 12, size**2 / 24, size - 6), AXES)


@regularizers.penalty(isotropic=True)
def one_way(images):
    return tf.reduce_mean((images[:, 1:] - images[:, :-1]) ** 2, AXES)


@dataclasses.dataclass(frozen=True)
class Running(regularizers.Penalty):
    """Distance from a running mean of the images, or from one whose count changes its type."""

    counts: tf.DType = tf.int32

    def init(self, images):
        return {"mean": images, "steps": tf.zeros(tf.shape(images)[:1], tf.int32)}

    def update(self, images, state):
        steps = tf.cast(state["steps"] + 1, self.counts)
        return {"mean": 0.5 * (state["mean"] + images), "steps": steps}

    def __call__(self, images, state):
        return mean_square(images - state["mean"])


class Rooted(Running):
    """At the first step the images are their own mean."""

    def __call__(self, images, state):
        return tf.sqrt(super().__call__(images, state))


class Leaking(Running):
    def update(self, images, state):
        return super().update(images - tf.reduce_mean(images, 0), state)


ONE_LAW = {
    "state of another type": ("state", lambda: Running(counts=tf.int64)),
    "root at the first step": ("finite", Rooted),
    "state of the batch": ("independent", Leaking),
    "tensor of a trace": ("kept", lambda: kept_tensor),
    "weighted by place": ("order", lambda: by_place),
    "one number for the batch": ("share", lambda: one_for_all),
    "channels as columns": ("axes", lambda: neighbors_of_channels),
    "threshold of 12 gray levels": ("units", lambda: gray_levels),
    "isotropic, it says": ("words", lambda: one_way),
    "tensor in a field": ("fields", lambda: TensorField(target=tf.constant(0.5))),
    "list in a field": ("fields", ListField),
    "more channels": ("shape", lambda: Plain(function=lambda x: tf.concat([x, x], -1))),
    "another axis": ("shape", lambda: Plain(function=lambda x: x[..., None])),
    "always float64": ("dtype", lambda: wide),
    "unseeded transform": ("repeat", lambda: unseeded),
    "unseeded penalty": ("repeat", lambda: unseeded_penalty),
    "constant seed": ("seeds", lambda: one_seed_for_all_steps),
    "strength 0": ("seeds", lambda: Jitter(0)),
    "sets the global seed": ("global state", lambda: seeding),
    "rounding": ("connected", lambda: Plain(function=lambda x: tf.round(8 * x))),
    "root at zero": ("finite", lambda: root_of_squares),
    "logarithm of zero": ("finite", lambda: logarithm),
    "gradient twice as large": ("gradient", lambda: factor_two),
    "float32 inside": ("gradient", lambda: float32_inside),
    "other in a graph": ("graph", lambda: other_in_graphs),
    "numpy()": ("graph", lambda: host_computation),
    "static batch size": ("graph", lambda: static_batch),
    "if on a tensor": ("graph", lambda: python_branch),
    "divided by N": ("independent", lambda: batch_mean),
    "one draw for all": ("independent", lambda: one_draw_for_the_batch),
    "NaN spreads": ("isolated", lambda: zero_times_the_batch),
    "noise in a range": ("range", lambda: RangeBreaker(0.1)),
    "another draw ahead": ("ahead", lambda: OtherWay(2)),
    "sum of differences": ("resolution", lambda: summed),
    "root of a sum": ("resolution", lambda: root_of_sum),
    "weighted value": ("weight", Weighted),
    "weight in place": ("weight", InPlace),
    "weight left out": ("weight", Unscaled),
}


@pytest.mark.parametrize(("law", "make"), ONE_LAW.values(), ids=ONE_LAW)
def test_one_law_alone_finds_the_fault(law, make):
    broken = broken_laws(make())
    assert [error.law for error in broken] == [law], [str(error) for error in broken]


def test_every_law_has_a_fault_of_its_own():
    assert {law for law, _ in ONE_LAW.values()} == set(LAWS)


# Faults of other libraries, which break several laws: the first names them best


@regularizers.transform
def numpy_jitter(images, seeds, step):
    """tf-keras-vis: NumPy's global draw, made once for all steps in a graph."""
    shift = np.random.randint(-4, 4, 2)  # noqa: NPY002
    return tf.roll(images, shift, axis=(1, 2))


@regularizers.transform
def frozen_in_a_graph(images, seeds, step):
    known = tf.get_static_value(seeds)
    shift = 0 if known is None else int(known[0, 0]) % 5 + 1
    return tf.roll(images, shift, axis=1)


@penalty
def batch_norm(images):
    """keras-vis: one norm over the whole batch."""
    return tf.sqrt(tf.reduce_mean(images**2))


@penalty
def float32_constant(images):
    return mean_square(images * tf.constant(0.5))


@penalty
def unconnected(images):
    return tf.reduce_mean(tf.stop_gradient(images) ** 2, AXES)


@penalty
def centred_on_the_batch(images):
    return mean_square(images - tf.reduce_mean(images, axis=0))


@regularizers.transform
def permuted(images, seeds, step):
    return tf.reverse(images, [0]) + random.normal(seeds, images.shape[1:], dtype=images.dtype)


SEVERAL_LAWS = {
    "tf-keras-vis' jitter": ("repeat", numpy_jitter),
    "draw frozen by tracing": ("seeds", frozen_in_a_graph),
    "keras-vis' batch norm": ("shape", batch_norm),
    "constant that breaks float64": ("dtype", float32_constant),
    "stopped gradient": ("connected", unconnected),
    "batch statistics": ("independent", centred_on_the_batch),
    "reversed batch": ("independent", permuted),
}


@pytest.mark.parametrize(("law", "part"), SEVERAL_LAWS.values(), ids=SEVERAL_LAWS)
def test_first_broken_law(law, part):
    with pytest.raises(RegularizerError) as caught:
        check_regularizer(part)
    assert caught.value.law == law, str(caught.value)
    assert str(caught.value).startswith(f"{part.name} breaks the law of {law}")


# What it says


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (
            root_of_squares,
            "root_of_squares breaks the law of finite on an all-zero float32 batch of shape "
            "(1, 8, 8, 3). Expected a finite gradient. Received NaN or infinity. Guard",
        ),
        (
            batch_mean,
            "batch_mean breaks the law of independent on a random float64 batch of shape "
            "(3, 8, 8, 3). Expected the values of image 0 to depend on that image alone. Received",
        ),
        (host_computation, "tf.shape(images)[0]: not .numpy(), a static N, or an `if` on a tensor"),
        (float32_constant, "Received InvalidArgumentError"),
        (Jitter(0), "jitter breaks the law of seeds"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_messages_say_who_which_where_and_what_to_do(part, text):
    with pytest.raises(RegularizerError) as caught:
        check_regularizer(part)
    assert text in str(caught.value)


def test_errors_of_a_part_are_the_cause():
    with pytest.raises(RegularizerError) as caught:
        check_regularizer(float32_constant)
    assert isinstance(caught.value.__cause__, tf.errors.InvalidArgumentError)


def test_it_is_an_assertion():
    assert issubclass(RegularizerError, AssertionError)


# What it allows


class Net(tf.Module):
    """A network in float32, as a Keras one computes, of one size or of any."""

    def __init__(self, size=None):
        super().__init__()
        draw = np.random.default_rng(0).normal(size=(3, 3, 3, 4))
        self.kernel = tf.Variable(0.3 * draw, dtype=tf.float32)
        self.input_shape = (None, size, size, 3)

    def __call__(self, images):
        if self.input_shape[1] not in (None, images.shape[1]):
            raise ValueError(f"{images.shape} is not {self.input_shape}")
        return tf.tanh(tf.nn.conv2d(tf.cast(images, tf.float32), self.kernel, 1, "SAME"))


@dataclasses.dataclass(frozen=True, eq=False)
class Energy(Penalty):
    network: Any = None
    share: float = 1.0

    def __call__(self, images):
        values = tf.reduce_mean(self.network(images) ** 2, AXES)
        held = tf.stop_gradient(values)
        return tf.cast(held + self.share * (values - held), images.dtype)


@pytest.mark.parametrize("size", [None, 12])
def test_networks_are_held_to_the_accuracy_of_float32_at_their_own_size(size):
    shapes = [(8, 8, 3)] if size is None else None
    assert broken_laws(Energy(network=Net(size)), shapes=shapes) == ()


def test_half_a_gradient_of_a_network_is_found_and_named():
    (error,) = broken_laws(Energy(network=Net(), share=0.5), shapes=[(8, 8, 3)])
    assert error.law == "gradient"
    assert "0.5 times the slope along every direction" in str(error)


@pytest.mark.parametrize(("factor", "fine"), [(1.0, True), (2.0, False)])
def test_a_gradient_that_is_no_slope_is_compared_with_what_the_part_says(factor, fine):
    @dataclasses.dataclass(frozen=True)
    class Field(Penalty):
        """The square, whose gradient is its first power alone."""

        exact_gradient: ClassVar[bool] = False

        def __call__(self, images):
            line = images * tf.stop_gradient(images)
            return tf.reduce_mean(line, AXES)

        def expected_gradient(self, images):
            return factor * images / images[0].shape.num_elements()

    assert [error.law for error in broken_laws(Field())] == ([] if fine else ["gradient"])


def test_penalties_that_draw_ask_for_seeds():
    @penalty
    def sliced(images, seeds, step):
        weights = random.normal(seeds, images.shape[1:], dtype=images.dtype)
        level = 1 + 0.01 * tf.cast(step, images.dtype)
        return level * tf.reduce_mean(weights * images**2, AXES)

    check_regularizer(sliced)


def test_a_spectrum_and_a_penalty_on_repetition_are_no_sums():
    @penalty
    def repeated(images):
        """How alike an image and itself shifted by 8 are: nothing in 8 pixels, much in tiled ones."""
        apart = images[:, 8:] - images[:, :-8]
        return tf.reduce_mean(images**2, AXES) + 4 * tf.reduce_mean(
            tf.exp(-20 * tf.pad(apart, [[0, 0], [8, 0], [0, 0], [0, 0]]) ** 2), AXES
        )

    assert "resolution" not in [error.law for error in broken_laws(repeated)]


def test_the_portrait_tells_what_a_part_is():
    page = regularizers.testing.portrait(regularizers.TotalVariation())
    assert page.degree == pytest.approx(1) and page.shift == pytest.approx(1)
    assert page.transposed == pytest.approx(1) and page.channels == pytest.approx(1)
    assert (page.constant, page.constant_gradient) == (0, 0)
    wrong = regularizers.testing.portrait(neighbors_of_channels)
    assert wrong.transposed != pytest.approx(1) and wrong.channels != pytest.approx(1)
    assert "transposed" in str(wrong)


@pytest.mark.parametrize("weight", [Net(), L2, L2(), lambda images, step: 1.0])
def test_a_network_is_no_weight(weight):
    with pytest.raises(TypeError, match=r"the weight of l1 to be a number.*first field"):
        regularizers.L1(weight)


def test_parts_may_couple_images_if_they_say_so():
    @dataclasses.dataclass(frozen=True)
    class Diversity(Penalty):
        couples_images: ClassVar[bool] = True

        def __call__(self, images):
            return mean_square(images - tf.reduce_mean(images, axis=0))

    check_regularizer(Diversity())


def test_transforms_may_draw_nothing_if_they_say_so():
    check_regularizer(Plain(function=lambda x: x[:, ::-1]))


def test_shapes_and_range_are_those_given():
    seen = []

    @penalty
    def watched(images):
        if tf.executing_eagerly():
            seen.append((images.shape[1:].as_list(), float(tf.reduce_max(images))))
        return tf.reduce_mean(images**2, axis=1)

    check_regularizer(watched, shapes=[(9,)], image_range=(-3.0, -2.0))
    assert {tuple(shape) for shape, _ in seen} == {(9,), (18,), (36,)}
    assert max(high for _, high in seen if not np.isnan(high)) <= 0


@pytest.mark.parametrize("part", [L2, mean_square, None, "l2"])
def test_only_parts_are_checked(part):
    with pytest.raises(TypeError, match=r"Expected a penalty or a transform. Received.*not its cl"):
        check_regularizer(part)


def test_checking_leaves_the_global_seed():
    tf.random.set_seed(3)
    expected = tf.random.uniform([4]).numpy()
    tf.random.set_seed(3)
    check_regularizer(L2())
    check_regularizer(Jitter(2))
    np.testing.assert_array_equal(tf.random.uniform([4]), expected)


def test_a_constant_of_bytes_is_found_behind_a_logarithm():
    """Of a log spectrum the value at zero is not 0, so the change from it is looked at."""

    def spectrum(guard):
        @penalty
        def slope(images):
            images -= tf.reduce_mean(images, (1, 2), keepdims=True)
            planes = tf.cast(tf.transpose(images, [0, 3, 1, 2]), tf.complex128)
            power = tf.math.real(tf.signal.fft2d(planes)) ** 2 / 64
            logs = tf.math.log(tf.cast(power, images.dtype) + guard)
            return tf.reduce_mean((logs + tf.range(8, dtype=images.dtype)) ** 2, AXES)

        return slope

    for guard, laws in ((1e-4, []), (1e-4 * 255**2, ["units"])):
        found = broken_laws(spectrum(guard), shapes=[(8, 8, 3)])
        assert [error.law for error in found if error.law == "units"] == laws
