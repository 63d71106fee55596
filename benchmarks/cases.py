"""Defines the studies and suites: models, sizes, batches and settings."""

from __future__ import annotations

import dataclasses
from typing import Any

FLOOR = "bare floor"
STRICT = "strict floor"
STEP = "step in a tf.function"
EAGER = "eager loop"
OURS = "actmax"
OVERHEAD = "actmax, call of no steps"
FLOORS = (FLOOR, STRICT)
ALL_BASELINES = (FLOOR, STRICT, STEP, EAGER)
PENALTIES = ("total_variation", "l2")


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of work, the same for every variant.

    Attributes:
        model: a name in `models.MODELS`.
        size: height and width of the images, in pixels.
        batch: number of images.
        steps: updates in one timed sample of our loop. They are enough to make the cost of a call
            negligible.
        jitter: largest shift, in pixels; 0 for no jitter.
        targets: number of different classes. None for one per image, up to the number of classes.
        penalties: names in `parts.PENALTIES`.
        metrics: number of metrics recorded at every step.
        parameterization: a name in `parts.PARAMETERIZATIONS`.
        precision: as of `Maximizer`; None for the model's.
        compile: as of `Maximizer`.
        label: the difference from the other cases of a study.
    """

    model: str
    size: int
    batch: int
    steps: int
    jitter: int = 2
    targets: int | None = None
    penalties: tuple[str, ...] = PENALTIES
    metrics: int = 0
    parameterization: str = "pixels"
    precision: str | None = None
    compile: str = "plain"
    label: str = ""

    @property
    def name(self) -> str:
        return f"{self.model} {self.size}x{self.size} batch {self.batch}"

    def classes(self, known: int) -> list[int]:
        """Target of every image, for a model with `known` classes."""
        distinct = min(self.targets or known, known)
        return [n % distinct for n in range(self.batch)]


@dataclasses.dataclass(frozen=True)
class Study:
    """Cases that are measured in the same rounds.

    Attributes:
        name: of the record.
        group: headline, batch, classes, size, parts, penalties, precision, models, sweep, memory,
            start-up.
        cases: the measured cases. The others are compared with the first.
        baselines: the baselines of each case, once per model, size, batch and targets.
        processes: True for a process with oneDNN off, one with oneDNN on, and one per peer.
        compiles: further values of `compile` to try in each case. Unavailable ones are reported.
    """

    name: str
    group: str
    cases: tuple[Case, ...]
    baselines: tuple[str, ...] = FLOORS
    processes: bool = False
    compiles: tuple[str, ...] = ()


def vary(
    case: Case, group: str, changes: dict[str, dict[str, object]], **settings: object
) -> Study:
    """A study of one case under changes, by label."""
    cases = tuple(
        dataclasses.replace(case, label=label, **change)  # type: ignore[arg-type]
        for label, change in changes.items()
    )
    special = f" {case.precision}" if case.precision and group != "precision" else ""
    name = f"{case.model} {case.size}x{case.size}{special}, {group}"
    return Study(name, group, cases, **settings)  # type: ignore[arg-type]


def batches(case: Case, sizes: tuple[int, ...], pixels: int) -> Study:
    """Growth with the batch. Larger batches have fewer steps: `pixels` is images x steps per sample."""
    return vary(
        case,
        "batch",
        {f"batch {n}": {"batch": n, "steps": max(pixels // n, 2)} for n in sizes},
        baselines=(FLOOR,),
    )


def classes(case: Case, counts: tuple[int, ...] = (1, 10, 100, 1000)) -> Study:
    """The same batch with growing numbers of classes."""
    return vary(
        case, "classes", {f"{n} classes": {"targets": n} for n in counts}, baselines=(FLOOR,)
    )


def parts(case: Case) -> Study:
    """The loop with and without each of its parts."""
    return vary(
        case,
        "parts",
        {
            "all": {},
            "without total_variation": {"penalties": ("l2",)},
            "without l2": {"penalties": ("total_variation",)},
            "without jitter": {"jitter": 0},
            "with a metric": {"metrics": 1},
            "without penalties and jitter": {"penalties": (), "jitter": 0},
        },
    )


def penalties(case: Case) -> Study:
    """Growth with the number of penalties."""
    names = ("total_variation", "l2", "l1", "alpha_norm", "log_sum", "bound")
    return vary(
        case,
        "penalties",
        {f"{n} penalties": {"penalties": names[:n]} for n in (0, 1, 2, 4, 6)},
        baselines=(FLOOR,),
    )


def headline(case: Case) -> Study:
    """A case with every baseline, oneDNN off and on, and the peers."""
    return Study(case.name, "headline", (case,), ALL_BASELINES, processes=True, compiles=("fold",))


MNIST = Case("mnist", size=28, batch=10, steps=128)
CIFAR10 = Case("cifar10", size=32, batch=10, steps=128)
MOBILENET = Case("mobilenet_v2", size=224, batch=4, steps=24, jitter=8)
RESNET = Case("resnet50", size=224, batch=1, steps=16, jitter=8)
SMALL = Case("mobilenet_v2", size=96, batch=4, steps=16, jitter=4)

CANVASES = tuple(
    Case(name, size=512, batch=8, steps=1, jitter=8)
    for name in ("resnet50", "inception_v3", "mobilenet_v2")
)

HEADLINES = tuple(headline(case) for case in (MNIST, CIFAR10, MOBILENET, RESNET))
OTHERS = tuple(
    Study(case.name, "models", (case,), compiles=("fold",))
    for case in (
        Case("efficientnet_b0", size=224, batch=1, steps=4, jitter=8),
        Case("inception_v3", size=299, batch=1, steps=4, jitter=8),
        Case("convnext_tiny", size=224, batch=1, steps=4, jitter=8),
        Case("vit", size=224, batch=1, steps=8, jitter=8),
    )
)
FULL = (
    *HEADLINES,
    parts(MNIST),
    parts(MOBILENET),
    batches(MNIST, (1, 4, 16, 64, 256, 1024), 1024),
    batches(CIFAR10, (1, 4, 16, 64, 256), 512),
    batches(SMALL, (1, 4, 16, 64), 64),
    batches(dataclasses.replace(RESNET, steps=4), (1, 4, 8), 8),
    classes(Case("mobilenet_v2", size=32, batch=1000, steps=2)),
    vary(
        SMALL,
        "size",
        {f"{n} pixels": {"size": n, "steps": max(16 * 96**2 // n**2, 2)} for n in (64, 96, 160, 224)},
        baselines=(FLOOR,),
    ),
    penalties(MOBILENET),
    vary(
        SMALL,
        "precision",
        {name: {"precision": name} for name in ("float32", "mixed", "bfloat16", "float16", "float64")},
    ),
    vary(
        SMALL, "parameterization", {name: {"parameterization": name} for name in ("pixels", "fourier")}
    ),
    *OTHERS,
    Study("first 64 steps", "start-up", (dataclasses.replace(MNIST, steps=64),), processes=True),
    Study("mobilenet_v2 224x224, memory", "memory", tuple(
        dataclasses.replace(MOBILENET, batch=n, steps=2, label=f"batch {n}") for n in (1, 8, 16)
    )),
    Study("resnet50 224x224, memory", "memory", tuple(
        dataclasses.replace(RESNET, batch=n, steps=2, label=f"batch {n}") for n in (1, 8)
    )),
    *(
        Study(f"{case.model} {case.size}x{case.size}, memory of a large canvas", "memory", tuple(
            dataclasses.replace(case, compile=way, label=way) for way in ("plain", "recompute")
        ))
        for case in CANVASES
    ),
    *(Study(case.name, "recompute", (case,), compiles=("recompute",)) for case in CANVASES),
    Study("mobilenet_v2 96x96, 1,000 classes", "sweep", tuple(
        dataclasses.replace(SMALL, batch=n, steps=64, label=f"batch {n}") for n in (4, 10, 20, 50)
    )),
)  # fmt: skip

# Three stages. Each must end within ten minutes on one GPU of a data center.
_GPU_RESNET = Case("resnet50", size=224, batch=64, steps=32, jitter=8)
_GPU_MOBILENET = Case("mobilenet_v2", size=224, batch=64, steps=32, jitter=8)
_GPU_BATCHES = (1, 4, 16, 64, 128, 256, 512)
GPU_STAGES: dict[int, tuple[Study, ...]] = {
    1: (
        Study(
            "resnet50 224x224 batch 64, float32", "headline",
            (dataclasses.replace(_GPU_RESNET, precision="float32"),),
            ALL_BASELINES, processes=True, compiles=("fold", "xla"),
        ),
        Study(
            "mnist 28x28 batch 1000", "headline", (Case("mnist", size=28, batch=1000, steps=128),),
            ALL_BASELINES, processes=True, compiles=("fold", "xla"),
        ),
        classes(dataclasses.replace(_GPU_MOBILENET, size=96, batch=1000, steps=16)),
    ),
    2: (
        batches(_GPU_RESNET, _GPU_BATCHES, 2048),
        batches(dataclasses.replace(_GPU_RESNET, precision="tf32"), _GPU_BATCHES, 2048),
        batches(dataclasses.replace(_GPU_RESNET, precision="bfloat16"), _GPU_BATCHES, 2048),
        parts(_GPU_RESNET),
    ),
    3: (
        Study(
            "resnet50 224x224 batch 64, tf32", "headline",
            (dataclasses.replace(_GPU_RESNET, precision="tf32"),), FLOORS, processes=True,
            compiles=("fold", "xla"),
        ),
        Study(
            "resnet50 224x224 batch 64, bfloat16", "headline",
            (dataclasses.replace(_GPU_RESNET, precision="bfloat16"),), FLOORS, processes=True,
            compiles=("fold", "xla"),
        ),
        Study("resnet50 224x224, memory", "memory", tuple(
            dataclasses.replace(_GPU_RESNET, batch=n, steps=2, label=f"batch {n}")
            for n in (1, 64, 256)
        )),
        Study("resnet50 224x224 batch 256, memory by way", "memory", tuple(
            dataclasses.replace(_GPU_RESNET, batch=256, steps=2, compile=way, label=way)
            for way in ("plain", "recompute")
        )),
        Study("mobilenet_v2 96x96, 1,000 classes", "sweep", tuple(
            dataclasses.replace(SMALL, batch=n, steps=64, label=f"batch {n}")
            for n in (100, 250, 500, 1000)
        )),
    ),
}  # fmt: skip

SUITES: dict[str, tuple[Study, ...]] = {
    "smoke": (Study(MNIST.name, "headline", (MNIST,), ALL_BASELINES),),
    "ci": (
        Study(MNIST.name, "headline", (dataclasses.replace(MNIST, steps=64),)),
        Study(CIFAR10.name, "headline", (dataclasses.replace(CIFAR10, steps=64),)),
    ),
    "full": FULL,
    "gpu": tuple(study for stage in GPU_STAGES.values() for study in stage),
}


def study_from(given: dict[str, Any]) -> Study:
    """A study from its `dataclasses.asdict`, also after a round trip through JSON."""
    cases = tuple(
        Case(**{**case, "penalties": tuple(case["penalties"])}) for case in given["cases"]
    )
    lists = {name: tuple(given[name]) for name in ("baselines", "compiles")}
    return Study(**{**given, **lists, "cases": cases})
