"""Letters: actmax's default beside Fast SeqProp, straight-through, a relaxation and simulated annealing.

    python -m benchmarks.letters                                          # a network made here
    python -m benchmarks.letters --network spliceai=.../spliceai1.h5
    python -m benchmarks.letters --network mhcnuggets=.../HLA-A02:01_BA.h5
    python -m benchmarks.letters --network promid=.../models/model_pos

The files are of the packages spliceai 1.3.1, mhcnuggets 2.4.1 and promid 1.1 on PyPI: unpack them, they need
no installation. Scores are before the softmax or sigmoid, of strings, by the model called once more. All
methods have the same number of forward and backward passes; annealing has as many forward passes. For every
method two sequences are scored: the one that it ends with, and the best that it has looked at.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import actmax

Score = Callable[[tf.Tensor], tf.Tensor]  # [N, L, A] -> [N]
Found = tuple[np.ndarray, np.ndarray]  # letters at the end and best letters, [N, L] each


# Networks: a score of one-hot letters, and the shape of one sequence.


def motif() -> tuple[Score, tuple[int, int]]:
    """A hand-made network: the mean of the squared best matches of three motifs."""
    rng = np.random.default_rng(0)
    kernels = tf.constant(rng.normal(size=(9, 4, 12)), tf.float32)

    def score(letters: tf.Tensor) -> tf.Tensor:
        found = tf.reduce_max(tf.nn.conv1d(letters, kernels, 1, "VALID"), 1)
        return tf.reduce_mean(found - 0.02 * found * tf.roll(found, 1, 1), 1)

    return score, (60, 4)


def spliceai(file: Path, window: int = 101) -> tuple[Score, tuple[int, int]]:
    """Log odds of an acceptor in the middle, with 5,000 unknown letters on each side."""
    import keras

    model = keras.models.load_model(file, compile=False)
    last = model.layers[-1]
    kernel, bias = (tf.constant(value) for value in last.get_weights())
    body = keras.Model(model.input, last.input)

    def score(letters: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(letters, [[0, 0], [5000, 5000], [0, 0]])
        logits = body(padded)[:, window // 2] @ kernel[0] + bias
        return logits[:, 1] - tf.reduce_logsumexp(tf.gather(logits, [0, 2], axis=1), 1)

    return score, (window, 4)


def mhcnuggets(file: Path, length: int = 9) -> tuple[Score, tuple[int, int]]:
    """Binding of a peptide, before the sigmoid. The file has only weights, so the LSTM is defined here."""
    import h5py

    with h5py.File(file) as stored:
        named = {name: stored[f"{name}/{name}"] for name in ("lstm_1", "dense_1", "dense_2")}
        kernel, recurrent, bias = (
            named["lstm_1"][f"{part}:0"][()] for part in ("kernel", "recurrent_kernel", "bias")
        )
        dense = [
            (named[name]["kernel:0"][()], named[name]["bias:0"][()])
            for name in ("dense_1", "dense_2")
        ]

    def score(letters: tf.Tensor) -> tf.Tensor:
        soft = letters * (0.9 - 0.1 / 20) + 0.1 / 20  # as the package codes a letter
        hidden = cell = tf.zeros([tf.shape(letters)[0], 64])
        for place in range(length):
            gates = soft[:, place] @ kernel + hidden @ recurrent + bias
            into, forget, new, out = tf.split(gates, 4, 1)
            # The hard sigmoid of Keras 2.
            into, forget, out = (tf.clip_by_value(0.2 * g + 0.5, 0, 1) for g in (into, forget, out))
            cell = forget * cell + into * tf.tanh(new)
            hidden = out * tf.tanh(cell)
        (first, shift), (second, end) = dense
        return (tf.tanh(hidden @ first + shift) @ second + end)[:, 0]

    return score, (length, 21)


def promid(folder: Path) -> tuple[Score, tuple[int, int]]:
    """Log odds of a promoter: a graph of TensorFlow 1."""
    one = tf.compat.v1
    graph = tf.Graph()
    with one.Session(graph=graph) as session:
        one.saved_model.load(session, ["serve"], str(folder))
        logits = graph.get_tensor_by_name("output_prom:0").op.inputs[0].op.inputs[0].name
        frozen = one.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), ["output_prom"]
        )

    def outputs(letters: tf.Tensor) -> tf.Tensor:
        given = {"input_prom:0": letters, "kr:0": 1.0, "in_training_mode:0": tf.constant(False)}
        (found,) = tf.graph_util.import_graph_def(frozen, given, [logits])
        return found

    called = one.wrap_function(outputs, [tf.TensorSpec([None, 1001, 4], tf.float32)])
    return lambda letters: called(letters)[:, 0] - called(letters)[:, 1], (1001, 4)


NETWORKS = {"spliceai": spliceai, "mhcnuggets": mhcnuggets, "promid": promid}


# Methods: letters [N, L] of N seeds.


def ours(score: Score, shape: tuple[int, int], seeds: list[int], steps: int) -> Found:
    """`actmax.OneHot` with its default optimizer."""
    maximizer = actmax.Maximizer(
        lambda letters: score(letters)[:, None],
        input_range=actmax.OneHot(shape[1]),
        input_shape=shape,
    )
    best = maximizer([0] * len(seeds), steps=steps, seed=seeds).images.argmax(-1)
    return best, best


def ascent(
    score: Score,
    shape: tuple[int, int],
    seeds: list[int],
    steps: int,
    *,
    look: Callable[..., tf.Tensor],
    first: float,
    rate: float,
    extra: bool = False,
) -> Found:
    """Adam on logits. `look(logits, scale, shift, draws)` makes the network's input from them.

    The letters at the end are the largest logits. Adam has the settings of Keras: 0.9, 0.999, 1e-7.
    """
    length, size = shape
    noise = np.stack([np.random.default_rng(seed).uniform(-first, first, shape) for seed in seeds])
    values = [
        tf.constant(noise, tf.float32),
        tf.ones([len(seeds), 1, size]),
        tf.zeros([len(seeds), 1, size]),
    ]
    moved = 3 if extra else 1
    means, squares = ([tf.zeros_like(v) for v in values] for _ in range(2))
    draw = np.random.default_rng(seeds[0])
    best, top = np.zeros([len(seeds), length], np.int64), np.full(len(seeds), -np.inf)

    @tf.function
    def gradient(values: list[tf.Tensor], draws: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            seen = look(*values, draws)
            scores = score(seen)
            total = tf.reduce_sum(scores)
        return scores, seen, tape.gradient(total, values[:moved])

    for step in range(1, steps + 1):
        draws = -np.log(-np.log(draw.uniform(1e-7, 1 - 1e-7, [len(seeds), *shape])))
        scores, seen, slopes = gradient(values, tf.constant(draws, tf.float32))
        letters = seen.numpy()
        hard = np.all((letters == 0) | (letters == 1), axis=(1, 2))
        better = hard & (scores.numpy() > top)
        top = np.where(better, scores, top)
        best[better] = letters.argmax(-1)[better]
        for place, slope in enumerate(slopes):
            means[place] += 0.1 * (slope - means[place])
            squares[place] += 0.001 * (slope * slope - squares[place])
            mean, square = means[place] / (1 - 0.9**step), squares[place] / (1 - 0.999**step)
            values[place] += rate * mean / (tf.sqrt(square) + 1e-7)
    end = _normalized(*values).numpy().argmax(-1) if extra else values[0].numpy().argmax(-1)
    return end, np.where(np.isfinite(top)[:, None], best, end)


def _normalized(logits: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(logits, [1], keepdims=True)
    return scale * (logits - mean) / (tf.sqrt(variance) + 1e-3) + shift


def _hard(logits: tf.Tensor, soft: tf.Tensor) -> tf.Tensor:
    return tf.one_hot(tf.argmax(logits, -1), logits.shape[-1]) + soft - tf.stop_gradient(soft)


def fast_seqprop(rate: float) -> Callable[..., Found]:
    """Linder and Seelig, 2021: logits normalized per letter, one drawn sequence a step, Adam.

    Their code, github.com/johli/seqprop, has a rate of 0.001 and starts logits with Keras' glorot_uniform.
    """

    def look(logits: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        normal = _normalized(logits, scale, shift)
        hard = tf.one_hot(tf.argmax(normal + draws, -1), logits.shape[-1])
        soft = tf.nn.softmax(normal)
        return hard + soft - tf.stop_gradient(soft)

    def run(score: Score, shape: tuple[int, int], seeds: list[int], steps: int) -> Found:
        first = math.sqrt(6 / (1 + len(seeds) * shape[0] * shape[1]))
        return ascent(score, shape, seeds, steps, look=look, first=first, rate=rate, extra=True)

    return run


def straight_through(rate: float) -> Callable[..., Found]:
    """Bengio et al., 2013: the largest logits, with the unchanged gradient and Adam."""
    return lambda *given: ascent(*given, look=lambda z, a, b, g: _hard(z, z), first=0.1, rate=rate)


def relaxation(rate: float) -> Callable[..., Found]:
    """A softmax instead of letters, with Adam. The letters are read at the end."""
    return lambda *given: ascent(
        *given, look=lambda z, a, b, g: tf.nn.softmax(z), first=0.1, rate=rate
    )


def annealing(hot: float) -> Callable[..., Found]:
    """Simulated annealing: one random letter per step, with temperatures from `hot` to `hot / 1000`."""

    def run(score: Score, shape: tuple[int, int], seeds: list[int], steps: int) -> Found:
        length, size = shape
        compiled = tf.function(lambda x: score(tf.one_hot(x, size)))
        draws = [np.random.default_rng(seed) for seed in seeds]
        now = np.stack([draw.integers(size, size=length) for draw in draws])
        height = compiled(tf.constant(now)).numpy()
        best, top = now.copy(), height.copy()
        for step in range(1, steps):
            new = now.copy()
            for row, draw in enumerate(draws):
                new[row, draw.integers(length)] = draw.integers(size)
            found = compiled(tf.constant(new)).numpy()
            cold = hot * 0.001 ** (step / steps)
            taken = np.array([draw.random() for draw in draws]) < np.exp(
                np.minimum(0, (found - height) / cold)
            )
            now[taken], height[taken] = new[taken], found[taken]
            better = height > top
            best[better], top[better] = now[better], height[better]
        return now, best

    return run


METHODS: dict[str, Callable[..., Found]] = {
    "actmax": ours,
    "Fast SeqProp, rate 0.001": fast_seqprop(0.001),
    "Fast SeqProp, rate 0.01": fast_seqprop(0.01),
    "Fast SeqProp, rate 0.1": fast_seqprop(0.1),
    "straight-through, rate 0.1": straight_through(0.1),
    "relaxation, rate 0.1": relaxation(0.1),
    "annealing from 1": annealing(1.0),
}


def compare(
    score: Score,
    shape: tuple[int, int],
    seeds: list[int],
    steps: int,
    names: list[str] | None = None,
) -> list[dict[str, Any]]:
    """A row per method: scores of the letters at the end and of the best, one per seed."""
    again = tf.function(lambda letters: score(tf.one_hot(letters, shape[1])))
    rows = []
    for name, method in METHODS.items():
        if names and not any(name.startswith(each) for each in names):
            continue
        end, best = (
            again(tf.constant(found)).numpy() for found in method(score, shape, seeds, steps)
        )
        rows.append({"method": name, "end": end.tolist(), "best": best.tolist()})
        print(
            f"{name:28s} {end.mean():9.3f} {end.min():9.3f} {best.mean():9.3f} {best.min():9.3f}",
            flush=True,
        )
    return rows


def main() -> None:
    """Prints the table, and writes it as JSON if requested."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="motif", metavar="NAME=FILE")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--methods", nargs="*", metavar="NAME", help="beginnings of names")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    name, _, file = arguments.network.partition("=")
    score, shape = motif() if name == "motif" else NETWORKS[name](Path(file))
    seeds = list(range(arguments.seeds))
    print(f"{name} {shape}, {len(seeds)} seeds, {arguments.steps} passes")
    print(f"{'':28s} {'end, mean':>9s} {'least':>9s} {'best':>9s} {'least':>9s}")
    rows = compare(score, shape, seeds, arguments.steps, arguments.methods)
    if arguments.out:
        record = {
            "network": name,
            "shape": shape,
            "steps": arguments.steps,
            "seeds": seeds,
            "rows": rows,
        }
        arguments.out.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
