"""The parts of the loop by themselves: what is finite, what is tried again, what agrees, what is counted."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
import regularizers
from actmax import models
from actmax.loop import (
    PLAIN,
    Agreement,
    Arguments,
    Cause,
    Evaluation,
    Loop,
    Way,
    agreement,
    comparison,
    ways,
)
from actmax.loop.bare_pass import bare_floor, strict_floor
from actmax.loop.connectivity import check_connected, check_penalty
from actmax.loop.tensors import choose, first_cause, minus, same_shape, sizes, spec, sums
from actmax.maximizer import rows
from actmax.objectives import LOGITS
from tests.conformance.models import tiny

NAN, INF = float("nan"), float("inf")


# Sizes, sums, choices.


LEAVES = {"a": tf.constant([[1.0, -2.0], [0.0, 0.0]]), "b": tf.constant([[[-3.0]], [[5.0]]])}


def test_sizes_and_sums_are_over_all_leaves_of_a_row():
    assert sizes(LEAVES).numpy().tolist() == [6.0, 5.0]
    assert sums(LEAVES).numpy().tolist() == [-4.0, 5.0]
    alone = {"a": LEAVES["a"]}
    assert sizes(alone).numpy().tolist() == [3.0, 0.0]
    assert sums(alone).numpy().tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["a", "b"])
def test_one_value_that_is_not_finite_spoils_its_row_alone(bad, name):
    spoilt = {key: leaf.numpy().copy() for key, leaf in LEAVES.items()}
    spoilt[name][1, 0] = bad
    spoilt = {key: tf.constant(leaf) for key, leaf in spoilt.items()}
    for measure in (sizes, sums):
        assert np.isfinite(measure(spoilt)).tolist() == [True, False]


def test_a_row_is_chosen_whole():
    new, old = tf.ones([2, 3, 1]), tf.zeros([2, 3, 1])
    found = choose(tf.constant([False, True]), new, old)
    assert found.numpy()[:, :, 0].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert same_shape(new, old) is new


def test_a_shape_that_was_lost_is_found_again():
    def graph(new):
        assert new.shape.rank is None
        found = same_shape(new, tf.zeros([2, 3]))
        assert found.shape.as_list() == [2, 3]
        return found

    tf.function(graph, input_signature=[tf.TensorSpec(None)], autograph=False)(tf.ones([2, 3]))


def test_a_penalty_pushes_against_the_score():
    ascent, penalty_slope = tf.constant([2.0]), tf.constant([5.0])
    assert minus(ascent, None).numpy() == [-2.0]
    assert minus(ascent, penalty_slope).numpy() == [3.0]


def test_causes_have_the_numbers_that_checkpoints_keep():
    assert {cause.name: int(cause) for cause in Cause} == {
        "NONE": 0, "IMAGE": 1, "SCORE": 2, "PENALTY": 3, "GRADIENT": 4, "GRADIENT_FUNCTION": 5,
        "UPDATE": 6,
    }  # fmt: skip


ORDER = ("IMAGE", "SCORE", "PENALTY", "GRADIENT", "GRADIENT_FUNCTION", "UPDATE")


@pytest.mark.parametrize("first", range(len(ORDER) + 1))
@pytest.mark.parametrize("bad", [NAN, INF])
def test_the_first_cause_is_named_whatever_follows(first, bad):
    """Row 0 fails at one place and at all that follow, row 1 there alone, row 2 nowhere."""
    values = {
        name: tf.constant([bad if n >= first else 1.0, bad if n == first else 1.0, 1.0])
        for n, name in enumerate(ORDER)
    }
    objective = tf.where(tf.math.is_finite(values["PENALTY"]), values["SCORE"] - 0.5, NAN)
    image = {"images": values["IMAGE"][:, None]}
    found = Evaluation(image, values["SCORE"], objective, [], (), [], {}, {}, {})
    cause = first_cause(found, values["GRADIENT"], values["GRADIENT_FUNCTION"], values["UPDATE"])
    expected = first + 1 if first < len(ORDER) else 0
    assert cause.numpy().tolist() == [expected, expected, 0]
    assert cause.dtype == tf.int32


def arguments(count=2, penalties=1, steps=4):
    return Arguments(
        tf.zeros([count], tf.int32), tf.zeros([penalties, steps, 1]), tf.zeros([steps, count]),
        tf.zeros([count, 2], tf.int32), {"held": tf.zeros([1, 7])}, {}, {},
    )  # fmt: skip


def test_signatures_leave_rows_and_tables_open_or_nothing():
    given = arguments()
    found = spec(given, open_rows=True)
    assert found.targets.shape.as_list() == [None]
    assert found.weights.shape.as_list() == [1, None, None]
    assert found.rates.shape.as_list() == [None, None]
    assert found.seeds.shape.as_list() == [None, 2] and found.seeds.dtype == tf.int32
    assert found.fixed["held"].shape.as_list() == [None, 7]
    closed_rows = spec(given, open_rows=False)
    assert closed_rows.targets.shape.as_list() == [2]
    assert closed_rows.rates.shape.as_list() == [None, None]
    closed = spec(given, open_rows=True, closed=True)
    assert closed.targets.shape.as_list() == [2]
    assert closed.weights.shape.as_list() == [1, 4, 1]
    assert closed.rates.shape.as_list() == [4, 2]
    assert spec(tf.constant(3), open_rows=True).shape.as_list() == []
    assert spec({"images": tf.zeros([2, 5])}, open_rows=True)["images"].shape.as_list() == [None, 5]


# Ways.


def test_the_plain_way_is_compiled_and_nothing_more():
    assert PLAIN == Way(compiled=True, fold=False, compute=None, tail=False, xla=False)
    assert not PLAIN.scaled and not Way(compute="bfloat16").scaled and Way(compute="float16").scaled


@pytest.mark.parametrize(
    ("way", "fold", "compute"),
    [
        (Way(fold=True), True, None),
        (Way(compute="bfloat16"), False, "bfloat16"),
        (Way(fold=True, compute="float64"), True, "float64"),
    ],
)
def test_a_way_of_computing_models_is_a_variant_of_each(way, fold, compute):
    problem = SimpleNamespace(models=(models.Taps(tiny(), [LOGITS]), models.Taps(tiny(), [LOGITS])))
    found = way.models(problem)
    assert [type(each) for each in found] == [models.Variant] * 2
    assert [(each.taps, each.fold, each.compute) for each in found] == [
        (taps, fold, compute) for taps in problem.models
    ]
    assert PLAIN.models(problem) is Way(tail=True, xla=True).models(problem) is problem.models


def ascend(limits, tried):
    """A backward pass whose gradient `[n, -2n]` overflows in row n at scales above `limits[n]`."""

    def run(scale):
        tried.append(scale.numpy().tolist())
        assert len(tried) < 10
        raw = scale[:, None] * tf.constant([[n, -2.0 * n] for n in range(1, len(limits) + 1)])
        raw = tf.where((scale > tf.constant(limits))[:, None], INF, raw)
        return tf.constant([float(len(tried))] * len(limits)), {"x": raw}

    return run


def test_a_scale_that_overflows_is_tried_again_16_times_smaller_row_by_row():
    tried = []
    images = {"x": tf.zeros([3, 2])}
    score, found = ways.scaled_back(
        ascend([INF, 2.0**11, 2.0**3], tried), tf.constant(3), images, tf.zeros([3])
    )
    assert tried == [
        [2.0**14] * 3,
        [2.0**14, 2.0**10, 2.0**10],
        [2.0**14, 2.0**10, 2.0**6],
        [2.0**14, 2.0**10, 2.0**2],
    ]
    assert found["x"].numpy().tolist() == [[1, -2], [2, -4], [3, -6]]
    assert score.numpy().tolist() == [4.0] * 3


def test_a_scale_is_tried_once_if_it_does_and_four_times_if_none_does():
    tried = []
    images = {"x": tf.zeros([2, 2])}
    ways.scaled_back(ascend([INF, INF], tried), tf.constant(2), images, tf.zeros([2]))
    assert tried == [[2.0**14] * 2]
    tried = []
    _, found = ways.scaled_back(ascend([INF, 0.0], tried), tf.constant(2), images, tf.zeros([2]))
    assert len(tried) == 4
    assert np.isfinite(found["x"]).tolist() == [[True] * 2, [False] * 2]
    assert found["x"].numpy()[0].tolist() == [1, -2]


def test_xla_gets_programs_of_64_steps_and_gives_the_steps_asked_for():
    asked = []

    def chunk(carry, given, first, last):
        asked.append((first, last))
        padded = tf.concat([tf.range(first, last), tf.zeros([64 - (last - first)], tf.int32)], 0)
        return carry + 1, padded[:, None]

    for start, stop, expected in [
        (0, 10, [(0, 10)]),
        (0, 64, [(0, 64)]),
        (0, 65, [(0, 64), (64, 65)]),
        (5, 140, [(5, 69), (69, 133), (133, 140)]),
    ]:
        asked.clear()
        carry, history = ways.run_in_chunks(chunk, 0, None, start, stop)
        assert asked == expected and carry == len(expected)
        assert history.numpy()[:, 0].tolist() == list(range(start, stop))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("Two (No registered 'Two') and One (No registered 'One')", ValueError, "Received: One, Two"),
        ("It is an XLA matter.\nAnd more.", ValueError, r"Received: It is an XLA matter\."),
        ("in tf2xla/kernel.cc\nAnd more.", ValueError, "Received: in tf2xla/kernel.cc"),
        ("XLA" + 300 * "x", ValueError, f"Received: XLA{197 * 'x'}\\. Use"),
        ("Shapes do not match.", tf.errors.InvalidArgumentError, "Shapes do not match"),
    ],
)  # fmt: skip
def test_what_xla_refuses_is_named_and_other_faults_stay_what_they_are(text, error, words):
    def chunk(*_):
        raise tf.errors.InvalidArgumentError(None, None, text)

    with pytest.raises(error, match=words):
        ways.run_in_chunks(chunk, 0, None, 0, 1)


# Agreement.


class Pulls:
    """A loop that has one thing to say."""

    def __init__(self, scores, **gradients):
        wide = {name: tf.constant(g, tf.float64) for name, g in gradients.items()}
        self.found = tf.constant(scores, tf.float64), wide

    def score_and_gradient(self, images, arguments):
        return self.found


def agree_on(first, second):
    return agreement(first, second, first.found[1], None)


@pytest.mark.parametrize(
    ("ours", "theirs", "cosine", "relative"),
    [
        ([[3.0, 4.0]], [[3.0, 4.0]], 1.0, 0.0),
        ([[3.0, 4.0]], [[-3.0, -4.0]], -1.0, 2.0),
        ([[3.0, 4.0]], [[4.0, -3.0]], 0.0, 7 / 4),
        ([[3.0, 4.0]], [[1.5, 2.0]], 1.0, 0.5),
        ([[1.0, 0.0]], [[0.0, 1.0]], 0.0, 1.0),
        ([[1.0, 0.0]], [[0.0, 0.0]], 0.0, 1.0),  # one of them is silent
        ([[0.0, 0.0]], [[0.0, 0.0]], 1.0, 0.0),  # both are
        ([[1e-300, 0.0]], [[0.0, 1e-300]], 0.0, 1.0),  # squares would vanish
        ([[1.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [3.0, 3.0]], 21 / (5 * 18**0.5), 0.25),
        ([[3.0, 4.0], [1.0, 0.0]], [[3.0, 3.0], [1.0, 0.0]], 21 / (5 * 18**0.5), 0.25),
    ],
)
def test_agreement_is_that_of_the_worst_image(ours, theirs, cosine, relative):
    scores = [1.0] * len(ours)
    for other in ("a", "b"):  # as the only input, and as one of two
        first = {"a": [[5.0]] * len(ours), other: ours}
        second = {"a": [[5.0]] * len(ours), other: theirs}
        found = agree_on(Pulls(scores, **first), Pulls(scores, **second))
        np.testing.assert_allclose((found.cosine, found.relative), (cosine, relative), atol=1e-12)
        assert found.score == 0.0


@pytest.mark.parametrize(
    ("ours", "theirs", "score"),
    [([10.0, 4.0], [10.0, 3.0], 0.1), ([0.25, -0.5], [0.25, 0.0], 0.5), ([-4.0], [-3.0], 0.25)],
)
def test_scores_are_compared_with_the_largest_or_with_1(ours, theirs, score):
    gradient = [[1.0]] * len(ours)
    found = agree_on(Pulls(ours, a=gradient), Pulls(theirs, a=gradient))
    np.testing.assert_allclose(found.score, score, rtol=1e-6)


def test_a_gradient_that_is_not_finite_agrees_with_none():
    for bad in (NAN, INF):
        found = agree_on(Pulls([1.0], a=[[bad]]), Pulls([1.0], a=[[bad]]))
        assert np.isnan([found.cosine, found.relative, found.score]).all()
        assert not found.holds


@pytest.mark.parametrize(
    ("cosine", "relative", "score", "holds"),
    [
        (1.0, 0.0, 0.0, True),
        (comparison.COSINE, comparison.RELATIVE, comparison.RELATIVE, True),
        (0.999998, 0.0, 0.0, False),
        (1.0, 2e-5, 0.0, False),
        (1.0, 0.0, 2e-5, False),
    ],
)
def test_ways_agree_up_to_rounding_in_all_three(cosine, relative, score, holds):
    assert (comparison.COSINE, comparison.RELATIVE) == (0.999999, 1e-5)
    assert Agreement(cosine, relative, score).holds is holds


GOOD, BAD = Agreement(1.0, 0.0, 0.0), Agreement(0.5, 0.25, 0.125)


@pytest.mark.parametrize(
    ("answers", "result"),
    [([GOOD], GOOD), ([BAD, GOOD], GOOD), ([BAD, BAD], None), ([BAD, TypeError()], None)],
)
def test_a_fold_is_compared_in_float32_and_where_that_differs_in_float64(
    answers, result, monkeypatch
):
    compared, answers = [], list(answers)
    monkeypatch.setattr(comparison, "Loop", lambda problem, way: (problem, way))

    def answer(plain, fast, images, arguments):
        compared.append((plain, fast))
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(comparison, "agreement", answer)
    given = SimpleNamespace(problem="problem", way=Way(fold=True, compute="bfloat16", tail=True))
    if result is None:
        with pytest.raises(
            ValueError, match=r"cosine 0.5000000 and relative difference 0.25, scores .* 0.12"
        ):
            comparison.check_fold(given, {}, None)
    else:
        assert comparison.check_fold(given, {}, None) is result
    expected = [
        tuple(("problem", Way(fold=fold, compute=kind, tail=True)) for fold in (False, True))
        for kind in (None, "float64")
    ]
    assert compared == expected[: len(compared)]
    assert not answers


# Gradients that do not arrive.


def test_a_penalty_needs_a_gradient():
    check_penalty("mine", tf.zeros([1]))
    with pytest.raises(ValueError, match="a penalty 'mine' that depends differentiably"):
        check_penalty("mine", None)


def test_the_operation_that_cut_the_gradient_is_the_one_on_the_way():
    """Not a rounding beside the way, nor the operations in front of it or behind."""
    with tf.Graph().as_default():
        image = tf.zeros([2, 3])
        beside = tf.round(image, name="beside")
        cut = tf.math.floor(tf.sin(2.0 * image), name="cut")
        total = tf.reduce_sum(tf.math.ceil(3.0 * cut, name="behind"))
        assert beside.shape == [2, 3]
        with pytest.raises(
            ValueError, match=r"'x'.*no gradient after the operation 'cut' of type Floor"
        ):
            check_connected(total, {"y": image, "x": image}, {"y": total, "x": None})
        check_connected(total, {"x": image}, {"x": image})


def test_what_cut_a_gradient_has_no_name_without_a_graph():
    with pytest.raises(ValueError, match=r"input 'x'. Received: no gradient\. Integer casts"):
        check_connected(tf.constant(1.0), {"x": tf.zeros([1])}, {"x": None})


# Floors.


@pytest.mark.parametrize("floor", [bare_floor, strict_floor])
def test_a_floor_is_as_many_passes_as_asked_for_each_from_the_same_images(floor):
    passes, seen = tf.Variable(0), tf.Variable(0.0)

    def score(images, fixed, targets):
        passes.assign_add(1)
        seen.assign(tf.reduce_sum(images["x"]))
        return tf.reduce_sum(images["x"] * fixed["w"], axis=1) + targets

    problem = SimpleNamespace(score=score, dtype=tf.float32)
    images = {"x": tf.constant([[1.0, 2.0], [3.0, 4.0]])}
    run = floor(problem, images, {"w": tf.constant([[5.0, 6.0]])}, tf.constant([1.0, 2.0]))
    for steps in (1, 3):
        passes.assign(0)
        run(steps)
        assert passes.numpy() == steps
        assert seen.numpy() == 10.0


@pytest.mark.parametrize("floor", [bare_floor, strict_floor])
def test_a_floor_runs_python_as_it_is_written(floor):
    def score(images, fixed, targets):
        return images if tf.reduce_sum(images) > 0 else -images

    run = floor(SimpleNamespace(score=score, dtype=tf.float32), tf.ones([2]), {}, None)
    with pytest.raises(TypeError, match="Python"):
        run(1)


# The engine, where what it computes is known.


@regularizers.transform
def brighter(images, seeds, step):
    """Twice the image at step 1, three times at step 2, ..."""
    return images * tf.cast(step + 1, images.dtype)


WEIGHTS = np.array([[1.0, -2.0], [0.5, 0.25], [3.0, 0.0]], np.float32)


def scene(**settings):
    """A linear model of three numbers, in front of it `brighter`."""
    maximizer = actmax.Maximizer(
        lambda images: images @ tf.constant(WEIGHTS), input_shape=(3,),
        **{"input_range": actmax.Unbounded(), "regularizers": [brighter], **settings},
    )  # fmt: skip
    problem = maximizer.problem
    weights, rates = rows.tables(problem, None, None, 1, 2)
    targets = np.array([1, 0], np.int32)
    given = rows.arguments(problem, targets, weights, rates, rows.row_seeds(0, targets, 2), {}, {})
    images = {"images": tf.constant([[1.0, 2.0, 3.0], [0.0, 1.0, -1.0]])}
    return maximizer, problem, images, given


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_what_the_engine_pulls_is_the_mean_over_copies_at_its_step(copies):
    maximizer, problem, images, given = scene(copies=copies)
    loop = Loop(problem)
    scores, gradient = loop.score_and_gradient(images, given)
    np.testing.assert_allclose(scores, [-1.5, -2.5])
    np.testing.assert_allclose(gradient["images"], WEIGHTS.T[[1, 0]], rtol=1e-6)
    clean, known, classes, asked, *_ = loop.judge(images, given)
    np.testing.assert_allclose(clean, [-1.5, -2.5])
    assert known is None and asked.numpy().tolist() == [1, 0] and len(classes) == 1
    np.testing.assert_allclose(loop.robust_scores(images, given, given.seeds), [-1.5, -2.5])
    for step in (0, 2):
        value, slope = loop.value_and_gradient(images, given, step)
        np.testing.assert_allclose(value, [-1.5 * (step + 1), -2.5 * (step + 1)], rtol=1e-6)
        np.testing.assert_allclose(slope["images"], (step + 1) * WEIGHTS.T[[1, 0]], rtol=1e-6)
    np.testing.assert_allclose(loop.value_and_gradient(images, given)[0], [-1.5, -2.5])
    assert loop.traces == 0 and loop.compilations == 0
    # At steps 0, 1 and 2: on average twice the gradient. Steps of the loop itself tell it.
    np.testing.assert_allclose(loop.sensitivity(images, given, 3), [4.5, 9.0], rtol=1e-6)
    assert loop.traces == 1 and loop.compilations == 1
    assert maximizer.traces == 0


@pytest.mark.parametrize(
    "way", [Way(), Way(tail=True), Way(xla=True)], ids=["plain", "tail", "xla"]
)
def test_xla_is_where_it_is_asked_for_and_nowhere_else(way):
    """What NumPy computes, XLA cannot: a metric of that kind goes with the plain loop alone."""

    def middle(images):
        median = tf.numpy_function(np.median, [images], tf.float32)
        return tf.ensure_shape(median, []) + 0 * images[:, 0]

    _, problem, images, given = scene(metrics={"middle": middle}, regularizers=[])
    loop = Loop(problem, way)
    carry = loop.begin(images, given)
    if way != PLAIN:
        with pytest.raises((tf.errors.OpError, ValueError), match=r"XLA|PyFunc"):
            loop.run(carry, given, 0, 1)
    else:
        _, history = loop.run(carry, given, 0, 1)
        assert history.numpy()[0, 2].tolist() == [1.0, 1.0]


def test_parts_run_as_they_are_written():
    """Python's `if` on a tensor is refused, and not rewritten into a branch for the whole batch."""

    @regularizers.penalty
    def branching(images):
        return images[:, 0] if tf.reduce_mean(images) > 0 else -images[:, 0]

    maximizer, problem, images, given = scene(regularizers=[branching])
    refused = "the penalty 'branching' to run in the graph.*as a Python `bool`.*tf.where"
    with pytest.raises(ValueError, match=refused):
        maximizer([0], steps=1)
    for way in (PLAIN, Way(tail=True)):
        loop = Loop(problem, way)
        with pytest.raises(ValueError, match=refused):
            loop.run(loop.begin(images, given), given, 0, 1)


