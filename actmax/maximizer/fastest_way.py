"""Chooses how the loop is computed: as requested, or the fastest measured way."""

from __future__ import annotations

import dataclasses
import functools
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks, fingerprints
from actmax.loop import (
    RELATIVE,
    Arguments,
    Carry,
    Loop,
    Way,
    agreement,
    check_fold,
    check_segments,
)
from actmax.models import Compute, Variant, onednn
from actmax.types import Images

COMPILE = ("plain", "auto", "fold", "xla", "recompute", False)
PRECISION = (None, "float32", "float64", "bfloat16", "float16", "mixed")

# Measuring may take this fraction of a run.
SHARE = 0.05
_ROUNDS = 3
_STEPS = 2
_WAYS = ("fold", "tail")


def way_of(compile_: Any, precision: Any, *, gpu: bool) -> Way:
    """The requested way; for "auto", at first the plain one.

    Raises:
        ValueError: if compile or precision is unknown.
    """
    checks.one_of(compile_, "compile", COMPILE)
    checks.one_of(precision, "precision", PRECISION)
    compute: Compute | None = precision if precision in ("bfloat16", "float16", "mixed") else None
    return _way(compile_, compute, gpu=gpu)


def refuse_measured(compile_: Any) -> None:
    """Raises ValueError for "auto" if the bytes must be the same in another process."""
    if compile_ == "auto":
        raise ValueError(
            checks.message(
                "a way that is the same in every process",
                'compile="auto", which each process measures for itself',
                'Give compile="plain", or what config["probe"] of an earlier run says it used.',
            )
        )


def _way(name: Any, compute: Compute | None, *, gpu: bool) -> Way:
    """The way with a name. Only "auto" tries "tail", which compiles everything after the model with XLA."""
    whole = name in (False, "xla")
    return Way(
        compiled=name is not False,
        fold=name == "fold",
        tail=name == "tail",
        xla=name == "xla",
        compute=compute,
        recompute=name == "recompute",
        # Only oneDNN needs a graph with an order.
        apart=not gpu and onednn() is not False,
        # Forward passes as gradients help only on CPUs without oneDNN. With oneDNN, gradients are as fast
        # as forward passes.
        adjoint=not (gpu or whole) and compute is None and onednn() is False,
    )


def left_out(loop: Loop) -> dict[str, Any]:
    """For the record: gradients of our own that are not used, because TensorFlow's differ."""
    said = [word for each in loop.models if isinstance(each, Variant) for word in each.left_out]
    return {"left_out": sorted(set(said))} if said else {}


@dataclasses.dataclass(frozen=True)
class Choice:
    """The result of measuring.

    Attributes:
        used: name of the way.
        milliseconds: median per step of every way that was measured.
        left_out: the reason why a way was not measured, by name.
        seconds: time that measuring has taken so far; 0 if an earlier measurement was used.
    """

    used: str
    milliseconds: Mapping[str, float]
    left_out: Mapping[str, str]
    seconds: float

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "used": self.used,
            "milliseconds": {k: round(v, 4) for k, v in self.milliseconds.items()},
            "left_out": dict(self.left_out),
            "seconds": round(self.seconds, 3),
        }


@dataclasses.dataclass
class _Meter:
    """The cost of measuring, and the time that the runs so far allow for it.

    Attributes:
        steps: number of steps of all runs so far, including the new one.
        step: seconds of a plain step. 0 before the measurement.
        build: seconds of the first step, which includes tracing.
        spent: seconds on measuring so far.
    """

    steps: int = 0
    step: float = 0.0
    build: float = 0.0
    spent: float = 0.0

    def measure(self, plain: Loop, carry: Carry, arguments: Arguments) -> str:
        """Measures a plain step if the runs allow the cost. Otherwise returns the reason."""
        if self.step:
            return ""
        needed = 1 + 2 * _STEPS
        if needed > SHARE * self.steps:
            return (
                f"timing the plain loop for {needed} steps is more than {SHARE:.0%} of the "
                f"{self.steps} steps so far"
            )
        began = time.perf_counter()
        self.build = _seconds(lambda: plain.run(carry, arguments, 0, 1))
        runs = (_seconds(lambda: plain.run(carry, arguments, 0, _STEPS)) for _ in range(2))
        self.step = min(runs) / _STEPS
        self.spent = time.perf_counter() - began
        return ""

    def beyond(self, ways: int) -> str:
        """The reason why other ways are not tried yet, or nothing."""
        price = ways * 3 * self.build + _ROUNDS * _STEPS * (ways + 1) * self.step
        if self.spent + price <= SHARE * self.steps * self.step:
            return ""
        return (
            f"a probe of about {self.spent + price:.1f} s is more than {SHARE:.0%} of the "
            f"{self.steps} steps so far"
        )


# Choices by model, so that a second Maximizer of the same model does not measure again.
_REMEMBERED: weakref.WeakKeyDictionary[Any, dict[Any, Choice]] = weakref.WeakKeyDictionary()


