"""Options for the model's input: the same in every command, and read without TensorFlow."""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Between the words of one option, see `joined`.
_GAP = "\x1f"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf", re.IGNORECASE)
_SPAN = re.compile(r"(\d+)-(\d+)")
_MOST = 1_000_000
_FASTEST = 10_000_000  # samples a second
_DIGITS = 6  # of a number of letters; more are an alphabet of digits
# How many numbers an option takes at most.
_TAKES = {"--input-range": 2, "--input-shape": 20}


def add_input(parser: argparse.ArgumentParser, *, start: bool = False) -> None:
    """Adds what describes the model's input; with `start` also what the images start from."""
    parser.add_argument(
        "--input-range", action="append", type=_range, metavar="[NAME] LO HI",
        help="of the values that the model was trained on, once per input; default: read off its first "
        "layer",
    )  # fmt: skip
    parser.add_argument(
        "--input-shape", action="append", type=_shape, metavar="[NAME] SIZE ...",
        help="of one input without the batch dimension, where the model leaves sizes open",
    )  # fmt: skip
    parser.add_argument(
        "--letters", action="append", type=_letters, metavar="[NAME=]ALPHABET", default=[],
        help="of an input of letters, in the order of its columns or numbers: ACGT, the,cat,sat, how many "
        "there are (20), or @FILE.json, a list of names",
    )  # fmt: skip
    parser.add_argument(
        "--letters-axis", type=int, metavar="N",
        help="of the batch, along which a letter is written; default: -1, the last",
    )  # fmt: skip
    parser.add_argument(
        "--fixed", action="append", nargs=2, metavar=("NAME", "FILE.npy"), default=[],
        help="hold an input of this name fixed, an array [1 or N, ...]; once per input",
    )  # fmt: skip
    if start:
        parser.add_argument(
            "--initial-images", type=Path, metavar="FILE.npz",
            help="what to start from: `images` [N, ...], or an array per input by its name",
        )  # fmt: skip


def joined(argv: Sequence[str]) -> list[str]:
    """Joins the words of an option of variable length into one word, so that MODEL can follow them.

    For example, `--input-range pixels 0 1 MODEL` takes a name and two numbers, and not MODEL.
    """
    words, at = [], 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if word not in _TAKES:
            words.append(word)
            continue
        taken: list[str] = []
        if at < len(argv) and not _is_number(argv[at]) and not argv[at].startswith("--"):
            taken.append(argv[at])
            at += 1
        end = at + _TAKES[word]
        while at < min(len(argv), end) and _is_number(argv[at]):
            taken.append(argv[at])
            at += 1
        words.append(f"{word}={_GAP.join(taken)}")
    return words


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _split(text: str) -> tuple[str | None, list[str]]:
    words = text.replace(",", _GAP).replace(" ", _GAP).split(_GAP) if text else []
    named = bool(words) and not _is_number(words[0])
    return (words[0], words[1:]) if named else (None, words)


def _range(text: str) -> tuple[str | None, tuple[float, float]]:
    name, numbers = _split(text)
    if len(numbers) != 2 or not all(map(_is_number, numbers)):
        raise argparse.ArgumentTypeError("expected LO HI, or NAME LO HI, two numbers")
    low, high = map(float, numbers)
    return name, (low, high)


def _shape(text: str) -> tuple[str | None, tuple[int, ...]]:
    name, numbers = _split(text)
    if not numbers or not all(each.isdigit() and int(each) > 0 for each in numbers):
        raise argparse.ArgumentTypeError(
            "expected SIZE ... or NAME SIZE ..., as in --input-shape 64 64 3"
        )
    return name, tuple(map(int, numbers))


def _letters(text: str) -> tuple[str | None, str]:
    """`ACGT` -> `(None, "ACGT")`, `dna=ACGT` -> `("dna", "ACGT")`."""
    name, equals, alphabet = text.rpartition("=") if text.endswith("=") else text.partition("=")
    if not equals or not alphabet:
        name, alphabet = "", text
    if len(alphabet) < 2 and not alphabet.isdigit():
        raise argparse.ArgumentTypeError("expected two or more letters, as in --letters ACGT")
    return name or None, alphabet


def _alphabet(text: str) -> Any:
    """A string, a list of names, or a number of letters."""
    if text.startswith("@"):
        return read_names(Path(text[1:]))
    if text.isdigit() and text[0] != "0" and len(text) <= _DIGITS:
        return int(text)
    return text.split(",") if "," in text and len(text) > 2 else text


