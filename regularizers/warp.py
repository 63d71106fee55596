"""Several transforms as one function. Affine transforms in a row are resampled only once."""

from __future__ import annotations

import abc
import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow as tf

from regularizers.axes import Axes, check_axes, chosen_axes
from regularizers.base import Transform, image_sizes
from regularizers.slopes import custom_gradient


@dataclasses.dataclass(frozen=True)
class Affine(Transform):
    """A transform that moves pixels by an affine map. `[N, H, W, C] -> [N, H, W, C]`.

    Subclasses define the map, and `resample` uses it. `compose` multiplies the maps of neighbours
    in a list and resamples once. So several affine transforms in a row blur, and cost, as much as
    one.

    Args:
        axes: the K axes that it acts along, counted as in a batch: (2, 3) for the space of films
            [N, T, H, W, C], (1, 2, 3) for volumes. None for H and W of pictures [N, H, W, C].
    """

    keeps_range: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True

    axes: Axes = dataclasses.field(default=None, kw_only=True)

    @abc.abstractmethod
    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Where each output pixel comes from. `[N, 2], [] -> [N, K, K + 1]`; K is 2 for pictures.

        `input = matrix[:, :K] @ output + matrix[:, K]`: both are positions in pixels along the axes in
        their order, (y, x) in pictures, counted from the centre of the image.
        """

    def matrix_at(
        self, sizes: tuple[int, ...], seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType
    ) -> tf.Tensor:
        """`matrix` for images of these sizes along the K axes: override it where the map depends on them."""
        del sizes
        return self.matrix(seeds, step, dtype)

    @property
    def along(self) -> tuple[int, ...]:
        """The axes that it acts along: those given, or the two of pictures."""
        return self.axes or (1, 2)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return moved(tf.convert_to_tensor(images), [(self, seeds)], step)


def check_along(axes: Any, owner: str, plane: bool = False) -> Axes:
    """Checked axes of an affine transform; of one that turns in a plane, two.

    Raises:
        TypeError: if they are not whole numbers.
        ValueError: if there are more than three, not two for a plane, or one is below 1 or given twice.
    """
    found = check_axes(axes, owner)
    most = 2 if plane else 3
    if found is not None and (len(found) > most or (plane and len(found) < most)):
        wanted = "two axes, the plane it turns in," if plane else "one to three axes"
        raise ValueError(
            f"Expected {wanted} for {owner}. Received: {axes!r}. Give two parts for more."
        )
    return found


def moved(
    images: tf.Tensor, members: Sequence[tuple[Affine, tf.Tensor]], step: tf.Tensor
) -> tf.Tensor:
    """Images moved by several affine transforms in order, each with its seeds, and resampled once."""
    for member, _ in members:
        _check_images(images, member)
    sizes = image_sizes(images, members[0][0].name)
    union = tuple(sorted(set().union(*(member.along for member, _ in members))))
    dtype = coordinate_dtype(images)
    maps = []
    for member, seeds in members:
        own = member.matrix_at(tuple(sizes[axis - 1] for axis in member.along), seeds, step, dtype)
        _check_map(own, member)
        maps.append(_spread(own, [union.index(axis) for axis in member.along], len(union)))
    if len(union) == len(sizes) - 1:
        return resample(images, fuse(maps))
    # Axes along which nothing moves are of the same kind as channels.
    rest = [axis for axis in range(1, len(sizes) + 1) if axis not in union]
    order = [0, *union, *rest]
    turned = tf.transpose(images, order)
    inner = [sizes[axis - 1] for axis in union]
    flat = tf.reshape(turned, [-1, *inner, math.prod(sizes[axis - 1] for axis in rest)])
    shape = [-1, *(sizes[axis - 1] for axis in order[1:])]
    back = [order.index(axis) for axis in range(len(order))]
    return tf.transpose(tf.reshape(resample(flat, fuse(maps)), shape), back)


def _spread(matrix: tf.Tensor, places: Sequence[int], count: int) -> tf.Tensor:
    """A map of some axes as one of `count` axes, which keeps the others. `[N, K, K + 1] -> [N, L, L + 1]`."""
    if len(places) == count:
        return matrix
    zero = tf.zeros_like(matrix[:, 0, 0])
    rows = [[zero + float(row == column) for column in range(count + 1)] for row in range(count)]
    columns = [*places, count]
    for own, row in enumerate(places):
        for place, column in enumerate(columns):
            rows[row][column] = matrix[:, own, place]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=1)


def _check_map(matrix: tf.Tensor, part: Affine) -> None:
    """Raises ValueError if a part's map is not one of its own axes."""
    count = len(part.along)
    if tuple(matrix.shape[1:]) != (count, count + 1):
        raise ValueError(
            f"Expected a map [N, {count}, {count + 1}] of {part.name}, for its {count} axes. Received: "
            f"shape {matrix.shape}. Return one row per axis, and the offsets as the last column."
        )


