"""Checkers for the parts of actmax: each tests in one call whether a part keeps all laws.

Every function here raises `ContractError`, an AssertionError whose message begins with the part's name
and says which law is broken, where, and what to do. `check_model` tests a whole model and returns a
report. Penalties and transforms have `regularizers.testing.check_regularizer`.
"""

from __future__ import annotations

from actmax.testing.findings import Finding, ModelReport
from actmax.testing.model import check_model
from actmax.testing.objectives import check_objective
from actmax.testing.pictures import check_constraint, check_parameterization
from actmax.testing.rows import ContractError
from actmax.testing.traces import assert_traces
from actmax.testing.updates import (
    check_callback,
    check_gradient_function,
    check_operator,
    check_optimizer,
)

__all__ = [
    "ContractError",
    "Finding",
    "ModelReport",
    "assert_traces",
    "check_callback",
    "check_constraint",
    "check_gradient_function",
    "check_model",
    "check_objective",
    "check_operator",
    "check_optimizer",
    "check_parameterization",
]
