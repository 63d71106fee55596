"""The default recipes. Their numbers were chosen with development judges only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.constraints import Constraint, OneHot, Rows, width
from actmax.evidence import Evidence
from actmax.loop.straight_through import is_straight_through
from actmax.models import Taps, input_specs, is_keras, layers
from actmax.objectives import BATCH_NORM
from actmax.optimizers import SGD, Adam, Apart, InUnits, Optimizer
from actmax.parameterizations import (
    IMAGENET_COLORS,
    Blurred,
    Decorrelated,
    Fourier,
    LimitedContrast,
    Parameterization,
    Pixels,
)
from actmax.priors import BatchNormPenalty
from actmax.schedules import Linear
from actmax.types import IMAGES
from regularizers import LogSum, Noise, Pad, Rotate, Scale, Shift, TotalVariation
from regularizers.base import Regularizer

# Rate of Adam in units of the range's width, for params that are images.
_PIXEL_RATE = 0.05
# Likewise beside a set that is not one of values, each on its own, in units of its size; it falls to 0.
# No gradient counts for more than the mean one: sizes of gradients of a deep network change by a factor of 6
# within a run, and large ones, of steep places, would decide many steps. The memory is short where gradients
# agree, as at an optimum on a sphere, where old ones lead away from it. It is long where they zigzag, as in
# deep networks far from an optimum, whose gradients point against their mean in most steps.
_SET_RATE, _SET_MEMORY, _SET_OPPOSED, _SET_LIMIT = 0.2, 0.4, 0.75, 1.0
# Length of a step of the logits of letters. It grows, so that what the gradient said at the first sequences,
# which are bad ones, counts less.
_LENGTH = Linear(0.02, 1.0)
# Rate of Adam for logits of letters.
_LETTER_RATE = 0.1
# Side in pixels up to which an image is a thumbnail.
_SMALL = 64
# Contrast that thumbnails have at most, in units of the range's width: photographs of 32 pixels have 0.2.
_CONTRAST = 0.15
# Contrasts that natural images may ask for.
_CONTRASTS = (0.02, 0.5)
# Weight of the statistics that a network's batch-norm layers were trained to, in units of the score's pull:
# first what images are like, in the end the score alone. And steps from one look at them to the next.
_PRIOR = Linear(0.04, 0.0)
_PRIOR_EVERY = 8
_IMAGE_RANK = 3


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The parts that a user may leave out."""

    regularizers: Any
    parameterization: Any
    optimizer: Any
    copies: Any
    balance: Any


def choose(
    shapes: dict[str, tuple[int, ...]],
    ranges: dict[str, Constraint],
    explicit: bool,
    network: Any,
    given: Any,
    chosen: dict[str, str],
    evidence: Evidence | None = None,
    natural: np.ndarray | None = None,
) -> Recipe:
    """Fills in the arguments that were not given.

    If `regularizers=` is given, the rest is plain: pixels, one copy, Adam. Otherwise a recipe for the
    kind of input fills in everything that is missing. Steps on pixels are relative to the size of the
    set. If the set couples values, Adam keeps one second moment per image.

    Args:
        shapes: canvas of every optimized input.
        ranges: constraint of every optimized input.
        explicit: True if a constraint was given that only images can be projected on.
        network: the one model, if it has a single input; None otherwise.
        given: the arguments, with None for what was left out.
        chosen: filled with what was chosen here and why, for `result.config`.
        evidence: for a single input of gray images, the kind of these images.
        natural: images of the kind that the network was trained on, channels last, or None.
    """
    shape = next(iter(shapes.values()))
    parts = _given_parts(given.parameterization)
    # Params that are images have steps in units of the range, whoever chose the pixels.
    explicit = explicit or (bool(parts) and all(part.are_images for part in parts))
    if any(isinstance(constraint, Rows) for constraint in ranges.values()):
        recipe = letters(shapes, ranges)
        chosen["recipe"] = "letters, because of the input range"
        if isinstance(recipe.optimizer, (InUnits, Apart)):
            chosen["optimizer"] = "steps of other inputs in units of their ranges"
    elif given.regularizers is None and len(shapes) == 1 and len(shape) == _IMAGE_RANK:
        constraint = next(iter(ranges.values()))
        recipe = _of_images(
            shape, constraint, explicit, bool(parts), network, given, chosen, evidence, natural
        )
        if explicit:
            recipe = dataclasses.replace(recipe, optimizer=_on_params(shapes, ranges, chosen))
    else:
        recipe = plain(shapes, ranges, chosen)
        if parts and not any(part.are_images for part in parts):
            recipe = dataclasses.replace(recipe, optimizer=Adam(_PIXEL_RATE))
        reason = (
            "regularizers were given" if given.regularizers is not None else "inputs are no images"
        )
        chosen["recipe"] = f"plain, because {reason}"
    rates = [part.rate for part in parts if part.rate is not None]
    if rates and given.optimizer is None:
        recipe = dataclasses.replace(recipe, optimizer=Adam(min(rates)))
        chosen["optimizer"] = f"rate {min(rates):g}, which fits the parameterization given"
    filled = {
        field.name: getattr(given, field.name)
        for field in dataclasses.fields(Recipe)
        if getattr(given, field.name) is not None
    }
    return dataclasses.replace(recipe, **filled)