def _check_images(images: tf.Tensor, part: Affine) -> None:
    """Raises ValueError if images lack the part's axes, or it has none and they are no pictures."""
    if part.axes is not None:
        chosen_axes(images, part.axes, part.name)
    elif images.shape.rank != 4:
        raise ValueError(
            f"Expected images of shape [N, H, W, C] in {part.name}. Received shape "
            f"{images.shape}. Do give axes, counted as in a batch: (2, 3) for the space of films "
            "[N, T, H, W, C], two or three of (1, 2, 3) for volumes; or use Jitter, Noise or Blur."
        )


def coordinate_dtype(images: tf.Tensor) -> tf.DType:
    """float32, or float64 for float64 images: half precision cannot hold a pixel's position."""
    return tf.float64 if images.dtype == tf.float64 else tf.float32


def fuse(matrices: Sequence[tf.Tensor]) -> tf.Tensor:
    """The one map of several applied in order. `[N, K, K + 1], ... -> [N, K, K + 1]`."""
    fused = matrices[0]
    axes = int(fused.shape[1])
    for matrix in matrices[1:]:
        # An output pixel of the last transform goes back through the last map first.
        # Written out, because a GPU's matrix product may keep only 10 bits of each factor (TF32).
        rows, columns = tf.expand_dims(fused[:, :, :axes], 3), tf.expand_dims(matrix, 1)
        product = tf.reduce_sum(rows * columns, axis=2)
        fused = product + tf.pad(fused[:, :, axes:], [[0, 0], [0, 0], [axes, 0]])
    return fused


