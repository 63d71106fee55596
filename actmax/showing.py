"""Shows a result as pictures, sounds, strings and words, by the shape and the record of each input."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actmax import checks, images, records
from actmax.constraints import OneHot, Rows, Simplex
from actmax.drawing import Kind, Look, draw, nouns, side_by_side, wav
from actmax.reporting import Natural, Page, RecordedFrames, scored

_LETTERS: dict[str, type[Rows]] = {"OneHot": OneHot, "Simplex": Simplex}


def pictured(shapes: Mapping[str, tuple[int, ...]], name: str | None) -> str:
    """The input that is shown: the one named, the only one, or the only one of images."""
    known = list(shapes)
    if name is not None and name not in known:
        raise ValueError(checks.message(f"one of the optimized inputs {known}", repr(name)))
    shown = [each for each in known if is_picture(shapes[each])]
    candidates = [name] if name is not None else known if len(known) == 1 else shown
    if len(candidates) != 1:
        raise ValueError(
            checks.message(
                "one optimized input of images, or the name of one",
                f"inputs {sorted(known)}, of which {sorted(shown)} are images",
                "Choose one: input='name'.",
            )
        )
    return candidates[0]


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether images of a shape `[N, ...]` are pictures, of one or three channels."""
    return len(shape) == 4 and shape[-1] in (1, 3)


def rows_of(config: Mapping[str, Any], name: str) -> Rows | None:
    """The set of letters that an input was made in, of the record of its run; None for others."""
    try:
        return _rows(config["inputs"][name]["constraint"])
    except (KeyError, TypeError):
        return None


def _rows(record: Any) -> Rows | None:
    """The set of letters that a record describes; None for others."""
    try:
        settings = dict(record)
        return _LETTERS[settings.pop("class")](**settings)
    except (KeyError, TypeError, ValueError):
        return None


