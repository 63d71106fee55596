"""Convolutions and products with matrices: another kernel, another type, a faster gradient.

The gradient of a convolution with respect to its input is a convolution with the flipped kernel, whose
input and output channels are exchanged. The gradient of a product is a product with the transposed
matrix. TensorFlow computes the same sums. If oneDNN is off, its CPU kernels for them take up to 3.5 times
as long as those of the forward passes, and about a hundred times as long for a convolution in many
groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from actmax.models.program import Made, Node, Program

KINDS = ("Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul")

# With fewer channels, TensorFlow's own gradient is faster.
_CHANNELS = 8
# Minimum and maximum number of values in a matrix. Smaller ones gain nothing, and a second copy of
# larger ones (64 MB) needs too much memory.
_SMALLEST, _LARGEST = 2**16, 2**24


def onednn() -> bool | None:
    """Whether TensorFlow uses the kernels of oneDNN. None if this is unknown.

    The environment variable alone is not enough: if it is unset, TensorFlow decides by the
    processor. The public interface does not show the decision.
    """
    try:
        from tensorflow.python.util import _pywrap_util_port
    except ImportError:
        return None
    return bool(_pywrap_util_port.IsMklEnabled())


@dataclasses.dataclass(frozen=True)
class Product:
    """`x -> kernel * x` as in an operation of a trace, for any kernel of the same shape.

    Attributes:
        kind: type of the operation, such as "Conv2D".
        strides, padding, explicit, dilations: as in TensorFlow. Empty for a matrix.
        groups: number of separate groups of channels.
        last: whether the channels are the last axis.
        turned: whether channels are first in the input and last in the computation. TensorFlow's CPU
            kernels need channels last.
        adjoint: whether the gradient is computed as a forward pass.
        half: whether it is computed in bfloat16 and returned in its own dtype.
    """

    kind: str
    strides: tuple[int, ...] = ()
    padding: str = "VALID"
    explicit: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    groups: int = 1
    last: bool = True
    turned: bool = False
    adjoint: bool = False
    half: bool = False

    def prepare(self, kernel: tf.Tensor) -> list[tf.Tensor]:
        """The kernel, and the flipped kernel if it is needed. Both depend only on the kernel."""
        kernel = tf.cast(kernel, tf.bfloat16) if self.half else kernel
        if not self.adjoint:
            return [kernel]
        return [kernel, tf.transpose(kernel) if self.kind == "MatMul" else _turned(kernel)]

    def apply(self, given: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The product."""
        value = self._last(tf.cast(given, tf.bfloat16) if self.half else given)
        result = self._first(self._product(value, kernel))
        return tf.cast(result, given.dtype) if self.half else result

    def _last(self, value: tf.Tensor) -> tf.Tensor:
        rank = value.shape.rank
        return tf.transpose(value, [0, *range(2, rank), 1]) if self.turned else value

    def _first(self, value: tf.Tensor) -> tf.Tensor:
        rank = value.shape.rank
        return tf.transpose(value, [0, rank - 1, *range(1, rank - 1)]) if self.turned else value

    def _product(self, value: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.kind == "MatMul":
            return tf.raw_ops.MatMul(a=value, b=kernel)
        if self.groups > 1:
            deep = self._deep(kernel)
            if deep is not None:
                return dataclasses.replace(self, kind="DepthwiseConv2dNative", groups=1)._product(
                    value, deep
                )
            axis = -1 if self.last else 1
            parts = zip(
                tf.split(value, self.groups, axis), tf.split(kernel, self.groups, -1), strict=True
            )
            alone = dataclasses.replace(self, groups=1)
            return tf.concat([alone._product(x, k) for x, k in parts], axis)
        if self.kind == "Conv3D":
            return tf.raw_ops.Conv3D(input=value, filter=kernel, **self._settings)
        if self.kind == "Conv2D":
            return tf.raw_ops.Conv2D(
                input=value, filter=kernel, explicit_paddings=list(self.explicit), **self._settings
            )
        return tf.raw_ops.DepthwiseConv2dNative(
            input=value, filter=kernel, explicit_paddings=list(self.explicit), **self._settings
        )

    def _deep(self, kernel: tf.Tensor) -> tf.Tensor | None:
        """The kernel of a convolution with one channel per group, as a depthwise kernel."""
        space = self.strides[1:-1] if self.last else self.strides[2:]
        if kernel.shape[-2] != 1 or self.kind != "Conv2D" or len(set(space)) > 1:
            return None
        if set(self.dilations) != {1}:
            return None
        high, wide, _, made = kernel.shape
        return tf.reshape(kernel, [high, wide, self.groups, made // self.groups])

    def slope(
        self, given: tf.Tensor, prepared: Sequence[tf.Tensor], upstream: tf.Tensor
    ) -> tf.Tensor:
        """The gradient with respect to the input."""
        dtype = upstream.dtype
        value = tf.cast(upstream, tf.bfloat16) if self.half else upstream
        slope = self._slope(self._last(given), prepared, self._last(value))
        return tf.cast(self._first(slope), dtype)

    @property
    def _settings(self) -> dict[str, Any]:
        layout = "NHWC" if self.last else "NCHW"
        if self.kind == "Conv3D":
            layout = "NDHWC" if self.last else "NCDHW"
        return {
            "strides": list(self.strides),
            "padding": self.padding,
            "dilations": list(self.dilations),
            "data_format": layout,
        }

    def _slope(
        self, given: tf.Tensor, prepared: Sequence[tf.Tensor], upstream: tf.Tensor
    ) -> tf.Tensor:
        kernel = prepared[0]
        if self.kind == "MatMul":
            if self.adjoint:
                return tf.matmul(upstream, prepared[1])
            return tf.raw_ops.MatMul(a=upstream, b=kernel, transpose_b=True)
        sizes = tf.shape(given)
        if self.adjoint:
            return self._convolved(sizes, kernel, prepared[1], upstream)
        if self.groups > 1:
            return self._by_group(sizes, kernel, upstream)
        return self._backward(sizes, kernel, upstream)

    def _backward(self, sizes: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """TensorFlow's own gradient."""
        settings = self._settings
        if self.kind == "Conv3D":
            return tf.raw_ops.Conv3DBackpropInputV2(
                input_sizes=sizes, filter=kernel, out_backprop=upstream, **settings
            )
        settings["explicit_paddings"] = list(self.explicit)
        if self.kind == "Conv2D":
            return tf.raw_ops.Conv2DBackpropInput(
                input_sizes=sizes, filter=kernel, out_backprop=upstream, **settings
            )
        return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=sizes, filter=kernel, out_backprop=upstream, **settings
        )

    def _by_group(self, sizes: tf.Tensor, kernel: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """Group by group. The cost of TensorFlow's gradient of all groups grows with their number."""
        axis = -1 if self.last else 1
        deep = self._deep(kernel)
        if deep is not None:
            # One channel per group is a depthwise convolution. TensorFlow's gradient for it is
            # fast.
            return dataclasses.replace(self, kind="DepthwiseConv2dNative")._backward(
                sizes, deep, upstream
            )
        place = len(self.strides) - 1 if self.last else 1
        own = tf.tensor_scatter_nd_update(sizes, [[place]], [sizes[place] // self.groups])
        parts = zip(
            tf.split(kernel, self.groups, -1), tf.split(upstream, self.groups, axis), strict=True
        )
        return tf.concat([self._backward(own, k, dy) for k, dy in parts], axis)

    def _convolved(
        self, sizes: tf.Tensor, kernel: tf.Tensor, turned: tf.Tensor, upstream: tf.Tensor
    ) -> tf.Tensor:
        margins = []
        for size in kernel.shape[:2]:
            before = (size - 1) // 2 if self.padding == "SAME" else 0
            after = size - 1 - before if self.padding == "SAME" else 0
            margins.append([size - 1 - before, size - 1 - after])
        back = [[0, 0], *margins, [0, 0]] if np.any(margins) else "VALID"
        gradient = tf.nn.conv2d(upstream, turned, 1, back)
        strides = self.strides[1:3]
        # Only kernels of one pixel have strides here. They use one pixel per stride.
        return gradient if strides == (1, 1) else _apart(gradient, strides, sizes)


def product_of(program: Program, node: Node) -> Product | None:
    """The product of an operation. None if the operation is not a product."""
    if node.kind not in KINDS:
        return None
    if node.kind == "MatMul":
        plain = not any(node.value(name) for name in ("transpose_a", "transpose_b"))
        return Product("MatMul") if plain else None
    kernel = program.tensors[node.inputs[1]].shape
    given = program.tensors[node.inputs[0]].shape
    last = node.value("data_format") in (b"NHWC", b"NDHWC")
    channels = given[-1 if last else 1] if given.rank else None
    if channels is None or not kernel.is_fully_defined():
        return None
    explicit = () if node.kind == "Conv3D" else tuple(node.value("explicit_paddings"))
    strides, dilations = tuple(node.value("strides")), tuple(node.value("dilations"))
    turned = not last and not explicit and not tf.config.list_logical_devices("GPU")
    if turned:
        strides, dilations = ((each[0], *each[2:], each[1]) for each in (strides, dilations))
    return Product(
        node.kind,
        strides,
        node.value("padding").decode(),
        explicit,
        dilations,
        1 if node.kind == "DepthwiseConv2dNative" else channels // kernel[-2],
        last or turned,
        turned,
    )


def gains(product: Product, kernel: tf.TensorShape) -> bool:
    """Whether a forward pass computes the same gradient faster."""
    if product.kind == "MatMul":
        count = kernel.num_elements()
        return count is not None and _SMALLEST <= count <= _LARGEST
    if product.kind != "Conv2D" or product.groups > 1 or not product.last:
        return False
    whole = product.strides == (1, 1, 1, 1) or tuple(kernel[:2]) == (1, 1)
    plain = set(product.dilations) == {1} and product.padding in ("SAME", "VALID")
    return whole and plain and kernel[2] >= _CHANNELS


def build(product: Product) -> Any:
    """The product and its gradient, from `(given, *prepared)`."""

    def made(values: Sequence[tf.Tensor]) -> Made:
        given, *prepared = values

        def backward(upstream: tf.Tensor) -> list[tf.Tensor | None]:
            return [product.slope(given, prepared, upstream), *[None] * len(prepared)]

        return Made([product.apply(given, prepared[0])], backward)

    return made


def _turned(kernel: tf.Tensor) -> tf.Tensor:
    """The flipped kernel with its output channels first. `[h, w, I, O] -> [h, w, O, I]`."""
    height, width, given, made = kernel.shape
    # Three dimensions are twice as fast as four.
    places = tf.reshape(kernel, [height * width, given, made])
    if height * width > 1:
        places = tf.reverse(places, [0])
    return tf.reshape(tf.transpose(places, [0, 2, 1]), [height, width, made, given])


def _apart(images: tf.Tensor, strides: tuple[int, ...], shape: tf.Tensor) -> tf.Tensor:
    """Inserts zeros between pixels. Their distance becomes `strides`. `[N, h, w, C] -> [N, H, W, C]`."""
    size, channels = tf.shape(images), images.shape[3]
    none, (down, along) = [0, 0], strides
    gaps = [none, none, [0, down - 1], none, [0, along - 1], none]
    spread = tf.pad(images[:, :, None, :, None], gaps)
    whole = [size[0], size[1] * down, size[2] * along, channels]
    return tf.reshape(spread, whole)[:, : shape[1], : shape[2]]
