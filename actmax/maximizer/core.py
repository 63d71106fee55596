"""The class that compiles once and runs often, and the function that does both in one call."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.callbacks import Progress, as_callback
from actmax.loop import Arguments, Loop
from actmax.maximizer import build, ending, rows, running, speed
from actmax.maximizer.record import record
from actmax.objectives import LOGITS, Logit
from actmax.problem import tile_to
from actmax.result import Result

# Draws of the transforms over which the score's pull is averaged, for balance=True.
_DRAWS = 8


class ProbabilityWarning(UserWarning):
    """The model's output looks like probabilities and its softmax could not be found."""


class Maximizer:
    """A problem, compiled at its first run and run as often as wanted.

    `J_n = mean over copies of score_n(model(transforms(x))) - sum_k w_k R_k(x)_n` is maximized for
    every image on its own. What is given here is traced; what is given to the call is not, so other
    targets, weights, seeds, rates, steps and numbers of images need no new trace.

    Args:
        model: a Keras 3 model, a callable `images -> outputs`, or a list of them, whose scores are
            averaged.
        objective: an `Objective`, or a function of the model's output; None for `Logit()`.
        input_range: a pair `(low, high)` or a constraint. It is read off a model that begins with its
            own Rescaling or Normalization layer, and asked for otherwise.
        regularizers: list of penalties and transforms. None for the default recipe.
        parameterization: how images are represented. None for `Pixels()`, or the default recipe's.
        optimizer: an `Optimizer` or a Keras optimizer instance, which is copied, never used. None for
            Adam.
        gradients: list of functions of the params' gradient, each image on its own.
        metrics: dict of functions `images -> [N]`, recorded at every step.
        labels: names of the classes, so that targets can be names.
        preprocess: images in the input range to what the model takes.
        copies: number of transformed copies per image and step, whose scores are averaged.
        canvas: `(height, width)` of the image if it is not the model's size.
        compile: "plain"; "fold" for batch norm folded into the layer before it; "tail" for all that
            comes after the model compiled by XLA, "xla" for everything (one compilation per N);
            "auto" for the fastest of these, measured at first use and recorded in `config["probe"]`;
            or False to run eagerly, for debugging.
        precision: "float32" or "float64", of images, penalties and optimizer. None for the model's.
            "bfloat16" or "float16" for the model's computation alone, "mixed" for its convolutions
            and products in bfloat16; images, penalties and optimizer stay in float32.
        device: a TensorFlow device name such as "GPU:0"; None for TensorFlow's choice.
        input_shape: shape of one input, for models that do not know theirs.
        fixed: dict of arrays `[1 or N, ...]` by the name of inputs that are not optimized.
        balance: True for weights of penalties in units of the score's own pull on an image: of the sum
            over its values of the score's gradient at the start. Such a weight means the same for a
            weak unit and a strong one, and for every model. None for False, or the default recipe's.

    For several inputs, `input_range`, `parameterization`, `preprocess`, `input_shape` and
    `initial_images` are dicts by input name.

    Attributes:
        traces: how often the loop was traced.
        compilations: how many graphs of the loop there are.

    Raises:
        TypeError, ValueError: for every argument that cannot be right, before anything is traced.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> maximizer = actmax.Maximizer(zoo.load("mnist"), input_range=(0, 1), regularizers=[])
        >>> maximizer(targets=[3], steps=4).images.shape
        (1, 28, 28, 1)
    """

    def __init__(
        self,
        model: Any,
        objective: Any = None,
        *,
        input_range: Any = None,
        regularizers: Sequence[Any] | None = None,
        parameterization: Any = None,
        optimizer: Any = None,
        gradients: Sequence[Callable[[tf.Tensor], tf.Tensor]] | None = None,
        metrics: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] | None = None,
        labels: Sequence[str] | None = None,
        preprocess: Any = None,
        copies: int | None = None,
        canvas: tuple[int, int] | None = None,
        compile: Literal["plain", "auto", "fold", "tail", "xla", False] = "plain",
        precision: Literal["float32", "float64", "bfloat16", "float16", "mixed"] | None = None,
        device: str | None = None,
        input_shape: Any = None,
        fixed: Mapping[str, Any] | None = None,
        balance: bool | None = None,
    ) -> None:
        given = build.Arguments(
            model, Logit() if objective is None else objective, input_range, regularizers,
            parameterization, optimizer, gradients, metrics, preprocess, copies, canvas, precision,
            input_shape, fixed, balance,
        )  # fmt: skip
        way = speed.way_of(compile, precision)
        self.labels = _labels(labels)
        self._device = _device(device)
        with self._place():
            self._built = build.build(given)
        self.problem = self._built.problem
        self._loop = Loop(self.problem, way)
        self._speed = speed.Chooser(self._loop, self._device, choose=compile == "auto")
        self._compile = compile
        self._looked = False

    @property
    def traces(self) -> int:
        """How often the loop was traced: 1 after any number of runs; with "auto", 1 for each way tried."""
        return sum(loop.traces for loop in self._speed.loops)

    @property
    def compilations(self) -> int:
        """How many graphs of the loop there are: one, or with a Keras optimizer or XLA one per N."""
        return sum(loop.compilations for loop in self._speed.loops)

    def _place(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._device is None else tf.device(self._device)

    def __call__(
        self,
        targets: Any = None,
        *,
        steps: int = 256,
        seed: int | Sequence[int] = 0,
        weights: Mapping[str, Any] | None = None,
        learning_rate: Any = None,
        images: int | None = None,
        initial_images: Any = None,
        callbacks: Sequence[Any] = (),
        callback_every: int | None = None,
        keep: Literal["last", "best"] = "last",
        on_failure: Literal["status", "raise"] = "status",
        verbose: bool = False,
    ) -> Result:
        """Runs the loop.

        Args:
            targets: one image each: ints `[N]` or names; float `[N, C]` for `Direction`.
            steps: number of updates; 0 returns the start.
            seed: an integer in 0 .. 2^64 - 1, or one per image.
            weights: penalty name to a weight that replaces its own: a number, `[N]`, `[steps, N]` or
                a schedule of the step.
            learning_rate: likewise, in place of the optimizer's.
            images: number of images, for objectives that take no targets.
            initial_images: `[1 or N, ...]` in the input range, in place of noise.
            callbacks: callbacks, or functions of a snapshot.
            callback_every: steps between callbacks; None for a twentieth of the run.
            keep: "last" for the last image; "best" for the best seen every `callback_every` steps,
                by its mean score over a fixed set of the transforms.
            on_failure: "raise" to make an error of a NON_FINITE or NO_GRADIENT image.
            verbose: True for a progress line.

        Returns:
            A `Result`.
        """
        steps = checks.integer(steps, "steps", low=0, high=2**31 - 2)
        checks.one_of(keep, "keep", ("last", "best"))
        checks.one_of(on_failure, "on_failure", ("status", "raise"))
        if not isinstance(callbacks, (list, tuple)):
            raise TypeError(
                checks.message("callbacks to be a list", repr(callbacks), "Put it in [...].")
            )
        listeners = [as_callback(callback) for callback in callbacks]
        listeners += [Progress()] if verbose else []
        first = rows.start_images(initial_images, self.problem.inputs)
        started = max((len(value) for value in first.values()), default=None)
        kind = self.problem.objective.kind
        found, count = rows.as_targets(targets, kind, self.labels, images, started)
        weight_table, rates = rows.tables(self.problem, weights, learning_rate, steps, count)
        every = running.chunk(callback_every, steps, bool(listeners) or keep == "best")
        with self._place():
            seeds = rows.row_seeds(seed, found, count)
            arguments = rows.arguments(
                self.problem, found, weight_table, rates, seeds, self._built.fixed
            )
            initial = {
                name: tf.constant(
                    np.broadcast_to(value, (count, *value.shape[1:])), self.problem.dtype
                )
                for name, value in first.items()
            }
            params = self._loop.start(seeds, initial)
            self._look(params, arguments, found)
            arguments = self._balanced(params, arguments)
            carry = self._loop.begin(params)
            loop, probe = self._speed.fastest(carry, arguments, steps)
            run = running.Run(
                loop,
                arguments,
                found,
                self._names(found),
                steps,
                every,
                listeners,
                keep == "best",
            )
            carry, history, interrupted, stopped = run.go(carry)
            chosen = carry.params if run.best is None else run.best.params
            pictures = self._loop.images(chosen)
            scores = self._loop.scores(pictures, arguments).numpy()
        status, messages = ending.judge(
            self.problem, carry, history, steps, interrupted, stopped, self._models()
        )
        result = Result(
            images=running.unwrap({name: value.numpy() for name, value in pictures.items()}),
            scores=scores,
            history=history,
            status=status,
            messages=messages,
            steps=carry.done.numpy(),
            targets=found,
            labels=self._names(found),
            low={entry.name: entry.constraint.low for entry in self.problem.inputs},
            high={entry.name: entry.constraint.high for entry in self.problem.inputs},
            config=record(
                self._built,
                self._compile,
                self._device,
                {
                    "steps": steps,
                    "seed": seed if np.ndim(seed) == 0 else np.asarray(seed).tolist(),
                    "weights": dict(weights or {}),
                    "learning_rate": learning_rate,
                    "keep": keep,
                    "images": count,
                },
            )
            | probe,
        )
        if on_failure == "raise":
            ending.raise_failures(result)
        return result

    def value_and_gradient(
        self,
        images: Any,
        targets: Any = None,
        *,
        weights: Mapping[str, Any] | None = None,
        seed: int | Sequence[int] = 0,
        step: int = 0,
        steps: int | None = None,
    ) -> tuple[np.ndarray, Any]:
        """J of given images and its gradient with respect to the params that encode them.

        Args:
            images: `[N, ...]`, or a dict by input name.
            targets: as for a run.
            weights: as for a run.
            seed: as for a run; with `step` it fixes the draws of the transforms.
            step: of the schedules and draws.
            steps: of the run that schedules span; None for `step + 1`.

        With `balance=True` the score's own pull is taken at the images given.

        Returns:
            `(J [N], gradient)`; for `Pixels` the gradient has the shape of the images.
        """
        step = checks.integer(step, "step")
        span = step + 1 if steps is None else checks.integer(steps, "steps", low=step + 1)
        first = rows.start_images(images, self.problem.inputs)
        missing = sorted({entry.name for entry in self.problem.inputs} - set(first))
        if missing:
            raise ValueError(
                checks.message("images of every optimized input", f"none of {missing}")
            )
        started = max(len(value) for value in first.values())
        found, count = rows.as_targets(
            targets, self.problem.objective.kind, self.labels, None, started
        )
        for name, value in first.items():
            if len(value) != count:
                raise ValueError(
                    checks.message(f"{count} images of {name!r}, one per target", f"{len(value)}")
                )
        weight_table, rates = rows.tables(self.problem, weights, None, span, count)
        with self._place():
            seeds = rows.row_seeds(seed, found, count)
            arguments = rows.arguments(
                self.problem, found, weight_table, rates, seeds, self._built.fixed
            )
            params = {
                entry.name: entry.encode(tf.constant(first[entry.name], self.problem.dtype))
                for entry in self.problem.inputs
            }
            self._look(params, arguments, found)
            arguments = self._balanced(params, arguments)
            value, gradient = self._loop.value_and_gradient(params, arguments, step)
        arrays = tf.nest.map_structure(lambda leaf: leaf.numpy(), gradient)
        return value.numpy(), running.unwrap(arrays)

    def _balanced(self, params: Any, arguments: Arguments) -> Arguments:
        """The arguments with weights in units of the score's own pull, where that was asked for."""
        if not self._built.balance:
            return arguments
        pull = self._loop.sensitivity(params, arguments, _DRAWS)
        return arguments._replace(weights=arguments.weights * pull)

    def _models(self) -> list[Any]:
        return [taps.model for taps in self.problem.models]

    def _look(self, params: Any, arguments: Arguments, targets: np.ndarray | None) -> None:
        """Traces the clean score once, and checks what only the model's shapes can tell."""
        pictures = self._loop.images(params)
        if not self._looked:
            self._loop.prepare(pictures, arguments)
        for taps in self.problem.models:
            self.problem.objective.check(taps.shapes, targets)
            self.problem.objective.check_heads(taps.heads)
        if not self._looked:
            self._warn_of_probabilities(pictures, arguments)
        self._looked = True

    def _names(self, targets: np.ndarray | None) -> tuple[str, ...] | None:
        if self.labels is None or targets is None or targets.ndim != 1:
            return None
        return tuple(self.labels[t] if t < len(self.labels) else str(t) for t in targets)

    def _warn_of_probabilities(self, pictures: Any, arguments: Arguments) -> None:
        for taps in self.problem.models:
            suspects = [key for key, head in taps.heads.items() if head in ("linear", "unknown")]
            if not suspects:
                continue
            fitted = {entry.name: entry.fit(pictures[entry.name]) for entry in self.problem.inputs}
            first = next(iter(fitted.values()))
            fitted |= {name: tile_to(value, first) for name, value in arguments.fixed.items()}
            found = taps(fitted)
            for key in suspects:
                values = found[f"{LOGITS}/{key}" if key else LOGITS].numpy().astype(np.float64)
                if models.look_like_probabilities(values):
                    warnings.warn(
                        checks.message(
                            "logits to maximize",
                            "outputs that are positive and sum to 1, whose softmax could not be found",
                            "Their gradient vanishes as they near 1, and they rise by lowering other "
                            "classes. Give a model that returns logits, or maximize "
                            "lambda outputs, targets: tf.math.log(...) of your own.",
                        ),
                        ProbabilityWarning,
                        stacklevel=4,
                    )


def _device(device: Any) -> str | None:
    """A device that TensorFlow has: one that is absent would silently become the CPU."""
    if device is None:
        return None
    known = [found.name.rsplit("device:", 1)[-1] for found in tf.config.list_logical_devices()]
    wanted = str(device).upper().rsplit("/", 1)[-1].removeprefix("DEVICE:")
    if wanted not in known:
        raise ValueError(checks.message(f"one of the devices {known}", repr(device)))
    return wanted


def _labels(labels: Any) -> tuple[str, ...] | None:
    if labels is None:
        return None
    listed = isinstance(labels, (Sequence, np.ndarray)) and not isinstance(labels, (str, bytes))
    if not listed or not all(isinstance(label, str) for label in labels):
        raise TypeError(checks.message("labels to be a list of names", repr(labels)[:80]))
    return tuple(labels)
