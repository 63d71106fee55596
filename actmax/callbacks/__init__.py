"""Callbacks: Python code between compiled chunks. Only callbacks that stop a run change the result."""

from actmax.callbacks.base import Callback, FunctionCallback, as_callback
from actmax.callbacks.logs import CSVLog, JSONLines
from actmax.callbacks.pictures import BestSoFar, Frames, Snapshots
from actmax.callbacks.plateau import StopOnPlateau
from actmax.callbacks.progress import Progress
from actmax.callbacks.trackers import MLflow, TensorBoard, WandB

__all__ = [
    "BestSoFar",
    "CSVLog",
    "Callback",
    "Frames",
    "FunctionCallback",
    "JSONLines",
    "MLflow",
    "Progress",
    "Snapshots",
    "StopOnPlateau",
    "TensorBoard",
    "WandB",
    "as_callback",
]
