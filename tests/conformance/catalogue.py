"""Every public class of `actmax` and `regularizers`, described once: how to make one, and what of.

A new public class that is not here fails `test_catalogue.py`; one that is here is held to the laws.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import actmax
import regularizers
from tests.conformance.models import UNEVEN, decoder, feature_map, normalized, photos, uneven

# One image is optimized by each part in this problem.
TARGETS = [0, 1, 2]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One part.

    Attributes:
        kind: which checker and which argument of Maximizer it is for.
        make: makes one.
        check: further arguments of its checker.
        targets: what its objective takes; None if it takes none.
        fixed_rows: True if it is traced once for every N.
        model: makes the model that it is tried on.
    """

    kind: str
    make: Callable[[], Any]
    check: dict[str, Any] = dataclasses.field(default_factory=dict)
    targets: Any = dataclasses.field(default_factory=lambda: list(TARGETS))
    fixed_rows: bool = False
    model: Callable[[], Any] = uneven


FEATURES = [(scale * feature_map()).ravel().tolist() for scale in (1.0, -0.5, 2.0)]
DIRECTIONS = [[1.0, -1.0, 0.5, 0.0], [0.0, 1.0, 1.0, 0.3], [-1.0, 0.2, 0.0, 1.0]]
SHARES = [[1.0, 0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.25, 0.25], [0.0, 0.2, 0.2, 0.3, 0.3]]

OBJECTIVES = {
    "Logit": Entry("objective", actmax.Logit),
    "Logit of a bound target": Entry("objective", lambda: actmax.Logit(3), targets=None),
    "LogProbability": Entry("objective", actmax.LogProbability),
    "Margin": Entry("objective", actmax.Margin),
    "Channel": Entry("objective", lambda: actmax.Channel("conv")),
    "Neuron": Entry("objective", lambda: actmax.Neuron("conv")),
    "Neuron at a position": Entry("objective", lambda: actmax.Neuron("conv", (1, 2))),
    "CrossEntropy": Entry("objective", actmax.CrossEntropy, targets=SHARES),
    "Layer": Entry("objective", lambda: actmax.Layer("conv"), targets=None),
    "Direction": Entry("objective", lambda: actmax.Direction("conv"), targets=DIRECTIONS),
    "Direction at a position": Entry(
        "objective", lambda: actmax.Direction("conv", position=(1, 2)), targets=DIRECTIONS
    ),
    "Direction of cosine": Entry(
        "objective", lambda: actmax.Direction("conv", power=2.0), targets=DIRECTIONS
    ),
    "Inversion": Entry("objective", lambda: actmax.Inversion("conv", feature_map()), targets=None),
    "Inversion by image": Entry("objective", lambda: actmax.Inversion("conv"), targets=FEATURES),
    "Caricature": Entry(
        "objective", lambda: actmax.Caricature("conv", feature_map()), targets=None
    ),
    "SortMatching": Entry(
        "objective", lambda: actmax.SortMatching("conv", feature_map()), targets=None
    ),
    "Diversity": Entry("objective", lambda: actmax.Diversity("conv"), targets=None),
    "BatchNormPrior": Entry(
        "objective", actmax.BatchNormPrior, targets=None, model=lambda: normalized(shape=UNEVEN)
    ),
    "Sum": Entry("objective", lambda: 0.5 * actmax.Logit() - 2 * actmax.Channel("conv", 1)),
    "Combination": Entry("objective", lambda: actmax.Logit() * actmax.Channel("conv", 1)),
    # Of outputs that are no softmax: that of a network, without oneDNN, is rounded by the place of a row.
    "function": Entry(
        "objective",
        lambda: lambda output: output[:, 0],
        targets=None,
        model=lambda: uneven(head=None),
    ),
}

