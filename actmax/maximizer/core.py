"""The class that compiles once and runs often, and the function that does both in one call."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from actmax import checks, models
from actmax.loop import Arguments, Loop
from actmax.maximizer import (
    batches,
    beginning,
    build,
    fastest_way,
    first_checks,
    laws,
    optimality,
    predicted_classes,
    range_checks,
    repeated_call,
    resuming,
    rows,
    running,
    scoring,
    statuses,
    sweeping,
    unsupported,
)  # fmt: skip
from actmax.maximizer.record import described, record
from actmax.objectives import Logit
from actmax.result import Result
from actmax.sweeps import Sweep
from actmax.types import Images


class Maximizer:
    """A problem that is compiled at its first run and can be run many times.

    `J_n = mean over copies of score_n(model(transforms(x))) - sum_k w_k R_k(x)_n` is maximized for
    every image separately. The arguments given here are traced. The arguments of a call are not, so
    other targets, weights, seeds, learning rates, steps and numbers of images need no new trace.

    Args:
        model: a Keras 3 model, a callable `images -> outputs`, or a list of them, whose scores are
            averaged.
        objective: an `Objective`, or a function of the model's output; None for `Logit()`.
        input_range: a pair `(low, high)` or a constraint. It can be left out only if the model begins
            with its own Rescaling or Normalization layer.
        regularizers: list of penalties and transforms. None for the default recipe.
        parameterization: how images are represented. None for `Pixels()`, or the default recipe's.
        optimizer: an `Optimizer` or a Keras optimizer instance; the run uses a copy of it. None for
            Adam.
        gradients: list of functions of the params' gradient, for each image separately.
        metrics: dict of functions `images -> [N]`, recorded at every step.
        labels: names of the classes, so that targets can be names.
        preprocess: a function from images in the input range to the model's input.
        copies: number of transformed copies per image and step, whose scores are averaged.
        antithetic: True to draw copies in mirrored pairs: copy 2k + 1 gets the opposite shift,
            rotation and noise of copy 2k, so that the mean displacement of a pair is 0.
        canvas: `(height, width)` of the image if it is not the model's size.
        mask: array `[H, W]` of the image's size: 1 where the image is optimized, 0 where it stays
            exactly `initial_images`, and a blend of both for values between 0 and 1.
        compile: "plain"; "fold" for batch norm folded into the layer before it; "xla" for XLA, which
            compiles for every N; "auto" to measure these (and XLA only for the part after the model)
            and use the fastest, which is recorded; "recompute" for less memory; False to run
            eagerly, for debugging.
        precision: "float32" or "float64", of images, penalties and optimizer. None for the model's.
            "bfloat16" or "float16" only for the model's computation, or "mixed" for its
            convolutions and products in bfloat16. Images, penalties and optimizer then stay in
            float32.
        device: a TensorFlow device name such as "GPU:0"; None for TensorFlow's choice.
        input_shape: shape of one input, for models that do not know theirs.
        fixed: dict of arrays `[1 or N, ...]`, by the names of the inputs that are not optimized.
        balance: True to multiply the weights of penalties by the size of the score's gradient: the sum
            of its absolute values over the start image. A weight then means the same for a weak unit
            and a strong one, and for every model. If the penalty has no units of the images, such as
            `LogSum`, this holds only for ranges of the same width. None for False, or the default
            recipe's.
        natural: some images of the kind that the model was trained on, `[M, H, W, C]` in the input range
            and the model's layout. The default recipe follows them: bright strokes on dark, dark strokes on
            bright or neither, and the contrast of small images. If None, the default tests gray models with
            128 artificial images; `config["chosen"]` has the result.

    For several inputs, `input_range`, `parameterization`, `preprocess`, `input_shape`, `mask` and
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

    @repeated_call.construction
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
        antithetic: bool = False,
        canvas: tuple[int, int] | None = None,
        mask: Any = None,
        compile: Literal["plain", "auto", "fold", "xla", "recompute", False] = "plain",
        precision: Literal["float32", "float64", "bfloat16", "float16", "mixed"] | None = None,
        device: str | None = None,
        input_shape: Any = None,
        fixed: Mapping[str, Any] | None = None,
        balance: bool | None = None,
        natural: Any = None,
    ) -> None:
        arguments = build.Arguments(
            model, Logit() if objective is None else objective, input_range, regularizers,
            parameterization, optimizer, gradients, metrics, preprocess, copies, antithetic, canvas,
            mask, precision, input_shape, fixed, balance, natural,
        )  # fmt: skip
        self.labels = first_checks.labels(labels)
        self._device = first_checks.device(device)
        gpu = first_checks.on_gpu(self._device)
        way = fastest_way.way_of(compile, precision, gpu=gpu)
        with self._place():
            self._built = build.build(arguments)
        self.problem = self._built.problem
        self._loop = Loop(self.problem, way)
        self._speed = fastest_way.Chooser(
            self._loop, self._device, gpu=gpu, choose=compile == "auto"
        )
        self._compile, self._checked = compile, False
        self._broken: dict[str, str] = {}
        self._states: tuple[Any, ...] | None = None
        # A Keras optimizer updates its own variables, so only one thread may run at a time.
        alone = self.problem.optimizer.fixed_rows
        self._turn: Any = threading.RLock() if alone else contextlib.nullcontext()

    @property
    def traces(self) -> int:
        """Number of traces of the loop: 1 after any number of runs. With "auto", 1 for each tested way."""
        return sum(loop.traces for loop in self._speed.loops)

    @property
    def compilations(self) -> int:
        """Number of graphs of the loop: one, or one per N with a Keras optimizer or XLA."""
        return sum(loop.compilations for loop in self._speed.loops)

    def _place(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._device is None else tf.device(self._device)

    @repeated_call.run
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
        arrays: Mapping[str, Any] | None = None,
        callbacks: Sequence[Any] = (),
        callback_every: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        keep: Literal["last", "best", "highest"] | None = None,
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
            arrays: penalty name to its array `[1 or N, ...]`, one row per image, or to a dict of them
                by the name of the parameter, for penalties that name `arrays`: references, centers ...
            callbacks: callbacks, or functions of a snapshot.
            callback_every: steps between callbacks, and between checkpoints; None for a twentieth of
                the run.
            checkpoint: a folder that holds the state of the run, replaced every `callback_every`
                steps. The same call finds it there and goes on: its result is the uninterrupted
                run's to the byte (on a CPU), however the process ended. After the last step the same
                call returns the result again without a step, and the same call with more steps goes on
                from there, if no weight or rate of the first steps depends on their number.
            keep: "last" for the last image; "best" for the best seen every `callback_every` steps,
                by its mean score over a fixed set of the transforms; "highest" for the highest J of all
                steps, the default for letters without transforms.
            on_failure: "raise" to make an error of a NON_FINITE or NO_GRADIENT image.
            verbose: True for a progress line.

        Returns:
            A `Result`. Ctrl-C ends the run after the present chunk of steps; the images so far are
            returned with status INTERRUPTED.

        Raises:
            RecordError: if the checkpoint is damaged.
            ValueError: if it belongs to another call (with the differences), or an argument is
                wrong.
            BlockingIOError: if another process is running with it.
        """
        steps = checks.integer(steps, "steps", low=0, high=2**31 - 2)
        if checkpoint is not None:
            fastest_way.refuse_measured(self._compile)
        keeping = running.image_to_return(keep, self.problem)
        checks.one_of(on_failure, "on_failure", ("status", "raise"))
        listeners = running.listeners(callbacks, verbose)
        self.renew()
        first = rows.start_images(initial_images, self.problem.inputs)
        started = max((len(value) for value in first.values()), default=None)
        objective = self.problem.objective
        found, count = rows.as_targets(targets, objective, self.labels, images, started)
        own = rows.arrays(self.problem, arrays, count)
        weight_table, rates = rows.tables(self.problem, weights, learning_rate, steps, count)
        rates, started_from = rows.kept_rates(
            rates,
            first if learning_rate is None and self._built.keeps_start else {},
            self.problem,
            count,
        )
        chunked = bool(listeners) or keeping == "best" or checkpoint is not None
        every = running.steps_between_callbacks(callback_every, steps, chunked)
        with self._place(), self._turn, contextlib.ExitStack() as after:
            seeds = rows.row_seeds(seed, found, count)
            initial = rows.spread(first, count, self.problem.dtype)
            kept = self.problem.keep(initial) | self.problem.moment(seeds, tf.constant(0))
            arguments = rows.arguments(
                self.problem, found, weight_table, rates, seeds, self._built.fixed, kept, own
            )
            params = self._loop.start(seeds, initial)
            for entry in () if self._checked else self.problem.inputs:
                entry.parameterization.check(params[entry.name], entry.shape)
            self._check_at_first_run(self._loop.images(params, arguments), arguments, found)
            after.enter_context(laws.variables_restored(self.problem))
            params, arguments, revived, done = beginning.begin(
                self._loop, params, arguments, balance=self._built.balance, steps=steps,
                at_once=not chunked and self._compile in ("plain", False),
            )  # fmt: skip
            call = described(steps, seed, weights, learning_rate, keeping, count, first, own)
            config = record(self._built, self._compile, self._device, call) | revived.record()
            config |= started_from | self._found()
            carry = self._loop.begin(params, arguments)
            loop, probe = self._loop, dict[str, Any]()
            with revived.interruptible():
                loop, probe = self._speed.fastest(
                    carry, arguments, 0 if revived.interrupted else steps
                )
            run = running.Run(
                loop, arguments, found, first_checks.names(self.labels, found), steps, every, listeners,
                keeping == "best", done, interrupted=revived.interrupted,
            )  # fmt: skip
            with resuming.resumed(checkpoint, run, carry, config) as begun:
                state = run.go(begun)
            arguments = arguments.now(
                self.problem, state.carry, tf.constant(max(state.done - 1, 0))
            )
            chosen = state.best or (state.carry.best if keeping == "highest" else state.carry)
            pictures = self._loop.images(chosen.params, arguments)
            judged = self._loop.judge(pictures, arguments)
            scores = judged.scores
            named = predicted_classes.own_names(
                self._loop, pictures, judged, arguments, self.labels
            )
            history = run.history(state)
            stand = optimality.measure(loop, chosen.params, pictures, scores, arguments, history)
        status, messages = statuses.of_rows(
            self.problem, state, history, scores.numpy(), run, checkpoint, stand, revived, named,
            self._built.chosen.get("letters", ""),
        )  # fmt: skip
        result = Result(
            images=running.as_arrays(self.problem, pictures),
            scores=scores.numpy(),
            history=history,
            status=status,
            messages=messages,
            steps=state.carry.done.numpy(),
            targets=found,
            labels=first_checks.names(self.labels, found),
            config=config | probe,
            probabilities=None if judged.probabilities is None else judged.probabilities.numpy(),
            terms=running.terms(self.problem, judged),
            named=named,
            frames=statuses.frames(listeners),
            **stand.fields(self.problem, chosen.params),
        )
        if on_failure == "raise":
            statuses.raise_failures(result)
        statuses.warn_of_names(result)
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
        arrays: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, Any]:
        """J of given images and its gradient with respect to the params that encode them.

        Args:
            images: `[N, ...]`, or a dict by input name.
            targets: as for a run.
            weights: as for a run.
            seed: as for a run; with `step` it fixes the draws of the transforms.
            step: of the schedules and draws.
            steps: of the run that schedules span; None for `step + 1`.
            arrays: as for a run.

        With `balance=True` the size of the score's gradient is taken at the given images.

        Returns:
            `(J [N], gradient)`; for `Pixels` the gradient has the shape of the images.
        """
        step = checks.integer(step, "step")
        span = step + 1 if steps is None else checks.integer(steps, "steps", low=step + 1)
        with self._place():
            pictures, arguments, found = scoring.prepare(
                self, images, targets, weights, seed, span, arrays
            )
            params = {each.name: each.encode(pictures[each.name]) for each in self.problem.inputs}
            self._check_at_first_run(self._loop.images(params, arguments), arguments, found)
            if self._built.balance:
                arguments, _ = beginning.balanced(self._loop, params, arguments)
            value, gradient = self._loop.value_and_gradient(params, arguments, step)
        return value.numpy(), running.as_arrays(self.problem, gradient)

    def robust_scores(
        self,
        images: Any,
        targets: Any = None,
        *,
        draws: int = batches.DRAWS,
        seed: int = 0,
        arrays: Mapping[str, Any] | None = None,
    ) -> np.ndarray:
        """Mean scores of given images over fixed draws of the transforms. `[N, ...] -> [N]`.

        The random transforms are the same for every image, and no run uses them. An image that has
        a high score only at its exact position gets a lower one here.

        Args:
            images: `[N, ...]` in the input range, or a dict by input name.
            targets: as for a run.
            draws: number of them, at least 1.
            seed: of the draws.
            arrays: as for a run.
        """
        draws = checks.integer(draws, "draws", low=1)
        count = max(len(value) for value in rows.start_images(images, self.problem.inputs).values())
        with self._place():
            pictures, arguments, found = scoring.prepare(
                self, images, targets, None, [seed] * count, 1, arrays
            )
            self._check_at_first_run(pictures, arguments, found)
            return scoring.robust_scores(self._loop, pictures, arguments, draws)

    @repeated_call.sweep
    def sweep(
        self,
        targets: Any = None,
        *,
        weights: Mapping[str, Any] | None = None,
        learning_rate: Any = None,
        seeds: Any = 0,
        restarts: int = 1,
        batch_size: int | None = None,
        steps: int = 256,
        checkpoint: str | os.PathLike[str] | None = None,
        arrays: Mapping[str, Any] | None = None,
        **call: Any,
    ) -> Sweep:
        """One image for every combination of the given values, in batches of one size, with one trace.

        A row is the image of `maximizer([target], seed=[seed], ...)` with its settings. For the same
        batch size it has the same bytes, whatever the other rows are.

        Args:
            targets: the first axis, all different.
            weights: penalty name to a list of values, an axis; or to one value for all.
            learning_rate: a list, an axis; or one for all. Numbers or schedules, as for weights.
            seeds: a list of integers, an axis; or one for all.
            restarts: runs of every point from as many starts, of which the best is kept by
                `robust_scores`.
            batch_size: images per batch, padded at the end, and kept in the record; None for all at
                once.
            steps: number of updates.
            checkpoint: a folder, with a folder in it for every batch.
            arrays: as for a run, one row for all, or one per target.
            **call: `callbacks`, `callback_every`, `initial_images` (one for all), `keep`,
                `on_failure` and `verbose`, as for a run; callbacks get one batch after another.

        Returns:
            A `Sweep`. After Ctrl-C, rows that had not started are their start images.

        Example:
            >>> import actmax
            >>> from actmax import zoo
            >>> from regularizers import L2
            >>> maximizer = actmax.Maximizer(
            ...     zoo.load("mnist"), input_range=(0, 1), regularizers=[L2(1.0)]
            ... )
            >>> sweep = maximizer.sweep([3, 5], weights={"l2": [0.1, 1.0, 10.0]}, steps=4)
            >>> sweep.shape, maximizer.traces
            ((2, 3), 1)
        """
        return sweeping.sweep(
            self, targets, weights, learning_rate, seeds, restarts, batch_size,
            steps=steps, checkpoint=checkpoint, arrays=arrays, call=call,
        )  # fmt: skip

    @property
    def fixed(self) -> Mapping[str, np.ndarray]:
        """Arrays of the inputs that are held fixed, by name."""
        return self._built.fixed

    def renew(self) -> None:
        """Compiles again at the next call, after the model was changed in place (LoRA, quantization ...)."""
        unsupported.refuse_surroundings()
        members = [taps.model for taps in self.problem.models]
        if self._states is None or self._states == models.states(members):
            return
        taps = tuple(
            models.Taps(each.model, each.names, each.letters) for each in self.problem.models
        )
        self.problem = dataclasses.replace(self.problem, models=taps)
        self._built = dataclasses.replace(self._built, problem=self.problem)
        self._loop = Loop(self.problem, self._loop.way)
        self._speed = self._speed.renewed(self._loop)
        self._checked, self._states, self._broken = False, None, {}

    def _found(self) -> dict[str, Any]:
        """What the first run found out about the models, for the record."""
        return fastest_way.left_out(self._loop) | (
            {"broken_laws": self._broken} if self._broken else {}
        )

    def _check_at_first_run(
        self, pictures: Images, arguments: Arguments, targets: np.ndarray | None
    ) -> None:
        """Traces the score without transforms once, and makes the checks that need the model's shapes."""
        if not self._checked:
            with models.explained("the objective, preprocess and regularizers"):
                self._loop.prepare(pictures, arguments)
        for taps in self.problem.models:
            first_checks.check_labels(self.problem, taps.shapes, self.labels)
            self.problem.objective.check(taps.shapes, targets)
            self.problem.objective.check_heads(taps.heads)
        if not self._checked:
            with laws.variables_restored(self.problem):
                first_checks.warn_of_probabilities(self._loop, pictures, arguments, targets)
                self._broken = laws.find_broken(self._loop, pictures, arguments)
                range_checks.warn_of_range(self.problem)
            laws.warn(self._broken)
            # A first pass may build a model. The state after it is what was traced.
            self._states = models.states(taps.model for taps in self.problem.models)
        self._checked = True
