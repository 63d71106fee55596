"""The immutable record of the parts of a run, and the pure functions made of them.

For every image n: `J_n = mean over copies of score_n(model(transforms(x))) - sum_k w_k R_k(x)_n`, with
`x = constraint.apply(decode(params))`. Images and params are dicts by input name throughout; a model
with one input has the one entry `"images"`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from actmax import checks, feeding, masks
from actmax.constraints import Constraint, Rows
from actmax.feeding import Given, On, per_image, tile_to
from actmax.models import Taps
from actmax.objectives import LOGITS, ROWS, Objective
from actmax.parameterizations import Parameterization
from actmax.preparing import from_last, prepare
from actmax.types import FixedArray, GradientFunction, Images, Metric, Params
from regularizers import random
from regularizers.base import Penalty, Transform
from regularizers.signatures import asks

# Names under which the seeds and the step stand beside what masks keep; no input's name has a "/".
_SEEDS, _STEP = "/seeds", "/step"


class Composed(Protocol):
    """Transforms as one function, as `regularizers.warp.compose` makes it."""

    def ahead(
        self, shape: tuple[int, ...], seeds: tf.Tensor, rows: tf.Tensor
    ) -> dict[int, tf.Tensor]:
        """What transforms work out for many calls, by place. `[T, M, 2] -> [M, ...]` each."""

    def __call__(
        self, images: tf.Tensor, seeds: Any, step: tf.Tensor, ahead: Mapping[int, tf.Tensor]
    ) -> tf.Tensor:
        """Images transformed. `[N, ...], [T, N, 2] -> [N, ...]`."""


class Draws(NamedTuple):
    """The random draws of the transforms in one step; for many steps with one more leading axis.

    Attributes:
        seeds: int32 `[T, K * N, 2 or 3]`, folded with the step.
        ahead: values that transforms computed from the seeds in advance, `[K * N, ...]` by input
            and position.
    """

    seeds: tf.Tensor
    ahead: dict[str, dict[int, tf.Tensor]]


class Judged(NamedTuple):
    """The results of one pass of the models without transforms.

    Attributes:
        scores: `[N]`.
        probabilities: of the targets, by the models' own softmax or sigmoid, `[N]`; None if there is none.
        classes: of every model, outputs of all classes before its softmax or sigmoid, `[N, C]`; none if the
            objective is no single class of an output.
        asked: the classes asked for, int `[N]`; None likewise.
        terms: contribution of each term of the objective to the scores, `[N]`, in the order of
            `terms_by_name`.
        linear: for every model, by name, the outputs whose last function is not known.
        inner: the unweighted penalties of layers, `[N]` each.
        outputs: for every model, its own outputs by position, as far as the objective uses them.
    """

    scores: tf.Tensor
    probabilities: tf.Tensor | None
    classes: tuple[tf.Tensor, ...]
    asked: tf.Tensor | None
    terms: tuple[tf.Tensor, ...] = ()
    linear: tuple[Mapping[str, tf.Tensor], ...] = ()
    inner: tuple[tf.Tensor, ...] = ()
    outputs: tuple[Mapping[str, tf.Tensor], ...] = ()


@dataclasses.dataclass(frozen=True)
class Input:
    """One optimized input.

    Attributes:
        name: of the model's input.
        shape: of one image, the canvas, channels last: what every part of the loop sees.
        model_shape: what the model takes, in its own layout.
        parameterization: params to raw images.
        constraint: raw images to images.
        preprocess: images in the input range to what the model takes; None for the identity.
        transforms: `(position in the list of regularizers, transform)`.
        composed: the transforms as one function; None without any.
        mask: 1 where it is optimized, 0 where kept: `[H, W]`, the image's shape, or with N; or None.
        channels: axis of the channels in what the model takes, batch axis counted; None for the last.
        flat: whether the model takes the rows of letters laid end to end, `[N, L * A]`.
    """

    name: str
    shape: tuple[int, ...]
    model_shape: tuple[int | None, ...]
    parameterization: Parameterization
    constraint: Constraint
    preprocess: Callable[[tf.Tensor], tf.Tensor] | None
    transforms: tuple[tuple[int, Transform], ...]
    composed: Composed | None
    mask: FixedArray | None = None
    channels: int | None = None
    flat: bool = False

    def start(self, seeds: tf.Tensor, dtype: tf.DType) -> Params:
        """Params before the first step. `[N, 2] ->`."""
        params = self.parameterization.init(self.shape, seeds, dtype)
        return self.constraint.start(params) if self.parameterization.are_images else params

    def begin(self, images: tf.Tensor, seeds: tf.Tensor) -> Params:
        """Params of images to start from; letters that they leave open start from noise. `[N, ...] ->`."""
        params = self.encode(images)
        if not isinstance(self.constraint, Rows) or not self.parameterization.are_images:
            return params
        return tf.where(self.constraint.unknown(images), self.start(seeds, images.dtype), params)

    def encode(self, images: tf.Tensor) -> Params:
        """Params of given images. `[N, ...] ->`."""
        return self.parameterization.encode(self.constraint.invert(images))

    def decode(self, params: Params, kept: Images, *, last: bool = False) -> tf.Tensor:
        """Images of params, as they are returned if `last`; outside of the mask those kept. `-> [N, ...]`."""
        images = self.own_set(kept).apply(self.parameterization.decode(params, self.shape))
        images = self.own_set(kept).finish(images) if last else images
        if self.mask is None:
            return images
        mask = masks.spread(self.mask, self.shape, images)
        given = kept[self.name]
        # Chosen, and not only weighted, so that what is kept is kept to the last bit.
        return tf.where(mask > 0, mask * images + (1 - mask) * given, given)

    def project(self, params: Params, kept: Images) -> Params:
        """Params back in the set, where params are images; outside of a mask nothing counts."""
        if not self.parameterization.are_images:
            return params
        return masks.project(self.own_set(kept), self.mask, self.shape, params)

    def distance(self, images: tf.Tensor, kept: Images) -> tf.Tensor:
        """How far images are outside of the set, in its own units. `[N, ...] -> [N]`."""
        return masks.distance(self.own_set(kept), self.mask, self.shape, images)

    def own_set(self, kept: Images) -> Constraint:
        """The constraint: around each row's own start, and at its step, where it is one of those."""
        own = self.constraint
        if own.needs_start:
            own = own.at(kept[self.name])
        if own.asks and _STEP in kept:
            seeds = random.fold_in(
                kept[_SEEDS], feeding.FIRST_SET + zlib.crc32(self.name.encode()) % feeding.FIRST_SET
            )
            own = own.at_step(random.fold_in(seeds, kept[_STEP]), kept[_STEP])
        return own

    def fit(self, images: tf.Tensor) -> tf.Tensor:
        """Images at the size and in the convention of the model. `[N, ...] -> [N, ...]`."""
        if self.flat:
            images = tf.reshape(images, [-1, *self.own_shape])
        return prepare(images, self.model_shape, self.channels, self.preprocess)

    @property
    def own_shape(self) -> tuple[int, ...]:
        """Shape of one image in the model's layout, as users give and get it."""
        return (math.prod(self.shape),) if self.flat else from_last(self.shape, self.channels)

    def take_in(self, images: np.ndarray) -> np.ndarray:
        """Images as a user gives them, in the model's layout, with channels last."""
        if self.flat:
            return images.reshape(len(images), *self.shape)
        return images if self.channels is None else np.moveaxis(images, self.channels, -1)

    def hand_out(self, images: Any) -> Any:
        """Images of the loop in the model's layout, the inverse of `take_in`; other arrays as they are."""
        if np.shape(images)[1:] != self.shape:
            return images
        if self.flat:
            return np.reshape(images, (-1, *self.own_shape))
        if self.channels is None:
            return images
        return np.ascontiguousarray(np.moveaxis(images, -1, self.channels))


