"""Several transforms as one function. Affine transforms in a row are resampled only once."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow as tf

from regularizers.base import Transform, image_sizes
from regularizers.slopes import custom_gradient


@dataclasses.dataclass(frozen=True)
class Affine(Transform):
    """A transform that moves pixels by an affine map. `[N, H, W, C] -> [N, H, W, C]`.

    Subclasses define the map, and `resample` uses it. `compose` multiplies the maps of neighbours
    in a list and resamples once. So several affine transforms in a row blur, and cost, as much as
    one.
    """

    keeps_range: ClassVar[bool] = True
    keeps_shape: ClassVar[bool] = True

    @abc.abstractmethod
    def matrix(self, seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Where each output pixel comes from. `[N, 2], [] -> [N, 2, 3]`.

        `input = matrix[:, :2] @ output + matrix[2]`: both are positions (y, x) in pixels, counted
        from the centre of the image.
        """

    def matrix_at(
        self, sizes: tuple[int, int], seeds: tf.Tensor, step: tf.Tensor, dtype: tf.DType
    ) -> tf.Tensor:
        """`matrix` for images of sizes `(H, W)`: override it where the map depends on them."""
        del sizes
        return self.matrix(seeds, step, dtype)

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        check_rank(images, self.name)
        height, width, _ = image_sizes(images, self.name)
        matrix = self.matrix_at((height, width), seeds, step, coordinate_dtype(images))
        return resample(images, matrix)


def check_rank(images: tf.Tensor, owner: str) -> None:
    """Raises ValueError if images are not `[N, H, W, C]`."""
    if images.shape.rank != 4:
        raise ValueError(
            f"Expected images of shape [N, H, W, C] in {owner}. Received shape {images.shape}. "
            "Do leave it out for inputs that are not two-dimensional, or use Jitter, Noise or Blur."
        )


def coordinate_dtype(images: tf.Tensor) -> tf.DType:
    """float32, or float64 for float64 images: half precision cannot hold a pixel's position."""
    return tf.float64 if images.dtype == tf.float64 else tf.float32


def fuse(matrices: Sequence[tf.Tensor]) -> tf.Tensor:
    """The one map of several applied in order. `[N, 2, 3], ... -> [N, 2, 3]`."""
    fused = matrices[0]
    for matrix in matrices[1:]:
        # An output pixel of the last transform goes back through the last map first.
        # Written out, because a GPU's matrix product may keep only 10 bits of each factor (TF32).
        rows, columns = tf.expand_dims(fused[:, :, :2], 3), tf.expand_dims(matrix, 1)
        product = tf.reduce_sum(rows * columns, axis=2)
        fused = product + tf.pad(fused[:, :, 2:], [[0, 0], [0, 0], [2, 0]])
    return fused


def _positions(
    matrix: tf.Tensor, height: int, width: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Upper left neighbour (y, x), int32, and weight of the lower right one. `[N, H * W]` each."""
    middle = ((height - 1) / 2, (width - 1) / 2)
    y = tf.range(height, dtype=matrix.dtype)[:, None] - middle[0]
    x = tf.range(width, dtype=matrix.dtype)[None, :] - middle[1]
    corners, weights = [], []
    for axis, size in enumerate((height, width)):
        # Reshaped and not indexed with None: TensorFlow 2.21's graph rewriter drops the new axes of a
        # slice of a tf.stack.
        row = tf.reshape(matrix[:, axis], [-1, 3, 1, 1])
        position = row[:, 0] * y + row[:, 1] * x + (row[:, 2] + middle[axis])
        position = tf.clip_by_value(position, 0.0, size - 1.0)  # the replicated border
        corner = tf.floor(position)
        corners.append(tf.reshape(tf.cast(corner, tf.int32), [-1, height * width]))
        weights.append(tf.reshape(position - corner, [-1, height * width]))
    return (*corners, *weights)


def resample(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Resamples images along affine maps. `[N, H, W, C], [N, 2, 3] -> [N, H, W, C]`.

    Bilinear, with a replicated border, so that no value leaves the range of its neighbours. The
    gradient with respect to the images is the exact adjoint; the maps are constants to it. No row
    reads or writes another. float16 and bfloat16 are mixed in float32.

    Args:
        images: of any floating dtype, with static sizes but N.
        matrix: as `Affine.matrix` gives it.
    """
    height, width, channels = image_sizes(images, "resample")
    dtype = coordinate_dtype(images)
    y, x, down, right = _positions(tf.stop_gradient(matrix), height, width)
    rows = tf.range(tf.shape(images)[0])[:, None] * (height * width)
    down, right = tf.reshape(down, [-1, 1]), tf.reshape(right, [-1, 1])

    def corner(below: int, beside: int) -> tf.Tensor:
        first, second = tf.minimum(y + below, height - 1), tf.minimum(x + beside, width - 1)
        return tf.reshape(rows + first * width + second, [-1])

    @custom_gradient
    def sample(flat: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        upper_left, upper_right = tf.gather(flat, corner(0, 0)), tf.gather(flat, corner(0, 1))
        lower_left, lower_right = tf.gather(flat, corner(1, 0)), tf.gather(flat, corner(1, 1))
        # In this form a constant stays that constant to the last bit.
        upper = upper_left + right * (upper_right - upper_left)
        lower = lower_left + right * (lower_right - lower_left)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            lower = down * upstream
            upper = upstream - lower
            upper_right, lower_right = right * upper, right * lower
            shares = [upper - upper_right, upper_right, lower - lower_right, lower_right]
            # One sum for all four corners at the upper left one, then each to where it belongs:
            # twice as fast as four sums. Past the border the weights are 0, so nothing is lost.
            at_corner = tf.math.unsorted_segment_sum(
                tf.concat(shares, axis=1), corner(0, 0), tf.shape(flat)[0]
            )
            at_corner = tf.reshape(at_corner, [-1, height, width, 4 * channels])
            upper, lower = tf.split(at_corner, 2, axis=3)
            left, beside = tf.split(upper + _later(lower, 1), 2, axis=3)
            return tf.reshape(left + _later(beside, 2), [-1, channels])

        return upper + down * (lower - upper), gradient

    result = sample(tf.reshape(tf.cast(images, dtype), [-1, channels]))
    return tf.cast(tf.reshape(result, [-1, height, width, channels]), images.dtype)


def _later(images: tf.Tensor, axis: int) -> tf.Tensor:
    """Moved by one pixel along an axis, with 0 where nothing comes from. `[N, H, W, C]`."""
    border = [[1 if at == axis else 0, 0] for at in range(4)]
    kept = images[:, :-1] if axis == 1 else images[:, :, :-1]
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
            check_rank(images, members[0][0].name)
            dtype = coordinate_dtype(images)
            height, width, _ = image_sizes(images, members[0][0].name)
            matrices = [
                member.matrix_at((height, width), own, step, dtype)
                for member, own in members
                if isinstance(member, Affine)
            ]
            images = resample(images, fuse(matrices))
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
