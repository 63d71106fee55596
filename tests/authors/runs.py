"""A user's way with each right part: `python -m tests.authors --runs`.

Values by hand in `history`; equal bytes of rows in another order, after a stop, and in a fresh process; one
trace for other rows and for a sweep; a run with a mask.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import actmax
from regularizers.base import Penalty
from tests.authors.versions import Version

STEPS = 4
# Of objectives and of penalties on layers, whose model is theirs, the tests of these kinds make runs.
KINDS = ("penalty", "transform", "gradient function", "optimizer", "operator", "constraint")


class StopError(Exception):
    """Ends a run in its middle."""


def fits(version: Version) -> bool:
    """Whether it is a right part that can be put into a run of this module's model."""
    if version.mistake or version.kind not in KINDS:
        return False
    part = version.make()
    return not (isinstance(part, Penalty) and part.inner_layers)


def faults(version: Version) -> tuple[list[str], str]:
    """What does not hold for a right part, and the digest of its images."""
    shape = tuple(version.check.get("shapes", [(8, 8, 3)])[0])
    part = version.make()
    run = actmax.Maximizer(**_settings(version, part, shape))
    given = _arrays(part, shape, 3)
    result = run([0, 1, 0], steps=STEPS, seed=[1, 2, 3], **given(slice(None)))
    found: list[str] = []

    def require(kept: Any, what: str) -> None:
        if not bool(kept):
            found.append(what)

    require(np.isfinite(result.images).all(), "finite images")
    if isinstance(part, Penalty) and not {"seeds", "state"} & set(part.asks):
        start = run([0, 1, 0], steps=0, seed=[1, 2, 3], **given(slice(None))).images
        named = {"step": tf.constant(0), "learning_rate": tf.fill([3], 0.05)}
        named |= given(slice(None)).get("arrays", {}).get(part.name, {})
        own = {key: tf.constant(value) for key, value in named.items() if key in part.asks}
        by_hand = np.asarray(part(tf.constant(start), **own))
        there = result.history[part.name][0]
        require(np.allclose(there, by_hand, rtol=1e-4, atol=1e-6), "the value by hand")
    if not getattr(part, "couples_images", False):
        order = [2, 0, 1]
        other = run([[0, 1, 0][k] for k in order], steps=STEPS, seed=[[1, 2, 3][k] for k in order],
                    **given(order))  # fmt: skip
        require(np.array_equal(other.images, result.images[order]), "bytes in another order")
    require(_resumed(run, result, given(slice(None))), "bytes after a stop")
    if given(slice(None)) == {} and not getattr(part, "couples_images", False):
        run.sweep([0, 1], seeds=[1, 2], steps=STEPS)
    require(run.traces == 1, f"one trace, not {run.traces}")
    mask = np.zeros(shape[:2], "float32")
    mask[:4] = 1.0
    if version.kind != "constraint":  # of an own set a mask needs its own solver
        masked = actmax.Maximizer(**{**_settings(version, part, shape), "mask": mask})
        start = np.full((3, *shape), 0.4, "float32")
        ended = masked([0, 1, 0], steps=2, initial_images=start, **given(slice(None)))
        require(np.array_equal(ended.images[:, 4:], start[:, 4:]), "a mask")
    return found, hashlib.sha256(result.images.tobytes()).hexdigest()


def _settings(version: Version, part: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    kernel = np.random.default_rng(0).normal(size=(int(np.prod(shape)), 2)).astype("float32")

    def model(images: tf.Tensor) -> tf.Tensor:
        return tf.reshape(images, [-1, kernel.shape[0]]) @ tf.constant(kernel)

    found: dict[str, Any] = {
        "model": model, "input_shape": shape, "input_range": (0, 1), "regularizers": [],
        "optimizer": actmax.SGD(0.01), "parameterization": actmax.Pixels(), "compile": "plain",
    }  # fmt: skip
    if version.kind in ("penalty", "transform"):
        return {**found, "regularizers": [part]}
    if version.kind == "operator":
        return {**found, "optimizer": actmax.AfterUpdate(actmax.SGD(0.01), [part])}
    key = {"gradient function": "gradients", "optimizer": "optimizer", "constraint": "input_range"}
    return {**found, key[version.kind]: [part] if version.kind == "gradient function" else part}


def _arrays(part: Any, shape: tuple[int, ...], count: int) -> Callable[[Any], dict[str, Any]]:
    names = getattr(part, "array_names", ())
    draws = np.random.default_rng(1)
    made = {name: draws.uniform(size=(count, *shape)).astype("float32") for name in names}
    if not made:
        return lambda which: {}
    return lambda which: {
        "arrays": {part.name: {name: value[which] for name, value in made.items()}}
    }


def _resumed(run: Any, whole: Any, given: dict[str, Any]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        marker = Path(folder) / "stopped"

        def stop(snapshot: Any) -> None:
            if snapshot.step == STEPS // 2 and not marker.exists():
                marker.touch()
                raise StopError

        call = {"steps": STEPS, "seed": [1, 2, 3], "callbacks": [stop], "callback_every": STEPS // 2,
                "checkpoint": Path(folder) / "run", **given}  # fmt: skip
        try:
            run([0, 1, 0], **call)
            return False
        except StopError:
            return bool(np.array_equal(run([0, 1, 0], **call).images, whole.images))


def in_a_fresh_process(every: int, kind: str, name: str) -> dict[str, str]:
    """Digests of the images of another process, by kind and name."""
    arguments = ["--runs", "--digests", "--every", str(every), "--kind", kind, "--name", name]
    answer = subprocess.run(
        [sys.executable, "-m", "tests.authors", *arguments],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(answer.stdout.strip().splitlines()[-1])
