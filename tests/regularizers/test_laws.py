"""Every public regularizer keeps every law, on every kind of input that it is for."""

from __future__ import annotations

import pytest

from regularizers.testing import check_regularizer
from tests.conformance.regularizer_catalogue import CATALOGUE, public_classes


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.id)
def test_law_abiding(entry):
    check_regularizer(entry.part, shapes=entry.shapes, image_range=entry.image_range)


def test_catalogue_has_every_public_regularizer():
    assert {type(entry.part) for entry in CATALOGUE} == public_classes()
