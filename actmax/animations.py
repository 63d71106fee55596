"""The run of a result as an animation: the frames that were kept during the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from actmax import checks, images, reporting
from actmax.preparing import channels_last


def frames_of(result: Any, name: str) -> list[np.ndarray]:
    """The grid of all images of one input at every kept step, each uint8 `[H, W, 3]`.

    Args:
        result: of a run with `actmax.Frames` among its callbacks.
        name: of the input.

    Raises:
        ValueError: if the run kept no frames.
    """
    if result.frames is None:
        raise ValueError(
            checks.message(
                "a result whose run kept its steps",
                "one without frames",
                "Run it with callbacks=[actmax.Frames()]. A saved result keeps no frames.",
            )
        )
    kept = [f[name] if isinstance(f, Mapping) else f for f in result.frames.frames]
    bounds = result.scale(input=name)
    axis = result.channels(name)
    return [images.grid(images.tiles(channels_last(frame, axis), *bounds)[0]) for frame in kept]


def animated(
    result: Any, animation: Any, film: reporting.RecordedFrames | None
) -> reporting.RecordedFrames | None:
    """The animation that `Result.report` shows: `animation`, or `film`, its older name.

    Raises:
        TypeError: if it is neither.
        ValueError: if both are given, or the callback was in no run.
    """
    if animation is None or isinstance(animation, reporting.RecordedFrames):
        given = [one for one in (animation, film) if one is not None]
        if len(given) > 1:
            raise ValueError(checks.message("animation= or film=", "both", "Drop film=."))
        return given[0] if given else None
    if film is not None:
        raise ValueError(checks.message("animation= or film=", "both", "Drop film=."))
    if not hasattr(animation, "film"):
        raise TypeError(
            checks.message(
                "animation to be the actmax.Frames of the run",
                f"{animation!r}",
                "Give frames = actmax.Frames() to callbacks=[frames], and animation=frames here.",
            )
        )
    if not animation.frames:
        raise ValueError(
            checks.message(
                "animation to be a callback that was in the run",
                "one that has seen no step",
                "Give it to callbacks=[...] of the run as well.",
            )
        )
    made: reporting.RecordedFrames = animation.film(*result.scale())
    return made
