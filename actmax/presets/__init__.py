"""Published methods with their papers' settings, and two of ours, as arguments of `maximize`.

    result = actmax.maximize(model, targets=[3], **actmax.presets.lucid(model, (0, 1)))

Every preset is a function `(model, input_range, ...) -> dict`. The dict has keyword arguments of
`maximize`, including the number of steps. To change one of them, change the dict:
`{**preset, "steps": 64}`. If a paper gives lengths and rates for images of 0 to 255, they are
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
