"""All versions, and what the checker of its kind says of one."""

from __future__ import annotations

from typing import NamedTuple

from actmax import testing
from actmax.testing import ContractError
from regularizers.testing import RegularizerError, check_regularizer
from tests.authors import networks, others, penalties
from tests.authors.versions import Version

# Small, as a mistake shows at any size.
SMALL = {"shapes": [(8, 8, 3)]}


class Found(NamedTuple):
    """What the checker said of a version: the law that it breaks first, empty if none."""

    version: Version
    law: str
    message: str

    @property
    def right(self) -> bool:
        """Whether it is what the version is: accepted, or rejected by a law that names the mistake."""
        return self.law in self.version.laws if self.version.mistake else not self.law

    def __str__(self) -> str:
        version = self.version
        what = f"{version.kind} {version.name}, {version.mistake or 'right'}"
        expected = " or ".join(version.laws) or "accepted"
        return f"{what}: {self.law or 'accepted'}, expected {expected}. {self.message[:300]}"


def every_version() -> tuple[Version, ...]:
    """All of them, in one order."""
    return (*penalties.versions(), *networks.versions(), *others.versions())


def look(version: Version) -> Found:
    """What the checker says."""
    try:
        _check(version)
    except (RegularizerError, ContractError) as error:
        return Found(version, error.law, str(error))
    return Found(version, "", "")


def _check(version: Version) -> None:
    part = version.make()
    if version.kind in ("penalty", "transform"):
        small = SMALL if version.mistake else {}
        check_regularizer(part, **{**small, **version.check})
    elif version.kind == "gradient function":
        testing.check_gradient_function(part)
    elif version.kind == "optimizer":
        testing.check_optimizer(part)
    elif version.kind == "operator":
        testing.check_operator(part)
    elif version.kind == "constraint":
        testing.check_constraint(part, **version.check)
    else:
        testing.check_objective(part, **version.check)
