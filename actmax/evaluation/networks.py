"""Networks that look at 8-bit pictures: judges and subjects, with their features and logits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from actmax import checks, models
from actmax.objectives import Objective, refuse_coupled
from actmax.preparing import prepare

__all__ = ["Judge"]

Scorer: TypeAlias = Callable[[npt.ArrayLike, npt.ArrayLike], npt.NDArray[np.float64]]

LOGITS = ":logits"
_DENSE_RANK = 2


@dataclasses.dataclass(frozen=True)
class Judge:
    """A network that was trained separately from the subject, and how it takes its images.

    Args:
        model: a Keras model or a callable, `images -> outputs [N, K]`; the values before its
            softmax are used.
        features: path of the layer whose output is the feature space, flattened; None for the layer
            before the last dense one of a Keras model. A callable has none but its own output.
        input_range: the values of black and white for the model, each a number or one per channel. None
            to take it from the model, as `maximize` does, or (0, 1) if the model does not contain it.
        preprocess: images in the input range, of the model's size and layout, to what it takes, called in
            inference mode; None for nothing.

    Example:
        >>> from actmax import zoo
        >>> Judge(zoo.load("mnist")).feature_layer()
        'dense'
    """

    model: Any
    features: str | None = None
    input_range: tuple[Any, Any] | None = None
    preprocess: Callable[[Any], Any] | None = None

    @functools.cached_property
    def bounds(self) -> tuple[Any, Any]:
        """The input range: as given, else as the model says it, else (0, 1)."""
        if self.input_range is not None:
            return self.input_range
        found = models.detect_range(self.model) if self.preprocess is None else None
        return (0.0, 1.0) if found is None else found[0]

    @functools.cached_property
    def _taken(self) -> tuple[Any, int | None]:
        return models.taken(self.model)

    def feature_layer(self) -> str | None:
        """Path of the layer of features; None where there is none."""
        if self.features is not None or not models.is_keras(self.model):
            return self.features
        found = models.layers(self.model)
        paths = [
            path for path, layer in found.items() if not getattr(layer, "layers", None)
        ]  # no containers: their layers stand in the list themselves
        dense = [n for n, path in enumerate(paths) if len(_kernel(found[path])) == _DENSE_RANK]
        return paths[dense[-1] - 1] if dense and dense[-1] > 0 else None

    def look(
        self, images: npt.ArrayLike, layers: Sequence[str] = (), batch_size: int = 250
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Logits, and outputs of layers, flattened. `[N, H, W, C] -> {name: [N, D]}`.

        Args:
            images: floats in (0, 1), black to white.
            layers: paths; their outputs come under the same names, logits under ":logits".
            batch_size: images at once.
        """
        taps = models.Taps(self.model, [LOGITS, *layers])
        found: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in taps.names}
        for batch, count in self.batches(images, batch_size):
            activations = taps({"images": batch})
            for name, value in ((name, activations[name]) for name in taps.names):
                array = np.asarray(value, np.float32)[:count]
                # Logits of higher rank are means over space, as in objectives.
                if name == LOGITS and array.ndim > _DENSE_RANK:
                    array = array.mean(axis=tuple(range(1, array.ndim - 1)))
                found[name].append(array.reshape(len(array), -1))
        return {name: np.concatenate(arrays) for name, arrays in found.items()}

    def scorer(self, objective: Objective) -> Scorer:
        """The objective of every image for every target: `[N, H, W, C], [T] -> [N, T]`.

        Raises:
            ValueError: if the objective couples images, which are scored in batches.
        """
        refuse_coupled(objective, "an evaluation")
        taps = models.Taps(self.model, objective.taps)

        def scores(images: npt.ArrayLike, targets: npt.ArrayLike) -> npt.NDArray[np.float64]:
            rows = []
            for batch, count in self.batches(images):
                activations = taps({"images": batch})
                columns = [
                    np.asarray(objective(activations, _targets(target, len(batch))))[:count]
                    for target in np.asarray(targets)
                ]
                rows.append(np.stack(columns, axis=1))
            return np.concatenate(rows).astype(np.float64)

        return scores

    def own_scores(
        self, inputs: npt.ArrayLike, objective: Objective, targets: npt.ArrayLike
    ) -> npt.NDArray[np.float64]:
        """The objective of images in the input range, each for its own target, in one batch. `-> [N]`."""
        taps = models.Taps(self.model, objective.taps)
        prepared = self._prepared(tf.convert_to_tensor(inputs))
        found = objective(taps({"images": prepared}), tf.convert_to_tensor(np.asarray(targets)))
        return np.asarray(found, np.float64)

    def batches(self, images: npt.ArrayLike, size: int = 250) -> Iterator[tuple[tf.Tensor, int]]:
        """Images as the model takes them, in batches of one size, and how many of each count."""
        values = np.asarray(images, np.float32)
        low, high = (np.asarray(end, np.float32) for end in self.bounds)
        size = min(size, len(values))
        for start in range(0, len(values), size):
            batch = values[start : start + size]
            count = len(batch)
            # Filled up with its last image: another size would be traced again.
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - count, axis=0)])
            yield self._prepared(tf.constant(low + (high - low) * batch)), count

    def _prepared(self, images: tf.Tensor) -> tf.Tensor:
        return prepare(images, *self._taken, self.preprocess)


def as_judges(given: Any) -> dict[str, Judge]:
    """Judges by name, from one or several, named or not.

    Raises:
        TypeError: if something is neither a judge nor a model.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        named = {str(name): judge for name, judge in given.items()}
    else:
        listed = list(given) if isinstance(given, Sequence) else [given]
        named = {f"judge_{number}": judge for number, judge in enumerate(listed, start=1)}
    judges = {}
    for name, judge in named.items():
        if not isinstance(judge, Judge) and not callable(judge):
            expected = f"{name} to be a Keras model, a callable, or a Judge"
            raise TypeError(checks.message(expected, type(judge).__name__))
        judges[name] = judge if isinstance(judge, Judge) else Judge(judge)
    return judges


def _kernel(layer: Any) -> tuple[int, ...]:
    return tuple(getattr(getattr(layer, "kernel", None), "shape", ()))


def _targets(target: Any, count: int) -> tf.Tensor:
    return tf.convert_to_tensor(np.repeat(np.asarray(target)[None], count, axis=0))