def _lettered(arguments: argparse.Namespace, found: dict[str, Any]) -> Any:
    """`input_range` with the letters."""
    from actmax import checks
    from actmax.constraints import OneHot

    axis = -1 if arguments.letters_axis is None else arguments.letters_axis
    letters = [(name, OneHot(_alphabet(text), axis)) for name, text in arguments.letters]
    ranges = found.get("input_range", {})
    if ranges and not isinstance(ranges, dict):
        received = "--input-range LO HI as well"
        expected = "--letters NAME=ALPHABET, and --input-range NAME LO HI for other inputs"
        raise ValueError(
            checks.message(expected, received, "Leave out --input-range if the input is letters.")
        )
    named = _by_name([*letters, *ranges.items()], "--letters")
    return named


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `maximize` that `add_input` read; TensorFlow is needed for letters alone.

    Raises:
        ValueError: if an input is described twice, or a file is no array.
    """
    from actmax import checks

    found: dict[str, Any] = {}
    for _, (low, high) in arguments.input_range or ():
        if not low < high:
            raise ValueError(
                checks.message("--input-range LO HI with LO < HI", f"{low:g} {high:g}")
            )
    for name in ("input_range", "input_shape"):
        given = getattr(arguments, name)
        if given:
            found[name] = _by_name(given, f"--{name.replace('_', '-')}")
    if arguments.letters:
        found["input_range"] = _lettered(arguments, found)
    elif arguments.letters_axis is not None:
        raise ValueError(checks.message("--letters ALPHABET beside --letters-axis", "none"))
    if arguments.fixed:
        found["fixed"] = {name: _array(Path(file), "--fixed") for name, file in arguments.fixed}
    initial = getattr(arguments, "initial_images", None)
    if initial is not None:
        found["initial_images"] = _start(initial)
    return found


def _by_name(given: Sequence[tuple[str | None, Any]], option: str) -> Any:
    from actmax import checks

    names = [name for name, _ in given]
    if names == [None]:
        return given[0][1]
    if None in names or len(set(names)) < len(names):
        expected = f"{option} once, or once per input with its name"
        raise ValueError(checks.message(expected, f"{[name or 'no name' for name in names]}"))
    return dict(given)


def _array(file: Path, option: str) -> Any:
    import numpy as np

    from actmax import checks

    try:
        array = np.load(file, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(
            checks.message(f"an array of NumPy for {option}", f"{file} ({error})")
        ) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(checks.message(f"one array, a .npy file, for {option}", f"{file}"))
    return array


def _start(file: Path) -> Any:
    import numpy as np

    from actmax import archives, checks

    if file.suffix == ".npy":
        return _array(file, "--initial-images")
    expected = "an .npz file of `images`, or of an array per input, for --initial-images"
    try:
        with file.open("rb") as stream, archives.opened(stream) as arrays:
            found = {name: np.asarray(arrays[name]) for name in arrays}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(checks.message(expected, f"{file} ({error})")) from error
    if not found:
        raise ValueError(checks.message(expected, f"{file}, which is empty"))
    return found["images"] if "images" in found else found


def add_display(parser: argparse.ArgumentParser) -> None:
    """Adds options for drawing and playing inputs that are not pictures."""
    parser.add_argument(
        "--columns", action="append", metavar="[NAME=]FILE", default=[],
        help="names of the numbers of a vector or channels of a series: a JSON list, a CSV whose first line "
        "has them, or a name a line",
    )  # fmt: skip
    parser.add_argument(
        "--rate", action="append", metavar="[NAME=]HZ", default=[],
        help="samples a second of waves, which are then written as WAV files too",
    )  # fmt: skip


def display(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `save` and `report` that `add_display` read.

    Raises:
        ValueError: if a file holds no names, or a rate is no number.
    """
    found: dict[str, Any] = {}
    if arguments.columns:
        pairs = [_named(text) for text in arguments.columns]
        found["columns"] = _by_name(
            [(name, read_names(Path(file))) for name, file in pairs], "--columns"
        )
    if arguments.rate:
        found["rate"] = _by_name([_rate(text) for text in arguments.rate], "--rate")
    return found


def _named(text: str) -> tuple[str | None, str]:
    name, equals, rest = text.partition("=")
    return (name, rest) if equals and not Path(text).exists() else (None, text)


def _rate(text: str) -> tuple[str | None, float]:
    from actmax import checks

    name, equals, number = text.rpartition("=")
    if not _is_number(number) or not 1 <= float(number) < _FASTEST:
        raise ValueError(checks.message("--rate HZ, samples a second, as 16000", repr(text)))
    return (name if equals else None), float(number)


def read_names(file: Path) -> list[str]:
    """Names: a JSON list, the first line of a CSV, or a name a line.

    Raises:
        ValueError: if the file holds none.
    """
    from actmax import checks

    try:
        text = file.read_text(encoding="utf-8-sig")
        names: Any = json.loads(text) if file.suffix.lower() == ".json" else _lines(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            checks.message('names, as ["width", "height"]', f"{file} ({error})")
        ) from error
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(checks.message('names, as ["width", "height"]', f"{file}, which has none"))
    return names


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and ("," in lines[0] or "\t" in lines[0] or ";" in lines[0]):
        separator = next(each for each in ("\t", ";", ",") if each in lines[0])
        return [name.strip().strip('"') for name in lines[0].split(separator)]
    return lines


def add_import(parser: argparse.ArgumentParser) -> None:
    """Adds packages whose layers the file needs."""
    parser.add_argument(
        "--import", dest="imports", action="append", default=[], metavar="PACKAGE",
        help="import this first, because it has layers that the file names; may be given several times",
    )  # fmt: skip


def import_packages(arguments: argparse.Namespace) -> None:
    """Imports what `add_import` took.

    Raises:
        ValueError: if a package is not installed.
    """
    from actmax import checks

    for name in getattr(arguments, "imports", ()):
        try:
            importlib.import_module(name)
        except ImportError as error:
            do = "Install it into the environment of actmax, and give the name that Python imports."
            raise ValueError(
                checks.message(f"a package to --import, such as {name}", str(error), do)
            ) from error


def spread(texts: Sequence[str], labels: Sequence[str] | None = None) -> list[str]:
    """Targets with every `0-9` written out, unless that is the name of one.

    Raises:
        ValueError: if a span goes backwards.
    """
    from actmax import checks

    found: list[str] = []
    for text in texts:
        span = _SPAN.fullmatch(text)
        if span is None or text in (labels or ()):
            found.append(text)
            continue
        first, last = map(int, span.groups())
        if not first <= last < _MOST:
            raise ValueError(checks.message("--targets FIRST-LAST, as 0-9", repr(text)))
        found += [str(number) for number in range(first, last + 1)]
    return found
