"""Models from files, checked before Keras reads them, so that no file runs code or uses up memory."""

from actmax.loading.errors import ModelFileError
from actmax.loading.kinds import is_saved_model
from actmax.loading.load import file_of, load_model
from actmax.loading.saved_model import signatures
from actmax.loading.scan import Scan, kind_of, scan

__all__ = [
    "ModelFileError",
    "Scan",
    "file_of",
    "is_saved_model",
    "kind_of",
    "load_model",
    "scan",
    "signatures",
]
