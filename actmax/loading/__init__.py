"""Models from files: looked through before Keras sees them, so that no file runs code or eats the machine."""

from actmax.loading.errors import ModelFileError
from actmax.loading.load import file_of, load_model
from actmax.loading.scan import Scan, scan

__all__ = ["ModelFileError", "Scan", "file_of", "load_model", "scan"]