def test_every_penalty_is_asked_for_its_gradient_before_a_run():
    @regularizers.penalty
    def count(images):
        return tf.reduce_sum(tf.cast(images > 0.5, tf.float32), axis=1)

    two = [regularizers.L2(), regularizers.L1()]
    _, problem, images, given = scene(regularizers=two)
    Loop(problem).prepare(images, given)
    _, problem, images, given = scene(regularizers=[*two, count])
    with pytest.raises(ValueError, match="a penalty 'count' that depends differentiably"):
        Loop(problem).prepare(images, given)


@dataclasses.dataclass(frozen=True)
class OnTheHost(actmax.Parameterization):
    """Params that are half of the image, which NumPy works out where images are given."""

    def init(self, shape, seed, dtype=tf.float32):
        assert not tf.executing_eagerly()  # from noise they are drawn in a graph
        return tf.ones([tf.shape(seed)[0], *shape], dtype)

    def decode(self, params, shape):
        return 2.0 * params

    def encode(self, images):
        return tf.constant(images.numpy() / 2)


def test_a_start_from_images_may_be_worked_out_on_the_host_and_one_from_noise_in_a_graph():
    _, problem, images, given = scene(regularizers=[], parameterization=OnTheHost())
    loop = Loop(problem)
    found = loop.start(given.seeds, images)["images"]
    np.testing.assert_array_equal(found, images["images"] / 2)
    assert loop.start(given.seeds, {})["images"].numpy().tolist() == [[1.0] * 3] * 2


