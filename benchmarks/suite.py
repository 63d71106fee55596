"""One study: its variants, here or in processes, in interleaved rounds."""

from __future__ import annotations

import dataclasses
import functools
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import EAGER, FLOOR, OURS, OVERHEAD, Study
from benchmarks.measure import Sampler, interleaved, timed
from benchmarks.models import MODELS
from benchmarks.peers.fleet import HERE, PEERS, hire, python_of
from benchmarks.pipes import Worker, WorkerError

ONEDNN = "oneDNN on"
# Seconds of a sample of a peer or of an eager loop: long enough for the clock, and short enough
# that the machine does not drift.
SAMPLE = 0.5


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the command line for all studies."""

    rounds: int
    device: str | None = None
    peers: Path | None = None
    pythons: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def place(self) -> str:
        return (self.device or "CPU:0").upper()


def run_study(study: Study, options: Options) -> dict[str, Any]:
    """Measures a study: a record, as JSON, with seconds per step of every round by variant."""
    head = {
        "study": dataclasses.asdict(study),
        "name": study.name,
        "group": study.group,
        "missing": {},
    }
    kinds = {"memory": _memory, "start-up": _start_up, "sweep": _sweep}
    if study.group in kinds:
        return {**head, **kinds[study.group](study, options, head["missing"])}
    if study.processes:
        return {**head, **_in_processes(study, options, head["missing"])}
    return {**head, **_here(study, options, head["missing"])}


def _here(study: Study, options: Options, missing: dict[str, str]) -> dict[str, Any]:
    from benchmarks import session

    made = session.prepare(study, options.device)
    missing |= made.missing
    samplers = {
        name: timed(functools.partial(run, made.steps[name]), made.steps[name])
        for name, run in made.runs.items()
    }
    samples = interleaved(samplers, options.rounds)
    _one_trace(made.info["traces"])
    return {
        **made.info,
        "steps": made.steps,
        "bases": made.bases,
        "start_up": {name: start.plain() for name, start in made.starts.items()},
        "seconds_per_step": {name: values.tolist() for name, values in samples.items()},
    }


def _in_processes(study: Study, options: Options, missing: dict[str, str]) -> dict[str, Any]:
    """Our variants with oneDNN off and on, and the peers. One process works at a time."""
    workers: dict[str, Worker] = {}
    record: dict[str, Any] = {"workers": {}, "start_up": {}, "steps": {}, "bases": {}}
    try:
        on_gpu = options.place.startswith("GPU")
        for label, flag in (("", "0"),) if on_gpu else (("", "0"), (ONEDNN, "1")):
            _tell(f"{study.name}: our variants {label}")
            job = {
                "kind": "study",
                "study": dataclasses.asdict(study),
                "device": options.device,
                "counted": not label,
            }
            workers[label] = _ours(job, {"TF_ENABLE_ONEDNN_OPTS": flag}).wait()
        _tell(f"{study.name}: peers")
        for label, worker in hire(
            study.cases[0], options.place, options.peers, options.pythons, missing
        ):
            _tell(f"  {label} is ready")
            workers[label] = worker
        samplers: dict[str, Sampler] = {}
        first = workers[""].ready["info"]
        for label, worker in workers.items():
            ready = worker.ready
            ours = label in ("", ONEDNN)
            record["workers"][label or "oneDNN off"] = {
                name: value for name, value in ready["info"].items() if name != "logits"
            }
            for variant, why in ready["missing"].items():
                missing[_name(label, variant)] = why
            for variant, (begun, second) in ready["starts"].items():
                name = _name(label, variant)
                most = ready["info"]["steps"][variant] if ours else study.cases[0].steps
                # Our loop runs all its steps, so that the cost of the call is real. Others run as
                # many as time allows.
                steps = most if ours and EAGER not in variant else _affordable(second, most)
                record["steps"][name] = steps
                record["bases"][name] = FLOOR
                record["start_up"][name] = (
                    ready["info"]["starts"][variant]
                    if variant in ready["info"].get("starts", {})
                    else {"first_call": begun, "second_call": second}
                )
                if variant == OVERHEAD and label:
                    continue
                samplers[name] = _Remote(name, worker, variant, steps, missing)
        _one_trace(first["traces"])
        _tell(f"{study.name}: {options.rounds} rounds of {len(samplers)} variants")
        samples = interleaved(samplers, options.rounds)
        if np.isnan(samples[FLOOR]).any():
            raise WorkerError(missing.get(FLOOR, "the floor has no samples"))
        return {
            **record,
            "flops": first["flops"],
            "traces": first["traces"],
            "construction": first["construction"],
            "seconds_per_step": {
                name: values.tolist() for name, values in samples.items() if name not in missing
            },
        }
    finally:
        for worker in workers.values():
            worker.close()


class _Remote:
    """A sampler in another process. If the process has died, every further sample is NaN."""

    def __init__(
        self, name: str, worker: Worker, variant: str, steps: int, missing: dict[str, str]
    ) -> None:
        self.name, self.worker, self.variant, self.steps = name, worker, variant, steps
        self.missing = missing

    def __call__(self) -> float:
        if self.name in self.missing:
            return float("nan")
        try:
            return self.worker.seconds(self.variant, self.steps) / self.steps
        except WorkerError as error:
            self.missing[self.name] = str(error)
            return float("nan")


def _memory(study: Study, options: Options, missing: dict[str, str]) -> dict[str, Any]:
    """Memory peaks of the floor and of our loop for every case, each in a separate process."""
    found: dict[str, Any] = {}
    for number, case in enumerate(study.cases):
        for variant in (FLOOR, OURS):
            job = {
                "kind": "memory",
                "study": dataclasses.asdict(study),
                "device": options.device,
                "case": number,
                "variant": variant,
            }
            name = f"{variant}, {case.label}"
            worker = _ours(job, {})
            try:
                found[name] = {"batch": case.batch, **worker.wait().ready["info"]}
            except WorkerError as error:
                missing[name] = str(error)
            finally:
                worker.close()
    return {"memory": found}


def _start_up(study: Study, options: Options, missing: dict[str, str]) -> dict[str, Any]:
    """From a fresh process to the first images, in turn with tf-keras-vis."""
    (case,) = study.cases
    subject = MODELS[case.model](case.size)
    peer = next(peer for peer in PEERS if peer.name == "tf-keras-vis")
    python = python_of(peer, options.peers, options.pythons)
    if python is None:
        missing[peer.name] = "no environment: benchmarks/peers/setup.sh DIR, then --peers DIR"
    commands = {OURS: [sys.executable, "-m", "benchmarks.worker"]}
    if python is not None:
        commands[peer.name] = [python, str(HERE / peer.script)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.keras"
        subject.model.save(file)
        job = {
            "kind": "start-up",
            "model": str(file),
            "targets": case.classes(subject.classes),
            "low": subject.low,
            "high": subject.high,
            "steps": case.steps,
        }
        for _ in range(options.rounds):
            for name, command in commands.items():
                if name in missing:
                    continue
                worker = Worker(command, job, {"TF_ENABLE_ONEDNN_OPTS": "0"})
                try:
                    found[name].append(worker.wait().ready["info"])
                except WorkerError as error:
                    missing[name] = str(error)
                finally:
                    worker.close()
    return {"first_steps": found}


def _sweep(study: Study, options: Options, missing: dict[str, str]) -> dict[str, Any]:
    """Every class of a model, in chunks of the fastest batch size, with the same `Maximizer`.

    After every fourth chunk comes a reference of the same length and batch with a single class.
    Other programs on the machine slow both alike.
    """
    from benchmarks import parts

    case = study.cases[0]
    subject = MODELS[case.model](case.size)
    maximizer = parts.maximizer(subject, case, options.device)
    short = max(case.steps // 8, 2)
    samplers = {
        other.label: timed(
            functools.partial(maximizer, [0] * other.batch, steps=short), short * other.batch
        )
        for other in study.cases
    }
    spent = interleaved(samplers, min(options.rounds, 5))
    best = min(study.cases, key=lambda other: float(np.median(spent[other.label])))
    chunks, references = [], []
    for begin in range(0, subject.classes, best.batch):
        targets = list(range(begin, min(begin + best.batch, subject.classes)))
        work = len(targets) * case.steps
        chunks.append(timed(functools.partial(maximizer, targets, steps=case.steps), work)())
        if len(chunks) % 4 == 1:
            reference = functools.partial(maximizer, [0] * best.batch, steps=case.steps)
            references.append(timed(reference, best.batch * case.steps)())
    return {
        "sweep": {
            "classes": subject.classes,
            "steps": case.steps,
            "batch": best.batch,
            "traces": maximizer.traces,
            "seconds_per_image_step": chunks,
            "reference": references,
            "by_batch": {name: values.tolist() for name, values in spent.items()},
        }
    }


def _ours(job: dict[str, Any], environment: dict[str, str]) -> Worker:
    return Worker([sys.executable, "-m", "benchmarks.worker"], job, environment)


def _name(label: str, variant: str) -> str:
    if not label:
        return variant
    return f"{variant}, {label}" if label == ONEDNN else f"{label}: {variant}"


def _affordable(seconds: float, most: int) -> int:
    return int(np.clip(round(SAMPLE / max(seconds, 1e-6)), 2, max(most, 2)))


def _one_trace(traces: Mapping[str, int]) -> None:
    for name, count in traces.items():
        if name.startswith(f"{OURS} "):
            continue  # compile="auto" traces all its candidates
        assert count == 1, f"Expected one trace of the loop. Received: {count} of {name}."


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