COLORS = {"shapes": [UNEVEN]}
PARAMETERIZATIONS = {
    "Pixels": Entry("parameterization", actmax.Pixels),
    "Fourier": Entry("parameterization", actmax.Fourier),
    "Fourier, blurred": Entry("parameterization", lambda: actmax.Fourier(1.0, blur=0.7)),
    "Blurred": Entry("parameterization", actmax.Blurred),
    "Decorrelated": Entry("parameterization", actmax.Decorrelated, COLORS),
    "Decorrelated by images": Entry(
        "parameterization", lambda: actmax.Decorrelated.from_images(photos(UNEVEN)), COLORS
    ),
    "LaplacianPyramid": Entry("parameterization", lambda: actmax.LaplacianPyramid(3)),
    # Of raw images with more contrast than this, which most are.
    "LimitedContrast": Entry(
        "parameterization",
        lambda: actmax.LimitedContrast(actmax.Fourier(std=1.0), 0.1),
    ),
    "LowResolutionSum": Entry("parameterization", lambda: actmax.LowResolutionSum(factors=(2, 4))),
    "CPPN": Entry("parameterization", lambda: actmax.CPPN(layers=2, units=8)),
    "Strokes": Entry("parameterization", lambda: actmax.Strokes(2, 4)),
    "Strokes, colored": Entry("parameterization", lambda: actmax.Strokes(3, 2, ink="color")),
    "Maco": Entry("parameterization", actmax.Maco),
    "Maco of images in colors": Entry(
        "parameterization",
        lambda: actmax.Decorrelated(actmax.Maco.from_images(photos(UNEVEN))),
        COLORS,
    ),
    "Generator": Entry(
        "parameterization",
        lambda: actmax.Generator(decoder(UNEVEN), output_range=(0, 1), latent_range=(-2, 2)),
        COLORS,
    ),
}

CONVEX = {"convex": True}
CONSTRAINTS = {
    "Box": Entry("constraint", lambda: actmax.Box(0, 1), CONVEX),
    "Box open above": Entry("constraint", lambda: actmax.Box(-1, None), CONVEX),
    "Box by channel": Entry("constraint", lambda: actmax.Box((0, 0, -1), (1, 2, 3)), CONVEX),
    "Sigmoid": Entry("constraint", lambda: actmax.Sigmoid(-1, 2)),
    "Unbounded": Entry("constraint", actmax.Unbounded, CONVEX),
    "L2Ball": Entry("constraint", lambda: actmax.L2Ball(2.0), CONVEX),
    "L2Ball's surface": Entry("constraint", lambda: actmax.L2Ball(2.0, surface=True)),
    "PixelBall": Entry("constraint", lambda: actmax.PixelBall(1.0), CONVEX),
    "LInfBall": Entry("constraint", lambda: actmax.LInfBall(0.3, center=0.5), CONVEX),
    "Mixture": Entry("constraint", actmax.Mixture, CONVEX),
    "Columns": Entry(
        "constraint", lambda: actmax.Columns({0: (0, 1), (1, 2): actmax.Mixture()}), CONVEX
    ),
    "Contrast": Entry("constraint", lambda: actmax.Contrast(0.2, mean=0.5)),
    "Contrast by channel": Entry("constraint", lambda: actmax.Contrast((0.1, 0.2, 0.3))),
    "Box & Contrast": Entry(
        "constraint", lambda: actmax.Box(0, 1) & actmax.Contrast(0.2), {"tolerance": 1e-4}
    ),
    "Intersection": Entry(
        "constraint",
        lambda: actmax.Box(0, 1) & actmax.L2Ball(3.0),
        CONVEX,
    ),
    # Three channels are three letters.
    "OneHot": Entry("constraint", lambda: actmax.OneHot("ACG")),
    "Simplex": Entry("constraint", lambda: actmax.Simplex("ACG")),
}

