"""Letters: sets of rows, whole runs against optima that are known, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import testing
from regularizers import Edits, Entropy, Jitter

DNA = actmax.OneHot("ACGT")
LENGTH = 12
WEIGHTS = np.random.default_rng(0).normal(size=(LENGTH, 4))
BEST = WEIGHTS.max(1).sum()
PARTLY = "ACGTACGTACGT"


def matrix(values):
    """A score that is linear in the letters. `[N, L, A] -> [N, 1]`."""
    return tf.reduce_sum(values * tf.constant(WEIGHTS, values.dtype), [1, 2])[:, None]


def run(input_range=DNA, model=matrix, targets=(0,), shape=(LENGTH, 4), **given):
    given = {"steps": 40, "input_shape": shape} | given
    return actmax.maximize(model, targets=list(targets), input_range=input_range, **given)


def are_letters(images, axis=-1):
    return set(np.unique(images)) <= {0.0, 1.0} and np.all(images.sum(axis) == 1)


@pytest.mark.parametrize(
    "part",
    [
        DNA,
        actmax.OneHot("ACGT", straight_through=False, temperature=2.0),
        actmax.Simplex("ACGT", temperature=0.3),
    ],
    ids=["passed on", "relaxed", "simplex"],
)
def test_the_laws(part):
    testing.check_constraint(part, shape=(5, 4))


def test_the_checker_finds_what_is_wrong_with_discrete_sets():
    class Halves(actmax.OneHot):
        def finish(self, images):
            return 0.5 * super().finish(images)

    class Other(actmax.OneHot):
        def relax(self, images):
            return 3.0 * images

        def apply(self, images):
            return self.finish(images) + (images - tf.stop_gradient(images))

    for wrong in (Halves("ACGT"), Other("ACGT")):
        with pytest.raises(testing.ContractError):
            testing.check_constraint(wrong, shape=(5, 4))


@pytest.mark.parametrize("temperature", [None, 0.5])
def test_gradient_at_the_sequence_is_passed_on_by_the_formula(temperature):
    raw = np.random.default_rng(1).normal(size=(3, 5, 4))
    up = np.random.default_rng(2).normal(size=(3, 5, 4))
    part = actmax.OneHot("ACGT", temperature=temperature)
    with tf.GradientTape() as tape:
        values = tf.constant(raw)
        tape.watch(values)
        images = part.apply(values)
    assert np.array_equal(images, np.eye(4)[raw.argmax(-1)])
    expected = up
    if temperature is not None:
        p = np.exp(raw / temperature)
        p /= p.sum(-1, keepdims=True)
        expected = p * (up - (p * up).sum(-1, keepdims=True)) / temperature
    found = tape.gradient(images, values, output_gradients=tf.constant(up))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    "part",
    [
        DNA,
        actmax.OneHot("ACGT", temperature=1.0),
        actmax.OneHot("ACGT", straight_through=False, temperature=1.0),
    ],
    ids=["passed on", "softmax", "relaxed"],
)
def test_the_best_sequence_of_a_linear_score(part):
    result = run(part, targets=[0, 0])
    assert are_letters(result.images)
    np.testing.assert_allclose(result.scores, BEST, rtol=1e-6)
    best = "".join("ACGT"[letter] for letter in WEIGHTS.argmax(1))
    assert result.sequences() == (best, best)


def test_sequences_of_another_class_are_not_called_pictures():
    inputs = keras.Input((3, 4))
    head = keras.layers.Dense(2, kernel_initializer="zeros", activation="softmax")
    model = keras.Model(inputs, head(keras.layers.Flatten()(inputs)))
    weights = np.zeros((12, 2))
    weights[0, 0] = 1.0  # an "A" at the start speaks for class 0, whose bias stays far below
    head.set_weights([weights, np.array([0.0, 9.0])])
    with pytest.warns(actmax.NamedOtherwiseWarning, match="inputs that the model") as told:
        result = run(model=model, shape=(3, 4), steps=3)
    said = str(told[0].message) + result.messages[0]
    assert "does not see '0' in this input: it says '1'" in said
    assert "picture" not in said and "for images also natural=" in said


def test_a_matrix_of_probabilities_reaches_the_same_and_sums_to_one():
    result = run(actmax.Simplex(), steps=150)
    np.testing.assert_allclose(result.images.sum(-1), 1, atol=1e-6)
    assert result.scores[0] > BEST - 0.15
    with pytest.raises(ValueError, match="has no one sequence"):
        result.sequences()


def test_scores_are_those_of_the_letters_and_the_best_step_is_returned():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((LENGTH, 4)), keras.layers.Conv1D(6, 5, activation="relu"),
         keras.layers.Flatten(), keras.layers.Dense(3)]
    )  # fmt: skip
    frames = actmax.Frames()
    maximizer = actmax.Maximizer(model, input_range=DNA)
    result = maximizer([0, 1, 2], steps=12, callbacks=[frames], callback_every=1)
    assert are_letters(result.images)
    by_hand = np.asarray(model(result.images))[[0, 1, 2], [0, 1, 2]]
    np.testing.assert_allclose(result.scores, by_hand, atol=1e-6)
    np.testing.assert_allclose(result.scores, result.history["score"].max(0), atol=1e-6)
    assert result.config["call"]["keep"] == "highest"
    last = maximizer([0, 1, 2], steps=12, keep="last")
    assert np.all(last.scores <= result.scores) and maximizer.traces == 1
    # Every row is what it is alone, and the same call the same bytes.
    alone = maximizer([1], steps=12)
    np.testing.assert_allclose(alone.scores, result.scores[1:2], atol=1e-5)
    assert maximizer([0, 1, 2], steps=12).images.tobytes() == result.images.tobytes()


@pytest.mark.parametrize("axis", [1, 2])
def test_letters_along_any_axis(axis):
    weights = WEIGHTS.T[:, :, None] if axis == 1 else WEIGHTS[:, :, None]
    part = actmax.OneHot("ACGT", axis=axis)
    mask = np.zeros((LENGTH, 1))
    mask[3:7] = 1
    start = np.zeros((1, *weights.shape))
    result = run(
        part, lambda x: tf.reduce_sum(x * tf.constant(weights, x.dtype), [1, 2, 3])[:, None],
        shape=weights.shape, mask=mask, initial_images=start,
    )  # fmt: skip
    np.testing.assert_allclose(result.scores, WEIGHTS[3:7].max(1).sum(), rtol=1e-6)
    assert result.sequences()[0].strip("-") == "".join("ACGT"[n] for n in WEIGHTS[3:7].argmax(1))


def test_flanks_stay_and_open_letters_are_found():
    mask = np.zeros(LENGTH)
    mask[4:9] = 1
    result = run(mask=mask, initial_images=["ACG-NNTTNACG"])
    read = result.sequences()[0]
    assert read[:4] == "ACG-" and read[9:] == "ACG"
    assert read[4:9] == "".join("ACGT"[n] for n in WEIGHTS[4:9].argmax(1))
    # What is kept may be written as the network wants it, such as by a value that it masks.
    start = DNA.encode(["ACG-NNTTNACG"])
    start[:, 10:] = -42.0
    kept = run(mask=mask, initial_images=start)
    assert np.all(kept.images[:, 10:] == -42.0) and are_letters(kept.images[:, 4:9])


def test_a_price_per_edit_buys_the_edits_that_are_worth_it():
    original = DNA.encode([PARTLY])
    gain = WEIGHTS.max(1) - (WEIGHTS * original[0]).sum(1)
    for price in (0.6, 1.5):
        result = run(
            initial_images=[PARTLY], regularizers=[Edits(price, original=original)], steps=80
        )
        edits = (result.images != original).any(-1).sum()
        assert edits == (gain > price).sum()
        right = (WEIGHTS * original[0]).sum() + gain[gain > price].sum()
        np.testing.assert_allclose(result.scores, right, rtol=1e-5)
        assert result.history["edits"].max() <= LENGTH


def test_no_step_gives_the_sequence_that_was_given():
    for part in (DNA, actmax.OneHot("ACGT", straight_through=False, temperature=1.0)):
        assert run(part, initial_images=[PARTLY], steps=0).sequences() == (PARTLY,)


def test_entropy_of_rows():
    p = np.array([[[0.7, 0.2, 0.1, 0.0], [0.25] * 4]])
    by_hand = np.mean([-(0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)), np.log(4)])
    np.testing.assert_allclose(Entropy()(tf.constant(p)), [by_hand / np.log(4)])
    with tf.GradientTape() as tape:
        values = tf.constant(np.eye(4)[None])
        tape.watch(values)
        total = tf.reduce_sum(Entropy()(values))
    assert np.all(np.isfinite(tape.gradient(total, values)))
    made = run(actmax.Simplex(), regularizers=[Entropy(-50.0)], steps=60)
    assert made.images.max() < 0.5  # drawn away from letters


def test_edits_refuse_another_shape_and_compare_by_value():
    one = Edits(original=np.eye(4))
    assert one == Edits(original=np.eye(4)) and hash(one) == hash(Edits(original=np.eye(4)))
    assert one != Edits(original=np.eye(4)[::-1])
    with pytest.raises(ValueError, match="of the shape of one input"):
        one(tf.zeros([2, 5, 4]))


def test_sweeps_and_checkpoints(tmp_path):
    maximizer = actmax.Maximizer(matrix, input_range=DNA, input_shape=(LENGTH, 4))
    swept = maximizer.sweep([0], seeds=[0, 1, 2], steps=8, batch_size=2)
    assert are_letters(swept.result.images)
    whole = maximizer([0], steps=8)

    class Cut(actmax.Callback):
        def on_step(self, snapshot):
            if snapshot.step == 4:
                raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        maximizer([0], steps=8, checkpoint=tmp_path, callback_every=2, callbacks=[Cut()])
    again = maximizer([0], steps=8, checkpoint=tmp_path, callback_every=2)
    assert again.images.tobytes() == whole.images.tobytes()
    assert actmax.Result.load(whole.save(tmp_path / "saved")).sequences() == whole.sequences()


def test_words_and_numbers_of_letters():
    words = actmax.OneHot(["the", "cat", "sat"])
    assert words.read(words.encode([["cat", "sat"]])) == ("cat sat",)
    assert actmax.OneHot(3).read(np.eye(3)[[[2, 0]]]) == ("2 0",)
    assert DNA.read(np.array([[[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]])) == ("A-",)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: actmax.OneHot("AAC"), "'A' twice"),
        (lambda: actmax.OneHot("A"), "two or more letters"),
        (lambda: actmax.OneHot(2.5), "an alphabet"),
        (lambda: actmax.OneHot("ACGT", axis=0), "counts the inputs"),
        (lambda: actmax.OneHot("ACGT", temperature=0.0), "temperature to be positive"),
        (lambda: actmax.OneHot("ACGT", straight_through=False), "a temperature of the relaxation"),
        (lambda: run(actmax.OneHot("ACG")), "4 letters, the size of axis -1"),
        (lambda: run(actmax.OneHot("ACGT", axis=3)), "an axis of letters"),
        (lambda: run(initial_images=["ACGX" * 3]), "'X' at position 3"),
        (lambda: run(initial_images=["ACG", "AC"]), "one length"),
        (lambda: run(initial_images=np.full((1, LENGTH, 4), 0.25)), "exactly one 1"),
        (lambda: run(mask=np.full(LENGTH, 0.5), initial_images=[PARTLY]), "a mask of 0 and 1"),
        (lambda: run(mask=np.ones((LENGTH, 4)), initial_images=[PARTLY]), "without the axis of letters"),
        (lambda: run(keep="highest", regularizers=[Jitter(1)]), "letters without transforms"),
        (lambda: actmax.maximize(matrix, targets=0, input_range=(0, 1), input_shape=(5, 4), keep="highest"),
         "letters without transforms"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(call, text):
    with pytest.raises((ValueError, TypeError), match=text):
        call()


def test_a_box_on_rows_that_may_be_letters_says_so():
    settings = {"targets": [0], "input_shape": (LENGTH, 4), "steps": 2}
    (told,) = actmax.maximize(matrix, input_range=(0, 1), **settings).messages
    assert "a box gives no sequence" in told and "OneHot(alphabet), of 4 letters" in told
    for meant in (actmax.Box(0, 1), (-1, 1), DNA):
        assert "letters" not in actmax.maximize(matrix, input_range=meant, **settings).messages[0]


def test_entropy_wants_two_letters():
    np.testing.assert_allclose(Entropy()([[[0.25] * 4]]), 1.0, rtol=1e-6)
    with pytest.raises(ValueError, match="two or more letters"):
        Entropy()(np.ones([2, 5, 1], np.float32))