def _positions(matrix: tf.Tensor, sizes: Sequence[int]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """First neighbour along each axis, int32, and weight of the second. `[N, pixels]` each."""
    axes = len(sizes)
    middle = [(size - 1) / 2 for size in sizes]
    grid = [
        tf.reshape(tf.range(size, dtype=matrix.dtype) - middle[axis], _only(axis, axes))
        for axis, size in enumerate(sizes)
    ]
    corners, weights = [], []
    for axis, size in enumerate(sizes):
        # Reshaped and not indexed with None: TensorFlow 2.21's graph rewriter drops the new axes of a
        # slice of a tf.stack.
        row = tf.reshape(matrix[:, axis], [-1, axes + 1, *[1] * axes])
        position = row[:, 0] * grid[0]
        for other in range(1, axes):
            position += row[:, other] * grid[other]
        position += row[:, axes] + middle[axis]
        position = tf.clip_by_value(position, 0.0, size - 1.0)  # the replicated border
        corner = tf.floor(position)
        corners.append(tf.reshape(tf.cast(corner, tf.int32), [-1, math.prod(sizes)]))
        weights.append(tf.reshape(position - corner, [-1, 1]))
    return corners, weights


def _only(axis: int, axes: int) -> list[int]:
    """A shape with all values along one axis."""
    return [-1 if at == axis else 1 for at in range(axes)]


def resample(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Resamples images along affine maps. `[N, H, W, C], [N, 2, 3] -> [N, H, W, C]`.

    Also along one or three axes: `[N, D, H, W, C], [N, 3, 4]`. Linear along every axis (bilinear,
    trilinear), with a replicated border, so that no value leaves the range of its neighbours. The
    gradient with respect to the images is the exact adjoint; the maps are constants to it. No row
    reads or writes another. float16 and bfloat16 are mixed in float32.

    Args:
        images: of any floating dtype, with static sizes but N.
        matrix: as `Affine.matrix` gives it.
    """
    *sizes, channels = image_sizes(images, "resample")
    axes, dtype = len(sizes), coordinate_dtype(images)
    firsts, weights = _positions(tf.stop_gradient(matrix), sizes)
    rows = tf.range(tf.shape(images)[0])[:, None] * math.prod(sizes)

    def corner(*further: int) -> tf.Tensor:
        index = rows
        for axis, (first, size) in enumerate(zip(firsts, sizes, strict=True)):
            place = tf.minimum(first + further[axis], size - 1)
            index += place * math.prod(sizes[axis + 1 :])
        return tf.reshape(index, [-1])

    @custom_gradient
    def sample(flat: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        found = [tf.gather(flat, corner(*at)) for at in itertools.product((0, 1), repeat=axes)]
        for weight in reversed(weights):
            # Pairs along the last axis first. In this form a constant stays that constant to the last bit.
            pairs = zip(found[::2], found[1::2], strict=True)
            found = [first + weight * (second - first) for first, second in pairs]

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            shares = [upstream]
            for weight in weights:
                seconds = [weight * share for share in shares]
                pairs = zip(shares, seconds, strict=True)
                shares = [part for share, second in pairs for part in (share - second, second)]
            # One sum for all corners at the first one, then each to where it belongs: twice as fast as
            # a sum for each. Past the border the weights are 0, so nothing is lost.
            total = tf.math.unsorted_segment_sum(
                tf.concat(shares, axis=1), corner(*[0] * axes), tf.shape(flat)[0]
            )
            total = tf.reshape(total, [-1, *sizes, 2**axes * channels])
            for axis in range(1, axes + 1):
                first, second = tf.split(total, 2, axis=axes + 1)
                total = first + _later(second, axis)
            return tf.reshape(total, [-1, channels])

        return found[0], gradient

    result = sample(tf.reshape(tf.cast(images, dtype), [-1, channels]))
    return tf.cast(tf.reshape(result, [-1, *sizes, channels]), images.dtype)


def _later(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Moved by one pixel along an axis, with 0 where nothing comes from. `[N, H, W, C]`."""
    rank = images.shape.rank
    border = [[1 if at == axis else 0, 0] for at in range(rank)]
    kept = tf.slice(
        images, [0] * rank, [-1 if at != axis else images.shape[at] - 1 for at in range(rank)]
    )
    return tf.pad(kept, border)


@dataclasses.dataclass(frozen=True)
class Composed:
    """Transforms as one function `(images [N, ...], seeds [T, N, 2], step) -> images`.

    Attributes:
        transforms: applied in this order.
        runs: places in `transforms`; those of one run are resampled once.
    """

    transforms: tuple[Transform, ...]
    runs: tuple[tuple[int, ...], ...]

    def ahead(
        self, shape: tuple[int, ...], seeds: tf.Tensor, rows: tf.Tensor
    ) -> dict[int, tf.Tensor]:
        """What transforms compute in advance for many calls, by position. `[T, M, 2] -> [M, ...]` each."""
        found = {}
        for run in self.runs:
            if len(run) == 1:
                known = self.transforms[run[0]].ahead(shape, seeds[run[0]], rows)
                if known is not None:
                    found[run[0]] = known
            if not all(self.transforms[index].keeps_shape for index in run):
                break
        return found

    def __call__(
        self,
        images: tf.Tensor,
        seeds: Any,
        step: tf.Tensor,
        ahead: Mapping[int, tf.Tensor] | None = None,
    ) -> tf.Tensor:
        known = ahead or {}
        images = tf.convert_to_tensor(images)
        for run in self.runs:
            if run[0] in known:
                images = self.transforms[run[0]].apply(images, known[run[0]])
                continue
            if len(run) == 1:
                images = self.transforms[run[0]](images, seeds[run[0]], step)
                continue
            members = [(self.transforms[index], seeds[index]) for index in run]
            images = moved(
                images, [(part, own) for part, own in members if isinstance(part, Affine)], step
            )
        return images


def compose(transforms: Sequence[Transform]) -> Composed:
    """One function that applies transforms in order, and resamples neighbouring affine ones once.

    Args:
        transforms: applied in this order.

    Returns:
        `(images [N, ...], seeds [T, N, 2], step []) -> images`; `seeds[t]` belongs to
        `transforms[t]`, fused or not. Without transforms it returns the images it is given.

    Raises:
        TypeError: if one of them is not a transform.

    Example:
        >>> import tensorflow as tf
        >>> from regularizers import Jitter, Rotate, Scale
        >>> apply = compose([Jitter(2), Rotate(5), Scale(0.9, 1.1)])
        >>> apply(tf.ones([4, 8, 8, 3]), tf.ones([3, 4, 2], tf.int32), tf.constant(0)).shape
        TensorShape([4, 8, 8, 3])
    """
    runs: list[list[int]] = []
    transforms = tuple(transforms)
    for index, transform in enumerate(transforms):
        if not isinstance(transform, Transform):
            raise TypeError(
                f"Expected transforms. Received: {transform!r} of type "
                f"{type(transform).__name__}. Make one of a function with @regularizers.transform."
            )
        if runs and isinstance(transform, Affine) and isinstance(transforms[index - 1], Affine):
            runs[-1].append(index)
        else:
            runs.append([index])

    return Composed(transforms, tuple(map(tuple, runs)))
