"""Published methods with their papers' settings, and two of ours, as arguments of `maximize`.

    result = actmax.maximize(model, targets=[3], **actmax.presets.lucid(model, (0, 1)))

Every preset is a function `(model, input_range, ...) -> dict` of keyword arguments of `maximize`, the
number of steps among them; what you name yourself beside it must not be in it, so change the dict
first: `{**preset, "steps": 64}`. Lengths and rates that a paper gives for images of 0 to 255 are
converted to the input range.
"""

from actmax.presets.papers import (
    deep_inversion,
    lucid,
    mahendran_vedaldi,
    mei,
    natural,
    yosinski,
)
from actmax.presets.pen import drawn
from actmax.presets.phase import maco

__all__ = [
    "deep_inversion",
    "drawn",
    "lucid",
    "maco",
    "mahendran_vedaldi",
    "mei",
    "natural",
    "yosinski",
]
