"""A tenth of the matrix of right and wrong versions; `python -m tests.authors` checks them all."""

from __future__ import annotations

from tests.authors import runs
from tests.authors.matrix import every_version, look

# Of three channels every order is a rotation or a reflection, which a spectrum does not see.
MISSED = {("spectrum", "axes of channels")}


def test_there_are_enough_of_both():
    wrong = [version for version in every_version() if version.mistake]
    assert len(wrong) >= 220 and len(every_version()) - len(wrong) >= 60
    assert all(version.laws for version in wrong)


def test_right_versions_are_accepted_and_wrong_ones_named():
    found = [look(version) for version in every_version()[4::10]]
    assert {bool(one.version.mistake) for one in found} == {False, True}
    told = [one for one in found if (one.version.name, one.version.mistake) not in MISSED]
    assert not [str(one) for one in told if bool(one.law) != bool(one.version.mistake)]
    named = [one.right for one in found if one.version.mistake]
    assert sum(named) >= 0.9 * len(named)


def test_runs_with_right_parts_keep_bytes_values_and_one_trace():
    chosen = [version for version in every_version()[::31] if runs.fits(version)]
    assert chosen
    for version in chosen:
        assert runs.faults(version)[0] == [], version.name
