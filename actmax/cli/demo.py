"""`actmax demo`: ten labeled pictures from a model that comes with the package."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actmax.cli.common import (
    add_run_settings,
    ends,
    finish,
    picture_files,
    run_settings,
    save,
    table,
)

if TYPE_CHECKING:
    import numpy as np


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    demo = commands.add_parser("demo", help="ten labeled pictures from a model that ships along")
    demo.add_argument("name", nargs="?", default="mnist", choices=("mnist", "cifar10"))
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR")
    add_run_settings(demo)
    demo.set_defaults(command=_demo)


def _demo(arguments: argparse.Namespace) -> int:
    import actmax
    from actmax import zoo

    call = run_settings(arguments)
    model, labels = zoo.load(arguments.name), zoo.labels(arguments.name)
    result = actmax.maximize(
        model, targets=range(len(labels)), labels=labels, input_range=(0, 1), **call
    )
    folder = save(arguments, result, call)
    # People see the file with 8 bits, so the model gets the same pictures.
    pictures = _read_pictures(picture_files(folder, result), result.images.shape[1:])
    probabilities = model(pictures, training=False).numpy()
    rows = [
        (label, f"{own:.4f}", f"{score:.4g}", status)
        for label, own, (score, status) in zip(
            labels, probabilities.diagonal(), ends(result), strict=True
        )
    ]
    print(table(("label", "probability of the PNG", "score", "status"), rows))
    return finish(folder, result, reported=arguments.report)


def _read_pictures(files: Iterable[Path], shape: tuple[int, ...]) -> np.ndarray:
    """PNG files as images in (0, 1), float32 `[N, *shape]`."""
    import numpy as np
    from PIL import Image

    pictures = []
    for file in files:
        with Image.open(file) as picture:
            pictures.append(np.asarray(picture).reshape(shape))
    return np.stack(pictures).astype(np.float32) / 255.0
