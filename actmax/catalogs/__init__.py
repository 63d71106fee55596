"""Every unit of every layer: a resumable job of many images, its store, and a reader."""

from actmax.catalogs.build import catalog, channels
from actmax.catalogs.driver import Progress
from actmax.catalogs.manifest import CatalogError
from actmax.catalogs.reading import Catalog

__all__ = ["Catalog", "CatalogError", "Progress", "catalog", "channels"]
