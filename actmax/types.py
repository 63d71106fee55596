"""Types that all modules share: statuses, snapshots, and the description of a part as JSON."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

# N images, H and W pixels, C channels, K transformed copies, S steps, P penalties.
Images: TypeAlias = dict[str, tf.Tensor]
Params: TypeAlias = Any
# `(gradients) -> gradients`; it may also ask for `images`, `seeds` and `step`.
GradientFunction: TypeAlias = Callable[..., tf.Tensor]
Metric: TypeAlias = Callable[[tf.Tensor], tf.Tensor]

# The name that the only input has when nobody named it.
IMAGES = "images"


class Status(enum.IntEnum):
    """How the run of one image ended."""

    OK = 0
    CONVERGED = 1
    STOPPED = 2
    NON_FINITE = 3
    NO_GRADIENT = 4
    INTERRUPTED = 5

    @property
    def failed(self) -> bool:
        """Whether the run of the image failed: commands then have exit code 1."""
        return self in FAILED

    @property
    def good(self) -> bool:
        """Whether the run of the image came to its own end. Reports show other statuses as a warning."""
        return self in (Status.OK, Status.CONVERGED)


FAILED = (Status.NON_FINITE, Status.NO_GRADIENT)


class Stop(enum.Enum):
    """What a callback returns to end the run; for single images it returns a bool array `[N]`."""

    STOP = "stop"


STOP = Stop.STOP


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The state of a run that a callback gets.

    Attributes:
        step: number of updates done so far.
        steps: number of updates that the run will do.
        images: NumPy `[N, ...]`, in the input range (a dict by name for several inputs).
        history: `Result.history` up to now: `[step, N]` each.
        live: NumPy bool `[N]`: False for images that have stopped.
        targets: as given, or None.
        labels: a name per image, or None.
        best_images: with `keep="best"` the best images so far, like `images`; else None.
        best_scores: NumPy `[N]`, their mean scores over the fixed set of transforms; else None.
        low: least value of the input range: a number, one per channel, or None where it is open or
            several inputs are optimized.
        high: largest value likewise.
        channels: axis of the channels in `images`; None for the last.
        params: the params that the images were decoded from, as in `Result.params`; None for
            pixels.
    """

    step: int
    steps: int
    images: Any
    history: Mapping[str, np.ndarray]
    live: np.ndarray
    targets: np.ndarray | None
    labels: tuple[str, ...] | None
    best_images: Any = None
    best_scores: np.ndarray | None = None
    low: Any = None
    high: Any = None
    channels: int | None = None
    params: Any = None
    _ask: Callable[[str], Any] | None = dataclasses.field(default=None, repr=False, compare=False)

    def terms(self) -> dict[str, np.ndarray]:
        """Contribution of each term to the current scores, without transforms, `[N]` by name.

        Empty if the objective is not a sum. It needs one pass of the model.
        """
        return {} if self._ask is None else self._ask("terms")

    def gradient(self) -> Any:
        """Gradient of the scores with respect to the images now, like `images`.

        This is the gradient of the score only, with the random transforms of the first step. It takes
        one forward and one backward pass of the model.
        """
        return None if self._ask is None else self._ask("gradient")


# Arrays of up to this many numbers are printed.
_PRINTED = 16


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FixedArray:
    """A read-only array in a field: it compares, hashes and is recorded by value."""

    values: np.ndarray

    def __post_init__(self) -> None:
        copy = np.array(self.values)
        copy.flags.writeable = False
        object.__setattr__(self, "values", copy)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of dtype, shape and bytes."""
        head = f"{self.values.dtype.str}{self.values.shape}".encode()
        return hashlib.sha256(head + self.values.tobytes()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FixedArray) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        if self.values.size <= _PRINTED:
            return repr(self.values.tolist())
        return f"array({list(self.values.shape)}, {self.values.dtype}, sha256 {self.digest[:8]})"


# Arrays of up to this many numbers stand in a record; of larger ones their shape and checksum do.
_WRITTEN_OUT = 4096


def describe(part: Any) -> Any:
    """A part as plain JSON: a dataclass as `{"class": ..., fields}`, a function by its name."""
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    if isinstance(part, enum.Enum):
        return part.name
    if isinstance(part, FixedArray):
        return {"array": list(part.values.shape), "sha256": part.digest}
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        return {
            "class": type(part).__name__,
            **{name: describe(value) for name, value in fields.items() if value is not None},
        }
    if isinstance(part, Mapping):
        return {str(key): describe(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [describe(value) for value in part]
    if isinstance(part, np.generic):
        return part.item()
    if isinstance(part, np.ndarray) and part.size <= _WRITTEN_OUT:
        return part.tolist()
    if isinstance(part, np.ndarray) or (tf.is_tensor(part) and hasattr(part, "numpy")):
        return digest(part)
    name = getattr(part, "__qualname__", None)
    if name is None and isinstance(getattr(part, "name", None), str):
        return {"class": type(part).__name__, "name": part.name}  # a Keras model, for example
    return name or type(part).__name__


def digest(array: Any) -> dict[str, Any]:
    """The entry of an array in a record: shape, dtype, and the SHA-256 of its bytes in C order."""
    values = np.ascontiguousarray(array)
    return {
        "array": list(np.shape(array)),
        "dtype": values.dtype.name,
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
    }
