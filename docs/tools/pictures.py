"""Draws the pictures of the tutorial again, with its own code: `python docs/tools/pictures.py`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the pages write, and which of it the site shows.
PICTURES = {"tutorial/mnist.md": ("softmax.png",), "tutorial/cifar10.md": ("weights.png",)}


def main() -> None:
    """Runs each page in an empty folder and takes its pictures."""
    sys.path.insert(0, str(ROOT))
    from tests.docs import pages

    for page, names in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for _ in pages.run(ROOT / "docs" / page):
                pass
            for name in names:
                shutil.copyfile(name, ROOT / "docs" / "images" / name)
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
