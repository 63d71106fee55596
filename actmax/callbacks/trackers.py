"""Runs in the tools that keep experiments. Each tool is imported only where its callback is used."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from actmax import checks
from actmax.callbacks.base import Callback
from actmax.callbacks.logs import names_of
from actmax.callbacks.pictures import sheet
from actmax.types import Snapshot

# A tracker draws a chart per name; beyond this many images the means must do.
_SINGLE = 16


def scalars(snapshot: Snapshot) -> dict[str, float]:
    """`series/mean` over the images that have a value, and up to 16 images also one by one."""
    found = {}
    for series, values in snapshot.history.items():
        last = values[-1]
        there = np.isfinite(last)
        if there.any():
            found[f"{series}/mean"] = float(last[there].mean())
        if len(last) <= _SINGLE:
            for row, name in enumerate(names_of(snapshot)):
                if there[row]:
                    found[f"{series}/{row}_{name}"] = float(last[row])
    return found


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            checks.message(f"{package} to be installed", "none", f"Do pip install {package}.")
        ) from error


class TensorBoard(Callback):
    """Scalars and the grid of the images as TensorBoard summaries.

    Needs the package `tensorboard`: `pip install actmax[tensorboard]`.

    Args:
        folder: of the event files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        if not isinstance(folder, (str, os.PathLike)):
            raise TypeError(checks.message("the path of a folder", repr(folder)))
        self.folder = Path(folder)
        self._writer: Any = None

    def on_begin(self, snapshot: Snapshot) -> None:
        _import("tensorboard", "tensorboard")  # tf.summary.scalar and image are in there
        self._writer = tf.summary.create_file_writer(str(self.folder))

    def on_step(self, snapshot: Snapshot) -> None:
        with self._writer.as_default(step=snapshot.step):
            for name, value in scalars(snapshot).items():
                tf.summary.scalar(name, value)
            picture = sheet(snapshot, snapshot.images)
            if picture is not None:
                tf.summary.image("images", picture[None])
        self._writer.flush()

    def on_end(self, snapshot: Snapshot) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class WandB(Callback):
    """Scalars and the grid of the images into a run of Weights & Biases.

    Needs the package `wandb`: `pip install actmax[wandb]`.

    Args:
        run: what `wandb.init(...)` returned. The callback writes to it and does not finish it.
    """

    def __init__(self, run: Any) -> None:
        if not callable(getattr(run, "log", None)):
            raise TypeError(
                checks.message("a run, from wandb.init(...)", f"{run!r}", "Begin one first.")
            )
        self.run = run
        self._module: Any = None

    def on_begin(self, snapshot: Snapshot) -> None:
        self._module = _import("wandb", "wandb")

    def on_step(self, snapshot: Snapshot) -> None:
        values: dict[str, Any] = dict(scalars(snapshot))
        picture = sheet(snapshot, snapshot.images)
        if picture is not None:
            values["images"] = self._module.Image(picture)
        self.run.log(values, step=snapshot.step)


class MLflow(Callback):
    """Scalars and the grid of the images into a run of MLflow.

    Needs the package `mlflow`: `pip install actmax[mlflow]`.

    Args:
        run_id: of the run; None for the one that is active when the maximizer starts.

    Raises:
        ValueError: if there is no run.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id
        self._client: Any = None
        self._run = ""

    def on_begin(self, snapshot: Snapshot) -> None:
        module = _import("mlflow", "mlflow")
        active = module.active_run()
        if self.run_id is None and active is None:
            raise ValueError(
                checks.message("a run of MLflow", "none", "Do it inside with mlflow.start_run().")
            )
        self._run = self.run_id or active.info.run_id
        self._client = module.MlflowClient()

    def on_step(self, snapshot: Snapshot) -> None:
        for name, value in scalars(snapshot).items():
            self._client.log_metric(self._run, name, value, step=snapshot.step)
        picture = sheet(snapshot, snapshot.images)
        if picture is not None:
            self._client.log_image(self._run, picture, key="images", step=snapshot.step)