def _of_images(
    shape: tuple[int, ...],
    constraint: Constraint,
    explicit: bool,
    decoded: bool,
    network: Any,
    given: Any,
    chosen: dict[str, str],
    evidence: Evidence | None,
    natural: np.ndarray | None,
) -> Recipe:
    """The recipe for images: for strokes if there is evidence of them, else for photographs.

    `decoded` says whether a parameterization was given; the rest is `choose`'s.
    """
    ground = None if evidence is None else evidence.ground
    kind = "gray_images" if shape[-1] == 1 else "color_images"
    kind = kind if ground is None else "strokes"
    chosen["recipe"] = f"{kind}, for images {shape}, because no regularizers were given"
    if evidence is not None:
        chosen["images"] = evidence.why
    if ground is not None:
        return strokes(shape, constraint, explicit, ground)
    small, color = max(shape[:2]) <= _SMALL, shape[-1] > 1
    prior: list[BatchNormPenalty] = []
    if small and color:
        prior = _prior(network, shape, constraint, given.preprocess, chosen)
    # The limit is of a parameterization of ours, which has a range that a pair is mapped to.
    limited = small and not decoded and constraint.projects and not explicit
    # Without colors there are no garish ones: gray images have a limit where natural ones say which.
    limited = limited and (color or natural is not None)
    contrast = _contrast(natural, constraint)
    if limited:
        reason = "images are small" if natural is None else "natural images have as much"
        chosen["contrast"] = f"at most {contrast:.3g} of the range, because {reason}"
    return photographs(shape, constraint, explicit, prior, contrast if limited else None)


def _contrast(natural: np.ndarray | None, constraint: Constraint) -> float:
    """Contrast that small images have at most, in units of the range's width."""
    if natural is None:
        return _CONTRAST
    deviations = np.sqrt(np.mean(np.var(natural, axis=(1, 2)), axis=-1))
    return float(np.clip(np.mean(deviations) / (width(constraint) or 1.0), *_CONTRASTS))


def _prior(
    network: Any,
    shape: tuple[int, ...],
    constraint: Constraint,
    preprocess: Any,
    chosen: dict[str, str],
) -> list[BatchNormPenalty]:
    """A penalty with the batch-norm statistics of the network, if it has such layers; else none."""
    if network is None or not is_keras(network):
        return []
    import keras

    if isinstance(preprocess, dict):
        preprocess = next(iter(preprocess.values()), None)
    kind = keras.layers.BatchNormalization
    try:
        if not any(isinstance(layer, kind) for layer in layers(network).values()):
            return []
        # Whether the model's pass calls them shows in such a pass alone.
        specs = input_specs(network)
        known = (specs[0].shape or ()) if specs else ()
        size = known if known and None not in known else shape
        Taps(network, (BATCH_NORM,)).trace({IMAGES: tf.TensorSpec([1, *size], tf.float32)})
    except ValueError as error:
        chosen["prior"] = f"none, because the model's layers cannot be read: {error}"
        return []
    weight = _without_units(_PRIOR, constraint)
    penalty = BatchNormPenalty(weight, model=network, preprocess=preprocess, every=_PRIOR_EVERY)
    chosen["prior"] = (
        f"batch_norm_penalty of {weight.start:g}, falling to {weight.end:g}, a second pass through the model "
        f"in one of {_PRIOR_EVERY} steps, because it has batch-norm layers"
    )
    return [penalty]


def _without_units(weight: Linear, constraint: Constraint) -> Linear:
    """The weight, in units of the pull, of a penalty that has no units of the images.

    A pull is a score over a value of the images, as a total variation is such a value, and their product
    a score. A penalty without units needs the range's width in its place, or it would count for less the
    wider the range of one and the same model is.
    """
    span = width(constraint) or 1.0
    return Linear(weight.start * span, weight.end * span)


def _given_parts(given: Any) -> list[Parameterization]:
    """The parameterizations that a user gave: none, one, or one for each of some inputs."""
    values = given.values() if isinstance(given, dict) else [given]
    return [part for part in values if isinstance(part, Parameterization)]