def test_the_graph_of_an_optimizer_that_needs_to_know_n_is_one_for_every_n():
    maximizer, *_ = scene(optimizer=keras.optimizers.SGD(0.1), regularizers=[])
    for count in (1, 2, 3, 2):
        result = maximizer([0, 1, 0][:count], steps=1)
        assert len(result.images) == count
    assert maximizer.compilations == maximizer.traces == 3


def of_four_kinds(output):
    """By the second number: 0 rises slowly, 1 not at all, 2 falls to below 1, 3 breaks above 1.05."""
    x, kind = output[:, 0], output[:, 1]
    score = tf.where(kind == 0, 1e-3 * x, tf.where(kind == 1, 0.0 * x, -tf.nn.relu(x - 1)))
    return tf.where(kind == 3, x, score) + tf.where((kind == 3) & (x > 1.05), NAN, 0.0)


@pytest.mark.parametrize("kinds", [(0, 1, 2), (0, 1, 2, 3)])
def test_rows_end_as_they_did_whether_or_not_another_fails(kinds):
    """Sums of the gradient below 1 count as a gradient, also at a step at which another row fails."""
    ends = [
        actmax.Status.OK,
        actmax.Status.NO_GRADIENT,
        actmax.Status.CONVERGED,
        actmax.Status.NON_FINITE,
    ]
    starts = [[1.0, 0], [1.0, 1], [1.25, 2], [1.0, 3]]
    result = actmax.maximize(
        lambda images: images, of_four_kinds, input_shape=(2,), input_range=actmax.Unbounded(),
        regularizers=[], initial_images=np.array(starts)[list(kinds)], steps=6, images=len(kinds),
        optimizer=actmax.SGD(0.1),
    )  # fmt: skip
    assert result.status.tolist() == [ends[kind] for kind in kinds]
    np.testing.assert_allclose(
        result.images[:, 0], [1.0006, 1.0, 0.95, 1.1][: len(kinds)], rtol=1e-5
    )
    assert result.steps.tolist() == [6, 6, 6, 1][: len(kinds)]


