"""A program in segments. The backward pass computes activations again, which saves memory and costs time.

At a cut, all later operations depend on a single tensor. Only this tensor is kept, and the backward pass
runs the segment again for the other activations. All activations of the last segment are kept, because
they are needed at once.

Source: Chen, Xu, Zhang and Guestrin, Training deep nets with sublinear memory cost, 2016,
https://arxiv.org/abs/1604.06174.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from actmax import checks
from actmax.models.program import Node, Program

_LIMITS = 64


@dataclasses.dataclass(frozen=True)
class Segment:
    """Operations between two cuts.

    Attributes:
        nodes: in order.
        given: numbers of the input tensors.
        results: numbers of the output tensors: one, or all requested tensors for the last segment.
        last: whether it is the last segment.
    """

    nodes: tuple[Node, ...]
    given: tuple[int, ...]
    results: tuple[int, ...]
    last: bool


def segments(
    program: Program, nodes: Sequence[Node], sources: Sequence[int], wanted: Sequence[int]
) -> tuple[Segment, ...]:
    """The segments that keep the fewest values: all tensors at cuts and one whole segment.

    Args:
        program: the program of the nodes.
        nodes: nodes that depend on the inputs, in order.
        sources: numbers of the inputs.
        wanted: numbers of the requested tensors. There is no cut after the first of them.

    Raises:
        ValueError: if there is no place to cut.
    """
    moving = {n for node in nodes for n in node.outputs} | set(sources)
    last: dict[int, int] = {}
    for place, node in enumerate(nodes):
        last.update(dict.fromkeys((n for n in node.inputs if n in moving), place))
    last.update(dict.fromkeys(wanted, len(nodes)))
    live, cuts = set(sources), []
    for place, node in enumerate(nodes[:-1]):
        if not set(wanted).isdisjoint(node.outputs):
            break
        live = {n for n in (*live, *node.outputs) if last.get(n, -1) > place}
        if len(live) == 1 and live <= set(node.outputs) and program.differentiable(min(live)):
            cuts.append((place + 1, min(live)))
    if not cuts:
        raise ValueError(
            checks.message(
                "a place to cut before the layers whose activations are needed",
                "none: more than one tensor is carried on everywhere",
                "Nothing would be computed anew: use compile='plain', and fewer images at a time.",
            )
        )
    return _choose(program, nodes, cuts, tuple(sources), tuple(wanted))


def _size(program: Program, number: int) -> int:
    """Number of values per image."""
    shape = program.tensors[number].shape
    return int(np.prod([side or 1 for side in shape[1:]])) if shape.rank else 0


def _choose(
    program: Program,
    nodes: Sequence[Node],
    cuts: Sequence[tuple[int, int]],
    sources: tuple[int, ...],
    wanted: tuple[int, ...],
) -> tuple[Segment, ...]:
    marks = [0, *(place for place, _ in cuts), len(nodes)]
    carried = [0, *(_size(program, number) for _, number in cuts), 0]
    written = [sum(_size(program, n) for n in node.outputs) for node in nodes]
    units = [sum(written[a:b]) for a, b in itertools.pairwise(marks)]
    totals = np.concatenate([[0], np.cumsum(units)])

    def packed(limit: float) -> list[int]:
        """Borders of segments made of units. A segment exceeds the limit only if one of its units does."""
        borders = [0]
        for number in range(1, len(units)):
            if totals[number + 1] - totals[borders[-1]] > limit:
                borders.append(number)
        return [*borders, len(units)]

    def cost(borders: list[int]) -> float:
        whole = max(totals[b] - totals[a] for a, b in itertools.pairwise(borders))
        return float(whole + sum(carried[border] for border in borders[1:-1]))

    limits = np.geomspace(max(*units, 1), max(totals[-1], 1), _LIMITS)
    best = min((packed(limit) for limit in limits), key=cost)
    found, given = [], sources
    for a, b in itertools.pairwise(best):
        final = b == len(units)
        results = wanted if final else (cuts[b - 1][1],)
        found.append(Segment(tuple(nodes[marks[a] : marks[b]]), given, results, final))
        given = results
    return tuple(found)
