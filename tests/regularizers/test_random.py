"""Draws: per row, from the seeds alone, equal everywhere, and distributed as they say."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regularizers import random

MASK = 0xFFFFFFFF
SEED = st.integers(-(2**31), 2**31 - 1)
DTYPES = [tf.float16, tf.bfloat16, tf.float32, tf.float64]


def seeds(n, stream=0):
    return random.fold_in(tf.fill([n, 2], stream), tf.range(n))


def mix(x):
    """The hash once more, in Python's integers."""
    x ^= x >> 16
    x = x * 0x7FEB352D & MASK
    x ^= x >> 15
    x = x * 0x846CA68B & MASK
    return x ^ x >> 16


def hashed(first, second, counter):
    return mix((second & MASK) + mix((first & MASK) ^ ((counter + 1) * 0x9E3779B9 & MASK)) & MASK)


@settings(max_examples=30, deadline=None)
@given(SEED, SEED)
def test_bits_are_those_of_the_hash(first, second):
    received = random.bits(tf.constant([[first, second]]), [2, 3])
    expected = [[hashed(first, second, 3 * row + column) for column in range(3)] for row in (0, 1)]
    assert received.numpy().tolist() == [expected]


# From the hash in Python's integers; they are not to change, or a kept seed would mean another image.
KNOWN = {
    (0, 0): ([2926543089, 71125540, 2547806519], [777724432, -2132379681]),
    (1, 2): ([3893269270, 3157731170, 2596316350], [1619627942, 1092762021]),
    (-5, 77777): ([2742396429, 2759663044, 1127454611], [-2053304912, -63956243]),
    (2**31 - 1, -(2**31)): ([2710456049, 2009694934, 2101373253], [486632555, -2043992225]),
}


@pytest.mark.parametrize("seed", KNOWN)
def test_known_seeds_draw_known_bits_and_fold_to_known_seeds(seed):
    drawn, folded = KNOWN[seed]
    assert random.bits(tf.constant([seed]), [3]).numpy().tolist() == [drawn]
    assert random.fold_in(tf.constant([seed]), 7).numpy().tolist() == [folded]
    assert [hashed(*seed, counter) for counter in range(3)] == drawn


@settings(max_examples=30, deadline=None)
@given(SEED, SEED, st.integers(0, 2**30))
def test_folding_is_the_hash_of_upper_counters(first, second, value):
    received = random.fold_in(tf.constant([[first, second]]), value)
    counter = 0x80000000 + 2 * value
    expected = [hashed(first, second, counter + k) - 2**31 for k in (0, 1)]
    assert received.dtype == tf.int32
    assert received.numpy().tolist() == [expected]


def test_mixing_is_a_bijection():
    values = np.unique([mix(value) for value in range(1 << 16)])
    assert len(values) == 1 << 16