GRADIENTS = {
    "Normalize": Entry("gradient", actmax.Normalize),
    "Normalize l2": Entry("gradient", lambda: actmax.Normalize("l2")),
    "Normalize mean_abs": Entry("gradient", lambda: actmax.Normalize("mean_abs")),
    "ClipNorm": Entry("gradient", lambda: actmax.ClipNorm(0.01)),
    "ClipValue": Entry("gradient", lambda: actmax.ClipValue(0.001)),
    "BlurGradient": Entry("gradient", lambda: actmax.BlurGradient(1.0)),
    "InverseFrequency": Entry("gradient", lambda: actmax.InverseFrequency(0.3)),
}

OPTIMIZERS = {
    "SGD": Entry("optimizer", lambda: actmax.SGD(0.5)),
    "SGD with momentum": Entry("optimizer", lambda: actmax.SGD(0.1, momentum=0.5)),
    "SGD normalized": Entry("optimizer", lambda: actmax.SGD(0.05, normalize=True)),
    "Adam": Entry("optimizer", lambda: actmax.Adam(0.02)),
    "RMSprop": Entry("optimizer", lambda: actmax.RMSprop(0.02)),
    "ProgressSGD": Entry("optimizer", lambda: actmax.ProgressSGD(0.5, desired=0.01)),
    "ForgetfulAdagrad": Entry("optimizer", lambda: actmax.ForgetfulAdagrad(0.01)),
    "AfterUpdate": Entry(
        "optimizer",
        lambda: actmax.AfterUpdate(
            actmax.SGD(0.5),
            [
                actmax.DecayImage(0.05),
                actmax.Proximal(actmax.soft_threshold, 0.01),
                actmax.BlurImage(0.5, every=2),
                actmax.ClipSmallNorms(10.0),
                actmax.ClipSmallContributions(10.0),
            ],
        ),
    ),
    "Keras Adam": Entry("optimizer", lambda: keras.optimizers.Adam(0.02), fixed_rows=True),
}

SCHEDULES = {
    "Linear": Entry("schedule", lambda: actmax.Linear(0.1, 0.01, 20)),
    "Cosine": Entry("schedule", lambda: actmax.Cosine(0.1, 0.01, 20)),
    "Exponential": Entry("schedule", lambda: actmax.Exponential(0.1, 0.01, 20)),
}

# Callbacks that write take a place of their own, which is gone with the process.
PLACE = tempfile.TemporaryDirectory()


def place(name):
    return Path(PLACE.name) / name


CALLBACKS = {
    "BestSoFar": Entry("callback", lambda: actmax.BestSoFar(place("best")), {"keep": "best"}),
    "CSVLog": Entry("callback", lambda: actmax.CSVLog(place("log.csv"))),
    "JSONLines": Entry("callback", lambda: actmax.JSONLines(place("log.jsonl"))),
    "Snapshots": Entry("callback", lambda: actmax.Snapshots(place("steps"), every=3)),
    "StopOnPlateau": Entry("callback", lambda: actmax.StopOnPlateau(patience=2, min_delta=1e6)),
    "stops single images": Entry(
        "callback", lambda: lambda snapshot: np.full(snapshot.live.shape, snapshot.step >= 4)
    ),
    "Frames": Entry("callback", actmax.Frames),
    "Progress": Entry("callback", actmax.Progress),
    "function callback": Entry("callback", lambda: lambda snapshot: None),
}

PENALTIES = {
    "TotalVariation": Entry("regularizer", lambda: regularizers.TotalVariation(0.3)),
    "TotalVariation of beta": Entry(
        "regularizer", lambda: regularizers.TotalVariation(0.3, beta=2.0)
    ),
    "L1": Entry("regularizer", lambda: regularizers.L1(0.3)),
    "L2": Entry("regularizer", lambda: regularizers.L2(0.3)),
    "L2 every third step": Entry("regularizer", lambda: regularizers.L2(0.3, every=3)),
    "LInf": Entry("regularizer", lambda: regularizers.LInf(0.3)),
    "LogSum": Entry("regularizer", lambda: regularizers.LogSum(0.3)),
    "AlphaNorm": Entry("regularizer", lambda: regularizers.AlphaNorm(0.3)),
    "PixelNorm": Entry("regularizer", lambda: regularizers.PixelNorm(0.3, center=0.5)),
    "Bound": Entry("regularizer", lambda: regularizers.Bound(0.3, low=0.2, high=0.8)),
    "BatchNormPenalty": Entry(
        "regularizer",
        lambda: actmax.BatchNormPenalty(
            0.3, model=normalized(dtype="float64", shape=(None, None, 3))
        ),
        {"skip": ("resolution",)},  # a network sees larger things in a larger image
    ),
    "penalty": Entry(
        "regularizer",
        lambda: regularizers.penalty(lambda images: images[:, 0, 0, 0] ** 2),
        {"skip": ("resolution",)},  # one pixel is no mean over pixels
    ),
}