def test_weights_and_rates_are_those_of_their_step_and_image_and_the_last_ones_hold():
    """`J = w.x - weight * mean(x^2)`: gradient `w - 2 / 3 weight x`, of a table of two steps."""
    _, problem, images, given = scene(regularizers=[regularizers.L2()], optimizer=actmax.SGD(1.0))
    table = np.array([[3.0, 6.0], [9.0, 0.0]], np.float32)
    rates = np.array([[0.5, 0.25], [0.0, 1.0], [2.0, 0.0]], np.float32)
    given = given._replace(weights=tf.constant(table[None]), rates=tf.constant(rates))
    loop, w, x = Loop(problem), WEIGHTS.T[[1, 0]], images["images"].numpy()
    for step, weight in ((0, table[0]), (1, table[1]), (7, table[1])):
        value, slope = loop.value_and_gradient(images, given, step)
        np.testing.assert_allclose(value, np.sum(w * x, 1) - weight * np.mean(x**2, 1), rtol=1e-5)
        np.testing.assert_allclose(slope["images"], w - weight[:, None] * 2 / 3 * x, rtol=1e-5)
    carry, history = loop.run(loop.begin(images, given), given, 0, 4)
    for step in range(4):
        weight, rate = table[min(step, 1)], rates[min(step, 2)]
        score, penalty = np.sum(w * x, 1), np.mean(x**2, 1)
        expected = [score, score - weight * penalty, penalty]
        np.testing.assert_allclose(history[step], expected, rtol=1e-4, atol=1e-5)
        x = x + rate[:, None] * (w - weight[:, None] * 2 / 3 * x)
    np.testing.assert_allclose(carry.params["images"], x, rtol=1e-4)
    assert carry.done.numpy().tolist() == [4, 4]


