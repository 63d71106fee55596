"""Small trained models that come with actmax, so that every example and test runs offline.

Both are the convolutional network of the article that started this package: one 3x3 convolution,
max pooling, dropout, a dense layer and a softmax. `actmax/zoo/train.py` trained them;
`actmax/zoo/README.md` has their accuracy and checksums. They take images in (0, 1), `[N, H, W, C]`,
and return probabilities `[N, 10]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

__all__ = ["labels", "load", "path"]

_LABELS: dict[str, tuple[str, ...]] = {
    "mnist": ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
}


def labels(name: str) -> tuple[str, ...]:
    """The ten class names of a zoo model, in the order of its output units.

    Args:
        name: `"mnist"` or `"cifar10"`.

    Raises:
        ValueError: there is no model of this name.

    Example:
        >>> from actmax import zoo
        >>> zoo.labels("cifar10")[6]
        'frog'
    """
    _check(name)
    return _LABELS[name]


def path(name: str) -> Path:
    """The `.keras` file of a zoo model, inside the installed package.

    Args:
        name: `"mnist"` or `"cifar10"`.

    Raises:
        ValueError: there is no model of this name.

    Example:
        >>> from actmax import zoo
        >>> zoo.path("mnist").name
        'mnist_cnn.keras'
    """
    _check(name)
    return Path(__file__).with_name(f"{name}_cnn.keras")


def load(name: str) -> keras.Model:
    """A trained zoo model, images in (0, 1) `[N, H, W, C] -> [N, 10]` softmax probabilities.

    Each call reads the file and returns a new model, not compiled. Its layers are `images`, `conv`,
    `pool`, `dropout`, `flatten`, `dense` and `predictions`.

    Args:
        name: `"mnist"`, images `[N, 28, 28, 1]`, or `"cifar10"`, images `[N, 32, 32, 3]`.

    Raises:
        ValueError: there is no model of this name.

    Example:
        >>> from actmax import zoo
        >>> model = zoo.load("mnist")
        >>> model.input_shape, model.output_shape
        ((None, 28, 28, 1), (None, 10))
    """
    _check(name)
    import keras  # Here and not above: asking for a path or for labels should not start TensorFlow.

    return keras.models.load_model(path(name))


def _check(name: str) -> None:
    if name not in _LABELS:
        expected = ", ".join(f'"{known}"' for known in _LABELS)
        raise ValueError(
            f"Expected one of {expected}. Received name={name!r}. "
            "Do load a model of your own with keras.models.load_model."
        )
