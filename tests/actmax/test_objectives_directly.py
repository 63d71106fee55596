"""Objectives called on activations, beside NumPy; their defaults, their limits, what they refuse."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax.objectives import (
    BATCH_NORM,
    LOGITS,
    OUTPUT,
    ROWS,
    Combination,
    FunctionObjective,
    Normalized,
    Objective,
    as_objective,
    objective,
    statistics_distance,
)
from actmax.types import describe

# [N, H, W, C], no two sizes alike, so that no axis can stand for another.
VALUES = np.random.default_rng(0).normal(size=(4, 3, 6, 5))
SHAPES = {"a": (None, 3, 6, 5), LOGITS: (None, 5), "open": (None, None, None, 5), "one": (None, 1)}
TARGETS = tf.constant([4, 0, 2, 2])


def of(part, values, targets=None):
    """Scores of the activations of the one layer that a part looks at."""
    (layer,) = part.layers
    return part({layer: tf.constant(values)}, targets).numpy()


def at(values, targets):
    return values[np.arange(len(values)), ..., np.asarray(targets)]


# Units.


def test_one_unit_of_every_kind_is_picked():
    pooled = VALUES.mean(axis=(1, 2))
    np.testing.assert_allclose(of(actmax.Channel("a"), VALUES, TARGETS), at(pooled, TARGETS))
    np.testing.assert_allclose(of(actmax.Channel("a", 3), VALUES), pooled[:, 3])
    np.testing.assert_allclose(of(actmax.Logit(), pooled, TARGETS), at(pooled, TARGETS))
    np.testing.assert_allclose(of(actmax.Logit(1), VALUES), pooled[:, 1])
    expected = pooled - np.log(np.exp(pooled).sum(-1, keepdims=True))
    np.testing.assert_allclose(of(actmax.LogProbability(), pooled, TARGETS), at(expected, TARGETS))
    rest = [np.delete(row, unit).max() for row, unit in zip(pooled, TARGETS.numpy(), strict=True)]
    np.testing.assert_allclose(of(actmax.Margin(), VALUES, TARGETS), at(pooled, TARGETS) - rest)
    rest = np.delete(pooled, 4, axis=1).max(axis=1)
    np.testing.assert_allclose(of(actmax.Margin(4), VALUES), pooled[:, 4] - rest)


@pytest.mark.parametrize("shape", [(3, 6), (6, 3), (5,), (2, 7, 4), (4, 4), (1, 1)])
def test_a_neuron_stands_in_the_middle_or_where_it_is_asked_for(shape):
    values = np.random.default_rng(1).normal(size=(4, *shape, 5))
    middle = tuple(size // 2 for size in shape)
    found = of(actmax.Neuron("a"), values, TARGETS)
    np.testing.assert_array_equal(found, at(values[(slice(None), *middle)], TARGETS))
    corner = (0,) * (len(shape) - 1) + (shape[-1] - 1,)
    found = of(actmax.Neuron("a", position=corner, target=2), values)
    np.testing.assert_array_equal(found, values[(slice(None), *corner)][:, 2])


def test_the_gradient_of_a_picked_unit_is_1_there_and_0_elsewhere():
    values = tf.constant(VALUES[:, 0, 0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        score = actmax.Logit()({LOGITS: values}, TARGETS)
    gradient = tape.gradient(
        score, values, output_gradients=tf.constant([1.0, 2, 3, np.inf], tf.float64)
    )
    expected = np.zeros((4, 5))
    expected[np.arange(4), TARGETS] = [1, 2, 3, np.inf]
    np.testing.assert_array_equal(gradient, expected)


def test_a_bound_target_needs_none_and_an_open_one_is_an_index():
    for part in (actmax.Logit, actmax.LogProbability, actmax.Margin):
        assert part().kind == "index" and part(3).kind is None
        assert part().layers == (LOGITS,) and part(output="b").layers == (LOGITS + "/b",)
        assert (part().target, part().output) == (None, None)
    for part in (actmax.Channel, actmax.Neuron):
        assert part("a").kind == "index" and part("a", target=0).kind is None
        assert part("a").layers == ("a",)
    assert actmax.Neuron("a").position is None


@pytest.mark.parametrize(
    ("part", "targets", "words"),
    [
        (actmax.Channel("a"), [0, 5], r"Channel in 0..4.*'a' has 5 units.*5 at position 1"),
        (actmax.Channel("a"), [-1], r"-1 at position 0"),
        (actmax.Channel("a", 5), None, r"Received: 5\."),
        (actmax.Logit(), [4, 4, 6], r"the model's output has 5 units.*6 at position 2"),
        (actmax.Margin(), [5], "targets of Margin in 0..4"),
        (actmax.Neuron("a"), [9], "9 at position 0"),
        (actmax.Neuron("a", (3, 0)), [0], r"a position inside the \(3, 6\) map"),
        (actmax.Neuron("a", (0, 6)), [0], r"a position inside the \(3, 6\) map"),
        (actmax.Neuron("a", (0,)), [0], r"a position inside the \(3, 6\) map"),
        (actmax.Neuron("a", (0, 0, 0)), [0], r"a position inside the \(3, 6\) map"),
        (actmax.Direction("a"), np.ones((2, 6)), "directions of 5 numbers.*6 numbers"),
        (actmax.Direction("a", vector=(1, 2, 3)), None, "directions of 5 numbers.*3 numbers"),
        (actmax.Direction("a"), [[1, 0, 0, 0, 0], [0] * 5], "directions that are not zero"),
        (actmax.Direction("a", vector=(0,) * 5), None, "directions that are not zero"),
        (actmax.Inversion("a"), np.stack([np.ones(90), np.zeros(90)]), "not zero everywhere"),
    ],
)
def test_targets_that_the_activations_do_not_have(part, targets, words):
    with pytest.raises(ValueError, match=words):
        part.check(SHAPES, None if targets is None else np.asarray(targets))


@pytest.mark.parametrize(
    ("part", "targets"),
    [
        (actmax.Channel("a"), [0, 4]),
        (actmax.Channel("a", 4), None),
        (actmax.Neuron("a", (2, 5)), [0]),
        (actmax.Neuron("open", (200, 500)), [4]),
        (actmax.Neuron("a"), [0]),
        (actmax.Direction("a"), [[0, 0, 0, 0, -1e-9]]),
        (actmax.Inversion("a"), np.eye(90)[:2]),
    ],
)
def test_targets_that_they_have(part, targets):
    part.check(SHAPES, None if targets is None else np.asarray(targets))


def test_a_size_that_nothing_knows_is_not_judged():
    shapes = {"a": (None, None, None, None)}
    actmax.Channel("a").check(shapes, np.array([10**6]))
    actmax.Direction("a").check(shapes, np.ones((1, 77)))


def test_a_margin_needs_two_units():
    assert actmax.Margin().check({LOGITS: (None, 2)}, np.array([1])) is None
    assert actmax.Margin().check({LOGITS: (None, 1, 1, 2)}, np.array([1])) is None
    with pytest.raises(ValueError, match="at least two units for a margin"):
        actmax.Margin().check({LOGITS: (None, 1)}, np.array([0]))


def test_classes_are_not_sigmoid_units():
    for part, own, other in (
        (actmax.LogProbability(), "", "b"),
        (actmax.Margin(output="b"), "b", ""),
    ):
        part.check_heads({own: "softmax", other: "sigmoid"})
        with pytest.raises(ValueError, match="classes of which one is right"):
            part.check_heads({own: "sigmoid", other: "softmax"})
    actmax.Logit().check_heads({"": "sigmoid"})


@pytest.mark.parametrize("head", ["softmax", "logsoftmax", "sigmoid", "linear", None], ids=str)
def test_probabilities_are_those_of_the_head(head):
    logits = VALUES[:, 0, 0]
    heads = {} if head is None else {"": head}
    found = actmax.Logit().probability({LOGITS: tf.constant(logits)}, TARGETS, heads)
    known = {"sigmoid": 1 / (1 + np.exp(-logits))}
    known["softmax"] = known["logsoftmax"] = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if head not in known:
        assert found is None
    else:
        np.testing.assert_allclose(found, at(known[head], TARGETS))
    named = {f"{LOGITS}/b": tf.constant(logits)}
    found = actmax.Logit(output="b").probability(named, TARGETS, {"": "linear", "b": head})
    assert (found is None) is (head not in known)
    space = {LOGITS: tf.constant(VALUES)}
    assert actmax.Logit().probability(space, TARGETS, heads) is None
    assert actmax.Channel("a").probability({"a": logits}, TARGETS, heads) is None


# A whole layer.


@pytest.mark.parametrize("shape", [(5,), (6, 5), (3, 6, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_a_direction_is_that_of_naive_loops(shape, power):
    generator = np.random.default_rng(2)
    values, directions = generator.normal(size=(3, *shape)), generator.normal(size=(3, 5))
    expected = []
    for image, direction in zip(values, directions, strict=True):
        terms = []
        for position in image.reshape(-1, 5):
            along = position @ direction / np.linalg.norm(direction)
            terms.append(along * max(0.1, along / np.linalg.norm(position)) ** power)
        expected.append(np.mean(terms))
    part = actmax.Direction("a", power)
    np.testing.assert_allclose(of(part, values, tf.constant(directions)), expected, rtol=1e-12)
    # A direction has no length, however short it is written.
    short = tf.constant(1e-9 * directions)
    np.testing.assert_allclose(of(part, values, short), expected, rtol=1e-12)
    bound = actmax.Direction("a", power, tuple(1e-9 * directions[0]))
    np.testing.assert_allclose(of(bound, values[:1]), expected[:1], rtol=1e-12)


def test_a_direction_almost_across_counts_a_tenth():
    """Its cosine is 0.15, between the floor and twice the floor."""
    position = np.array([[0.15, math.sqrt(1 - 0.15**2)]])
    part = actmax.Direction("a", 1.0, (1.0, 0.0))
    np.testing.assert_allclose(of(part, position), [0.15**2])
    np.testing.assert_allclose(of(part, -position), [-0.15 * 0.1])


def test_a_silent_position_has_a_finite_gradient_of_its_direction():
    values = tf.zeros([1, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(values)
        score = actmax.Direction("a", 1.0, (3.0, 0.0, 4.0))({"a": values}, None)
    np.testing.assert_allclose(tape.gradient(score, values), [[[0.03, 0, 0.04]] * 2], rtol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (6, 5), (3, 6, 5)])
def test_the_energy_of_a_layer_is_a_mean_of_squares(shape):
    values = np.random.default_rng(3).normal(size=(3, *shape))
    expected = np.mean(values.reshape(3, -1) ** 2, axis=1)
    np.testing.assert_allclose(of(actmax.Layer("a"), values), expected)
    assert actmax.Layer("a").kind is None and actmax.Layer("a").layers == ("a",)


def test_settings_that_are_not_given():
    direction = actmax.Direction("a")
    assert (direction.power, direction.vector, direction.kind) == (0.0, None, "vector")
    assert actmax.Direction("a", vector=[1, 2]).vector == (1.0, 2.0)
    assert actmax.Direction("a", vector=[1, 2]).kind is None
    prior = actmax.BatchNormPrior()
    assert (prior.scope, prior.first, prior.relative) == ("image", 1.0, True)
    assert prior.layers == (BATCH_NORM,) and prior.kind is None
    assert not prior.couples_images and actmax.BatchNormPrior("batch").couples_images
    assert actmax.Caricature("a").power == 1.0
    assert actmax.Inversion("a").kind == "vector"
    assert actmax.Inversion("a", [1.0]).kind is None
    assert actmax.Diversity("a").layers == ("a", ROWS)
    assert actmax.Diversity("a").couples_images and actmax.Diversity("a").kind is None
    plain = FunctionObjective(len)
    assert (plain.at, plain.takes_targets, plain.kind) == ((), False, None)
    assert (plain.layers, plain.name) == ((OUTPUT,), "len")


# Statistics.


def entry(values, mean, variance):
    n = len(values)
    rows = [
        np.broadcast_to(np.asarray(part, float), (n, values.shape[-1])) for part in (mean, variance)
    ]
    return Normalized(tf.constant(values), *map(tf.constant, rows))


@pytest.mark.parametrize("scope", ["image", "batch"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("shape", [(3, 6, 2), (5, 2), (2,)])
def test_one_layers_statistics_are_compared_as_the_formula_says(scope, relative, shape):
    values = np.random.default_rng(4).normal(size=(3, *shape))
    mean, variance = np.array([0.5, -1.0]), np.array([0.25, 4.0])
    given = entry(values, mean, variance)
    found = statistics_distance([given], scope, first=1.0, relative=relative)
    expected = []
    for image in values:
        rows = (values if scope == "batch" else image).reshape(-1, 2)
        shift = np.linalg.norm(rows.mean(0) - mean)
        stretch = np.linalg.norm(rows.var(0) - variance)
        scales = np.linalg.norm(np.sqrt(variance)), np.linalg.norm(variance)
        expected.append(shift / scales[0] + stretch / scales[1] if relative else shift + stretch)
    np.testing.assert_allclose(found, expected, atol=4e-6)


def test_a_distance_far_below_its_epsilon_is_half_its_square():
    """`sqrt(d^2 + 1e-12) - 1e-6`, of a mean that is off by 1e-6: sqrt(2) - 1 of it."""
    values = np.array([[[1.0], [-1.0]]])
    found = statistics_distance([entry(values, [1e-6], [1.0])], "image", first=1.0, relative=False)
    np.testing.assert_allclose(found, [(math.sqrt(2) - 1) * 1e-6], rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "expected"), [(1.0, (2 + 6) / 2), (10.0, (20 + 6) / 11), (0.0, 6.0), (0.5, 7 / 1.5)]
)
def test_layers_are_weighted_and_their_mean_is_taken(first, expected):
    # Off by 2 and by 6 deviations, with the variance right.
    given = [entry(np.array([[[1.0], [-1.0]]]) + shift, [0.0], [1.0]) for shift in (2.0, 6.0)]
    found = statistics_distance(given, "image", first=first, relative=True)
    np.testing.assert_allclose(found, [expected], atol=1e-5)
    found = statistics_distance(given, "image", first=first, relative=False)
    np.testing.assert_allclose(found, [2 * first + 6], atol=1e-5)


def test_a_single_layer_that_counts_for_nothing_is_nothing():
    given = [entry(np.array([[[3.0], [1.0]]]), [0.0], [1.0])]
    assert statistics_distance(given, "image", first=0.0, relative=True).numpy().tolist() == [0.0]


# Diversity.


@pytest.mark.parametrize("scales", [(1e-14, 1e-14), (1.0, 1e-10), (1e9, 1e-5)])
def test_diversity_does_not_depend_on_how_strongly_an_image_responds(scales):
    one = np.random.default_rng(5).normal(size=(4, 3))
    values = tf.constant(np.stack([scale * one for scale in scales]))
    found = actmax.Diversity("a")({"a": values, ROWS: tf.range(2)}, None)
    np.testing.assert_allclose(found, [-1.0, -1.0], rtol=1e-9)


# Features.


def test_references_of_which_one_is_nearly_across():
    """Cosines of 0.15 and below 0: the floor of a tenth holds."""
    a = np.array([[0.15, math.sqrt(1 - 0.15**2)], [-1.0, 0.0]])
    found = of(actmax.Caricature("a", [2.0, 0.0], power=0.5), a)
    np.testing.assert_allclose(found, [0.075 * 0.15**0.5, -0.5 * 0.1**0.5])


def test_a_copy_of_a_part_has_the_same_reference():
    part = actmax.Caricature("a", [1.0, 2.0], power=2.0)
    again = dataclasses.replace(part, layer="b")
    assert again.reference is part.reference and again.power == 2.0
    assert part == actmax.Caricature("a", np.array([1, 2]), 2.0)


def test_sorted_means_are_of_every_channel_by_itself():
    values = np.array([[[3.0, 1.0], [1.0, 2.0]], [[1.0, 4.0], [5.0, 1.0]]])
    assert actmax.SortMatching.mean(values).tolist() == [[1.0, 1.0], [4.0, 3.0]]


# Functions.


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda output: output[:, 0], None),
        (lambda output, targets: output[:, 0], "index"),
        (lambda output, power=2: output[:, 0], None),
        (lambda output, targets, power=2: output[:, 0], "index"),
        (lambda *parts: parts[0][:, 0], None),
        (lambda output, *, power=2: output[:, 0], None),
        (lambda output, **more: output[:, 0], None),
    ],
)
def test_a_function_gets_targets_if_it_asks_for_two_things(function, kind):
    part = as_objective(function)
    assert part.kind == kind
    assert part.name == "lambda"
    output = tf.constant([[1.0], [2.0]])
    assert part({OUTPUT: output}, tf.constant([0, 0])).numpy().tolist() == [1.0, 2.0]


@pytest.mark.parametrize("function", [lambda: 0, lambda a, b, c: 0, lambda *, output: 0])
def test_a_function_of_another_number_of_things_is_refused(function):
    with pytest.raises(TypeError, match=r"a function of \(output\) or \(output, targets\)"):
        as_objective(function)


def test_a_function_of_named_layers_gets_those_alone():
    @objective(layers=["a", "b"])
    def both(activations, targets):
        assert sorted(activations) == ["a", "b"]
        return activations["a"] + tf.cast(targets, tf.float32)

    assert both.layers == ("a", "b") and both.kind == "index" and both.name == "both"
    given = {"a": tf.constant([1.0]), "b": tf.constant([5.0]), "c": tf.constant([9.0])}
    assert both(given, tf.constant([2])).numpy().tolist() == [3.0]


# What is refused when it is made.


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: actmax.Channel(3), TypeError, "the path of a layer"),
        (lambda: actmax.Channel(""), TypeError, "the path of a layer"),
        (lambda: actmax.Neuron(None), TypeError, "the path of a layer"),
        (lambda: actmax.Direction(["a"]), TypeError, "the path of a layer"),
        (lambda: actmax.Layer(b"a"), TypeError, "the path of a layer"),
        (lambda: actmax.Diversity(0), TypeError, "the path of a layer"),
        (lambda: actmax.Logit("1"), TypeError, "target to be an integer"),
        (lambda: actmax.Logit(True), TypeError, "target to be an integer"),
        (lambda: actmax.Margin(-1), ValueError, "target to be at least 0"),
        (lambda: actmax.Channel("a", 1.5), TypeError, "target to be an integer"),
        (lambda: actmax.Neuron("a", target="b"), TypeError, "target to be an integer"),
        (lambda: actmax.Neuron("a", (1.5, 0)), TypeError, "every index of position"),
        (lambda: actmax.Neuron("a", (0, -1)), ValueError, "every index of position"),
        (lambda: actmax.Direction("a", -0.1), ValueError, "power"),
        (lambda: actmax.Direction("a", "1"), TypeError, "power"),
        (lambda: actmax.Direction("a", vector=(1, math.nan)), ValueError, "every value of vector"),
        (lambda: actmax.Caricature("a", power=-0.1), ValueError, "power"),
        (lambda: actmax.Caricature("", [1.0]), TypeError, "the path of a layer"),
        (lambda: actmax.Inversion("a", np.array([True])), TypeError, "a reference of numbers"),
        (lambda: actmax.SortMatching.mean(np.zeros((0, 2, 3))), ValueError, "with positions"),
        (lambda: actmax.BatchNormPrior("row"), ValueError, "scope"),
        (lambda: actmax.BatchNormPrior(first=-0.1), ValueError, "first"),
        (lambda: actmax.BatchNormPrior(first="1"), TypeError, "first"),
        (lambda: actmax.BatchNormPrior(relative="yes"), ValueError, "relative"),
        (lambda: objective(layers="a"), TypeError, "a list of layer paths"),
        (lambda: objective(layers=[]), TypeError, "a list of layer paths"),
        (lambda: objective(layers=["a", 3]), TypeError, "the path of a layer"),
        (lambda: as_objective(actmax.Logit), TypeError, "Write the parentheses"),
        (lambda: as_objective(3), TypeError, "an objective such as"),
        (lambda: actmax.Logit() + True, TypeError, "unsupported operand"),
        (lambda: "2" * actmax.Logit(), TypeError, "can't multiply|unsupported operand"),
        (lambda: actmax.Logit() - math.nan, ValueError, "a number in an objective"),
        (lambda: Combination("/", actmax.Logit(), 2.0), ValueError, "operation"),
        (lambda: actmax.Channel("a") + actmax.Direction("b"), TypeError, "can share their targets"),
    ],
)  # fmt: skip
def test_what_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: actmax.Logit(0),
        lambda: actmax.Neuron("a", [0, np.int64(2)], 1),
        lambda: actmax.Direction("a", 0.5),
        lambda: actmax.Caricature("a", power=0.0),
        lambda: actmax.BatchNormPrior(first=0.0),
        lambda: actmax.BatchNormPrior("batch", 0.5, False),
        lambda: actmax.Channel("a") + actmax.Direction("b", vector=(1.0,)),
        lambda: actmax.Channel("a", 2) + actmax.Direction("b"),
    ],
)
def test_what_is_not(make):
    assert isinstance(make(), Objective)


# Algebra.


def test_algebra_of_scores_is_that_of_numbers():
    a, b = actmax.Channel("a", 1), actmax.Layer("b")
    given = {"a": tf.constant(VALUES), "b": tf.constant(VALUES[:, 0])}
    x, y = VALUES.mean(axis=(1, 2))[:, 1], np.mean(VALUES[:, 0] ** 2, axis=(1, 2))
    for part, expected in [
        (a + b, x + y), (a - b, x - y), (a * b, x * y), (-a, -x), (2 + a, 2 + x), (a + 2, x + 2),
        (2 - a, 2 - x), (a - 2, x - 2), (3 * a, 3 * x), (a * 3, 3 * x), (-(a + b) * 0.5, -(x + y) / 2),
    ]:  # fmt: skip
        np.testing.assert_allclose(part(given, None), expected, atol=1e-14)
        assert part.couples_images is False and part.kind is None
    assert (a + b + a).layers == ("a", "b")
    assert (a + actmax.Diversity("b")).couples_images
    assert (actmax.Channel("a") - b).kind == (b - actmax.Channel("a")).kind == "index"


def test_targets_go_to_the_terms_that_have_none_of_their_own():
    part = actmax.Channel("a") - actmax.Channel("a", 0)
    pooled = VALUES.mean(axis=(1, 2))
    found = part({"a": tf.constant(VALUES)}, TARGETS)
    np.testing.assert_allclose(found, at(pooled, TARGETS) - pooled[:, 0])
    part.check(SHAPES, np.array([4]))
    with pytest.raises(ValueError, match="5 at position 0"):
        part.check(SHAPES, np.array([5]))
    with pytest.raises(ValueError, match="classes of which one is right"):
        (actmax.Logit() - actmax.Margin(1)).check_heads({"": "sigmoid"})


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("float16", "float32", "float32"),
        ("float32", "float64", "float64"),
        ("float16", "bfloat16", "float32"),
        ("float16", "float16", "float16"),
    ],
)
def test_scores_of_two_types_meet_in_one_that_holds_both(first, second, expected):
    part = actmax.Layer("a") + actmax.Layer("b")
    given = {"a": tf.ones([2, 3], first), "b": tf.ones([2, 3], second)}
    assert part(given, None).dtype == expected
    assert tf.cast(part(given, None), tf.float32).numpy().tolist() == [2.0, 2.0]


def test_what_an_objective_of_anyones_has_if_it_says_nothing():
    class Mine(Objective):
        @property
        def layers(self):
            return ("a",)

        def __call__(self, activations, targets):
            return activations["a"][:, 0]

    part = Mine()
    assert part.kind is None and part.couples_images is False
    assert part.check({}, None) is None and part.check_heads({}) is None
    assert part.probability({}, None, {"": "softmax"}) is None


# Sums.


def test_a_sum_of_many_terms_is_flat_and_asks_every_term_once(monkeypatch):
    asked = []
    kind = actmax.Channel.kind.fget
    counted = property(lambda self: (asked.append(1), kind(self))[1])
    monkeypatch.setattr(type(actmax.Channel("a")).__mro__[1], "kind", counted)
    terms = [actmax.Channel(f"layer{n}", n) for n in range(400)]
    total = sum(terms)
    values = {f"layer{n}": tf.constant(np.arange(401.0)[None] * (n + 1)) for n in range(400)}
    assert total(values, None).numpy() == [sum(n * (n + 1) for n in range(400))]
    assert total.layers == tuple(values)
    assert len(asked) <= 400 * 401  # A few milliseconds; asked anew by every level it was 2^400.
    hash(total), repr(total), describe(total), pickle.dumps(total)


def test_a_sum_takes_away_what_stands_behind_a_minus_and_divides():
    a, b, c, d = (actmax.Channel(name, 0) for name in "abcd")
    values = {
        name: tf.constant([[v]]) for name, v in zip("abcd", (1.0, 10.0, 100.0, 1000.0), strict=True)
    }

    def found(objective):
        return float(objective(values, None)[0])

    assert found(a - (b - c) - d) == 1 - (10 - 100) - 1000
    assert found(3 - (a + b)) == 3 - 11
    assert found(-(a - b) / 4) == 9 / 4
    assert found((a + b) * (c - d) + 2 * a) == 11 * -900 + 2
    with pytest.raises(ValueError, match="other than 0"):
        a / 0
    with pytest.raises(TypeError, match=r"@actmax.objective\(layers"):
        1 / a
