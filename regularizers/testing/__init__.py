"""`check_regularizer` tests in one call whether a regularizer keeps all laws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from regularizers.base import Penalty, Regularizer, Transform
from regularizers.testing.laws import IMPLIED, LAWS
from regularizers.testing.portrait import Portrait, draw
from regularizers.testing.probe import Fault, Probe, Untraceable
from regularizers.testing.sizes import settle

__all__ = [
    "LAWS",
    "Portrait",
    "RegularizerError",
    "SHAPES",
    "broken_laws",
    "check_regularizer",
    "portrait",
]

Shapes: TypeAlias = Sequence[Sequence[int]]
Activations: TypeAlias = Callable[[Any], Mapping[str, Any]]

# Square and not square, with three channels and one. They are small, so that a check takes about a
# second.
SHAPES: Shapes = ((8, 8, 3), (6, 10, 1))


class RegularizerError(AssertionError):
    """A regularizer breaks a law.

    Attributes:
        law: name of the law.
    """

    def __init__(self, law: str, message: str) -> None:
        super().__init__(message)
        self.law = law


def check_regularizer(
    part: Regularizer,
    *,
    shapes: Shapes | None = None,
    image_range: tuple[float, float] = (0.0, 1.0),
    half: bool = False,
    activations: Activations | None = None,
    arrays: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Tests every law on a penalty or a transform, and raises an error at the first broken one.

    - fields: plain, hashable configuration; no tensors.
    - kept: nothing of a first trace is kept for the next call, and nothing has to be made before it.
    - state: `update` of a penalty with a state returns a state like that of `init`, `[N, ...]`.
    - shape: `[N]` of a penalty; rank, N and channels kept by a transform, and all sizes if
      `keeps_shape = True`. At several sizes.
    - dtype: float32 and float64 are kept.
    - repeat: the same call gives the same bytes.
    - seeds: other seeds give another result, also inside a `tf.function`; unless `draws = False`.
    - global state: TensorFlow's global seed stays.
    - connected: there is a gradient with respect to the images.
    - finite: values and gradients, on random, all-zero, constant, checkerboard, equal-rows and faint
      images, and under XLA.
    - gradient: equals central differences, along random directions and its own; of a part with a
      network in float32 to float32's accuracy. Or what `expected_gradient(images)` says, if
      `exact_gradient = False`.
    - graph: eager mode and one graph of unknown N agree.
    - independent: image n alone is image n in a batch; unless `couples_images = True`.
    - isolated: a NaN image leaves its neighbours as they are.
    - order: another order of the rows gives the same rows.
    - range: no value leaves the range of images, if `keeps_range = True`.
    - share: a penalty that couples images gives each image its own value, not one number for all.
    - resolution: a penalty's value does not grow with the number of pixels, or with its root.
    - axes: rows and columns are spatial axes and channels are not, unless `isotropic` or
      `symmetric_in_channels` say otherwise.
    - units: constants of a penalty have an effect in the range of images, not only on larger ones.
    - words: the declared properties `isotropic`, `symmetric_in_channels` and `degree` are true.
    - weight: `number * penalty` is a new penalty, and calls give the unweighted value.

    Args:
        part: the penalty or transform. A transform that draws needs a strength above 0.
        shapes: shapes of images without N, of which the first is used most. The default is
            `SHAPES`, or the size of the network or array in the part, if it accepts no other size.
        image_range: the range of the test images, for parts that are not made for values from 0 to
            1.
        half: whether float16 is tested too. The images of a run are float32 or float64, for every
            precision of the model.
        activations: a function from images to a dict of the layers that a penalty names. None for 8
            smooth features of every pixel. If the penalty has arrays of a layer's size, give a
            function of your network.
        arrays: shape of one row of every array that a penalty names; None for that of an image.

    Raises:
        RegularizerError: an AssertionError that starts with the part's name, and says which law it
            breaks, where, and what to do.
        TypeError: if part is neither a penalty nor a transform.

    Example:
        >>> from regularizers import Jitter
        >>> check_regularizer(Jitter(2), shapes=[(6, 6, 1)])
    """
    for error in _broken(part, shapes, image_range, half, activations, arrays):
        raise error


