"""Sets of rows along one axis: exactly one 1, as in a sequence of letters, or numbers that sum to 1."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.constraints.base import Bound, Constraint

# Length of the logits before the first step.
_START = 0.1
# Tolerance of the sum of given probabilities. They are often written with four digits.
_OFF = 1e-3


@dataclasses.dataclass(frozen=True)
class Rows(Constraint):
    """The common base of `OneHot` and `Simplex`: a row of numbers along one axis for every position.

    Raw images are logits. A mask chooses positions. The rows that it keeps may have any values, such as
    the rows of zeros that many networks use for an unknown letter.
    """

    projects: ClassVar[bool] = False
    # Whether a weighted mean of two rows of the set is in the set.
    convex_rows: ClassVar[bool] = True

    alphabet: Any = None
    axis: int = -1

    @property
    def low(self) -> Bound:
        return 0.0

    @property
    def high(self) -> Bound:
        return 1.0

    @property
    def letters(self) -> tuple[str, ...]:
        """A name for each position of a row. Empty if there are no names."""
        if isinstance(self.alphabet, int):
            return tuple(map(str, range(self.alphabet)))
        return tuple(self.alphabet or ())

    def start(self, noise: tf.Tensor) -> tf.Tensor:
        """Logits of length 0.1 for every image and any noise: only the leading letter matters."""
        axes = list(range(1, noise.shape.rank))
        largest = tf.reduce_max(tf.abs(noise), axes, keepdims=True)
        unit = tf.math.divide_no_nan(noise, largest)
        length = tf.sqrt(tf.reduce_sum(tf.square(unit), axes, keepdims=True))
        return _START * tf.math.divide_no_nan(unit, length)

    def clip(self, images: tf.Tensor) -> tf.Tensor:
        # `apply` makes exact rows, and rows that a mask keeps stay unchanged.
        return images

    def unknown(self, images: tf.Tensor) -> tf.Tensor:
        """True where a row is all zero: an unknown letter. `[N, ...] -> bool`, 1 along the axis."""
        return tf.reduce_all(images == 0, self.axis, keepdims=True)

    def positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Sizes of the other axes of one image, `(L, A) -> (L,)`.

        Raises:
            ValueError: if the image has no such axis, or another number of letters along it.
        """
        axis = self.axis
        rank = len(shape) + 1
        if not -rank < axis < rank or axis % rank == 0 or rank < 2:
            raise ValueError(
                checks.message(
                    f"an axis of letters of inputs [N, {', '.join(map(str, shape))}]",
                    f"axis={axis}",
                    "Axis 0 counts the inputs; -1 is the last axis.",
                )
            )
        place = axis % rank - 1
        letters = self.letters
        if letters and len(letters) != shape[place]:
            raise ValueError(
                checks.message(
                    f"{shape[place]} letters, the size of axis {axis} of inputs "
                    f"[N, {', '.join(map(str, shape))}]",
                    f"{len(letters)}: {_listed(letters)}",
                    "Give the alphabet in the order of the network's columns, or another axis=.",
                )
            )
        return tuple(size for number, size in enumerate(shape) if number != place)

    def laid_out(self, shape: Sequence[int | None]) -> tuple[int, int] | None:
        """`(L, A)` for inputs of flattened rows, `(L * A,)`. None for other inputs."""
        count = len(self.letters)
        if len(shape) != 1 or not count or self.axis not in (-1, 1):
            return None
        size = shape[0]
        return (size // count, count) if size and size > count and size % count == 0 else None

    def opened(self, images: np.ndarray) -> np.ndarray:
        """Flattened rows as rows, `[N, L * A] -> [N, L, A]`. Other inputs are returned unchanged."""
        sizes = self.laid_out(np.shape(images)[1:])
        return images if sizes is None else np.reshape(images, (-1, *sizes))

    def check_start(self, images: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """Checked start images: each free row is in the set or all zero. `[N, ...] -> [N, ...]`.

        Args:
            images: as given.
            mask: of `spread`; or None.

        Raises:
            ValueError: if a free row is neither, or a value is not finite.
        """
        values = checks.finite(images.astype(np.float64), "initial_images")
        rows = np.moveaxis(values, self.axis, -1)
        free = np.ones(rows.shape[:-1], bool)
        if mask is not None:
            own = mask if mask.ndim == values.ndim else mask[None]
            free = free & (np.moveaxis(own, self.axis, -1)[..., 0] > 0)
            rows = np.broadcast_to(rows, (len(free), *rows.shape[1:]))
        good = (rows == 0).all(-1) | self._contains(rows)
        if np.any(free & ~good):
            place = tuple(int(number) for number in np.argwhere(free & ~good)[0])
            row = np.array2string(rows[place], precision=3, threshold=8, edgeitems=3)
            raise ValueError(
                checks.message(
                    f"initial_images with {self._row()} along axis {self.axis}, or zeros for "
                    "an unknown letter",
                    f"{row} in image {place[0]} at position {', '.join(map(str, place[1:]))}",
                    "Positions that a mask keeps may hold anything.",
                )
            )
        return values

    def spread(self, mask: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
        """A mask, repeated along the letters. `[L] or [N, L] -> [(N,) L, A]`."""
        places = self.positions(shape)
        if mask.shape != places and mask.shape[1:] != places:
            raise ValueError(
                checks.message(
                    f"a mask of shape {places}, that of the images of {name!r} without the axis of letters",
                    f"shape {mask.shape}",
                    "It is one for all letters; for one each image put their number first.",
                )
            )
        between = mask[(mask > 0) & (mask < 1)]
        if between.size and not self.convex_rows:
            raise ValueError(
                checks.message(
                    "a mask of 0 and 1, because a position has one letter or another",
                    f"values between, such as {between[0]:g}",
                    "1 is optimized, 0 is kept.",
                )
            )
        place = self.axis % (len(shape) + 1) - 1 + (mask.ndim - len(places))
        sizes = shape if mask.ndim == len(places) else (len(mask), *shape)
        return np.broadcast_to(np.expand_dims(mask, place), sizes)

    def _row(self) -> str:
        raise NotImplementedError

    def _contains(self, rows: np.ndarray) -> np.ndarray:  # [..., A] -> bool [...]
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class OneHot(Rows):
    """Sequences of letters: exactly one 1 along an axis, zeros elsewhere.

    The raw image has a logit for each letter. Every step uses the sequence of the largest logits, so
    scores, penalties and images are always those of letters, and never of a mixture of letters:

        image = one_hot(argmax(raw)),   d image / d raw = identity

    The gradient at the sequence is passed on unchanged: this is the straight-through estimator (Bengio,
    Leonard and Courville, 2013, https://arxiv.org/abs/1308.3432). The default optimizer for this
    constraint makes steps along the normalized gradient. The logits are then the sum of the gradients at
    all sequences so far. Of these sequences the run returns the one with the highest J (see `keep`). With
    a `temperature` the gradient goes through `softmax(raw / temperature)`, as in Fast SeqProp (Linder and
    Seelig, 2021, https://doi.org/10.1186/s12859-021-04437-5), but with the most likely letter in place of
    a random one.

    With `straight_through=False` the model gets `softmax(raw / temperature)` itself. This is the
    relaxation of Jang, Gu and Poole, 2017, https://arxiv.org/abs/1611.01144, without noise. `history`
    then has the values of the relaxation. The returned image and score are those of the final sequence.

    Args:
        alphabet: the letters in the order of the network's columns: a string, a sequence of names (words
            or tokens), or how many there are.
        axis: of the batch, along which a letter is written: -1 for `[N, L, A]`, 1 for `[N, A, L]`.
        straight_through: see above.
        temperature: of the softmax, positive; None for a gradient that is passed on as it is.

    Raises:
        ValueError: if a letter is given twice, there are fewer than two, or a setting is out of
            range.

    Example:
        >>> import actmax
        >>> dna = actmax.OneHot("ACGT")
        >>> dna.encode(["GAT"]).tolist()
        [[[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]]
        >>> dna.read(dna.encode(["GAT"]))
        ('GAT',)
    """

    discrete: ClassVar[bool] = True
    convex_rows: ClassVar[bool] = False

    alphabet: Any = "ACGT"
    straight_through: bool = True
    temperature: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "alphabet", _alphabet(self.alphabet))
        _check_settings(self)
        if not isinstance(self.straight_through, bool):
            raise TypeError(
                checks.message("straight_through to be True or False", repr(self.straight_through))
            )
        if not self.straight_through and self.temperature is None:
            raise ValueError(
                checks.message(
                    "a temperature of the relaxation, beside straight_through=False",
                    None,
                    "Give temperature=1.0.",
                )
            )

    @property
    def convex(self) -> bool:
        return False

    def relax(self, images: tf.Tensor) -> tf.Tensor:
        """The smooth map whose gradient `apply` has. `[N, ...] -> [N, ...]`."""
        images = tf.convert_to_tensor(images)
        return images if self.temperature is None else _softmax(images, self.temperature, self.axis)

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        soft = self.relax(images)
        if not self.straight_through:
            return soft
        # The added term is exactly 0, so the values are exactly 0 and 1.
        return self.finish(images) + (soft - tf.stop_gradient(soft))

    def finish(self, images: tf.Tensor) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        letter = tf.argmax(images, self.axis)
        return tf.one_hot(letter, images.shape[self.axis], axis=self.axis, dtype=images.dtype)

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        # As long as the noise of a start is.
        positions = tf.size(images) / (tf.shape(images)[0] * tf.shape(images)[self.axis])
        return _START * images / tf.cast(tf.sqrt(positions), images.dtype)

    def encode(self, sequences: Sequence[Any], unknown: str = "-N?") -> np.ndarray:
        """Sequences as arrays, of one length. `N sequences -> float32 [N, L, A]`, or as `axis` says.

        Args:
            sequences: strings; for letters of several characters, each a list of letters.
            unknown: characters that become rows of zeros, if they are not in the alphabet. The run
                finds their letter, or a mask keeps them unknown.

        Raises:
            ValueError: if lengths differ or a letter is unknown.
        """
        places = {letter: number for number, letter in enumerate(self.letters)}
        blank = set(unknown) - set(places)
        if isinstance(sequences, (str, bytes)) or not len(sequences):
            raise TypeError(checks.message("a list of sequences", repr(sequences)))
        split = [[str(letter) for letter in each] for each in sequences]
        lengths = sorted({len(each) for each in split})
        if len(lengths) > 1 or lengths == [0]:
            raise ValueError(
                checks.message(
                    "sequences of one length",
                    f"lengths {lengths[:8]}",
                    "Fill the shorter ones up, or make them one by one.",
                )
            )
        found = np.zeros((len(split), lengths[0], len(places)), np.float32)
        for row, each in enumerate(split):
            for column, letter in enumerate(each):
                if letter in places:
                    found[row, column, places[letter]] = 1.0
                elif letter not in blank:
                    raise ValueError(
                        checks.message(
                            f"letters of {_listed(tuple(places))}",
                            f"{letter!r} at position {column} of sequence {row}",
                            f"Write one of {sorted(blank)} for an unknown letter." if blank else "",
                        )
                    )
        axis = self.axis if self.axis > 0 else 3 + self.axis
        return np.moveaxis(found, -1, axis) if axis in (1, 2) else found

    def read(self, images: np.ndarray, unknown: str = "-") -> tuple[str, ...]:
        """Sequences of images, positions in the order of the array. `[N, ...] -> N strings`.

        Letters of several characters, and numbers, are separated by spaces.

        Args:
            images: as `encode` or a run makes them.
            unknown: the character for a row that is not a letter, such as one that a mask keeps.
        """
        values = self.opened(np.asarray(images))
        self.positions(values.shape[1:])
        rows = np.moveaxis(values, self.axis, -1)
        rows = rows.reshape(len(rows), -1, rows.shape[-1])
        known = self._contains(rows)
        names = np.array([*self.letters, unknown], object)
        places = np.where(known, rows.argmax(-1), len(self.letters))
        between = "" if _single(self.letters) and not isinstance(self.alphabet, int) else " "
        return tuple(between.join(names[each]) for each in places)

    def _row(self) -> str:
        return "exactly one 1 and zeros"

    def _contains(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(((rows == 0) | (rows == 1)).all(-1) & (rows.sum(-1) == 1))


@dataclasses.dataclass(frozen=True)
class Simplex(Rows):
    """Rows of numbers of at least 0 that sum to 1: a position weight matrix.

    `softmax(raw / temperature)` along an axis. The score is that of the matrix itself. A network
    that was trained on letters has never seen such a matrix, so use `OneHot` to get a sequence.

    Args:
        alphabet: as for `OneHot`, for a logo; None if columns have no names.
        axis: of the batch, along which numbers sum to 1.
        temperature: of the softmax, positive.

    Example:
        >>> import actmax, numpy
        >>> pair = actmax.Simplex().apply(numpy.array([[[0.0, 0.0], [3.0, 0.0]]]))
        >>> pair.numpy().round(2).tolist()
        [[[0.5, 0.5], [0.95, 0.05]]]
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.alphabet is not None:
            object.__setattr__(self, "alphabet", _alphabet(self.alphabet))
        _check_settings(self)

    def apply(self, images: tf.Tensor) -> tf.Tensor:
        return _softmax(images, self.temperature, self.axis)

    def invert(self, images: tf.Tensor) -> tf.Tensor:
        # The logit of 0 is minus infinity. A share of 0 therefore starts at a millionth.
        share = tf.maximum(images, tf.constant(1e-6, images.dtype))
        return self.temperature * tf.math.log(share)

    def _row(self) -> str:
        return "numbers of at least 0 that sum to 1"

    def _contains(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray((rows >= 0).all(-1) & (np.abs(rows.sum(-1) - 1) <= _OFF))


def _softmax(images: tf.Tensor, temperature: float, axis: int) -> tf.Tensor:
    images = tf.convert_to_tensor(images)
    return tf.nn.softmax(images / tf.constant(temperature, images.dtype), axis)


def _single(letters: Sequence[str]) -> bool:
    return all(len(letter) == 1 for letter in letters)


def _listed(letters: Sequence[str]) -> str:
    return "".join(letters)[:40] if _single(letters) else ", ".join(letters[:8])


def _alphabet(value: Any) -> Any:
    """An alphabet as a string, a tuple of names, or a number of letters."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return checks.integer(value, "the number of letters", low=2)
    if isinstance(value, str):
        letters: Sequence[str] = value
    elif isinstance(value, (list, tuple, np.ndarray)) and all(isinstance(v, str) for v in value):
        letters = tuple(str(v) for v in value)
    else:
        raise TypeError(
            checks.message(
                "an alphabet: a string, a list of names, or a number of letters", repr(value)
            )
        )
    twice = sorted({letter for letter in letters if list(letters).count(letter) > 1})
    if len(letters) < 2 or twice or not all(letters):
        fault = f"{twice[0]!r} twice" if twice else f"{value!r}"
        raise ValueError(checks.message("two or more letters, each once", fault))
    return letters


def _check_settings(part: Any) -> None:
    object.__setattr__(part, "axis", checks.integer(part.axis, "axis", low=-32, high=31))
    if part.axis == 0:
        raise ValueError(checks.message("an axis of letters", "axis=0, which counts the inputs"))
    if part.temperature is None and isinstance(part, OneHot):
        return
    temperature = checks.number(part.temperature, "temperature", low=0.0)
    if temperature == 0.0:
        raise ValueError(checks.message("temperature to be positive", repr(part.temperature)))
    object.__setattr__(part, "temperature", temperature)