def plain(
    shapes: dict[str, tuple[int, ...]],
    ranges: dict[str, Constraint],
    chosen: dict[str, str] | None = None,
) -> Recipe:
    """Pixels from a faint noise, Adam with a rate of 1/20 of the range's width, nothing else."""
    return Recipe(
        regularizers=[],
        parameterization={name: Pixels() for name in shapes},
        optimizer=_on_params(shapes, ranges, {} if chosen is None else chosen),
        copies=1,
        balance=False,
    )


def _on_params(
    shapes: dict[str, tuple[int, ...]], ranges: dict[str, Constraint], chosen: dict[str, str]
) -> Optimizer:
    """Adam on params that are images, its steps in units of the sets.

    Where every value has bounds of its own: a constant rate of 1/20 of the width. Beside any other
    set: one second moment per image, gradients cut to it, and a rate of a fifth of the set's size that
    falls to 0. The last step of a rate that falls linearly is as good as the best mean of all (Zamani and
    Glineur, Exact convergence rate of the last iterate in subgradient methods, 2023,
    https://arxiv.org/abs/2307.11134), and on a sphere the direction of the gradient is reached. A set
    that maps has the gradient through the map and no projection, so a moment of every value is right:
    where the map is flat for some values, as a softmax is, these move all the same. A map that hands the
    gradient on as it is acts as a projection does, and has one moment per image too.
    """
    units = {name: ranges[name].units(shape) for name, shape in shapes.items()}
    by_value = all(constraint.by_value for constraint in ranges.values())
    first = next(iter(units.values()))
    one = all(np.ndim(unit) == 0 and unit == first for unit in units.values())
    size = float(np.mean(first)) if one else 1.0
    rate = _PIXEL_RATE * size if by_value else Linear(_SET_RATE * size, 0.0)
    maps = not any(
        not c.by_value and (c.projects or is_straight_through(c, shapes[name]))
        for name, c in ranges.items()
    )
    inner = Adam(rate)
    if not (by_value or maps):
        inner = Adam(rate, beta_1=_SET_MEMORY, per="image", limit=_SET_LIMIT, opposed=_SET_OPPOSED)
    if maps and not by_value:
        chosen["optimizer"] = f"a rate of {_SET_RATE:g} of the size of what is mapped, falling to 0"
    elif not by_value:
        names = ", ".join(type(c).__name__ for c in ranges.values() if not c.by_value)
        chosen["optimizer"] = (
            f"one second moment per image, because {names} is no set of values, each on its own; a rate "
            f"of {_SET_RATE:g} of its size" + (f" {size:.4g}" if one else "") + ", falling to 0"
        )
    if one:
        return inner
    if by_value:
        chosen["optimizer"] = (
            f"a rate of {_PIXEL_RATE:g} in units of the width of each column or input"
        )
    return InUnits(rate, dataclasses.replace(inner, learning_rate=rate), units)


def letters(shapes: dict[str, tuple[int, ...]], ranges: dict[str, Constraint]) -> Recipe:
    """Letters: logits that start from noise, and steps of fixed length along the gradient.

    So the logits are the sum of the gradient directions so far, and the letters are those that were best on
    average. On networks of DNA and peptides, 60 such steps reach higher scores than 60 steps of Adam, of a
    relaxation or of Fast SeqProp (`benchmarks/letters.py`). A matrix, or a gradient through a softmax, uses
    Adam. Other inputs beside letters also use Adam, with steps of 1/20 of their ranges.
    """
    lettered = {name: part for name, part in ranges.items() if isinstance(part, Rows)}
    passed_on = all(
        isinstance(part, OneHot) and part.temperature is None for part in lettered.values()
    )
    units = {
        name: np.multiply(_PIXEL_RATE / _LETTER_RATE, ranges[name].units(shape))
        for name, shape in shapes.items()
        if name not in lettered
    }
    optimizer: Optimizer = Adam(_LETTER_RATE)
    if units:
        known = {name: _number(unit) for name, unit in units.items()}
        optimizer = InUnits(_LETTER_RATE, optimizer, known)
    if passed_on:
        names = tuple(lettered)
        optimizer = Apart(_LETTER_RATE, names, optimizer) if units else SGD(_LENGTH, normalize=True)
    return Recipe(
        regularizers=[],
        parameterization={name: Pixels() for name in shapes},
        optimizer=optimizer,
        copies=1,
        balance=False,
    )


def _number(unit: Any) -> Any:
    return float(unit) if np.ndim(unit) == 0 else unit


