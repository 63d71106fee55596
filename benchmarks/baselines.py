"""The baselines of our loop: two floors, and two loops that people write.

A floor does only what every method needs: the model's forward pass and the gradient with respect to
its input. The loops do our loop's work (one random shift, Adam, total variation, L2, the box) in the
plainest TensorFlow, without history, guards, per-image seeds or a status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from benchmarks.cases import EAGER, FLOOR, STEP, STRICT, Case
from benchmarks.models import Subject

TOTAL_VARIATION = 0.1
L2 = 0.1
LEARNING_RATE = 0.05  # relative to the width of the range, as in our loop

# A run does a number of steps. It returns the last scores `[N]` and the last gradient or images, on
# the host. A device works in order, so the last result comes after all others.
Run: TypeAlias = Callable[[int], tuple[np.ndarray, np.ndarray]]


def start(subject: Subject, case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """Start images `[N, H, W, C]` and targets `[N]`, the same for every baseline."""
    shape = [case.batch, *subject.model.input_shape[1:]]
    noise = np.random.default_rng(0).uniform(0.45, 0.55, shape)
    images = subject.low + (subject.high - subject.low) * noise
    return tf.constant(images, tf.float32), tf.constant(case.classes(subject.classes), tf.int32)


def forward_and_gradient_of(subject: Subject) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    def forward_and_gradient(images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            scores = tf.gather(subject.logits(images), targets, batch_dims=1)
        return scores, tape.gradient(scores, images)

    return forward_and_gradient


def bare_floor(subject: Subject, case: Case) -> Run:
    """The pass in one `tf.function`, open in the batch, called from Python once per step."""
    images, targets = start(subject, case)
    step = tf.function(
        forward_and_gradient_of(subject),
        input_signature=[
            tf.TensorSpec([None, *images.shape[1:]], images.dtype),
            tf.TensorSpec([None], targets.dtype),
        ],
        autograph=False,
    )

    def run(steps: int) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(steps):
            scores, gradient = step(images, targets)
        return scores.numpy(), gradient.numpy()

    return run


def strict_floor(subject: Subject, case: Case) -> Run:
    """The same pass inside a `tf.while_loop`: no Python between steps.

    Each pass starts from the images plus `rate` times the gradient. The rate is zero, but the graph
    does not know this. Otherwise all passes would be equal, and a compiler could run only one of them.
    This adds one multiplication and one addition per pixel.

    The pass is a function that the loop calls. Inside the loop's own graph, oneDNN's gradient of
    max pooling would be used only by chance (see `actmax.loop.ways`).
    """
    images, targets = start(subject, case)
    forward_and_gradient = tf.function(
        forward_and_gradient_of(subject),
        input_signature=[
            tf.TensorSpec([None, *images.shape[1:]], images.dtype),
            tf.TensorSpec([None], targets.dtype),
        ],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *images.shape[1:]], images.dtype),
            tf.TensorSpec([None], targets.dtype),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], images.dtype),
        ],
        autograph=False,
    )
    def loop(images: tf.Tensor, targets: tf.Tensor, count: tf.Tensor, rate: tf.Tensor) -> Any:
        def body(step: tf.Tensor, images: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
            scores, gradient = forward_and_gradient(images, targets)
            return step + 1, images + rate * gradient, scores

        first = (tf.constant(0), images, tf.zeros_like(targets, images.dtype))
        return tf.while_loop(
            lambda step, images, scores: step < count, body, first, parallel_iterations=1
        )

    def run(steps: int) -> tuple[np.ndarray, np.ndarray]:
        _, moved, scores = loop(images, targets, tf.constant(steps), tf.constant(0.0))
        return scores.numpy(), moved.numpy()

    return run


def _plain_loop(subject: Subject, case: Case, compile_step: Callable[[Any], Any]) -> Run:
    first, targets = start(subject, case)
    images = tf.Variable(first)
    optimizer = keras.optimizers.Adam(LEARNING_RATE * (subject.high - subject.low))
    optimizer.build([images])
    draws = np.random.default_rng(0)

    def step(shift: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            shifted = tf.roll(images, shift, axis=[1, 2])
            scores = tf.gather(subject.logits(shifted), targets, batch_dims=1)
            values = float(np.prod(first.shape[1:]))
            penalty = TOTAL_VARIATION * tf.image.total_variation(images) / values
            penalty += L2 * tf.reduce_mean(tf.square(images), axis=[1, 2, 3])
            loss = tf.reduce_sum(penalty - scores)
        optimizer.apply([tape.gradient(loss, images)], [images])
        images.assign(tf.clip_by_value(images, subject.low, subject.high))
        return scores

    compiled = compile_step(step)

    def run(steps: int) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(steps):
            shift = draws.integers(-case.jitter, case.jitter + 1, 2)
            scores = compiled(tf.constant(shift, tf.int32))
        return scores.numpy(), images.numpy()

    return run


def eager_loop(subject: Subject, case: Case) -> Run:
    """An eager tape: one Python call per operation."""
    return _plain_loop(subject, case, lambda step: step)


def compiled_step(subject: Subject, case: Case) -> Run:
    """The same step in a `tf.function`, called from Python once per step."""
    return _plain_loop(subject, case, lambda step: tf.function(step, autograph=False))


BUILDERS: dict[str, Callable[[Subject, Case], Run]] = {
    FLOOR: bare_floor,
    STRICT: strict_floor,
    STEP: compiled_step,
    EAGER: eager_loop,
}
