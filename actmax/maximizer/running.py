"""One run in compiled chunks, with callbacks and judging between them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.callbacks import Callback
from actmax.loop import Arguments, Carry, Loop
from actmax.types import IMAGES, STOP, Snapshot
from regularizers import random

# Folded into a row's seed for the fixed set of transforms by which keep="best" judges.
JUDGE = 0x7E57


def unwrap(arrays: dict[str, Any]) -> Any:
    """The only entry of a dict that has one, called `"images"`; else the dict."""
    return arrays[IMAGES] if list(arrays) == [IMAGES] else arrays


def chunk(value: Any, steps: int, chunked: bool) -> int:
    """Steps between callbacks: as given, a twentieth of the run, or all where nobody listens."""
    if value is not None:
        return checks.integer(value, "callback_every", low=1)
    return max(steps // 20, 1) if chunked else max(steps, 1)


@dataclasses.dataclass
class Best:
    """Best params so far by the fixed transforms, and their scores."""

    params: Any
    scores: np.ndarray


@dataclasses.dataclass
class Run:
    """One run in compiled chunks, with Python between them."""

    loop: Loop
    arguments: Arguments
    targets: np.ndarray | None
    names: tuple[str, ...] | None
    steps: int
    every: int
    listeners: list[Callback]
    judged: bool
    best: Best | None = None

    def go(self, carry: Carry) -> tuple[Carry, dict[str, np.ndarray], bool, bool]:
        """Runs to the end: `(carry, history, interrupted, stopped)`."""
        recorded: list[np.ndarray] = []
        stop = False
        interrupted = False
        done = 0
        if self.judged:
            self._judge(carry)
        with self._listening(lambda: self._snapshot(carry, recorded, done)):
            try:
                while done < self.steps and not stop:
                    upto = min(done + self.every, self.steps)
                    carry, rows_ = self.loop.run(carry, self.arguments, done, upto)
                    recorded.append(rows_.numpy())
                    done = upto
                    if self.judged:
                        self._judge(carry)
                    if self.listeners:
                        snapshot = self._snapshot(carry, recorded, done)
                        answers: list[Any] = [
                            listener.on_step(snapshot) for listener in self.listeners
                        ]
                        odd = [answer for answer in answers if answer not in (None, STOP)]
                        if odd:
                            raise TypeError(
                                checks.message(
                                    "callbacks to return None or actmax.STOP", repr(odd[0])
                                )
                            )
                        stop = STOP in answers
                    stop = stop or not np.any(carry.live.numpy())
            except KeyboardInterrupt:
                interrupted = True
        stopped = stop and done < self.steps
        return carry, self._history(recorded), interrupted, stopped

    @contextlib.contextmanager
    def _listening(self, snapshot: Callable[[], Snapshot]) -> Iterator[None]:
        try:
            for listener in self.listeners:
                listener.on_begin(snapshot())
            yield
        finally:
            for listener in self.listeners:
                listener.on_end(snapshot())

    def _history(self, recorded: list[np.ndarray]) -> dict[str, np.ndarray]:
        series = self.loop.problem.series
        count = int(self.arguments.seeds.shape[0])
        if recorded:
            table = np.concatenate(recorded)
        else:
            table = np.zeros((0, len(series), count), self.loop.problem.dtype.as_numpy_dtype)
        return {name: table[:, number] for number, name in enumerate(series)}

    def _snapshot(self, carry: Carry, recorded: list[np.ndarray], done: int) -> Snapshot:
        pictures = self.loop.images(carry.params, self.arguments)
        return Snapshot(
            step=done,
            steps=self.steps,
            images=unwrap({name: value.numpy() for name, value in pictures.items()}),
            history=self._history(recorded),
            live=carry.live.numpy(),
            targets=None if self.targets is None else self.targets.copy(),
            labels=self.names,
        )

    def _judge(self, carry: Carry) -> None:
        """Keeps, per row, the params with the best mean score over a fixed set of transforms."""
        loop = self.loop
        seeds = random.fold_in(self.arguments.seeds, JUDGE)
        pictures = loop.images(carry.params, self.arguments)
        scores = loop.robust_scores(pictures, self.arguments, seeds).numpy()
        if self.best is None:
            self.best = Best(carry.params, scores)
            return
        better = scores > self.best.scores
        pick = tf.constant(better)
        params = tf.nest.map_structure(
            lambda new, old: tf.where(
                tf.reshape(pick, [-1] + [1] * (new.shape.rank - 1)), new, old
            ),
            carry.params,
            self.best.params,
        )
        self.best = Best(params, np.where(better, scores, self.best.scores))