class Chooser:
    """Measures the ways at first use and keeps the fastest that agrees with the plain one."""

    def __init__(self, plain: Loop, device: str | None, *, gpu: bool, choose: bool) -> None:
        self.problem = plain.problem
        self._plain = plain
        self._choose = choose
        self._device = device
        self._agreed = False
        self._checked: set[str] = set()
        self._gpu = gpu
        self.names = (*_WAYS, "xla") if gpu else _WAYS
        self._loops: dict[str, Loop] = {"plain": plain}
        self._meters: dict[Any, _Meter] = {}

    def renewed(self, plain: Loop) -> Chooser:
        """A chooser of the same kind for another loop."""
        return Chooser(plain, self._device, gpu=self._gpu, choose=self._choose)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Every loop made so far."""
        return tuple(self._loops.values())

    def fastest(
        self, carry: Carry, arguments: Arguments, steps: int
    ) -> tuple[Loop, dict[str, Any]]:
        """The loop to run, and the record of how it was chosen.

        Raises:
            ValueError: if the requested way does not compute the same as the plain way.
        """
        loop = self._plain
        check = check_fold if loop.way.fold else check_segments
        if (loop.way.fold or loop.way.recompute) and not self._agreed:
            check(loop, loop.images(carry.params, arguments), arguments)
            self._agreed = True
        if not self._choose or steps == 0:
            return loop, {}
        loop, choice = self.choose(carry, arguments, loop.images(carry.params, arguments), steps)
        return loop, {"probe": choice.record()}

    def loop(self, name: str) -> Loop:
        """The loop of a way. It is made once."""
        if name not in self._loops:
            self._loops[name] = Loop(
                self.problem, _way(name, self._plain.way.compute, gpu=self._gpu)
            )
        return self._loops[name]

    def choose(
        self, carry: Carry, arguments: Arguments, images: Images, steps: int
    ) -> tuple[Loop, Choice]:
        """The fastest loop for this model, shape and device.

        Args:
            carry: the carry before the first step. Measured runs start from it, and their results
                are dropped.
            arguments: of the run.
            images: of the carry.
            steps: length of the run. Measuring takes at most `SHARE` of this run and the earlier
                runs.
        """
        plain = self._plain
        known = self._known()
        key = self._key(arguments)
        if key in known:
            choice = dataclasses.replace(known[key], seconds=0.0)
            return self._again(choice, carry, arguments, images)
        meter = self._meters.setdefault(key, _Meter())
        meter.steps += steps
        too_dear = meter.measure(plain, carry, arguments) or meter.beyond(len(self.names))
        if too_dear:
            milliseconds = {"plain": meter.step * 1e3} if meter.step else {}
            left_out = dict.fromkeys(self.names, too_dear)
            return plain, Choice("plain", milliseconds, left_out, meter.spent)
        began = time.perf_counter()
        loops = {"plain": plain}
        left_out = {}
        for name in self.names:
            try:
                loop = self.loop(name)
                self._check(name, loop, carry, arguments, images)
                loop.run(carry, arguments, 0, _STEPS)
            except (ValueError, tf.errors.InvalidArgumentError) as error:
                left_out[name] = str(error).splitlines()[0]
                continue
            loops[name] = loop
            self._checked.add(name)
        samples: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(_ROUNDS if len(loops) > 1 else 0):
            for name, loop in loops.items():
                samples[name].append(
                    _seconds(functools.partial(loop.run, carry, arguments, 0, _STEPS))
                )
        milliseconds = {
            name: float(np.median(values)) / _STEPS * 1e3
            for name, values in samples.items()
            if values
        } or {"plain": meter.step * 1e3}
        used = min(milliseconds, key=lambda name: milliseconds[name])
        meter.spent += time.perf_counter() - began
        known[key] = Choice(used, milliseconds, left_out, meter.spent)
        return loops[used], known[key]

    def _again(
        self, choice: Choice, carry: Carry, arguments: Arguments, images: Images
    ) -> tuple[Loop, Choice]:
        """The loop of a remembered choice, or the plain loop if the present weights forbid it."""
        loop = self.loop(choice.used)
        if choice.used in self._checked or choice.used == "plain":
            return loop, choice
        try:
            self._check(choice.used, loop, carry, arguments, images)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            why = {choice.used: str(error).splitlines()[0]}
            left_out = {**choice.left_out, **why}
            return self._plain, dataclasses.replace(choice, used="plain", left_out=left_out)
        self._checked.add(choice.used)
        return loop, choice

    def _check(
        self, name: str, loop: Loop, carry: Carry, arguments: Arguments, images: Images
    ) -> None:
        """Raises ValueError unless a way computes the same as the plain way."""
        if name == "fold":
            check_fold(loop, images, arguments)
            return
        found = agreement(self._plain, loop, images, arguments)
        # The tail is not part of the gradient with respect to images, so its history is compared.
        ours, theirs = (w.run(carry, arguments, 0, 1)[1].numpy() for w in (self._plain, loop))
        if not found.holds or not np.allclose(ours, theirs, rtol=RELATIVE, atol=RELATIVE):
            raise ValueError(
                f"differs from plain: gradients with cosine {found.cosine:.7f}, records by "
                f"{np.abs(ours - theirs).max():.2g}"
            )

    def _known(self) -> dict[Any, Choice]:
        try:
            return _REMEMBERED.setdefault(self.problem.models[0].model, {})
        except TypeError:  # a callable without weak references is not remembered
            return {}

    def _key(self, arguments: Arguments) -> tuple[Any, ...]:
        return self._device, self._plain.way.compute, int(arguments.seeds.shape[0]), self._parts

    @functools.cached_property
    def _parts(self) -> str:
        """The problem without the first model. What is remembered is stored with this model."""
        problem = self.problem
        fields = [field.name for field in dataclasses.fields(problem) if field.name != "models"]
        others = [taps.model for taps in problem.models[1:]]
        return repr(fingerprints.of([others, *(getattr(problem, name) for name in fields)]))


def _seconds(run: Callable[[], tuple[Carry, tf.Tensor]]) -> float:
    began = time.perf_counter()
    _, history = run()
    history.numpy()  # a device works in order, so this result comes after all others
    return time.perf_counter() - began