@regularizers.transform
def rectified(images, seeds, step):
    """No gradient where a value is negative."""
    return tf.nn.relu(images)


@pytest.mark.parametrize(
    "settings", [{"preprocess": tf.nn.relu, "regularizers": []}, {"regularizers": [rectified]}]
)
def test_a_loop_that_must_be_alive_ends_after_its_first_step_if_a_row_is_dead(settings):
    _, problem, _, given = scene(**settings)
    loop = Loop(problem)
    dead = {"images": tf.constant([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])}
    carry, history = loop.run(loop.begin(dead, given), given, 0, 5, alive=True)
    assert carry.done.numpy().tolist() == [1, 1] and np.isnan(history[1:]).all()
    assert carry.moved.numpy().tolist() == [True, False]
    carry, _ = loop.run(loop.begin(dead, given), given, 0, 5)
    assert carry.done.numpy().tolist() == [5, 5]
    carry, _ = loop.run(loop.begin({"images": tf.ones([2, 3])}, given), given, 0, 5, alive=True)
    assert carry.done.numpy().tolist() == [5, 5] and loop.traces == 1


def test_the_gradient_of_params_is_taken_through_what_makes_images_of_them():
    """The slope of a sigmoid on (0, 4) is 1 at its middle, 4 times 1/4."""
    _, problem, _, given = scene(regularizers=[], input_range=actmax.Sigmoid(0, 4))
    params = {"images": tf.zeros([2, 3])}
    value, slope = Loop(problem).value_and_gradient(params, given)
    np.testing.assert_allclose(value, 2 * WEIGHTS.T[[1, 0]].sum(axis=1))
    np.testing.assert_allclose(slope["images"], WEIGHTS.T[[1, 0]])


