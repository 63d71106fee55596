"""What each part of a step costs by itself: `python -m benchmarks.alone`.

If a part costs 1 % of a step, a run without it shows only noise. So each part has its own compiled loop: a
penalty with its gradient, a transform with its backward pass, a metric, the history, or an update with its
projection. The time of an empty loop with the same number of steps is subtracted. Shares are relative to a
full step of the case's model in the same rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import actmax
from benchmarks import baselines, environment, parts
from benchmarks.cases import MOBILENET, Case
from benchmarks.measure import interleaved, timed
from benchmarks.models import MODELS, Subject
from regularizers import Jitter

EMPTY = "empty loop"
STEP = "the whole step"
# For one image: four numbers per step, as with two penalties.
SERIES = 4
# The result of a part times this number is added to the images, so that no step can be left out.
LITTLE = 1e-9

Body = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def bodies(subject: Subject, case: Case) -> dict[str, Body]:
    """One step of every part, `(images, step) -> images`, so that no step can be left out."""
    found: dict[str, Body] = {EMPTY: lambda images, step: images}
    for name in case.penalties:
        found[name] = functools.partial(_penalty, parts.PENALTIES[name](subject))
    jitter = Jitter(case.jitter)
    seeds = tf.stack([tf.range(case.batch), tf.range(case.batch) + 7], axis=1)

    def there_and_back(images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            moved = jitter(images, seeds + step, step)
        back = tape.gradient(moved, images, output_gradients=images)
        return _used(images, moved[:, 0, 0, 0], back)

    found["jitter"] = there_and_back
    found["a metric"] = lambda images, step: _used(images, parts.contrast(images))
    return found


def _penalty(penalty: Any, images: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = penalty(images)
    return _used(images, value, tape.gradient(value, images))


def _used(images: tf.Tensor, value: tf.Tensor, gradient: tf.Tensor | None = None) -> tf.Tensor:
    """Images that depend slightly on everything that was computed. This cost is part of the measurement."""
    added = tf.reshape(value, [-1, 1, 1, 1])
    return images + LITTLE * (added if gradient is None else gradient + added)


def loop_of(body: Body) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A compiled loop of `steps` bodies."""

    def run(images: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        def once(step: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return step + 1, tf.ensure_shape(body(images, step), images.shape)

        start = (tf.constant(0), images)
        return tf.while_loop(lambda step, _: step < steps, once, start, parallel_iterations=1)[1]

    # TensorFlow warns of retracing by a function's code; a partial has none.
    return tf.function(functools.partial(run), autograph=False)


@tf.function(autograph=False)
def history(images: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
    """A loop that only writes the history."""
    rows = tf.TensorArray(images.dtype, size=steps, element_shape=[SERIES, images.shape[0]])
    values = tf.unstack(images[:, 0, 0, :1] + tf.range(SERIES, dtype=images.dtype), axis=1)

    def once(step: tf.Tensor, rows: Any) -> tuple[tf.Tensor, Any]:
        return step + 1, rows.write(step, tf.stack(values))

    start = (tf.constant(0), rows)
    return tf.while_loop(lambda step, _: step < steps, once, start, parallel_iterations=1)[
        1
    ].stack()


@tf.function(autograph=False)
def update(images: tf.Tensor, steps: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """A loop that only makes updates of Adam and projections."""
    adam = actmax.Adam(baselines.LEARNING_RATE)
    rate = tf.constant([baselines.LEARNING_RATE], images.dtype)

    def once(step: tf.Tensor, params: Any, state: Any) -> tuple[tf.Tensor, Any, Any]:
        params, state = adam.update(params, state, params, rate)
        return step + 1, {"x": tf.clip_by_value(params["x"], low, high)}, state

    start = (tf.constant(0), {"x": images}, adam.init({"x": images}))
    return tf.while_loop(lambda step, *_: step < steps, once, start, parallel_iterations=1)[1]["x"]


def measure(case: Case, rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds per step of every part and of the whole step, by round."""
    subject = MODELS[case.model](case.size)
    images, _ = baselines.start(subject, case)
    count = tf.constant(steps)
    runs: dict[str, Callable[[], Any]] = {
        name: functools.partial(loop_of(body), images, count)
        for name, body in bodies(subject, case).items()
    }
    runs["history"] = functools.partial(history, images, count)
    runs["adam and the box"] = functools.partial(update, images, count, subject.low, subject.high)
    samplers = {name: timed(lambda run=run: run().numpy(), steps) for name, run in runs.items()}
    maximizer = parts.maximizer(subject, case, None)
    targets = case.classes(subject.classes)
    samplers[STEP] = timed(lambda: maximizer(targets, steps=case.steps), case.steps)
    for sampler in samplers.values():
        sampler()
    return {name: values.tolist() for name, values in interleaved(samplers, rounds).items()}


def lines(seconds: dict[str, list[float]]) -> list[str]:
    """The table: milliseconds minus those of the empty loop, and the share of the whole step."""
    empty, whole = (np.asarray(seconds[name]) for name in (EMPTY, STEP))
    told = [f"{STEP:18} {1e3 * np.median(whole):9.3f} ms"]
    for name, values in seconds.items():
        if name not in (EMPTY, STEP):
            own = np.asarray(values) - empty
            told.append(
                f"{name:18} {1e3 * np.median(own):9.3f} ms  {np.median(own / whole):7.2%} of the step, "
                f"{np.min(own / whole):.2%} to {np.max(own / whole):.2%}"
            )
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alone", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument(
        "--steps", type=int, default=64, metavar="N", help="of the loops of one part"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args(argv)
    seconds = measure(MOBILENET, arguments.rounds, arguments.steps)
    print(f"{MOBILENET.name}\n" + "\n".join(lines(seconds)), flush=True)
    if arguments.out is not None:
        environment.save(
            arguments.out, {"case": dataclasses.asdict(MOBILENET), "seconds_per_step": seconds}
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
