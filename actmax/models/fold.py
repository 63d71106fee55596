"""Batch norm folded into the layer before it, in our own trace: the model itself stays as it is.

At inference `BN(conv(x, K) + b)` is `conv(x, K s) + (beta + (b - mean) s)` with
`s = gamma / sqrt(variance + epsilon)`. Which convolution stands before which batch norm is read off a
trace of the model, so nested and subclassed models fold as well. `K s` is computed from the variables
at the start of every run, outside the loop: nothing can go stale when weights change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from actmax.models.adjoint import product
from actmax.models.overriding import Override, overridden


@dataclasses.dataclass(frozen=True)
class Fold:
    """A batch norm, and the layer that takes it in; None if it stands alone."""

    norm: Any
    layer: Any | None


@dataclasses.dataclass
class _Call:
    """One call of a layer while looking."""

    layer: Any
    given: Any
    returned: Any
    before: tuple[str, ...]  # what read the input before the call, by name
    readers: tuple[str, ...]  # and right after it
    training: bool


def find_folds(
    forward: Callable[[], Any], layers: Mapping[str, Any], kept: Sequence[Any]
) -> tuple[Fold, ...]:
    """What can be folded, from one trace of the model in a graph of its own.

    Args:
        forward: runs the model, in the graph that is open.
        layers: every layer by path.
        kept: layers whose activations are needed as they are.
    """
    import keras

    calls: list[_Call] = []

    def look(layer: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        def looking(*args: Any, **kwargs: Any) -> Any:
            given = args[0] if args else next(iter(kwargs.values()), None)
            before = _readers(given)
            returned = call(*args, **kwargs)
            training = bool(kwargs.get("training", args[1] if len(args) > 1 else False))
            calls.append(_Call(layer, given, returned, before, _readers(given), training))
            return returned

        return looking

    unique = {id(layer): layer for layer in layers.values()}
    watched = [
        layer
        for layer in unique.values()
        if type(layer) is keras.layers.BatchNormalization or _takes_a_norm(layer)
    ]
    with overridden([Override(layer, "call", look(layer, layer.call)) for layer in watched]):
        outputs = {id(tensor) for tensor in tf.nest.flatten(forward())}
    norms = [call for call in calls if type(call.layer) is keras.layers.BatchNormalization]
    makers = {id(call.returned): call for call in calls if _takes_a_norm(call.layer)}
    often = [id(call.layer) for call in calls]
    folds = []
    for call in norms:
        if often.count(id(call.layer)) > 1 or call.training or not _on_channels(call):
            continue
        maker = makers.get(id(call.given))
        alone = (
            maker is None
            or often.count(id(maker.layer)) > 1
            or any(maker.layer is layer for layer in kept)
            or id(call.given) in outputs
            or bool(call.before)
            or _readers(call.given) != call.readers  # somebody else reads it later
        )
        folds.append(Fold(call.layer, None if alone or maker is None else maker.layer))
    return tuple(folds)


def _readers(tensor: Any) -> tuple[str, ...]:
    if not tf.is_tensor(tensor) or not hasattr(tensor, "consumers"):
        return ()
    return tuple(sorted(operation.name for operation in tensor.consumers()))


def _on_channels(call: _Call) -> bool:
    axis, rank = call.layer.axis, call.given.shape.rank
    return isinstance(axis, int) and axis in (-1, rank - 1)


def _takes_a_norm(layer: Any) -> bool:
    """Whether a layer is linear with channels last, so that a scale per channel goes into its kernel."""
    import keras

    kinds = keras.layers
    convolutions = (kinds.Conv1D, kinds.Conv2D, kinds.Conv3D)
    separable = (kinds.DepthwiseConv2D, kinds.SeparableConv2D)
    if type(layer) not in (*convolutions, *separable, kinds.Dense):
        return False
    if layer.activation is not keras.activations.linear:
        return False
    if getattr(layer, "quantization_mode", None) is not None:
        return False
    return getattr(layer, "data_format", "channels_last") == "channels_last" and (
        getattr(layer, "padding", "same") in ("same", "valid")
    )


def _scale_and_shift(norm: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """`BN(x) = x * scale + shift` at inference. `[C], [C]`."""
    dtype = tf.as_dtype(norm.compute_dtype)
    # Half precision loses more in these few numbers than in all that they multiply.
    wide = tf.float32 if dtype.size < tf.float32.size else dtype
    variance = tf.cast(tf.convert_to_tensor(norm.moving_variance), wide)
    scale = tf.math.rsqrt(variance + tf.constant(norm.epsilon, wide))
    if norm.gamma is not None:
        scale *= tf.cast(tf.convert_to_tensor(norm.gamma), wide)
    shift = -tf.cast(tf.convert_to_tensor(norm.moving_mean), wide) * scale
    if norm.beta is not None:
        shift += tf.cast(tf.convert_to_tensor(norm.beta), wide)
    return scale, shift


def overrides(folds: Sequence[Fold], *, adjoint: bool) -> list[Override]:
    """Calls of the folded model, their kernels computed from the variables here and now.

    Args:
        folds: what is folded.
        adjoint: whether gradients are computed as forward passes.
    """
    import keras

    found: list[Override] = []
    for fold in folds:
        scale, shift = _scale_and_shift(fold.norm)
        dtype = tf.as_dtype(fold.norm.compute_dtype)
        if fold.layer is None:
            call = _affine(tf.cast(scale, dtype), tf.cast(shift, dtype))
            found.append(Override(fold.norm, "call", call))
            continue
        layer = fold.layer
        separable = type(layer) is keras.layers.SeparableConv2D
        kernel = tf.convert_to_tensor(layer.pointwise_kernel if separable else layer.kernel)
        factor = scale
        if type(layer) is keras.layers.DepthwiseConv2D:
            factor = tf.reshape(scale, tf.shape(kernel)[-2:])
        scaled = tf.cast(tf.cast(kernel, scale.dtype) * factor, dtype)
        if layer.use_bias:
            shift += tf.cast(tf.convert_to_tensor(layer.bias), scale.dtype) * scale
        multiply = product(layer, scaled) if adjoint else None
        call = _linear(multiply or _product(layer, scaled), tf.cast(shift, dtype))
        found.append(Override(layer, "call", call))
        found.append(Override(fold.norm, "call", _passed_on))
    return found


def _passed_on(inputs: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
    return tf.convert_to_tensor(inputs)


def _affine(scale: tf.Tensor, shift: tf.Tensor) -> Callable[..., tf.Tensor]:
    def call(inputs: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        return tf.convert_to_tensor(inputs) * scale + shift

    return call


def _product(layer: Any, kernel: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """What the layer does before its bias, with another kernel."""
    import keras

    ops, kinds = keras.ops, keras.layers

    def product(inputs: tf.Tensor) -> tf.Tensor:
        if type(layer) is kinds.Dense:
            return ops.matmul(inputs, kernel)
        if type(layer) is kinds.DepthwiseConv2D:
            return ops.depthwise_conv(
                inputs, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
            )
        if type(layer) is kinds.SeparableConv2D:
            depthwise = tf.cast(tf.convert_to_tensor(layer.depthwise_kernel), kernel.dtype)
            return ops.separable_conv(
                inputs, depthwise, kernel,
                layer.strides, layer.padding, layer.data_format, layer.dilation_rate,
            )  # fmt: skip
        return layer.convolution_op(inputs, kernel)

    return product


def _linear(
    multiply: Callable[[tf.Tensor], tf.Tensor], bias: tf.Tensor
) -> Callable[..., tf.Tensor]:
    def call(inputs: tf.Tensor, *_: Any, **__: Any) -> tf.Tensor:
        return tf.nn.bias_add(multiply(inputs), bias)

    return call