def test_an_infinite_gradient_is_named_though_the_bounds_would_swallow_it():
    """Projected on a box, an infinite step is a finite image: the gradient itself is looked at."""

    def endless(gradients):
        return gradients * np.float32(INF)

    maximizer, *_ = scene(gradients=[endless], input_range=(0, 1), optimizer=actmax.SGD(0.1))
    result = maximizer([0, 1], steps=1)
    assert result.status.tolist() == [actmax.Status.NON_FINITE] * 2
    assert "A gradient function made the gradient not finite" in result.messages[0]
    assert "endless" in result.messages[0]


def test_history_goes_on_with_nan_where_all_rows_have_failed_also_in_a_later_chunk():
    def score(output):
        return output[:, 0] + tf.where(output[:, 0] > 1.15, NAN, 0.0)

    result = actmax.maximize(
        lambda images: images, score, input_shape=(1,), input_range=actmax.Unbounded(),
        regularizers=[], initial_images=np.ones((1, 1)), steps=6, optimizer=actmax.SGD(0.1),
        callbacks=[lambda snapshot: None], callback_every=2,
    )  # fmt: skip
    seen = result.history["score"][:, 0]
    np.testing.assert_allclose(seen[:2], [1.0, 1.1], rtol=1e-6)
    assert seen.shape == (6,) and np.isnan(seen[2:]).all()
    assert result.steps.tolist() == [2]


