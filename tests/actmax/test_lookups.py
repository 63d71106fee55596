"""Letters as whole numbers that a model looks up, and as rows laid end to end, against sums by hand."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import actmax
from actmax import models, testing

K = keras.layers
LENGTH, LETTERS = 6, "ACGT"
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(4, 3)).astype("float32")
PULL = RNG.normal(size=(LENGTH, 3)).astype("float32")
# What each letter is worth at each place; the best sequence takes the best of every place.
WORTH = PULL @ TABLE.T
BEST = WORTH.max(1).sum()
WORD = "".join(LETTERS[k] for k in WORTH.argmax(1))


def summed(inputs, table=TABLE, shift=0, **settings):
    """A model whose score is linear in what it looks up."""
    embedding = K.Embedding(len(table), 3, name="table", **settings)
    numbers = inputs + shift if shift else inputs
    outputs = K.Dense(1, use_bias=False, name="sum")(K.Flatten()(embedding(numbers)))
    model = keras.Model(inputs, outputs)
    embedding.set_weights([table])
    model.get_layer("sum").set_weights([PULL.reshape(-1, 1)])
    return model


@pytest.fixture(scope="module")
def whole():
    return summed(keras.Input((LENGTH,), dtype="int32"))


def run(model, letters=LETTERS, **given):
    rows = letters if isinstance(letters, (dict, actmax.Simplex)) else actmax.OneHot(letters)
    return actmax.maximize(model, targets=[0], input_range=rows, **{"steps": 20} | given)


@pytest.mark.parametrize("dtype", ["int64", "float32"])
def test_the_best_numbers_of_a_table_are_found_and_scored_by_the_model(dtype):
    model = summed(keras.Input((LENGTH,), dtype=dtype))
    result = run(model)
    assert result.images.shape == (1, LENGTH, 4) and np.all(result.images.sum(-1) == 1)
    assert result.sequences() == (WORD,)
    np.testing.assert_allclose(result.scores, BEST, rtol=1e-6)
    by_hand = np.asarray(model(result.images.argmax(-1)))[:, 0]
    np.testing.assert_allclose(result.scores, by_hand, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_table_is_looked_up_as_keras_does(mode):
    model = summed(keras.Input((LENGTH,), dtype="int32"))
    try:
        model.quantize(mode, filters=lambda layer: layer.name == "table")
    except TypeError:  # Keras before 3.12 has no filters
        model.quantize(mode)
    result = run(model)
    numbers = np.array(list(itertools.product(range(4), repeat=LENGTH)), "int32")
    every = model.predict(numbers, batch_size=len(numbers), verbose=0)[:, 0]
    np.testing.assert_allclose(result.scores, every.max(), rtol=1e-5)
    by_hand = np.asarray(model(result.images.argmax(-1)))[:, 0]
    np.testing.assert_allclose(result.scores, by_hand, rtol=1e-5)
    with pytest.raises(ValueError, match="at most 4 letters"):
        run(model, 9, steps=1)


def test_numbers_that_are_moved_before_the_lookup():
    padded = np.concatenate([np.full((2, 3), 9.0, "float32"), TABLE])
    result = run(summed(keras.Input((LENGTH,), dtype="int32"), padded, shift=2))
    assert result.sequences() == (WORD,)


def test_the_gradient_is_that_of_the_product_with_the_table(whole):
    taps = models.Taps(whole, [":logits"], {"images": models.Lettered(2, 4, "int32")})
    rows = tf.constant(RNG.dirichlet(np.ones(4), (2, LENGTH)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        scores = taps({"images": rows})[":logits"]
    np.testing.assert_allclose(scores[:, 0], (rows * WORTH).numpy().sum((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(scores, rows), np.stack([WORTH] * 2), rtol=1e-5)


def test_a_matrix_of_probabilities_is_scored_by_the_expected_row(whole):
    result = run(whole, actmax.Simplex(LETTERS), steps=30)
    np.testing.assert_allclose(result.scores, (result.images[0] * WORTH).sum(), rtol=1e-5)


def test_a_mask_of_what_is_padding_follows_the_letters():
    inputs = keras.Input((LENGTH,))
    hidden = K.GRU(4)(K.Embedding(4, 3, mask_zero=True)(inputs))
    model = keras.Model(inputs, K.Dense(1)(hidden))
    result = run(model, "-CGT", steps=6)
    by_hand = np.asarray(model(result.images.argmax(-1)))[:, 0]
    np.testing.assert_allclose(result.scores, by_hand, atol=1e-6)
    everything = np.array(list(itertools.product(range(4), repeat=3)))
    everything = np.concatenate([everything, np.zeros((64, 3), int)], 1)
    taps = models.Taps(model, [":logits"], {"images": models.Lettered(2, 4, "float32")})
    rows = np.eye(4, dtype="float32")[everything]
    found = np.asarray(taps({"images": tf.constant(rows)})[":logits"])
    np.testing.assert_allclose(found, np.asarray(model(everything)), atol=1e-6)


def test_letters_beside_numbers_and_along_another_axis(whole):
    number = keras.Input((2,), name="number")
    letters = keras.Input((LENGTH,), dtype="int32", name="dna")
    both = K.Dense(1, use_bias=False)(number)
    model = keras.Model([letters, number], K.Add()([summed(letters)(letters), both]))
    model.layers[-2].set_weights([np.array([[0.01], [-0.02]], "float32")])
    ranges = {"dna": actmax.OneHot(LETTERS, axis=1), "number": (0, 1000)}
    result = actmax.maximize(model, targets=[0], input_range=ranges, steps=40)
    assert result.images["dna"].shape == (1, 4, LENGTH)
    assert result.sequences() == (WORD,)
    np.testing.assert_allclose(result.images["number"], [[1000, 0]])  # in units of its range
    np.testing.assert_allclose(result.scores, BEST + 10, rtol=1e-5)


@pytest.mark.parametrize("compute", ["bfloat16", "mixed", "float64"])
def test_other_types(whole, compute):
    result = run(whole, precision=compute)
    np.testing.assert_allclose(result.scores, BEST, rtol=0.02)


def test_starts_of_numbers_and_strings_with_a_mask(whole):
    mask = np.r_[np.zeros(3), np.ones(3)]
    expected = "GTA" + WORD[3:]
    for start in ([[2, 3, 0, 0, 0, 0]], ["GTANNN"]):
        assert run(whole, initial_images=start, mask=mask).sequences() == (expected,)
    open_length = keras.Sequential([keras.Input((None,), dtype="int32"), K.Embedding(4, 3),
                                    K.GlobalMaxPooling1D(), K.Dense(1)])  # fmt: skip
    assert len(run(open_length, initial_images=["GTANNNAA"], steps=2).sequences()[0]) == 8


def test_rows_laid_end_to_end_are_letters_of_every_place(tmp_path):
    model = keras.Sequential([keras.Input((LENGTH * 4,)), K.Dense(1, use_bias=False)])
    model.set_weights([WORTH.reshape(-1, 1)])
    mask = np.r_[0.0, np.ones(LENGTH - 1)]
    result = run(model, mask=mask, initial_images=["G" + "N" * (LENGTH - 1)])
    assert result.images.shape == (1, LENGTH * 4)
    assert result.sequences() == ("G" + WORD[1:],)
    np.testing.assert_allclose(result.scores, np.asarray(model(result.images))[:, 0], rtol=1e-6)
    assert actmax.Result.load(result.save(tmp_path)).sequences() == result.sequences()
    again = run(model, initial_images=result.images, steps=0)
    assert again.sequences() == result.sequences()
    assert testing.check_model(model, actmax.OneHot(LETTERS)).ok


def test_check_takes_letters(whole):
    report = testing.check_model(whole, actmax.OneHot(LETTERS))
    assert report.ok and "letters have a gradient" in str(report)


@pytest.mark.parametrize(
    ("make", "letters", "text"),
    [
        (summed, 9, "at most 4 letters, one for each row of the table"),
        (
            lambda i: keras.Model(i, K.Dense(1)(keras.ops.cast(i, "float32"))),
            4,
            "MatMul at .* reads",
        ),
        (summed, actmax.Simplex(), "an alphabet of 'images'"),
    ],
    ids=["letters without a row", "read as numbers", "no alphabet"],
)
def test_what_is_refused_and_why(make, letters, text):
    model = make(keras.Input((LENGTH,), dtype="int32"))
    with pytest.raises(ValueError, match=text):
        run(model, letters, steps=2)


def test_catalogs_draw_letters_and_go_on(tmp_path, whole):
    pytest.importorskip("pyarrow")
    call = {"out": tmp_path / "made", "input_range": actmax.OneHot(LETTERS), "steps": 4}
    made = actmax.catalog(whole, seeds=[0, 1], **call)
    rows = made.select()
    assert made.images(rows).shape == (2, LENGTH, 4)
    assert made.grid(rows).dtype == np.uint8
    page = made.report(tmp_path / "pages").parent
    assert "data:image/png" in next((page / "pages").iterdir()).read_text("utf-8")


def test_numbers_that_are_looked_up_are_told_to_be_letters():
    """An Embedding with an input of floating-point numbers casts them, which cuts the gradient."""
    given = keras.Input((6,))
    inner = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(8, 3)(given))
    network = keras.Model(given, keras.layers.Dense(2)(inner))
    with pytest.raises(ValueError, match=r"of type Cast(?s:.*)input_range=actmax\.OneHot"):
        actmax.maximize(network, targets=[0], input_range=(0, 7), regularizers=[])
    result = actmax.maximize(network, targets=[0], input_range=actmax.OneHot("abcdefgh"), steps=2)
    assert result.status[0] == actmax.Status.OK
