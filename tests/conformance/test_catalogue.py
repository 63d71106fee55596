"""Every public class stands in the catalogue, and every part keeps its own checker's laws."""

from __future__ import annotations

import inspect

import pytest

import actmax
import regularizers
from actmax import testing
from tests.conformance.catalogue import ENTRIES, NO_PARTS

PUBLIC = sorted(
    {
        name
        for package in (actmax, regularizers)
        for name in package.__all__
        if inspect.isclass(getattr(package, name))
    }
)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_class_is_in_the_catalogue(name):
    made = {type(entry.make()).__name__ for entry in ENTRIES.values()}
    assert name in made | NO_PARTS, (
        f"{name} is public: describe it in tests/conformance/catalogue.py, so that the laws are tried"
    )


@pytest.mark.parametrize("name", sorted(NO_PARTS))
def test_every_exception_of_the_catalogue_is_public(name):
    assert name in PUBLIC


def by_kind(kind):
    return [pytest.param(e, id=name) for name, e in ENTRIES.items() if e.kind == kind]


@pytest.mark.parametrize("entry", by_kind("objective"))
def test_objective(entry):
    assert testing.check_objective(entry.make(), entry.model(), entry.targets) is None


@pytest.mark.parametrize("entry", by_kind("parameterization"))
def test_parameterization(entry):
    assert testing.check_parameterization(entry.make(), **entry.check) is None


@pytest.mark.parametrize("entry", by_kind("constraint"))
def test_constraint(entry):
    assert testing.check_constraint(entry.make(), **entry.check) is None


@pytest.mark.parametrize("entry", by_kind("gradient"))
def test_gradient_function(entry):
    assert testing.check_gradient_function(entry.make()) is None


@pytest.mark.parametrize("entry", by_kind("optimizer"))
def test_optimizer(entry):
    assert testing.check_optimizer(entry.make()) is None


@pytest.mark.parametrize("entry", by_kind("callback"))
def test_callback(entry, capsys):
    assert testing.check_callback(entry.make(), **entry.check) is None


@pytest.mark.parametrize("entry", by_kind("schedule"))
def test_schedule_reaches_both_ends_and_stays_at_the_last(entry):
    schedule = entry.make()
    values = [schedule(step) for step in range(25)]
    assert values[0] == pytest.approx(0.1)
    assert values[19:] == pytest.approx([0.01] * 6)
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("entry", by_kind("regularizer"))
def test_regularizer(entry):
    shapes = entry.check.get("shapes", [(6, 8, 3)])
    broken = regularizers.testing.broken_laws(entry.make(), shapes=shapes)
    unexpected = [str(e) for e in broken if e.law not in entry.check.get("skip", ())]
    assert unexpected == []
