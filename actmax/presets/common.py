"""Checks of the model and the range of a preset."""

from __future__ import annotations

from typing import Any

from actmax import checks, models
from actmax.constraints import from_range


def shape_of(model: Any) -> tuple[int, int, int]:
    """`(H, W, C)` of the only input of a model of images.

    Raises:
        ValueError: if there is none of known size.
    """
    specs = models.input_specs(model)
    shape = specs[0].shape if specs and len(specs) == 1 else None
    if shape is None or len(shape) != 3 or None in shape:
        raise ValueError(
            checks.message(
                "a model of one image input of known size (H, W, C)",
                f"shape {shape}",
                "Give keras.Input a size, or write the parts yourself.",
            )
        )
    height, width, channels = (int(size) for size in shape if size is not None)
    return height, width, channels


def pair(input_range: Any) -> tuple[float, float]:
    """A pair of finite numbers as floats.

    Raises:
        TypeError: if it is anything else.
    """
    constraint = from_range(input_range)
    low, high = constraint.low, constraint.high
    if not (
        isinstance(input_range, (tuple, list))
        and isinstance(low, (int, float))
        and isinstance(high, (int, float))
    ):
        raise TypeError(
            checks.message("input_range as a pair of two finite numbers", repr(input_range))
        )
    return float(low), float(high)
