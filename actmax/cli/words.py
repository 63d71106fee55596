"""Translates messages of the library into the words of the command line."""

from __future__ import annotations

import re

_NUMBER = r"[-+]?[\d.]+"
# Phrases of library messages and their form on the command line. Phrases with values come first.
_WORDS: tuple[tuple[str, str], ...] = (
    (rf"input_range=\(({_NUMBER}), ({_NUMBER})\)", r"--input-range \1 \2"),
    (r"input_range=actmax\.OneHot\(\w+\)", "--letters ALPHABET"),
    (r"input_range=\(low, high\)", "--input-range LO HI"),
    (r"input_range=\.\.\.", "--input-range LO HI"),
    (r"input_shape=\(height, width, channels\)", "--input-shape HEIGHT WIDTH CHANNELS"),
    (r"input_shape=\(H, W, C\)", "--input-shape HEIGHT WIDTH CHANNELS"),
    (r"input_shape=\.\.\.", "--input-shape SIZE ..."),
    (r"input_shape=", "--input-shape "),
    (r"initial_images=", "--initial-images "),
    (r"\binitial_images\b", "--initial-images FILE.npz"),
    (r"\binput_shape\b", "--input-shape"),
    (r"\binput_range as a dict by input name", "--input-range NAME LO HI once per input"),
    (r"\binput_range\b", "--input-range"),
    (r"\blabels= as well", "--labels FILE.json as well"),
    (r"\bfixed=", "--fixed NAME FILE.npy"),
    (r"actmax\.load_model\([^)]*trusted=True\), or `--trust-model` on the command line",
     "--trust-model"),
    (r"actmax\.load_model\(path, trusted=True\), with the classes registered or in custom_objects=, or "
     r"`--trust-model` on the command line", "--trust-model, with --import PACKAGE for its classes"),
    (r"actmax\.load_model\(path, trusted=True\)", "--trust-model"),
    (r"`--import (\w+)` on the command line", r"--import \1"),
    (r"import (\w+)( \(pip install [\w-]+\))?, or --import \1", r"--import \1\2"),
    (r"actmax\.layer_paths\(model\)", "actmax inspect MODEL"),
    (r"actmax\.Logit\(output=\.\.\.\)", "--output NAME"),
    (r"\bcanvas=", "canvas= (in Python)"),
    (r"\bpreprocess=(?=[a-z.])", "in Python preprocess="),
)  # fmt: skip


def of_the_command_line(text: str) -> str:
    """A message with options instead of the library's arguments."""
    for said, meant in _WORDS:
        text = re.sub(said, meant, text)
    return text
