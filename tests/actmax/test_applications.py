"""Every layer of two networks of `keras.applications`; all of them: `python -m tests.soak.applications`."""

from __future__ import annotations

import pytest

from tests.soak.applications import NETWORKS, look


@pytest.mark.parametrize("name", ["MobileNetV2", "VGG16"])
def test_every_layer_is_found_and_has_a_gradient(name):
    count, failed, silent = look(name, NETWORKS[name])
    assert count > 15
    assert failed == []
    assert silent == []
