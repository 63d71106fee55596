"""Marks the slow tests that `tests/slow.txt` names."""

import pytest

from tests import slow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if slow.is_slow(item.nodeid):
            item.add_marker(pytest.mark.slow)