@dataclasses.dataclass(frozen=True)
class Problem:
    """The traced parts of a run: everything except its run-time tensors."""

    models: tuple[Taps, ...]
    objective: Objective
    inputs: tuple[Input, ...]
    penalties: tuple[tuple[str, On, Penalty], ...]  # name, input or inputs, penalty
    gradients: tuple[GradientFunction, ...]
    metrics: tuple[tuple[str, Metric], ...]
    optimizer: Any
    copies: int
    dtype: tf.DType
    antithetic: bool = False
    balance: bool = False  # weights in units of the score's own pull at the start

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the rows of `history`."""
        penalties = tuple(name for name, _, _ in self.penalties)
        return ("score", "objective", *penalties, *(name for name, _ in self.metrics))

    @property
    def lazy(self) -> tuple[int, ...]:
        """Positions of the penalties that are not computed in every step."""
        return tuple(k for k, (_, _, penalty) in enumerate(self.penalties) if penalty.every > 1)

    @property
    def inner(self) -> tuple[int, ...]:
        """Positions of the penalties on layers, which use activations of the model's own pass."""
        return tuple(k for k, (_, _, penalty) in enumerate(self.penalties) if penalty.inner_layers)

    @functools.cached_property
    def remembers(self) -> bool:
        """Whether a penalty has a state."""
        return any(penalty.remembers for _, _, penalty in self.penalties)

    @functools.cached_property
    def follows_rate(self) -> bool:
        """Whether a penalty or a gradient function asks for the learning rate."""
        return any("learning_rate" in penalty.asks for _, _, penalty in self.penalties) or any(
            "learning_rate" in asks("gradient function", function) for function in self.gradients
        )

    @functools.cached_property
    def moves(self) -> bool:
        """Whether a constraint asks for seeds or the step."""
        return any(entry.constraint.asks for entry in self.inputs)

    @property
    def transformed(self) -> bool:
        """Whether there is a transform."""
        return any(entry.transforms for entry in self.inputs)

    @property
    def couples_images(self) -> bool:
        """Whether a part makes an image depend on another image of the batch, or on its position in it."""
        penalties = [penalty for _, _, penalty in self.penalties]
        transforms = [part for entry in self.inputs for _, part in entry.transforms]
        parameterizations = [entry.parameterization for entry in self.inputs]
        if self.objective.count is not None:
            return True
        parts: list[Any] = [self.objective, *penalties, *transforms, *parameterizations]
        return any(part.couples_images for part in parts)

    def start(self, seeds: tf.Tensor, initial: Mapping[str, tf.Tensor]) -> Params:
        """Params before the first step, from noise or from the images given, inside the set."""
        params = {}
        kept = self.keep(initial) | self.moment(seeds, tf.constant(0))
        for position, entry in enumerate(self.inputs):
            # With a mask, what cannot be encoded starts from noise beside the images kept.
            if entry.name in initial and (entry.mask is None or entry.parameterization.invertible):
                first = entry.begin(initial[entry.name], random.fold_in(seeds, position))
            else:
                first = entry.start(random.fold_in(seeds, position), self.dtype)
            params[entry.name] = entry.project(first, kept)
        return params

    def keep(self, initial: Mapping[str, tf.Tensor]) -> Images:
        """Start images that masks keep a part of or sets are around, by input name. `[N, ...]` each.

        Raises:
            ValueError: if an input has a mask or such a set, and no start image.
        """
        masked = [e for e in self.inputs if e.mask is not None or e.constraint.needs_start]
        missing = [entry.name for entry in masked if entry.name not in initial]
        if missing:
            raise ValueError(
                checks.message(
                    f"initial_images of {missing}, of which the mask keeps a part or the set is around them",
                    "none",
                    "Give initial_images, or leave mask out and write a center.",
                )
            )
        return {entry.name: entry.constraint.clip(initial[entry.name]) for entry in masked}

    def moment(self, seeds: tf.Tensor, step: tf.Tensor) -> Images:
        """What is kept for constraints that ask for it: seeds of the run, and the step."""
        return {_SEEDS: seeds, _STEP: step} if self.moves else {}

    def decode(self, params: Params, kept: Images) -> Images:
        """Images of params: inside the set up to rounding."""
        return {entry.name: entry.decode(params[entry.name], kept) for entry in self.inputs}

    def finish(self, params: Params, kept: Images) -> Images:
        """Images of params as they are returned."""
        return {e.name: e.decode(params[e.name], kept, last=True) for e in self.inputs}

    def settle(self, params: Params, before: Params, kept: Images) -> Params:
        """Params back in the set after an update, and constants as they were before it."""
        held = {**params}
        for entry in self.inputs:
            names = entry.parameterization.constants
            if names:  # An optimizer that decays weights moves what has no gradient, too.
                own = {name: before[entry.name][name] for name in names}
                held[entry.name] = {**params[entry.name], **own}
        return self.project(held, kept)

    def project(self, params: Params, kept: Images) -> Params:
        """Params in the set, where params are images."""
        with checks.at_fault("the constraint"):
            return {entry.name: entry.project(params[entry.name], kept) for entry in self.inputs}

    def shape_gradients(self, gradients: Params, images: Images, given: Given) -> Params:
        """Gradients after the gradient functions, in list order.

        Args:
            gradients: with respect to params.
            images: what params decode to, for functions that ask for them.
            given: what else functions may ask for.
        """
        return feeding.shape_gradients(self.gradients, gradients, images, given)

    def update(
        self, gradients: Params, state: Any, params: Params, rate: tf.Tensor, given: Given
    ) -> tuple[Params, Any]:
        """The optimizer's update, with seeds where it asks for them."""
        if "seeds" not in self.optimizer.asks:
            return self.optimizer.update(gradients, state, params, rate)
        seeds = random.fold_in(random.fold_in(given.seeds, feeding.FIRST_OPTIMIZER), given.step)
        return self.optimizer.update(gradients, state, params, rate, seeds=seeds)

    def penalize(self, images: Images, given: Given, which: Sequence[int]) -> list[tf.Tensor]:
        """Unweighted penalties of clean images, one `[N]` for each of some places.

        Args:
            images: by input name.
            given: what penalties may ask for.
            which: positions in the list of penalties; no penalties on layers.
        """
        return [
            feeding.penalty_of(self.penalties[place], place, images, given, self.dtype)
            for place in which
        ]

    def measure(self, images: Images) -> list[tf.Tensor]:
        """Metrics of clean images, one `[N]` per metric."""
        first = next(iter(images.values()))
        given = first if len(images) == 1 else images
        return [
            per_image(metric(given), f"the metric {name!r}", self.dtype, first.shape[0])
            for name, metric in self.metrics
        ]

    def part_seeds(self, seeds: tf.Tensor) -> tf.Tensor:
        """Seeds of every transform for every copy of every image. `[N, 2] -> [T, K * N, 2]`.

        T counts the transforms of all inputs in turn; copies follow one another. Of an antithetic
        pair the second has the first one's seeds, mirrored (and all have a third number, `[.., 3]`).
        """
        if not self.transformed:  # and nobody draws
            rows = self.copies * tf.shape(seeds)[0]
            return tf.zeros([0, rows, 3 if self.antithetic else 2], tf.int32)
        if self.copies == 1 and not self.antithetic:
            copied = random.fold_in(seeds, 0)
        else:
            copies = tf.repeat(tf.range(self.copies), tf.shape(seeds)[0])
            pairs = copies // 2 if self.antithetic else copies
            copied = random.fold_in(tf.tile(seeds, [self.copies, 1]), pairs)
            if self.antithetic:
                copied = random.mirror(copied, copies % 2 == 1)
        positions = [position for entry in self.inputs for position, _ in entry.transforms]
        return random.fold_in(copied[None], tf.constant(positions, tf.int32)[:, None])

    def ahead(self, seeds: tf.Tensor, steps: tf.Tensor) -> Draws:
        """Draws of many steps at once, the bytes that each would draw. `[T, K * N, 2], [S] ->`."""
        folded = random.fold_in(seeds, steps[:, None, None])  # [S, T, K * N, 2]
        parts = tf.reshape(
            tf.transpose(folded, [1, 0, 2, 3]), [tf.shape(seeds)[0], -1, seeds.shape[-1]]
        )
        rows = tf.shape(seeds)[1]
        known = {}
        first = 0
        for entry in self.inputs:
            count = len(entry.transforms)
            if entry.composed is not None:
                found = entry.composed.ahead(entry.shape, parts[first : first + count], rows)
                known[entry.name] = {
                    place: tf.reshape(value, [tf.shape(steps)[0], rows, *value.shape[1:]])
                    for place, value in found.items()
                }
            first += count
        return Draws(folded, known)

    def transform(self, images: Images, seeds: tf.Tensor | Draws, step: tf.Tensor) -> Images:
        """K transformed copies of every image, copy by copy. `[N, ...] -> [K * N, ...]`.

        Args:
            images: clean images.
            seeds: `[T, K * N, 2]`, from `part_seeds`; or the `Draws` of this step.
            step: `[]`.
        """
        if isinstance(seeds, Draws):
            draws = seeds
        else:
            draws = Draws(random.fold_in(seeds, step) if self.transformed else seeds, {})
        first = 0
        copies = {}
        for entry in self.inputs:
            copied = images[entry.name]
            if self.copies > 1:
                copied = tf.tile(copied, [self.copies] + [1] * (copied.shape.rank - 1))
            if entry.composed is not None:
                count = len(entry.transforms)
                own = draws.seeds[first : first + count]
                copied = entry.composed(copied, own, step, draws.ahead.get(entry.name, {}))
                first += count
            copies[entry.name] = copied
        return copies

    def score(
        self,
        images: Images,
        fixed: Images,
        targets: tf.Tensor,
        models: Sequence[Callable[[Images], Any]] | None = None,
        copies: int = 1,
    ) -> tf.Tensor:
        """Scores of images as they are. `[M, ...] -> [M]`, the mean over the models.

        Args:
            images: by name.
            fixed: inputs that are held, by name.
            targets: `[M]` or `[M, C]`.
            models: other ways to compute the same models; None for the models themselves.
            copies: how many copies of every image they are, copy by copy.
        """
        fitted = self.fitted(images, fixed)
        found = [taps(fitted) for taps in models or self.models]
        return self._score(found, targets, fitted, copies)

    def hear(
        self,
        images: Images,
        fixed: Images,
        targets: tf.Tensor,
        given: Given,
        models: Sequence[Callable[[Images], Any]] | None = None,
        copies: int = 1,
    ) -> list[tf.Tensor]:
        """Scores as in `score`, then the unweighted penalties on layers, from one pass. `[M]` each.

        Args:
            images: by name.
            fixed: inputs that are held, by name.
            targets: `[M]` or `[M, C]`.
            given: what penalties may ask for, of the `M / copies` images.
            models: as for `score`.
            copies: as for `score`.
        """
        fitted = self.fitted(images, fixed)
        found = [taps(fitted) for taps in models or self.models]
        score = self._score(found, targets, fitted, copies)
        return [score, *self._inner(images, found, given, copies)]

    def _inner(
        self, images: Images, found: Sequence[Any], given: Given, copies: int
    ) -> tuple[tf.Tensor, ...]:
        return tuple(
            feeding.inner_penalty_of(
                self.penalties[place], place, images, found, given, copies, self.dtype
            )
            for place in self.inner
        )

    def judge(self, images: Images, fixed: Images, targets: tf.Tensor, asked_for: Given) -> Judged:
        """Scores and the models' own probabilities, from one pass. `[M, ...]`.

        Probabilities are None if the objective or one of the models knows none.

        Args:
            images: by name.
            fixed: inputs that are held, by name.
            targets: `[M]` or `[M, C]`.
            asked_for: what penalties of layers may ask for.
        """
        fitted = self.fitted(images, fixed)
        heard = [taps.with_outputs(fitted) for taps in self.models]
        found, own = [each for each, _ in heard], tuple(outputs for _, outputs in heard)
        given = None if self.objective.kind is None else targets
        sure = [
            self.objective.probability(activations, given, taps.heads)
            for activations, taps in zip(found, self.models, strict=True)
        ]
        rows = next(iter(fitted.values())).shape[0]
        owner = "the objective's probability"
        known = [per_image(p, owner, self.dtype, rows) for p in sure if p is not None]
        mean = tf.add_n(known) / float(len(known)) if len(known) == len(sure) else None
        named = [self.objective.classes(activations, given) for activations in found]
        classes = tuple(answer[0] for answer in named if answer is not None)
        asked = next((answer[1] for answer in named if answer is not None), None)
        parts = [part for _, part in self.objective.terms_by_name]
        terms = tuple(self._score(found, targets, fitted, 1, part) for part in parts)
        linear = tuple(
            {
                key: value[f"{LOGITS}/{key}" if key else LOGITS]
                for key, head in taps.heads.items()
                if head == "linear"
            }
            for value, taps in zip(found, self.models, strict=True)
        )
        score = self._score(found, targets, fitted, 1)
        inner = self._inner(images, found, asked_for, 1)
        return Judged(score, mean, classes, asked, terms, linear, inner, own)

    def members(self, images: Images, fixed: Images, targets: tf.Tensor) -> tf.Tensor:
        """The score by each model of an ensemble. `[M, ...] -> [M, models]`."""
        fitted = self.fitted(images, fixed)
        own = [self._score([taps(fitted)], targets, fitted, 1) for taps in self.models]
        return tf.stack(own, axis=1)

    def fitted(self, images: Images, fixed: Images) -> Images:
        """What the models get: the images as they take them, and the inputs that are held."""
        fitted: Images = {entry.name: entry.fit(images[entry.name]) for entry in self.inputs}
        first = next(iter(fitted.values()))
        return fitted | {name: tile_to(value, first) for name, value in fixed.items()}

    def _score(
        self,
        found: Sequence[Any],
        targets: tf.Tensor,
        fitted: Images,
        copies: int,
        part: Objective | None = None,
    ) -> tf.Tensor:
        """Mean over the models of the scores of their activations, by the objective or a part of it."""
        objective = self.objective if part is None else part
        given = None if objective.kind is None else targets
        rows = next(iter(fitted.values())).shape[0]
        scores = []
        for heard in found:
            activations = dict(heard)
            if ROWS in activations:
                of = activations[ROWS]
                activations[ROWS] = of % (tf.size(of) // copies)
            score = objective(activations, given)
            scores.append(per_image(score, "the objective", self.dtype, rows))
        return scores[0] if len(scores) == 1 else tf.add_n(scores) / float(len(scores))
