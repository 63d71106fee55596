"""Folds scales and shifts per channel after a convolution or product into its kernel.

At inference `BN(conv(x, K) + b)` is `conv(x, K s) + (beta + (b - mean) s)` with
`s = gamma / sqrt(variance + epsilon)`. In a trace this is a convolution followed by a chain of
additions and multiplications. Their other operands depend only on weights, of any layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import tensorflow as tf

from actmax.models.products import Product
from actmax.models.program import Node, Program
from actmax.models.replay import again

_SHIFTS = ("BiasAdd", "AddV2", "Add", "Sub")
_SCALES = ("Mul", "RealDiv")


@dataclasses.dataclass(frozen=True)
class Link:
    """One operation of a chain.

    Attributes:
        node: an operation.
        operands: positions of its operands in the chain's list of operands.
        flipped: whether the operand is the first input.
    """

    node: Node
    operands: tuple[int, ...]
    flipped: bool = False


@dataclasses.dataclass(frozen=True)
class Chain:
    """Operations per channel that follow a product.

    Attributes:
        links: in order.
        moves: operations that change the shape of the values, with the numbers of their operands.
        operands: numbers of all operands of the links.
        depthwise: whether the kernel's last two axes are channels.
    """

    links: tuple[Link, ...]
    moves: tuple[Node, ...]
    operands: tuple[int, ...]
    depthwise: bool

    @property
    def last(self) -> Node:
        """The operation whose result is the result of the chain."""
        return self.__dict__["end"]

    @property
    def others(self) -> tuple[int, ...]:
        """Numbers of the operands of the moves."""
        return tuple(number for node in self.moves for number in node.inputs[1:])

    def moved(self, value: tf.Tensor, others: Sequence[tf.Tensor]) -> tf.Tensor:
        """The values in the shape in which the chain ends."""
        rest = list(others)
        for node in self.moves:
            count = len(node.inputs) - 1
            value = again(node, [value, *rest[:count]]).results[0]
            rest = rest[count:]
        return value

    def scaled(self, given: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """The kernel and the shift of the whole chain. `(kernel, *operands) -> (kernel, [C])`."""
        kernel, *operands = given
        # These few numbers affect all products, so they are computed with more than half precision.
        wide = tf.float32 if kernel.dtype.size < tf.float32.size else kernel.dtype
        made = kernel.shape[-2] * kernel.shape[-1] if self.depthwise else kernel.shape[-1]
        scale, shift = tf.ones([made], wide), tf.zeros([made], wide)
        for link in self.links:
            values = [tf.cast(operands[place], wide) for place in link.operands]
            factor, addend = _affine(link, values, made)
            if factor is not None:
                scale, shift = scale * factor, shift * factor
            if addend is not None:
                shift += addend
        factors = tf.reshape(scale, kernel.shape[-2:]) if self.depthwise else scale
        return tf.cast(tf.cast(kernel, wide) * factors, kernel.dtype), tf.cast(shift, kernel.dtype)


def _affine(
    link: Link, values: Sequence[tf.Tensor], channels: int
) -> tuple[tf.Tensor | None, tf.Tensor | None]:
    kind = link.node.kind
    if kind == "FusedBatchNormV3":
        gamma, beta, mean, variance = values
        epsilon = tf.constant(link.node.value("epsilon"), variance.dtype)
        factor = gamma * tf.math.rsqrt(variance + epsilon)
        return factor, beta - mean * factor
    value = tf.reshape(values[0], [-1])
    value = tf.broadcast_to(value, [channels])
    if kind == "Mul":
        return value, None
    if kind == "RealDiv":
        return 1.0 / value, None
    if kind == "Sub":
        return (-tf.ones_like(value), value) if link.flipped else (None, -value)
    return None, value


def chain_behind(
    program: Program,
    node: Node,
    product: Product,
    moving: set[int],
    readers: Mapping[int, list[Node]],
    wanted: set[int],
) -> Chain | None:
    """The chain after a product, as long as no other operation reads its inner values.

    None if nothing in it scales. Shifts alone need no folding.
    """
    last = product.last and not product.turned
    channels = program.tensors[node.outputs[0]].shape[-1 if last else 1]
    if channels is None:
        return None
    links: list[Link] = []
    moves: list[Node] = []
    operands: list[int] = []
    end, number = node, node.outputs[0]
    kept = (0, 0, 0, node)  # links, moves and operands up to the last link that scales or shifts
    while number not in wanted and len(readers.get(number, ())) == 1:
        reader = readers[number][0]
        if reader.build is not None:
            break
        if _moves(program, reader, number, channels, moving) and last:
            moves.append(reader)
        else:
            found = _link(program, reader, number, channels, moving, last, len(operands))
            if found is None:
                break
            link, numbers = found
            links.append(link)
            operands += numbers
            kept = (len(links), len(moves), len(operands), reader)
        end, number = reader, reader.outputs[0]
    count, moved, used, end = kept
    scales = [link for link in links[:count] if link.node.kind not in _SHIFTS]
    if not scales or any(
        number in wanted for link in links[: count - 1] for number in link.node.outputs
    ):
        return None
    chain = Chain(
        tuple(links[:count]),
        tuple(moves[:moved]),
        tuple(operands[:used]),
        node.kind == "DepthwiseConv2dNative",
    )
    chain.__dict__["end"] = end
    return chain


def _moves(program: Program, node: Node, number: int, channels: int, moving: set[int]) -> bool:
    """Whether an operation only changes the shape, with channels last before and after."""
    if node.kind not in ("Squeeze", "Reshape") or node.inputs[0] != number:
        return False
    before, after = (program.tensors[n].shape for n in (number, node.outputs[0]))
    return after.rank is not None and before[-1] == after[-1] == channels


def _link(
    program: Program,
    node: Node,
    number: int,
    channels: int,
    moving: set[int],
    last: bool,
    count: int,
) -> tuple[Link, tuple[int, ...]] | None:
    if node.kind == "FusedBatchNormV3":
        fits = (node.value("data_format") == b"NHWC") == last
        if node.inputs[0] != number or node.value("is_training") or not fits:
            return None
        numbers = node.inputs[1:5]
        return Link(node, tuple(range(count, count + 4))), numbers
    if node.kind not in (*_SHIFTS, *_SCALES) or len(node.inputs) != 2:
        return None
    flipped = node.inputs[1] == number
    other = node.inputs[0] if flipped else node.inputs[1]
    if other in moving or (flipped and node.kind == "RealDiv"):
        return None
    if node.kind == "BiasAdd":
        if (node.value("data_format") == b"NHWC") != last:
            return None
    elif not _per_channel(program, other, number, channels, last):
        return None
    return Link(node, (count,), flipped), (other,)


def _per_channel(program: Program, operand: int, number: int, channels: int, last: bool) -> bool:
    shape, whole = program.tensors[operand].shape, program.tensors[number].shape
    if shape.rank is None or whole.rank is None or not shape.is_fully_defined():
        return False
    if shape.num_elements() == 1:
        return shape.rank <= whole.rank
    sides = [1] * (whole.rank - shape.rank) + shape.as_list()
    wanted = [1] * whole.rank
    wanted[-1 if last else 1] = channels
    return shape.rank <= whole.rank and sides == wanted
