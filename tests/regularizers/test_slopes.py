"""A gradient that is written out is the one that is taken, wherever the function stands."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from regularizers.slopes import custom_gradient

VALUES = tf.constant([1.0, 2.0, 3.0])


@custom_gradient
def cube(values):
    """Cubes, with a gradient that no derivation gives: 5 times the upstream."""
    return values**3, lambda upstream: 5.0 * upstream


def inside(values):
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(cube(values))
    return tape.gradient(total, values)


def around(function):
    def run(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(function(values))
        return tape.gradient(total, values)

    return run


def loop(values):
    return tf.while_loop(lambda n, _: n < 2, lambda n, v: (n + 1, cube(v)), (0, values))[1]


def branch(values):
    return tf.cond(tf.reduce_sum(values) > 0, lambda: cube(values), lambda: values)


@pytest.mark.parametrize(
    ("run", "slope"),
    [
        (inside, 5.0),
        (tf.function(inside), 5.0),
        (tf.function(inside, jit_compile=True), 5.0),
        (around(tf.function(cube)), 5.0),
        (around(tf.function(loop)), 25.0),
        (around(tf.function(branch)), 5.0),
        (tf.function(around(tf.function(loop))), 25.0),
        (around(lambda values: tf.map_fn(cube, values)), 5.0),
        (tf.function(around(lambda values: tf.map_fn(cube, values))), 5.0),
        (tf.function(lambda values: tf.gradients(cube(values), values)[0]), 5.0),
    ],
)
def test_the_gradient_is_the_one_that_was_written(run, slope):
    np.testing.assert_array_equal(run(VALUES), np.full(3, slope, np.float32))


def test_values_are_the_functions_own():
    np.testing.assert_array_equal(tf.function(cube)(VALUES), VALUES**3)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_gradient_may_be_differentiated_as_tensorflows(compiled):
    def square(values):
        return values**2, lambda upstream: 2.0 * values * upstream

    def second(function):
        def run(values):
            with tf.GradientTape() as outer:
                outer.watch(values)
                with tf.GradientTape() as inner:
                    inner.watch(values)
                    total = tf.reduce_sum(function(values) * values)
                slope = inner.gradient(total, values)
            return outer.gradient(slope, values)

        return (tf.function(run) if compiled else run)(VALUES)

    ours, theirs = second(custom_gradient(square)), second(tf.custom_gradient(square))
    np.testing.assert_allclose(ours, 6.0 * VALUES)
    np.testing.assert_array_equal(ours, theirs)


def test_several_tensors_have_a_gradient_each():
    @custom_gradient
    def product(left, right):
        return left * right, lambda upstream: (upstream * right, 7.0 * upstream)

    @tf.function
    def run(left, right):
        with tf.GradientTape() as tape:
            tape.watch([left, right])
            total = tf.reduce_sum(product(left, right))
        return tape.gradient(total, [left, right])

    left, right = run(VALUES, 2.0 * VALUES)
    np.testing.assert_array_equal(left, 2.0 * VALUES)
    np.testing.assert_array_equal(right, np.full(3, 7.0))


def test_a_graph_that_nobody_holds_is_freed():
    made = tf.function(lambda values: 2.0 * cube(values)).get_concrete_function(tf.TensorSpec([3]))
    kept = weakref.ref(made.graph)
    del made
    gc.collect()
    assert kept() is None
