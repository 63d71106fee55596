"""The preset of drawings with a pen."""

from __future__ import annotations

from typing import Any, Literal

from actmax import checks
from actmax.objectives import LogProbability, Margin
from actmax.optimizers import Adam
from actmax.parameterizations import Strokes
from actmax.presets.common import pair, shape_of
from actmax.schedules import Linear
from regularizers import Noise, Pad, Rotate, Scale, Shift


def drawn(
    model: Any,
    input_range: Any,
    *,
    strokes: int = 1,
    points: int = 6,
    ink: Literal["bright", "dark", "color"] = "bright",
    steps: int = 192,
) -> dict[str, Any]:
    """A class as a drawing: one line of a pen, which is taken for the class wherever it is put.

    For networks that see digits, letters or sketches: what is drawn looks like them by construction,
    other networks see it too, and no two starts end alike; for photographs it is a caricature at
    best. The log-probability is maximized, and a tenth of the margin over the strongest other class, which
    goes on where the class is sure; every step turns, scales and shifts the drawing anew on a ground of
    the paper's value. Lengths are in shorter sides of the image, so that a larger one gets a larger
    pen. Not every start ends well: make several per class and keep the best, as
    `actmax.recipes.drawings` does, where every picture must be seen; all of them together show more of
    what the class may look like.

    Source: Frans, Soros and Witkowski, CLIPDraw, 2021, https://arxiv.org/abs/2106.14843, for what is
    optimized. The constants are ours: of about a dozen settings tried on the demo's MNIST network,
    among those whose drawings alone taught a small network the most about real digits the one whose
    best drawings six judges, trained apart, recognised most.

    Args:
        model: for its input's size.
        input_range: a pair.
        strokes: of every drawing.
        points: control points of each stroke.
        ink: as of `actmax.Strokes`.
        steps: number of updates.

    Example:
        >>> import actmax
        >>> from actmax import zoo
        >>> actmax.presets.drawn(zoo.load("mnist"), (0, 1))["parameterization"].strokes
        1
    """
    height, width, _ = shape_of(model)
    low, high = pair(input_range)
    shorter = min(height, width)
    paper = {"bright": low, "dark": high}.get(ink, (low + high) / 2.0)
    border = max(round(shorter / 14), 1)
    zoom = 1.0 + 2.0 * border / shorter
    rate = 0.02
    return {
        "objective": LogProbability() + 0.1 * Margin(),
        "input_range": (low, high),
        "parameterization": Strokes(
            strokes,
            points,
            radius=0.054 * shorter,
            softness=0.014 * shorter,
            spread=0.24,
            margin=0.1,
            ink=ink,
        ),
        "optimizer": Adam(Linear(rate, rate / 4.0)),
        "regularizers": [
            Pad(border, paper),
            Rotate(20.0),
            Scale(0.9 * zoom, 1.1 * zoom),
            Shift(border * zoom),
            Noise(0.1 * (high - low)),
        ],
        "steps": checks.integer(steps, "steps", low=0),
    }
