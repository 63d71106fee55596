"""The peers, their environments and their jobs."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import baselines
from benchmarks.cases import Case
from benchmarks.models import MODELS
from benchmarks.peers.export import export
from benchmarks.pipes import Worker, WorkerError

HERE = Path(__file__).resolve().parent
# Tolerance for another order of summation through fifty layers. Random weights give logits of about
# 1e-3 to 1e2.
LOGITS = {"rtol": 1e-3, "atol": 1e-4}


@dataclasses.dataclass(frozen=True)
class Peer:
    """A library in its own environment.

    Attributes:
        name: name of its environment.
        script: script of its worker.
        threads: numbers of threads to try. 0 for all, None if the library decides.
        follows_onednn: True if it runs on TensorFlow.
        on_gpu: whether it is measured on a GPU.
    """

    name: str
    script: str
    threads: tuple[int | None, ...] = (None,)
    follows_onednn: bool = False
    on_gpu: bool = True


PEERS = (
    Peer("torch", "torch_worker.py", threads=(1, 0)),
    Peer("jax", "jax_worker.py"),
    Peer("tf-keras-vis", "tf_keras_vis_worker.py", follows_onednn=True, on_gpu=False),
    Peer("xplique", "xplique_worker.py", follows_onednn=True, on_gpu=False),
)


def python_of(peer: Peer, folder: Path | None, named: Mapping[str, str]) -> str | None:
    """The interpreter of a peer's environment, or None."""
    if peer.name in named:
        return named[peer.name]
    found = None if folder is None else folder.resolve() / peer.name / "bin" / "python"
    return str(found) if found is not None and found.exists() else None


def hire(
    case: Case,
    device: str,
    folder: Path | None,
    named: Mapping[str, str],
    missing: dict[str, str],
) -> Iterator[tuple[str, Worker]]:
    """Prepared workers by label, one at a time. `missing` has the reasons of the other peers."""
    on_gpu = device.startswith("GPU")
    with tempfile.TemporaryDirectory() as scratch:
        expected = None
        for peer in PEERS:
            python = python_of(peer, folder, named)
            if on_gpu and not peer.on_gpu:
                missing[peer.name] = "not measured on a GPU"
                continue
            if python is None:
                missing[peer.name] = (
                    "no environment: benchmarks/peers/setup.sh DIR, then --peers DIR"
                )
                continue
            if expected is None:
                expected, job = _write(case, Path(scratch), device)
            for threads in (0,) if on_gpu else peer.threads:
                label = peer.name
                if threads is not None and not on_gpu:
                    count = threads or os.cpu_count()
                    label = f"{peer.name} {count} thread{'s' if count != 1 else ''}"
                environment = {"TF_ENABLE_ONEDNN_OPTS": "0"} if peer.follows_onednn else {}
                try:
                    worker = Worker(
                        [python, str(HERE / peer.script)],
                        {
                            **job,
                            "threads": (threads or os.cpu_count()) if threads is not None else 0,
                        },
                        environment,
                    )
                except WorkerError as error:
                    missing[label] = str(error)
                    continue
                try:
                    worker.wait()
                    _same(expected, worker.ready["info"]["logits"])
                except (WorkerError, AssertionError) as error:
                    missing[label] = " ".join(str(error).split())[:300]
                    worker.close()
                    continue
                yield label, worker


def _write(case: Case, folder: Path, device: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Writes the model for all peers, a test image, our logits for it, and the job."""
    subject = MODELS[case.model](case.size)
    twin = subject.twin()
    twin.save(folder / "logits.keras")
    try:
        export(twin, folder)
    except ValueError as error:
        (folder / "graph.json").write_text(f'{{"error": "{error}"}}', encoding="utf-8")
    shape = list(subject.model.input_shape[1:])
    probe = np.random.default_rng(1).uniform(subject.low, subject.high, [2, *shape])
    np.save(folder / "probe.npy", probe.astype(np.float32))
    job = {
        "kind": "steps",
        "folder": str(folder),
        "shape": shape,
        "batch": case.batch,
        "targets": case.classes(subject.classes),
        "low": subject.low,
        "high": subject.high,
        "jitter": case.jitter,
        "total_variation": baselines.TOTAL_VARIATION,
        "l2": baselines.L2,
        "learning_rate": baselines.LEARNING_RATE,
        "precision": case.precision or "float32",
        "device": device,
        "compile": True,
        "channels_last": True,
    }
    return np.asarray(subject.logits(probe.astype(np.float32))), job


def _same(expected: np.ndarray, found: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, **LOGITS)
