"""Damaged results, sweeps, checkpoints and catalogs: read as what they say, or refused with a named error.

`python -m tests.fuzz` tries ten thousand, of model files too.
"""

import pytest

from tests.fuzz import kinds


@pytest.mark.parametrize(
    ("kind", "count"), [("result", 40), ("sweep", 20), ("checkpoint", 20), ("catalog", 20)]
)
def test_mutants_are_refused_or_read(kind, count, tmp_path):
    if kind == "catalog":
        pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
    read, refused = kinds.outcomes(kind, count, 0, tmp_path)
    assert refused > 0
    assert read + refused == count