def broken_laws(
    part: Regularizer,
    *,
    shapes: Shapes | None = None,
    image_range: tuple[float, float] = (0.0, 1.0),
    half: bool = False,
    activations: Activations | None = None,
    arrays: Mapping[str, Sequence[int]] | None = None,
) -> tuple[RegularizerError, ...]:
    """All laws that a part breaks, in order. The arguments are those of `check_regularizer`.

    Example:
        >>> from regularizers import L2
        >>> broken_laws(L2(), shapes=[(6, 6, 1)])
        ()
    """
    return tuple(_broken(part, shapes, image_range, half, activations, arrays))


def portrait(
    part: Penalty,
    *,
    shapes: Shapes | None = None,
    image_range: tuple[float, float] = (0.0, 1.0),
) -> Portrait:
    """Describes a penalty in numbers. The arguments are those of `check_regularizer`.

    The numbers show wrong axes and units at once. For example, a total variation has degree 1. It
    ignores a shift, the order of channels and a transposition. On a constant image it is 0, with
    gradient 0.

    Raises:
        TypeError: if part is not a penalty.

    Example:
        >>> from regularizers import L2
        >>> page = portrait(L2())
        >>> round(page.degree, 6), page.constant
        (2.0, 0.25)
    """
    if not isinstance(part, Penalty):
        raise TypeError(
            f"Expected a penalty. Received: {part!r} of type {type(part).__name__}. Transforms have "
            "no one number to show."
        )
    return draw(_probe(part, shapes, image_range, False, None, None))


def _probe(
    part: Regularizer,
    shapes: Shapes | None,
    image_range: tuple[float, float],
    half: bool,
    activations: Activations | None,
    arrays: Mapping[str, Sequence[int]] | None,
) -> Probe:
    sizes = tuple(tuple(int(size) for size in shape) for shape in shapes or SHAPES)
    low, high = map(float, image_range)
    rows = {name: tuple(map(int, shape)) for name, shape in (arrays or {}).items()}
    probe = Probe(part, sizes, low, high, half, activations=activations, arrays=rows)
    settle(probe, chosen=shapes is not None)
    return probe


def _broken(
    part: Regularizer,
    shapes: Shapes | None,
    image_range: tuple[float, float],
    half: bool,
    activations: Activations | None,
    arrays: Mapping[str, Sequence[int]] | None,
) -> Iterator[RegularizerError]:
    if not isinstance(part, (Penalty, Transform)):
        raise TypeError(
            f"Expected a penalty or a transform. Received: {part!r} of type {type(part).__name__}. "
            "Make one of a function with @regularizers.penalty or @regularizers.transform, and "
            "give an object, not its class."
        )
    probe = _probe(part, shapes, image_range, half, activations, arrays)
    known: set[str] = set()
    for law, (is_for, check) in LAWS.items():
        if law in known or not is_for(part):
            continue
        probe.place = ""
        cause: BaseException | None = None
        try:
            check(probe)
        except Untraceable as error:
            if law != "graph":
                continue
            cause = error.__cause__
            reason = (
                f"Expected it to be traced. Received {type(cause).__name__}: {cause}. Use "
                "TensorFlow operations and tf.shape(images)[0]: not .numpy(), a static N, or an `if` "
                "on a tensor."
            )
        except Fault as fault:
            reason = str(fault)
        except Exception as error:  # A plug-in may raise any error.
            cause = error
            reason = (
                f"Expected a result. Received {type(error).__name__}: {error}. Make it run there."
            )
        else:
            continue
        place = f" {probe.place}" if probe.place else ""
        broken = RegularizerError(law, f"{part.name} breaks the law of {law}{place}. {reason}")
        broken.__cause__ = cause
        known.update(IMPLIED.get(law, ()))
        yield broken