DRAWS = {
    "bits": lambda own: random.bits(own, [5, 3]),
    "uniform": lambda own: random.uniform(own, [5, 3], -1.0, 2.0),
    "integers": lambda own: random.integers(own, [5, 3], -4, 4),
    "normal": lambda own: random.normal(own, [5, 3], 1.0, 2.0),
    "fold_in": lambda own: random.fold_in(own, 7),
    "scalars": random.uniform,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_rows_depend_on_their_own_seeds_alone(draw):
    own = seeds(6)
    together = draw(own).numpy()
    for order in ([5, 4, 3, 2, 1, 0], [2], [1, 1, 4]):
        np.testing.assert_array_equal(draw(tf.gather(own, order)), together[order])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_repeat_in_a_graph_of_unknown_n(draw):
    own = seeds(6)
    graph = tf.function(draw, input_signature=[tf.TensorSpec([None, 2], tf.int32)], autograph=False)
    np.testing.assert_allclose(graph(own), draw(own), rtol=1e-6, atol=1e-6)
    assert graph.get_concrete_function().structured_outputs.shape[0] is None
    assert graph(own).shape[1:] == draw(own).shape[1:]


@pytest.mark.parametrize("name", ["bits", "integers", "fold_in", "scalars"])
def test_draws_are_equal_bytes_under_xla(name):
    own = seeds(6)
    compiled = tf.function(DRAWS[name], jit_compile=True, autograph=False)
    np.testing.assert_array_equal(compiled(own), DRAWS[name](own))


@pytest.mark.parametrize("name", ["uniform", "normal"])
def test_draws_of_any_width_agree_under_xla(name):
    own = seeds(6)
    compiled = tf.function(DRAWS[name], jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(own), DRAWS[name](own), atol=2e-6)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_leave_and_ignore_the_global_seed(draw):
    tf.random.set_seed(1)
    first = draw(seeds(2)).numpy()
    after = tf.random.uniform([3]).numpy()
    tf.random.set_seed(1)
    np.testing.assert_array_equal(tf.random.uniform([3]), after)
    tf.random.set_seed(2)
    np.testing.assert_array_equal(draw(seeds(2)), first)


def test_shapes_may_be_tensors():
    received = random.normal(seeds(2), tf.constant([3, 5]))
    np.testing.assert_array_equal(received, random.normal(seeds(2), [3, 5]))
    graph = tf.function(
        random.normal,
        input_signature=[tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([2], tf.int32)],
        autograph=False,
    )
    np.testing.assert_allclose(graph(seeds(2), [3, 5]), received, rtol=1e-6)


def test_no_rows_and_no_values():
    assert random.normal(tf.zeros([0, 2], tf.int32), [3]).shape == [0, 3]
    assert random.normal(seeds(2), [0]).shape == [2, 0]
    assert random.normal(seeds(2)).shape == [2]


# Distributions


def test_uniform_draws_are_uniform():
    drawn = random.uniform(seeds(50), [400], -2.0, 3.0, tf.float64).numpy()
    assert drawn.min() >= -2
    assert drawn.max() < 3
    assert stats.kstest(drawn.ravel(), "uniform", (-2, 5)).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_integers_are_uniform_with_both_ends(count):
    drawn = random.integers(seeds(40), [500], -1, count - 2).numpy()
    values, counts = np.unique(drawn, return_counts=True)
    assert drawn.dtype == np.int32
    assert values.tolist() == list(range(-1, count - 1))
    assert count == 1 or stats.chisquare(counts).pvalue > 1e-3


def test_normal_draws_are_normal_and_finite():
    drawn = random.normal(seeds(50), [20, 20, 5], 1.0, 2.0, tf.float64).numpy()
    assert np.isfinite(drawn).all()
    assert stats.kstest((drawn.ravel() - 1) / 2, "norm").pvalue > 1e-3
    # The two halves come of the same pairs: cosine and sine, which do not correlate.
    first, second = drawn.reshape(50, 2, -1).swapaxes(0, 1).reshape(2, -1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)
    assert abs(np.corrcoef(first**2, second**2)[0, 1]) < 4 / np.sqrt(first.size)


@pytest.mark.parametrize("along", ["rows", "positions", "streams"])
def test_neighbours_do_not_correlate(along):
    if along == "rows":
        # Seeds that count up, without folding, are what a careless user gives.
        own = tf.stack([tf.zeros([3000], tf.int32), tf.range(3000)], axis=1)
        drawn = random.uniform(own, [2], dtype=tf.float64).numpy()
        pairs = drawn[:-1, 0], drawn[1:, 0]
    elif along == "positions":
        drawn = random.uniform(seeds(3), [1000], dtype=tf.float64).numpy()
        pairs = drawn[:, :-1].ravel(), drawn[:, 1:].ravel()
    else:
        own = [random.fold_in(seeds(3000), k) for k in (0, 1)]
        pairs = tuple(random.uniform(s, dtype=tf.float64).numpy() for s in own)
    assert abs(np.corrcoef(*pairs)[0, 1]) < 4 / np.sqrt(len(pairs[0]))
    counts, *_ = np.histogram2d(*pairs, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_every_bit_of_a_seed_changes_half_of_the_bits():
    base = np.array([12345, -67890], np.int32)
    original = random.bits(tf.constant([base]), [64]).numpy()
    for word in (0, 1):
        for bit in range(32):
            changed = base.copy().view(np.uint32)
            changed[word] ^= np.uint32(1 << bit)
            received = random.bits(tf.constant([changed.view(np.int32)]), [64]).numpy()
            flipped = (
                np.bitwise_count(received ^ original).mean()
                if hasattr(np, "bitwise_count")
                else np.mean([bin(int(v)).count("1") for v in (received ^ original).ravel()])
            )
            assert 14 < flipped < 18, (word, bit)


def test_zero_seeds_are_as_good_as_others():
    drawn = random.uniform(tf.zeros([1, 2], tf.int32), [4000], dtype=tf.float64).numpy()
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_every_dtype_is_finite_and_in_range(dtype):
    uniform = random.uniform(seeds(20), [100], -1.0, 1.0, dtype)
    normal = random.normal(seeds(20), [100], dtype=dtype)
    assert uniform.dtype == normal.dtype == dtype
    uniform, normal = (tf.cast(values, tf.float64).numpy() for values in (uniform, normal))
    assert abs(uniform).max() <= 1
    assert np.isfinite(normal).all()
    assert stats.kstest(normal.ravel(), "norm").pvalue > 1e-4


def test_python_numbers_keep_float64():
    low = 0.1
    assert random.uniform(seeds(5), [], low, low, tf.float64).numpy().tolist() == [low] * 5
    assert random.normal(seeds(5), [], low, 0.0, tf.float64).numpy().tolist() == [low] * 5
