"""A traced program with some operations replaced: the same function, computed in another way.

The replacement is at the place of the operation and uses the kernel that this operation actually gets.
This is the weight after the layer has normalized, averaged or adapted it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from actmax.models import agreement, pooling, products
from actmax.models.folding import chain_behind
from actmax.models.program import Made, Node, Program
from actmax.models.trace import Trace


@dataclasses.dataclass(frozen=True)
class Options:
    """Which operations are computed in another way.

    Attributes:
        fold: fold batch norm into the convolution or product before it.
        adjoint: compute gradients of convolutions, products and max poolings as forward passes.
        half: compute convolutions and products in bfloat16.
    """

    fold: bool = False
    adjoint: bool = False
    half: bool = False


def rewritten(
    found: Trace, sources: Sequence[int], wanted: Sequence[int], options: Options
) -> Program:
    """The program for requested tensors, computed according to the options. It is made once per trace.

    Args:
        found: a trace.
        sources: numbers of the inputs.
        wanted: numbers of tensors whose values must not change.
        options: the operations to compute in another way.
    """
    key = (tuple(sources), tuple(wanted), options)
    if key not in found.rewritten:
        found.rewritten[key] = _rewritten(found.program, sources, wanted, options)
    return found.rewritten[key]


def _rewritten(
    program: Program, sources: Sequence[int], wanted: Sequence[int], options: Options
) -> Program:
    nodes = program.reachable(wanted)
    moving = program.behind(sources, nodes)
    readers = program.readers(nodes)
    changed = program.copy(nodes)
    for node in nodes:
        if (
            node.build is not None
            or node.inner is not None
            or not node.inputs
            or node.inputs[0] not in moving
        ):
            continue
        if node.kind == "MaxPool3D":
            build = pooling.of_volumes(program, node)
        elif node.kind == "MaxPool" and options.adjoint:
            build = _pooled(changed, node)
        elif node.kind == "BiasAdd" and changed.makers[node.outputs[0]] is node:
            build = _biased(node)
        elif node.kind in products.KINDS and node.inputs[1] not in moving:
            _multiply_otherwise(changed, node, moving, readers, set(wanted), options)
            continue
        else:
            continue
        if build is not None:
            changed.put(node, [dataclasses.replace(node, kind="Built", build=build)])
    return changed


def _pooled(changed: Program, node: Node) -> Any:
    """A max pooling with a forward pass as gradient. None where that gains nothing, or is wrong."""
    windows = pooling.windows_of(changed, node)
    differs = agreement.pooling_differs(windows) if windows is not None else ""
    if windows is None or differs:
        changed.left_out += (differs,) * bool(differs)
        return None
    changed.adjoint += (node.kind,)
    return windows.build


def _biased(node: Node) -> Any:
    """The addition of a bias, without a gradient with respect to the bias."""

    def build(given: Sequence[tf.Tensor]) -> Made:
        layout = node.value("data_format").decode()
        result = tf.raw_ops.BiasAdd(value=given[0], bias=given[1], data_format=layout)
        return Made([result], lambda upstream: [upstream, None])

    return build


def _multiply_otherwise(
    changed: Program,
    node: Node,
    moving: set[int],
    readers: dict[int, list[Node]],
    wanted: set[int],
    options: Options,
) -> None:
    product = products.product_of(changed, node)
    if product is None:
        return
    kernel = changed.tensors[node.inputs[1]]
    if kernel.dtype not in (tf.float32, tf.float64):
        return
    chain = None
    if options.fold:
        chain = chain_behind(changed, node, product, moving, readers, wanted)
    half = options.half and kernel.dtype == tf.float32 and node.kind != "DepthwiseConv2dNative"
    adjoint = options.adjoint and products.gains(product, kernel.shape) and not half
    product = dataclasses.replace(product, adjoint=adjoint, half=half)
    if adjoint:
        given = changed.tensors[node.inputs[0]].shape
        differs = agreement.product_differs(product, kernel.shape, given)
        if differs:
            adjoint, product = False, dataclasses.replace(product, adjoint=False)
            changed.left_out += (differs,)
    if chain is None and not adjoint and not half:
        # TensorFlow's gradient, without the gradient of the kernel, which is never needed.
        build = products.build(product)
        changed.put(node, [dataclasses.replace(node, kind="Built", build=build)])
        return
    if adjoint:
        changed.adjoint += (node.kind,)
    # Values that depend only on weights are separate nodes, so that they can be computed before a
    # loop.
    operands = (node.inputs[1], *(chain.operands if chain else ()))
    shapes = [kernel] * (1 + adjoint)

    def prepare(given: Sequence[tf.Tensor]) -> Made:
        scaled, shift = chain.scaled(given) if chain else (given[0], None)
        made = product.prepare(scaled)
        return Made([*made, *([] if shift is None else [shift])])

    if chain is not None:
        changed.folded += (node.kind,)
        shapes = [*shapes, kernel]
    prepared = changed.new(shapes)
    first = dataclasses.replace(
        node, kind="Built", inputs=operands, outputs=tuple(prepared), build=prepare, controls=()
    )
    if chain is None:
        last = dataclasses.replace(
            node, kind="Built", inputs=(node.inputs[0], *prepared), build=products.build(product)
        )
        changed.put(node, [first, last])
        return
    last = dataclasses.replace(
        node,
        kind="Built",
        inputs=(node.inputs[0], *prepared, *chain.others),
        outputs=chain.last.outputs[:1],
        build=_folded(product, chain, len(prepared)),
        controls=(),
    )
    changed.put(chain.last, [first, last])


def _folded(product: products.Product, chain: Any, count: int) -> Any:
    def build(given: Sequence[tf.Tensor]) -> Made:
        value, *prepared = given[:count]
        shift = given[count]
        others = given[count + 1 :]
        result = product.apply(value, prepared[0])
        layout = "N...C" if product.last and not product.turned else "NC..."
        moved = chain.moved(tf.nn.bias_add(result, shift, layout), others)

        def backward(upstream: tf.Tensor) -> list[tf.Tensor | None]:
            arrived = upstream if moved is result else tf.reshape(upstream, tf.shape(result))
            slope = product.slope(value, prepared, arrived)
            return [slope, *[None] * (len(given) - 1)]

        return Made([moved], backward)

    return build