def drawer(input_range: Any, columns: Any, rate: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Draws one input that is not a picture, with the recorded range. `[...] -> uint8 [H, W, 3]`.

    Args:
        input_range: of the call of a catalog, as it is recorded.
        columns: names of numbers or channels, or None.
        rate: samples a second, of waves, or None.
    """
    if isinstance(input_range, Mapping) and "class" not in input_range and len(input_range) == 1:
        input_range = next(iter(input_range.values()))
    rows = _rows(input_range)
    pair = isinstance(input_range, (list, tuple)) and len(input_range) == 2
    low, high = input_range if pair else (None, None)
    rate = None if rate is None else checks.number(rate, "rate", low=1.0)

    def drawn(image: np.ndarray) -> np.ndarray:
        values = image[None] if rows is None else rows.opened(image[None])
        names = None if columns is None else _names(columns, values.shape[1:], "images")
        axis, letters = (None, ()) if rows is None else (rows.axis, rows.letters)
        return np.asarray(draw(values, Look(low, high, axis, letters, names, rate))[0])

    return drawn


def opened(config: Mapping[str, Any], name: str, images: np.ndarray) -> np.ndarray:
    """Inputs as they are drawn: rows of letters that a model takes laid end to end have an axis again."""
    rows = rows_of(config, name)
    return images if rows is None else rows.opened(images)


def sequences(
    images: Mapping[str, np.ndarray], config: Mapping[str, Any], name: str | None
) -> tuple[str, ...]:
    """The result of `Result.sequences`."""
    found = {each: rows_of(config, each) for each in images}
    lettered = [each for each, rows in found.items() if rows is not None]
    wanted = lettered if name is None else [name]
    if len(wanted) != 1 or wanted[0] not in found:
        raise ValueError(
            checks.message(
                "one input of letters, or the name of one",
                f"inputs {list(images)}, of which {lettered} are letters"
                + ("" if name is None else f", and input={name!r}"),
                "Give input_range=actmax.OneHot(alphabet) to the run, or input='name' here.",
            )
        )
    rows = found[wanted[0]]
    if not isinstance(rows, OneHot):
        raise ValueError(
            checks.message(
                "an input of letters",
                f"{wanted[0]!r}, made in {rows!r}, which has no one sequence",
                "Take the letters that you want from result.images; the score is not theirs.",
            )
        )
    return rows.read(images[wanted[0]])


def looks(result: Any, columns: Any = None, rate: Any = None) -> dict[str, Look]:
    """How each input of a result is drawn, by name.

    Args:
        result: a `Result`.
        columns: names of the numbers of a vector or of the channels of a series, one list for the only
            input that has such, or a dict by input name.
        rate: samples a second, of waves; likewise.

    Raises:
        TypeError: if columns is no list of names.
        ValueError: if there are not as many names as numbers, or nobody to have them.
    """
    arrays = result._by_name()
    named = _by_input(columns, arrays, "columns")
    rates = _by_input(rate, arrays, "rate")
    found = {}
    for name, values in arrays.items():
        rows = rows_of(result.config, name)
        look = Look(
            result.low[name],
            result.high[name],
            None if rows is None else rows.axis,
            () if rows is None else rows.letters,
            None if name not in named else _names(named[name], values.shape[1:], name),
            None if name not in rates else checks.number(rates[name], "rate", low=1.0),
        )
        if look.rate is not None and look.kind(values.shape[1:]) is not Kind.SERIES:
            raise ValueError(
                checks.message(
                    "a series [N, T] or [N, T, C], for rate=", f"{name!r}, {values.shape}"
                )
            )
        found[name] = look
    return found


def _by_input(value: Any, arrays: Mapping[str, np.ndarray], argument: str) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        unknown = sorted(set(value) - set(arrays))
        if unknown:
            raise ValueError(
                checks.message(f"names of inputs {list(arrays)} in {argument}", unknown)
            )
        return dict(value)
    if len(arrays) > 1:
        raise TypeError(
            checks.message(
                f"{argument} as a dict by input name, one of {list(arrays)}", repr(value)
            )
        )
    return {next(iter(arrays)): value}


def _names(given: Any, shape: tuple[int, ...], name: str) -> tuple[str, ...]:
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise TypeError(checks.message("columns to be a list of names", repr(given)))
    names = tuple(str(each) for each in given)
    if not shape or len(names) != shape[-1]:
        size = shape[-1] if shape else 0
        raise ValueError(
            checks.message(f"{size} names, one for each number of {name!r}", f"{len(names)} names")
        )
    return names


def drawings(result: Any, columns: Any = None, rate: Any = None) -> np.ndarray:
    """Every input of every row as one picture. `-> uint8 [N, H, W, 3]`."""
    arrays = result._by_name()
    drawn = [draw(arrays[name], look) for name, look in looks(result, columns, rate).items()]
    return drawn[0] if len(drawn) == 1 else side_by_side(drawn, list(arrays))


def shown(result: Any, columns: Any = None, rate: Any = None) -> np.ndarray:
    """Pictures as they are, all else as drawings; of several inputs drawings side by side."""
    if len(result._by_name()) == 1 and columns is None and rate is None:
        pictures = result.pictures()
        if pictures is not None:
            return np.asarray(pictures)
    return drawings(result, columns, rate)


def finite_rows(result: Any) -> np.ndarray:
    """Which rows are finite in every input. `-> bool [N]`."""
    each = [np.isfinite(v).reshape(len(v), -1).all(1) for v in result._by_name().values()]
    return np.asarray(np.logical_and.reduce(each))


def sounds(result: Any, rate: Any) -> dict[str, list[bytes | None]]:
    """WAV files of the waves, by input name, one per row; None for what is not finite."""
    arrays, fine = result._by_name(), finite_rows(result)
    return {
        name: [
            wav(values, look.rate, look.low, look.high) if good else None
            for values, good in zip(arrays[name], fine, strict=True)
        ]
        for name, look in looks(result, None, rate).items()
        if look.rate is not None
    }


def counted(result: Any, rate: Any = None) -> tuple[str, str]:
    """How many inputs of what kind there are, and what one of them is called.

    `("3 sequences of 101 letters", "sequence")`.
    """
    arrays = result._by_name()
    kinds = {
        name: look.kind(arrays[name].shape[1:]) for name, look in looks(result, None, rate).items()
    }
    count = len(result)
    if len(kinds) == 1:
        name, kind = next(iter(kinds.items()))
        return (
            f"{nouns(kind, count)}{_of(kind, arrays[name].shape[1:], rows_of(result.config, name))}",
            kind.value,
        )
    parts = [
        f"{name} (a {kind.value}{_of(kind, arrays[name].shape[1:], rows_of(result.config, name))})"
        for name, kind in kinds.items()
    ]
    noun = "set" if count == 1 else "sets"
    return f"{count} {noun} of inputs, each {' and '.join(parts)}", "input"


def _of(kind: Kind, shape: tuple[int, ...], rows: Rows | None) -> str:
    """The size, in words, of what is no picture."""
    if kind is Kind.LETTERS and rows is not None:
        return f" of {int(np.prod(rows.positions(shape)))} letters"
    if kind is Kind.VECTOR:
        return f" of {shape[0]} numbers"
    if kind is Kind.SERIES:
        channels = shape[1] if len(shape) > 1 else 1
        return f" of {shape[0]} steps" + (f" and {channels} channels" if channels > 1 else "")
    return "" if kind is Kind.PICTURE else f" of {' x '.join(map(str, shape))}"


def page(
    result: Any,
    title: str | None,
    film: RecordedFrames | None,
    natural: Natural | None,
    metrics: Sequence[Mapping[str, Any]],
    columns: Any,
    rate: Any,
) -> Page:
    """The contents of the report of a result.

    Raises:
        ValueError: if the film or the natural images are not of this result's pictures.
    """
    count = len(result)
    for what, found in (
        ("film", None if film is None else film.frames.shape[1]),
        ("natural images", None if natural is None else len(natural.images)),
    ):
        if found not in (None, count):
            raise ValueError(checks.message(f"the {what} of {count} pictures", f"{found}"))
    own = ", ".join(map(str, result.config.get("model", ()))) or "model"
    how_many, noun = counted(result, rate)
    heard = list(sounds(result, rate).values())
    return Page(
        title=f"What {own} responds to" if title is None else title,
        names=result._captions(),
        pictures=shown(result, columns, rate),
        scores=result.scores,
        history=result.history,
        status=result.status,
        messages=result.messages,
        steps=result.steps,
        targets=result.targets,
        labels=result.labels,
        config=records.plain(result.config),
        probabilities=result.probabilities,
        terms=result.terms,
        named=None if result.named is None else result._named_lines(result.named),
        optimality=result.optimality,
        duality_gap=result.duality_gap,
        distance=result.distance,
        film=film,
        natural=natural,
        metrics=[records.plain(record) for record in metrics],
        counted=how_many,
        noun=noun,
        sizes={name: values.shape[1:] for name, values in result._by_name().items()},
        sounds=heard[0] if heard else None,
    )


def files(
    result: Any, sheet: Any, columns: Any, rate: Any
) -> tuple[dict[str, np.ndarray], dict[str, bytes]]:
    """Pictures and WAV files of a result by file name; none if no row is finite.

    One of each finite row, and the sheets. Where one of several inputs is of pictures, they are saved as
    they are, and the sheet shows all inputs.
    """
    fine = finite_rows(result)
    plain = columns is None and rate is None and result.shows()
    each = result.pictures() if plain else drawings(result, columns, rate)
    names = images.file_names(result.names())
    found = {name: each[row] for row, name in enumerate(names) if fine[row]}
    if found:
        found["grid.png"] = result.grid(names=columns, rate=rate)
    if found and sheet is not None:
        found["sweep.png"] = sheet()
    waves = sounds(result, rate)
    heard = {
        f"{Path(name).stem}{f'_{images.safe_name(each)}' if len(waves) > 1 else ''}.wav": data
        for each, made in waves.items()
        for name, data in zip(names, made, strict=True)
        if data is not None
    }
    return found, heard


def grid(result: Any, columns: int | None, name: str | None, names: Any, rate: Any) -> np.ndarray:
    """The result of `Result.grid`."""
    scale: int | None = None
    if name is not None and result.shows(name):
        tiles, fine = result._tiles(name)
    else:
        one = result
        if name is not None:
            alone = {result._pictured(name): result._of(name)}
            one = dataclasses.replace(result, images=alone)
        tiles, fine = shown(one, names, rate), finite_rows(one)
        if not one.shows() or len(one._by_name()) > 1:
            scale = 1  # drawings keep their size
    ends = scored(result.config, result.scores, fine)
    titles = [f"{each}: {end}" for each, end in zip(result._captions(), ends, strict=True)]
    return images.grid(tiles, titles, columns=columns, scale=scale)
