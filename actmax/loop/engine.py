"""THE compiled loop: every `tf.function`, every tape, and the only minus sign are here.

The loop minimizes `-J`. One step: draw and transform, model, score, penalties, gradient, gradient
functions, optimizer, projection, guards, history. All that varies from run to run is a tensor, and the
batch dimension is open, so one trace serves every run of a `Maximizer`.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from actmax.loop.connected import check_connected, check_penalty
from actmax.problem import Problem
from actmax.types import Images, Params


class Cause(enum.IntEnum):
    """Where a row first stopped being finite."""

    NONE = 0
    IMAGE = 1
    SCORE = 2
    PENALTY = 3
    GRADIENT = 4
    GRADIENT_FUNCTION = 5
    UPDATE = 6


class Carry(NamedTuple):
    """What goes from step to step."""

    params: Params
    before: Params  # one update earlier; only of inputs whose params are not images
    state: Any
    live: tf.Tensor  # bool [N], False once a row has failed or was stopped
    moved: tf.Tensor  # bool [N], True once a row had a gradient
    still: tf.Tensor  # bool [N], True if the last gradient was zero
    cause: tf.Tensor  # int32 [N], a Cause
    done: tf.Tensor  # int32 [N], updates made


class Arguments(NamedTuple):
    """What stays the same during a run, as tensors."""

    targets: tf.Tensor  # [N] or [N, C]
    weights: tf.Tensor  # [P, 1 or steps, 1 or N]
    rates: tf.Tensor  # [1 or steps, 1 or N]
    seeds: tf.Tensor  # int32 [N, 2]
    fixed: Images  # by name, [1 or N, ...]
    kept: Images  # of masked inputs, what the mask keeps, by name, [N, ...]


class Evaluation(NamedTuple):
    """J and its parts at one step, `[N]` each, and its gradient with respect to params."""

    images: Images
    score: tf.Tensor
    objective: tf.Tensor
    penalties: list[tf.Tensor]
    metrics: list[tf.Tensor]
    descent: Params


class Loop:
    """A problem's compiled functions.

    Attributes:
        traces: number of times that the loop's body was traced.
    """

    def __init__(self, problem: Problem, *, compiled: bool = True) -> None:
        self.problem = problem
        self.compiled = compiled
        self.traces = 0
        self._functions: dict[tuple[str, int | None], Callable[..., Any]] = {}

    @property
    def compilations(self) -> int:
        """Number of graphs of the loop: one, or one per N where the optimizer needs to know it."""
        return sum(name == "run" for name, _ in self._functions)

    def begin(self, params: Params) -> Carry:
        """The carry before the first step."""
        rows = tf.shape(tf.nest.flatten(params)[0])[:1]
        off = tf.zeros(rows, tf.bool)
        return Carry(
            params,
            self._decoded(params),
            self.problem.optimizer.init(params),
            live=tf.ones(rows, tf.bool),
            moved=off,
            still=off,
            cause=tf.zeros(rows, tf.int32),
            done=tf.zeros(rows, tf.int32),
        )

    def _decoded(self, params: Params) -> Params:
        """Params of the inputs whose params are not images: what they decode to is seen a step later."""
        inputs = self.problem.inputs
        return {e.name: params[e.name] for e in inputs if not e.parameterization.are_images}

    def run(
        self, carry: Carry, arguments: Arguments, start: int, stop: int
    ) -> tuple[Carry, tf.Tensor]:
        """Steps `start, ..., stop - 1`.

        Returns:
            The new carry, and history `[stop - start, series, N]`, NaN after a row stopped.
        """
        bounds = (tf.constant(start, tf.int32), tf.constant(stop, tf.int32))
        if not self.compiled:
            return self._run(carry, arguments, *bounds)
        return self._compile("run", self._run, carry, arguments, *bounds)

    def images(self, params: Params, arguments: Arguments) -> Images:
        """Images of params, inside the set."""
        return self._compile("images", self.problem.finish, params, arguments.kept)

    def prepare(self, images: Images, arguments: Arguments) -> None:
        """Traces the clean scores and the penalties' gradients once, without running them.

        That tells the shapes of all activations, and that every penalty has a gradient.
        """
        self._function("scores", self._score, images, arguments).get_concrete_function()
        self._function("penalties", self._check_penalties, images).get_concrete_function()

    def scores(self, images: Images, arguments: Arguments) -> tf.Tensor:
        """Scores of images without transforms. `[N, ...] -> [N]`."""
        return self._compile("scores", self._score, images, arguments)

    def robust_scores(self, images: Images, arguments: Arguments, seeds: tf.Tensor) -> tf.Tensor:
        """Mean scores over the transformed copies that `seeds` draw. `[N, ...], [N, 2] -> [N]`."""
        return self._compile("robust_scores", self._robust_score, images, arguments, seeds)

    def sensitivity(self, params: Params, arguments: Arguments, draws: int) -> tf.Tensor:
        """Sum over values of `|mean over draws of the score's gradient|` at given params. `[N]`.

        A penalty that is a mean over pixels has a gradient of about `1 / (H W C)` per value, so a
        weight in units of this number pulls as hard as the score does.
        """
        bound = tf.constant(draws, tf.int32)
        return self._compile("sensitivity", self._sensitivity, params, arguments, bound)

    def value_and_gradient(
        self, params: Params, arguments: Arguments, step: int = 0
    ) -> tuple[tf.Tensor, Params]:
        """J and the gradient of J, per image, with the transforms drawn for `step`."""
        at = tf.constant(step, tf.int32)
        return self._compile("value_and_gradient", self._value_and_gradient, params, arguments, at)

    def _compile(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._function(name, function, *arguments)(*arguments)

    def _function(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        fixed_rows = self.problem.optimizer.fixed_rows
        key = (name, tf.nest.flatten(arguments[0])[0].shape[0] if fixed_rows else None)
        if key not in self._functions:
            signature = [_spec(argument, open_rows=not fixed_rows) for argument in arguments]
            # TensorFlow counts traces by a function's code, so the sixth Maximizer of a program would
            # be warned of retracing that never happened. A partial has no code, and counts alone.
            own = functools.partial(function)
            self._functions[key] = tf.function(own, input_signature=signature, autograph=False)
        return self._functions[key]

    def _score(self, images: Images, arguments: Arguments) -> tf.Tensor:
        return self.problem.score(images, arguments.fixed, arguments.targets)

    def _check_penalties(self, images: Images) -> None:
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(images)
            penalties = self.problem.penalize(images)
        for (name, _, _), penalty in zip(self.problem.penalties, penalties, strict=True):
            check_penalty(name, tape.gradient(penalty, images))

    def _robust_score(self, images: Images, arguments: Arguments, seeds: tf.Tensor) -> tf.Tensor:
        copies = self.problem.transform(images, self.problem.part_seeds(seeds), tf.constant(0))
        return self._copy_scores(copies, arguments)[1]

    def _copy_scores(self, copies: Images, arguments: Arguments) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores of all copies `[K * N]`, and their means `[N]`."""
        targets = arguments.targets
        count = self.problem.copies
        if count > 1:
            targets = tf.tile(targets, [count] + [1] * (targets.shape.rank - 1))
        scores = self.problem.score(copies, arguments.fixed, targets)
        if count == 1:
            return scores, scores
        return scores, tf.reduce_mean(tf.reshape(scores, [count, -1]), axis=0)

    def _sensitivity(self, params: Params, arguments: Arguments, draws: tf.Tensor) -> tf.Tensor:
        seeds = self.problem.part_seeds(arguments.seeds)
        images = self.problem.decode(params, arguments.kept)

        def add(draw: tf.Tensor, total: Images) -> tuple[tf.Tensor, Images]:
            _, ascent = self._ascend(images, arguments, seeds, draw)
            return draw + 1, tf.nest.map_structure(tf.add, total, ascent)

        start = (tf.constant(0), tf.nest.map_structure(tf.zeros_like, images))
        _, total = tf.while_loop(lambda draw, total: draw < draws, add, start)
        return _sizes(total) / tf.cast(draws, self.problem.dtype)

    def _ascend(
        self, images: Images, arguments: Arguments, seeds: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, Images]:
        """Mean scores over copies `[N]`, and their gradient with respect to images.

        The backward pass carries a unit score; weights and copies are applied after it, in the
        images' own precision, so that no weight overflows in a model of half precision.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            copies = self.problem.transform(images, seeds, step)
            scores, score = self._copy_scores(copies, arguments)
            total = tf.reduce_sum(scores)  # the only reduction over N
        ascent = tape.gradient(total, images)
        check_connected(total, images, ascent)
        if self.problem.copies > 1:
            ascent = tf.nest.map_structure(lambda g: g / self.problem.copies, ascent)
        return score, ascent

    def _value_and_gradient(
        self, params: Params, arguments: Arguments, step: tf.Tensor
    ) -> tuple[tf.Tensor, Params]:
        seeds = self.problem.part_seeds(arguments.seeds)
        found = self._evaluate(params, arguments, seeds, step)
        return found.objective, tf.nest.map_structure(tf.negative, found.descent)

    def _evaluate(
        self, params: Params, arguments: Arguments, seeds: tf.Tensor, step: tf.Tensor
    ) -> Evaluation:
        """J, its parts and its gradient at one step."""
        problem = self.problem
        weights = arguments.weights[:, tf.minimum(step, tf.shape(arguments.weights)[1] - 1)]
        with tf.GradientTape(watch_accessed_variables=False) as decode_tape:
            decode_tape.watch(params)
            images = problem.decode(params, arguments.kept)
        score, ascent = self._ascend(images, arguments, seeds, step)
        with tf.GradientTape(watch_accessed_variables=False) as penalty_tape:
            penalty_tape.watch(images)
            penalties = problem.penalize(images)
            weighted = [weights[k] * penalty for k, penalty in enumerate(penalties)]
            burden = tf.add_n(weighted) if weighted else tf.zeros_like(score)
        resistance = penalty_tape.gradient(burden, images)
        descent = {name: _minus(ascent[name], resistance[name]) for name in images}
        if any(images[entry.name] is not params[entry.name] for entry in problem.inputs):
            descent = decode_tape.gradient(images, params, output_gradients=descent)
        metrics = problem.measure(images)
        return Evaluation(images, score, score - burden, penalties, metrics, descent)

    def _run(
        self, carry: Carry, arguments: Arguments, start: tf.Tensor, stop: tf.Tensor
    ) -> tuple[Carry, tf.Tensor]:
        if self.compiled:
            self.traces += 1
        seeds = self.problem.part_seeds(arguments.seeds)
        rows = carry.live.shape[0]
        shape = [len(self.problem.series), rows]
        dtype = self.problem.dtype
        history = tf.TensorArray(dtype, size=stop - start, element_shape=shape)

        def step_once(step: tf.Tensor, carry: Carry, history: Any) -> tuple[Any, ...]:
            found = self._evaluate(carry.params, arguments, seeds, step)
            rows = [found.score, found.objective, *found.penalties, *found.metrics]
            recorded = tf.where(carry.live, tf.stack(rows), tf.constant(float("nan"), dtype))
            history = history.write(step - start, recorded)
            return step + 1, self._update(found, arguments, carry, step), history

        def blank(step: tf.Tensor, history: Any) -> tuple[Any, ...]:
            nothing = tf.fill([shape[0], tf.shape(carry.live)[0]], tf.constant(float("nan"), dtype))
            return step + 1, history.write(step - start, nothing)

        step, carry, history = tf.while_loop(
            lambda step, carry, history: (step < stop) & tf.reduce_any(carry.live),
            step_once,
            (start, carry, history),
            parallel_iterations=1,
        )
        _, history = tf.while_loop(lambda step, history: step < stop, blank, (step, history))
        return carry, history.stack()

    def _update(
        self, found: Evaluation, arguments: Arguments, carry: Carry, step: tf.Tensor
    ) -> Carry:
        problem = self.problem
        size = _sizes(found.descent)
        descent = found.descent
        for function in problem.gradients:
            descent = tf.nest.map_structure(function, descent)
        shaped = _sizes(descent) if problem.gradients else size
        rate = arguments.rates[tf.minimum(step, tf.shape(arguments.rates)[0] - 1)]
        params, state = problem.optimizer.update(descent, carry.state, carry.params, rate)
        params = problem.project(params)
        cause = _first_cause(found, size, shaped, _sizes(params))
        fine = carry.live & (cause == 0)
        kept = tf.nest.map_structure(lambda new, old: _choose(fine, new, old), params, carry.params)
        before = self._decoded(carry.params)
        undone = carry.live & (cause == int(Cause.IMAGE))
        if before:
            kept |= tf.nest.map_structure(
                lambda old, new: _choose(undone, old, new), carry.before, self._decoded(kept)
            )
        state = tf.nest.map_structure(_same_shape, state, carry.state)
        return Carry(
            kept,
            before,
            state,
            live=fine,
            moved=carry.moved | (fine & (size > 0)),
            still=tf.where(fine, size == 0, carry.still),
            cause=tf.where(carry.live, cause, carry.cause),
            done=carry.done + tf.cast(fine, tf.int32),
        )


def _spec(argument: Any, *, open_rows: bool) -> Any:
    """Signature of an argument: rows open unless told otherwise, steps of the tables always open."""

    def spec(tensor: tf.Tensor) -> tf.TensorSpec:
        shape: list[int | None] = list(tensor.shape)
        if shape and open_rows:
            shape[0] = None
        return tf.TensorSpec(shape, tensor.dtype)

    specs = tf.nest.map_structure(spec, argument)
    if isinstance(argument, Arguments):
        tables = {
            "weights": tf.TensorSpec(
                [argument.weights.shape[0], None, None], argument.weights.dtype
            ),
            "rates": tf.TensorSpec([None, None], argument.rates.dtype),
        }
        specs = specs._replace(**tables)
    return specs


def _minus(ascent: tf.Tensor, resistance: tf.Tensor | None) -> tf.Tensor:
    """Gradient of -J: what the penalties push against less what the score gains."""
    return -ascent if resistance is None else resistance - ascent


def _sizes(params: Params) -> tf.Tensor:
    """Sum of absolute values over all leaves, per row; NaN or infinite as soon as one value is. `[N]`."""
    sizes = [
        tf.reduce_sum(tf.abs(leaf), axis=list(range(1, leaf.shape.rank)))
        for leaf in tf.nest.flatten(params)
    ]
    return sizes[0] if len(sizes) == 1 else tf.add_n(sizes)


def _first_cause(
    found: Evaluation, size: tf.Tensor, shaped: tf.Tensor, updated: tf.Tensor
) -> tf.Tensor:
    """The first thing in the order of a step that is not finite. int32 `[N]`."""
    burden = found.score - found.objective
    cause = tf.zeros(tf.shape(size), tf.int32)
    for value, code in (
        (updated, Cause.UPDATE),
        (shaped, Cause.GRADIENT_FUNCTION),
        (size, Cause.GRADIENT),
        (burden, Cause.PENALTY),
        (found.score, Cause.SCORE),
        (_sizes(found.images), Cause.IMAGE),
    ):
        cause = tf.where(tf.math.is_finite(value), cause, int(code))
    return cause


def _choose(rows: tf.Tensor, new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    """`new` where `rows` is True, else `old`. `[N], [N, ...], [N, ...] -> [N, ...]`."""
    chosen = tf.where(tf.reshape(rows, [-1] + [1] * (old.shape.rank - 1)), new, old)
    return _same_shape(chosen, old)


def _same_shape(new: tf.Tensor, old: tf.Tensor) -> tf.Tensor:
    new.set_shape(old.shape)
    return new
