"""One run in compiled chunks, with callbacks, judging and checkpoints between them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, records
from actmax.callbacks import Callback, Progress, as_callback
from actmax.loop import Arguments, Carry, Loop, remembers
from actmax.maximizer import callback_calls
from actmax.problem import Judged, Problem
from actmax.types import IMAGES, Images, Snapshot
from regularizers import random

# Folded into a row's seed for the fixed set of transforms of keep="best".
JUDGE = 0x7E57


def unwrap(arrays: dict[str, Any]) -> Any:
    """The value of a dict whose only key is `"images"`, otherwise the dict."""
    return arrays[IMAGES] if list(arrays) == [IMAGES] else arrays


def listeners(callbacks: Any, verbose: bool) -> list[Callback]:
    """The checked callbacks of the user, and a progress line if `verbose`."""
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(
            checks.message("callbacks to be a list", repr(callbacks), "Put it in [...].")
        )
    return [*map(as_callback, callbacks), *([Progress()] if verbose else [])]


def terms(problem: Problem, judged: Judged) -> dict[str, np.ndarray] | None:
    """Contribution of each term of the objective to the scores, by name. None without terms."""
    names = [name for name, _ in problem.objective.terms_by_name]
    values = (value.numpy() for value in judged.terms)
    return dict(zip(names, values, strict=True)) or None


def as_arrays(problem: Problem, images: Images) -> Any:
    """The loop's images, or params, as arrays: images in the model's layout; one or a dict."""
    arrays = tf.nest.map_structure(lambda leaf: leaf.numpy(), dict(images))
    return unwrap({entry.name: entry.hand_out(arrays[entry.name]) for entry in problem.inputs})


def decoded_from(problem: Problem, params: Any) -> Any:
    """The params of images as arrays, for one input or by name. None if params are images."""
    kept = {
        entry.name: records.each(params[entry.name], lambda leaf: leaf.numpy())
        for entry in problem.inputs
        if not entry.parameterization.are_images
    }
    return kept[next(iter(kept))] if len(problem.inputs) == 1 and kept else kept or None


def steps_between_callbacks(value: Any, steps: int, chunked: bool) -> int:
    """Steps between callbacks: as given, a twentieth of the run, or all steps without callbacks."""
    if value is not None:
        return checks.integer(value, "callback_every", low=1)
    return max(steps // 20, 1) if chunked else max(steps, 1)


def image_to_return(keep: Any, problem: Problem) -> str:
    """The image to return. None for the last one, or for letters the one of the highest J."""
    checks.one_of(keep, "keep", (None, "last", "best", "highest"))
    if keep == "highest" and not remembers(problem):
        raise ValueError(
            checks.message(
                "a run of letters without transforms, for keep='highest'",
                "another",
                "Give keep='best', or leave it out.",
            )
        )
    return keep or ("highest" if remembers(problem) else "last")


@dataclasses.dataclass(frozen=True)
class Best:
    """Best params so far by the fixed transforms, and their scores."""

    params: Any
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class State:
    """The state of a run between two chunks: everything needed to continue or to make a result.

    Attributes:
        carry: carry of the loop.
        recorded: history of every chunk so far, `[steps of the chunk, series, N]` each.
        done: number of steps so far.
        best: with keep="best" the best so far.
        halted: for every row the callback that stopped it, or an empty text.
        ended: True once a callback has ended the run.
        late: for every row the callback that asked to stop it after the last step, which stops nothing
            unless the run is made longer.
        late_stop: True if one asked to end the run then.
    """

    carry: Carry
    recorded: tuple[np.ndarray, ...]
    done: int
    best: Best | None
    halted: tuple[str, ...]
    ended: bool = False
    late: tuple[str, ...] = ()
    late_stop: bool = False


@dataclasses.dataclass
class Run:
    """One run in compiled chunks, with Python between them.

    Attributes:
        done: the loop's state and history after all steps, if they were already run.
        save: called with the state after every chunk, after the callbacks.
        interrupted: True once Ctrl-C has ended it.
        kept: the step of the checkpoint that an interrupted run left; None if it left none.
    """

    loop: Loop
    arguments: Arguments
    targets: np.ndarray | None
    names: tuple[str, ...] | None
    steps: int
    every: int
    listeners: list[Callback]
    judged: bool
    done: tuple[Carry, np.ndarray] | None = None
    save: Callable[[State], None] | None = None
    interrupted: bool = False
    kept: int | None = None

    def begin(self, carry: Carry) -> State:
        """The state before the first step."""
        halted = ("",) * int(carry.live.shape[0])
        if self.done is not None:
            return State(self.done[0], (self.done[1],), self.steps, None, halted)
        best = self._judge(carry, None) if self.judged else None
        return State(carry, (), 0, best, halted)

    def go(self, state: State) -> State:
        """Runs from a state to the end, or to the last complete chunk if interrupted."""
        with callback_calls.begun_and_ended(self.listeners, lambda: self._snapshot(state)):
            try:
                while not (self.interrupted or self.is_over(state)):
                    # Each state is one assignment, so an interrupt comes between two states.
                    state = self._advance(state)
                    if self.listeners:
                        state = self._ask(state)
                    if self.save is not None:
                        self.save(state)
            except KeyboardInterrupt:
                self.interrupted = True
        return state

    def is_over(self, state: State) -> bool:
        """Whether no step remains to be done."""
        return state.ended or state.done >= self.steps or not np.any(state.carry.live.numpy())

    def history(self, state: State) -> dict[str, np.ndarray]:
        """History by name, `[steps, N]` each. NaN after a row stopped. Shorter if the run ended early."""
        series = self.loop.problem.series
        recorded = list(state.recorded)
        if self.is_over(state) and not state.ended and not self.interrupted:
            # If every row has stopped, the remaining steps are recorded as not run.
            recorded.append(self._blank(self.steps - state.done))
        table = np.concatenate([self._blank(0), *recorded])
        return {name: table[:, number] for number, name in enumerate(series)}

    def _blank(self, steps: int) -> np.ndarray:
        problem = self.loop.problem
        shape = (steps, len(problem.series), int(self.arguments.seeds.shape[0]))
        return np.full(shape, np.nan, problem.dtype.as_numpy_dtype)

    def _advance(self, state: State) -> State:
        upto = min(state.done + self.every, self.steps)
        carry, rows = self.loop.run(state.carry, self.arguments, state.done, upto)
        best = self._judge(carry, state.best) if self.judged else None
        return dataclasses.replace(
            state, carry=carry, recorded=(*state.recorded, rows.numpy()), done=upto, best=best
        )

    def _ask(self, state: State) -> State:
        stop, asked = callback_calls.ask(self.listeners, self._snapshot(state))
        if not any(asked):
            return state
        if state.done >= self.steps:
            return dataclasses.replace(state, late=tuple(asked), late_stop=stop)
        return self.halted(state, stop, asked)

    def halted(self, state: State, stop: bool, asked: Sequence[str]) -> State:
        """The state after callbacks stopped rows, or with `stop` all of them.

        Args:
            state: before their answer.
            stop: whether one ended the run.
            asked: for every row who stops it, or an empty text.
        """
        live = state.carry.live.numpy()
        new = np.array([bool(name) for name in asked]) & live
        pairs = zip(state.halted, asked, new, strict=True)
        halted = tuple(name if now else before for before, name, now in pairs)
        carry = state.carry._replace(live=tf.constant(live & ~new))
        return dataclasses.replace(state, carry=carry, halted=halted, ended=stop)

    def _snapshot(self, state: State) -> Snapshot:
        best = state.best
        table = np.concatenate([self._blank(0), *state.recorded])
        series = enumerate(self.loop.problem.series)
        inputs = self.loop.problem.inputs
        low, high = None, None
        if len(inputs) == 1:
            low, high = inputs[0].constraint.low, inputs[0].constraint.high
        return Snapshot(
            step=state.done,
            steps=self.steps,
            images=self._pictures(state.carry.params),
            history={name: table[:, number] for number, name in series},
            live=state.carry.live.numpy().copy(),
            targets=None if self.targets is None else self.targets.copy(),
            labels=self.names,
            best_images=None if best is None else self._pictures(best.params),
            best_scores=None if best is None else best.scores.copy(),
            low=low,
            high=high,
            channels=inputs[0].channels if len(inputs) == 1 else None,
            params=decoded_from(self.loop.problem, state.carry.params),
            _ask=functools.partial(self._answer, state.carry.params),
        )

    def _answer(self, params: Any, what: str) -> Any:
        """A value that a snapshot computes only on request, with one more pass."""
        pictures = self.loop.images(params, self.arguments)
        if what == "terms":
            return terms(self.loop.problem, self.loop.judge(pictures, self.arguments)) or {}
        return as_arrays(
            self.loop.problem, self.loop.score_and_gradient(pictures, self.arguments)[1]
        )

    def _pictures(self, params: Any) -> Any:
        pictures = self.loop.images(params, self.arguments)
        return as_arrays(self.loop.problem, pictures)

    def _judge(self, carry: Carry, best: Best | None) -> Best:
        """Per row, the params with the best mean score over a fixed set of transforms."""
        loop = self.loop
        seeds = random.fold_in(self.arguments.seeds, JUDGE)
        pictures = loop.images(carry.params, self.arguments)
        scores = loop.robust_scores(pictures, self.arguments, seeds).numpy()
        if best is None:
            return Best(carry.params, scores)
        # A score that is not a number is never the best.
        better = (scores > best.scores) | (np.isnan(best.scores) & ~np.isnan(scores))
        pick = tf.constant(better)
        params = tf.nest.map_structure(
            lambda new, old: tf.where(
                tf.reshape(pick, [-1] + [1] * (new.shape.rank - 1)), new, old
            ),
            carry.params,
            best.params,
        )
        return Best(params, np.where(better, scores, best.scores))
