"""The command line: `actmax demo`, `actmax run`, `actmax inspect`.

What a user got wrong becomes one message on standard error and exit code 2; images that failed
(`NON_FINITE`, `NO_GRADIENT`) become exit code 1, with their messages; anything else is a fault of
actmax and keeps its traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from actmax.result import Result

# Sizes that a model leaves open get this many pixels while its head is looked up: every network of
# keras.applications takes it.
_OPEN_SIZE = 224


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: arguments without the program's name; None for those of the process.

    Returns:
        The exit code: 0, 1 if an image failed, 2 if the user has something to correct.
    """
    # Only a default, and only for a process that is this program. What follows imports TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except (ValueError, TypeError, OSError) as error:
        print(f"actmax {arguments.name_of_command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    from actmax._version import __version__

    parser = argparse.ArgumentParser(
        prog="actmax",
        description="The input that a part of a neural network responds to most.",
        epilog="Every command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"actmax {__version__}")
    commands = parser.add_subparsers(title="commands", dest="name_of_command", required=True)

    demo = commands.add_parser("demo", help="ten labeled pictures from a model that ships along")
    demo.add_argument("name", nargs="?", default="mnist", choices=("mnist", "cifar10"))
    demo.add_argument("--out", type=Path, default=Path("out/demo"), metavar="DIR")
    _add_run_settings(demo)
    demo.set_defaults(command=_demo)

    run = commands.add_parser("run", help="pictures from a model of your own")
    run.add_argument("model", type=Path, metavar="MODEL", help="a .keras or .h5 file")
    run.add_argument(
        "--targets", nargs="+", required=True, metavar="T", help="numbers, or names with --labels"
    )
    run.add_argument(
        "--input-range",
        nargs=2,
        type=float,
        metavar=("LO", "HI"),
        help="of the values that the model was trained on; default: read off its first layer",
    )
    run.add_argument("--out", type=Path, required=True, metavar="DIR")
    run.add_argument(
        "--layer", metavar="PATH", help="maximize channels of this layer, not the model's output"
    )
    run.add_argument("--labels", type=Path, metavar="FILE.json", help="a JSON list of class names")
    run.add_argument(
        "--optimizer-rate", type=float, metavar="R", help="learning rate, in units of the input"
    )
    _add_run_settings(run)
    run.set_defaults(command=_run)

    inspect = commands.add_parser("inspect", help="layers, inputs, range and head of a model")
    inspect.add_argument("model", type=Path, metavar="MODEL", help="a .keras or .h5 file")
    inspect.set_defaults(command=_inspect)
    return parser


def _add_run_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--steps", type=int, metavar="N", help="number of updates")
    parser.add_argument("--gif", action="store_true", help="also write run.gif, the run as a film")


def _run_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    from actmax.callbacks import Frames

    settings = {
        "seed": arguments.seed,
        "verbose": sys.stderr.isatty(),
        "callbacks": [Frames()] if arguments.gif else [],
    }
    return settings if arguments.steps is None else {**settings, "steps": arguments.steps}


# Commands ---------------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> int:
    import actmax
    from actmax import zoo

    model, labels = zoo.load(arguments.name), zoo.labels(arguments.name)
    call = _run_settings(arguments)
    result = actmax.maximize(
        model, targets=range(len(labels)), labels=labels, input_range=(0, 1), **call
    )
    folder = _save(arguments.out, result, call)
    # What a person sees is the file, 8 bits deep, so that is what the model is asked about.
    pictures = _read_pictures(_picture_files(folder, result), result.images.shape[1:])
    probabilities = model(pictures, training=False).numpy()
    rows = [
        (label, f"{own:.4f}", f"{score:.4g}", status)
        for label, own, (score, status) in zip(
            labels, probabilities.diagonal(), _ends(result), strict=True
        )
    ]
    print(_table(("label", "probability of the PNG", "score", "status"), rows))
    return _finish(folder, result)


def _run(arguments: argparse.Namespace) -> int:
    import actmax

    model = _load(arguments.model)
    call = _run_settings(arguments)
    if arguments.optimizer_rate is not None:
        call["learning_rate"] = arguments.optimizer_rate
    result = actmax.maximize(
        model,
        None if arguments.layer is None else actmax.Channel(arguments.layer),
        targets=[_target(text) for text in arguments.targets],
        labels=None if arguments.labels is None else _read_labels(arguments.labels),
        input_range=None if arguments.input_range is None else tuple(arguments.input_range),
        **call,
    )
    folder = _save(arguments.out, result, call)
    rows = [
        (name, f"{score:.4g}", status)
        for name, (score, status) in zip(result.names(), _ends(result), strict=True)
    ]
    print(_table(("target", "score", "status"), rows))
    return _finish(folder, result)


def _inspect(arguments: argparse.Namespace) -> int:
    from actmax import models

    model = _load(arguments.model)
    rows = [
        (path, type(layer).__name__, _output_shape(layer), f"{layer.count_params():,}")
        for path, layer in models.layers(model).items()
    ]
    print(_table(("layer", "class", "output shape", "parameters"), rows))
    print(f"\n{model.count_params():,} parameters")
    specs = models.input_specs(model)
    for spec in specs or ():
        print(f"input {spec.name}: {_shape((None, *(spec.shape or ())))} {spec.dtype}")
    if specs is None:
        print("input: not known before the model is called; give input_shape= in Python")
    found = models.detect_range(model)
    if found is None:
        print("input range: not found, so --input-range LO HI is needed")
    else:
        (low, high), layer = found
        print(f"input range: ({low:g}, {high:g}), read off the layer {layer}")
    for name, head in _heads(model, specs or ()).items():
        print(f"head{f' of output {name}' if name else ''}: {head}")
    return 0


def _save(out: Path, result: Result, call: dict[str, Any]) -> Path:
    """Writes the result, and the film of the run if frames of it were kept."""
    folder = result.save(out)
    for frames in call["callbacks"]:
        frames.save_gif(folder / "run.gif", *result.bounds())
    return folder


def _finish(folder: Path, result: Result) -> int:
    """Says where the files are and what failed; the exit code."""
    from actmax.types import Status

    grid = folder / "grid.png"
    print(f"\n{'grid' if grid.exists() else 'result'}: {grid if grid.exists() else folder}")
    failed = False
    for name, status, text in zip(result.names(), result.status, result.messages, strict=True):
        if status in (Status.NON_FINITE, Status.NO_GRADIENT):
            failed = True
            print(f"{name}: {text}", file=sys.stderr)
    return int(failed)


def _ends(result: Result) -> list[tuple[float, str]]:
    from actmax.types import Status

    return [
        (float(score), Status(status).name)
        for score, status in zip(result.scores, result.status, strict=True)
    ]


# Files ------------------------------------------------------------------------------------------


def _picture_files(folder: Path, result: Result) -> list[Path]:
    from actmax.images import safe_name

    return [folder / f"{n:03d}_{safe_name(name)}.png" for n, name in enumerate(result.names())]


def _read_pictures(files: Iterable[Path], shape: tuple[int, ...]) -> np.ndarray:
    """PNG files as images in (0, 1), float32 `[N, *shape]`."""
    import numpy as np
    from PIL import Image

    pictures = []
    for file in files:
        with Image.open(file) as picture:
            pictures.append(np.asarray(picture).reshape(shape))
    return np.stack(pictures).astype(np.float32) / 255.0


def _target(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


def _read_labels(file: Path) -> list[str]:
    from actmax import checks

    try:
        labels = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            checks.message('a JSON list of names, ["cat", "dog"]', f"{file} ({error})")
        ) from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        received = f"{file}, which holds a {type(labels).__name__}"
        raise ValueError(checks.message('a JSON list of names, ["cat", "dog"]', received))
    return labels


def _load(file: Path) -> Any:
    """A Keras model from a file, in safe mode: nothing that the file holds is run as code.

    Raises:
        ValueError: if there is no such file, if it is no model, or if Keras refuses it.
    """
    import keras

    from actmax import checks

    expected = "a model saved as .keras or .h5"
    if not file.exists():
        raise ValueError(checks.message(expected, f"{file}, which does not exist"))
    if file.is_dir():
        do = (
            "For a SavedModel, write a Python program: wrap it in "
            f"keras.layers.TFSMLayer({str(file)!r}, call_endpoint='serving_default') and give that "
            "and input_shape= to actmax.maximize."
        )
        raise ValueError(checks.message(expected, f"the folder {file}", do))
    if file.suffix not in (".keras", ".h5", ".hdf5"):
        do = "Save it again with model.save('name.keras')."
        raise ValueError(checks.message(expected, str(file), do))
    if file.suffix != ".keras":
        _refuse_lambda(file)
    try:
        return keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        # Keras, zip and HDF5 raise almost anything for a file that they cannot read.
        reason = " ".join(str(error).split())[:300]
        do = (
            "A model with Lambda layers or classes of its own is loaded in Python, by whoever "
            "trusts it, and given to actmax.maximize there."
        )
        raise ValueError(
            checks.message(
                f"{expected} that Keras loads in safe mode",
                f"{file} ({type(error).__name__}: {reason})",
                do,
            )
        ) from error


def _refuse_lambda(file: Path) -> None:
    """Raises ValueError if an HDF5 model has a Lambda layer.

    Keras before 3.11.3 runs the code in such a file in safe mode too (CVE-2025-9905, 2025).
    """
    import h5py

    from actmax import checks

    try:
        with h5py.File(file) as content:
            config = json.loads(content.attrs.get("model_config", "null"))
    except (OSError, ValueError):
        return  # Keras says what is wrong with it.
    if _has_lambda(config):
        do = "Load it in Python, if you trust it, and give it to actmax.maximize there."
        received = f"{file}, which has a Lambda layer"
        raise ValueError(checks.message("a model without code of its own", received, do))


def _has_lambda(config: Any) -> bool:
    if isinstance(config, Mapping):
        return config.get("class_name") == "Lambda" or any(map(_has_lambda, config.values()))
    return isinstance(config, list) and any(map(_has_lambda, config))


# What is known of a model -----------------------------------------------------------------------


def _output_shape(layer: Any) -> str:
    import keras

    try:
        outputs = keras.tree.flatten(layer.output)
    except (AttributeError, ValueError):
        # A layer of a subclassed model has no symbolic output, a layer called twice has several.
        return "-"
    return ", ".join(_shape(tensor.shape) for tensor in outputs)


def _shape(shape: Iterable[int | None]) -> str:
    return "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"


def _heads(model: Any, specs: Sequence[Any]) -> dict[str, str]:
    """What stands at the end of every output, in words."""
    import numpy as np
    import tensorflow as tf

    from actmax import models
    from actmax.objectives import LOGITS

    if not specs:
        return {"": "not looked up, because the input shape is not known"}
    output = getattr(model, "output", None)
    names = list(output) if isinstance(output, Mapping) else getattr(model, "output_names", [])
    keys = [f"{LOGITS}/{name}" for name in names] if len(names) > 1 else [LOGITS]
    taps = models.Taps(model, keys)
    zeros = {
        spec.name: tf.constant(
            np.zeros([1, *(_OPEN_SIZE if size is None else size for size in spec.shape)]),
            spec.dtype,
        )
        for spec in specs
    }
    taps(zeros)
    words = {
        "softmax": "softmax, and scores are taken before it",
        "logsoftmax": "log softmax, and scores are taken before it",
        "sigmoid": "sigmoid, and scores are taken before it",
        "linear": "linear, and scores are the output itself",
        "unknown": "not found, and scores are the output itself",
    }
    return {name: words[head] for name, head in taps.heads.items()}


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart."""
    lines = [tuple(header), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
