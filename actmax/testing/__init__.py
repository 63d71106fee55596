"""The laws of every extension point of actmax, each tried on anyone's own part in one call.

Every function here raises `ContractError`, an AssertionError whose message begins with the part's name
and says which law broke, where, and what to do. Penalties and transforms have
`regularizers.testing.check_regularizer`.
"""

from __future__ import annotations

from actmax.testing.objectives import check_objective
from actmax.testing.pictures import check_constraint, check_parameterization
from actmax.testing.rows import ContractError
from actmax.testing.traces import assert_traces
from actmax.testing.updates import check_callback, check_gradient_function, check_optimizer

__all__ = [
    "ContractError",
    "assert_traces",
    "check_callback",
    "check_constraint",
    "check_gradient_function",
    "check_objective",
    "check_optimizer",
    "check_parameterization",
]