# Of rows of letters: two or more channels, or those of an array of the size of one input.
LETTER_PENALTIES = {
    "Entropy": Entry("regularizer", lambda: regularizers.Entropy(0.3)),
    "Edits": Entry(
        "regularizer",
        lambda: regularizers.Edits(0.01, original=photos(UNEVEN)[0]),
        {"shapes": [UNEVEN]},
    ),
}

TRANSFORMS = {
    "Jitter": Entry("regularizer", lambda: regularizers.Jitter(2)),
    "Shift": Entry("regularizer", lambda: regularizers.Shift(1.5)),
    "Rotate": Entry("regularizer", lambda: regularizers.Rotate(10.0)),
    "Scale": Entry("regularizer", lambda: regularizers.Scale(0.9, 1.1)),
    "Flip": Entry("regularizer", regularizers.Flip),
    "Noise": Entry("regularizer", lambda: regularizers.Noise(0.05)),
    "Pad": Entry("regularizer", lambda: regularizers.Pad(2)),
    "Blur": Entry("regularizer", lambda: regularizers.Blur(0.7)),
    "RandomBox": Entry("regularizer", lambda: regularizers.RandomBox(0.4, 0.8)),
    "RandomBox anywhere": Entry("regularizer", lambda: regularizers.RandomBox(0.4, 0.8, None)),
    "RandomCrop": Entry("regularizer", lambda: regularizers.RandomCrop((5, 6))),
    "ColorShift": Entry("regularizer", lambda: regularizers.ColorShift(0.3, 0.1)),
    "transform": Entry(
        "regularizer",
        lambda: regularizers.transform(
            lambda images, seeds, step: (
                images * regularizers.random.uniform(seeds, [1, 1, 1], 0.8, 1.0, images.dtype)
            )
        ),
    ),
}

ENTRIES: dict[str, Entry] = {
    **OBJECTIVES,
    **PARAMETERIZATIONS,
    **CONSTRAINTS,
    **GRADIENTS,
    **OPTIMIZERS,
    **SCHEDULES,
    **CALLBACKS,
    **PENALTIES,
    **LETTER_PENALTIES,
    **TRANSFORMS,
}

# Public classes that are no parts: what is run, what comes out, and bases to subclass.
NO_PARTS = {
    "Maximizer", "Result", "Snapshot", "Status", "Sweep", "NonFiniteError", "RecordError",
    "BrokenLawWarning", "ProbabilityWarning", "InputRangeWarning", "NamedOtherwiseWarning", "Callback",
    "Constraint", "Objective", "Optimizer", "Parameterization", "Penalty", "Transform", "Affine", "Catalog",
    "CatalogError", "ModelFileError", "Evaluation", "Judge", "Named", "Throughput",
    # Tried with a module of their tool in tests/actmax/test_callbacks.py.
    "MLflow", "TensorBoard", "WandB",
    # Operators of AfterUpdate, whose entry has all four.
    "BlurImage", "ClipSmallContributions", "ClipSmallNorms", "DecayImage",
    "Proximal",
    # Of images of one shape: tried in tests/actmax/test_optimum.py.
    "LinearEquations",
}  # fmt: skip