def strokes(
    shape: tuple[int, ...], constraint: Constraint, explicit: bool, ground: float = 0.0
) -> Recipe:
    """Gray images of few strokes on an even background, which other networks recognize too.

    Every step turns the image by up to 20 degrees, scales it by up to 1.16, shifts it by up to 0.1 of its
    size on a border with the background value, and adds noise. There is one copy per step: with a limited
    number of passes, many steps with one copy are better than few steps with several. Adam forgets sooner
    than by default and its steps stay long, so that fewer pictures lose everything but fragments. `LogSum`
    grows from 0. So strokes form first, and later gray values fall to the background. It is left out if
    the range has no end there. The background comes from the evidence and is never assumed.

    Args:
        shape: `(H, W, C)`.
        constraint: the input range.
        explicit: True if images must be projected on it, so that params have to be images.
        ground: 0.0 for the darkest value, 1.0 for the brightest.
    """
    span = width(constraint) or 1.0
    border = max(round(min(shape[:2]) / 10), 1)
    # The padded image is resized to the model's size again: scaled up by as much, it stays at 1.
    zoom = 1.0 + 2.0 * border / min(shape[:2])
    even = _end(constraint, ground)
    penalties: list[Regularizer] = [TotalVariation(0.2)]
    if even is not None:
        weight = _without_units(Linear(0.0, 0.3), constraint)
        penalties.append(LogSum(weight, epsilon=0.1 * span, center=even))
    return _expected(
        [
            Pad(border, "edge" if even is None else even),
            Rotate(20.0),
            Scale(0.86 * zoom, 1.16 * zoom),
            Shift(border),
            Noise(0.32 * span),
            *penalties,
        ],
        Blurred(sigma=0.8, mean=0.0 if even is None else (1.2 if ground else -1.2)),
        Adam(Linear(0.2, 0.15), beta_1=0.6),
        pixels=explicit,
    )


def photographs(
    shape: tuple[int, ...],
    constraint: Constraint,
    explicit: bool,
    prior: Sequence[Regularizer] = (),
    contrast: float | None = None,
) -> Recipe:
    """Gray or color images that other networks recognize too: moved, 1/f spectrum, natural colors.

    Every step turns, scales and shifts the image at random. Images of up to 64 pixels are shifted by up
    to 3/16 of their size, larger ones by up to 0.1, with more noise. For images of up to 64 pixels,
    `choose` limits the contrast, which prevents garish colors, and adds a prior if the network has
    batch-norm layers. With a prior, steps are four times as long, or eight times if the contrast limit
    keeps values away from the ends of the range. Then areas become even, and different starts give
    different pictures. More noise and total variation prevent fine grain.

    Args:
        shape: `(H, W, C)`.
        constraint: the input range.
        explicit: True if images must be projected on it, so that params have to be images.
        prior: penalties that pull images towards natural ones; for images of up to 64 pixels.
        contrast: limit of the contrast, in units of the range's width; None for none.
    """
    span = width(constraint) or 1.0
    size = min(shape[:2])
    small = max(shape[:2]) <= _SMALL
    noise, variation = (0.1, 0.2) if not small else (0.05, 0.3) if prior else (0.02, 0.25)
    # Moves repeat the outermost values, so whole borders add to the gradient of these values. Large pictures
    # are therefore mirrored at them first, and have no frame. The padded image is resized to the model's
    # size again.
    border = 0 if small else min(max(round(size / 10), 1), size - 1)
    zoom = 1.0 + 2.0 * border / size
    moves: list[Regularizer] = [
        *([Pad(border, "reflect")] if border else []),
        Rotate(8.0),
        Scale(0.9 * zoom, 1.15 * zoom),
        Shift(size * 3 / 16 if small else size / 10),
        Noise(noise * span),
    ]
    images: Parameterization = Fourier(decay=1.5)
    if shape[-1] == len(IMAGENET_COLORS):
        images = Decorrelated(images)
    if contrast is not None:
        images = LimitedContrast(images, contrast)
    rate = Linear(0.1, 0.02)
    if prior:
        rate = Linear(0.8, 0.08) if contrast is not None else Linear(0.4, 0.04)
    return _expected(
        [*moves, TotalVariation(variation), *prior],
        images,
        Adam(rate),
        pixels=explicit,
    )


def _expected(
    regularizers: list[Regularizer],
    parameterization: Parameterization,
    optimizer: Adam,
    *,
    pixels: bool,
) -> Recipe:
    """A recipe with weights relative to the score's gradient; on pixels if the constraint needs it."""
    return Recipe(
        regularizers=regularizers,
        parameterization=Pixels() if pixels else parameterization,
        optimizer=optimizer,
        copies=1,
        balance=True,
    )


def _end(constraint: Constraint, ground: float) -> float | None:
    """The least or the largest value of the range of gray images; None where it has no end."""
    value = constraint.high if ground else constraint.low
    end = None if value is None else float(np.max(value) if ground else np.min(value))
    return end if end is not None and np.isfinite(end) else None