def test_a_mask_goes_with_what_is_a_range_value_by_value():
    """Half of an image in the range and half of another make a third in the range."""
    start = np.full((1, 4, 4, 1), 0.25, np.float32)
    mask = np.zeros((4, 4))
    mask[:2] = 1
    for bound in (actmax.Box(0, 1), actmax.Unbounded()):
        result = actmax.maximize(
            lambda images: tf.reduce_mean(images, axis=(1, 2)), targets=[0], input_shape=(4, 4, 1),
            input_range=bound, regularizers=[], initial_images=start, mask=mask, steps=1,
            optimizer=actmax.SGD(0.1), parameterization=actmax.Pixels(),
        )  # fmt: skip
        assert (result.images[:, 2:] == 0.25).all() and (result.images[:, :2] > 0.25).all()


@dataclasses.dataclass(frozen=True)
class Torn(actmax.Parameterization):
    """Params as they are, until the first passes 1.15: then the last value is no number."""

    def init(self, shape, seed, dtype=tf.float32):
        return tf.zeros([seed.shape[0], *shape], dtype)

    def decode(self, params, shape):
        torn = tf.where(params[:, :1] > 1.15, tf.constant([[0.0, NAN]]), tf.zeros([1, 2]))
        return params + torn

    def encode(self, images):
        return images


def test_an_image_that_is_not_finite_is_noticed_where_the_model_does_not_look():
    result = actmax.maximize(
        lambda images: images, lambda output: output[:, 0], input_shape=(2,), steps=4,
        input_range=actmax.Unbounded(), regularizers=[], parameterization=Torn(), images=2,
        initial_images=np.array([[1.0, 1.0], [0.5, 1.0]]), optimizer=actmax.SGD(0.1),
    )  # fmt: skip
    assert result.status.tolist() == [actmax.Status.NON_FINITE, actmax.Status.OK]
    assert "made an image that was not finite at step 2" in result.messages[0]
    np.testing.assert_allclose(result.images, [[1.1, 1.0], [0.9, 1.0]], rtol=1e-6)
