"""Parts of the user's own, which the command line names as MODULE:NAME."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def regularizers(texts: Sequence[str]) -> list[Any]:
    """The regularizers of names such as `my_study.priors:Smooth`, in order.

    A name may stand for a regularizer, for a class that is made without arguments, or for a list of
    regularizers. Modules of the current folder are found, too.

    Raises:
        ValueError: if a module or a name is not there, or if it is no regularizer.
    """
    from actmax import checks
    from regularizers.base import Regularizer

    found: list[Any] = []
    for text in texts:
        held = _held(text)
        held = held() if isinstance(held, type) and issubclass(held, Regularizer) else held
        parts = list(held) if isinstance(held, (list, tuple)) else [held]
        if not parts or not all(isinstance(part, Regularizer) for part in parts):
            raise ValueError(
                checks.message(
                    f"{text} to be a regularizer, its class, or a list of regularizers",
                    repr(held)[:200],
                    "Make one with regularizers.Penalty, or @regularizers.penalty above a function.",
                )
            )
        found += parts
    return found


def _held(text: str) -> Any:
    from actmax import checks

    module, colon, name = text.partition(":")
    if not (module and colon and name):
        do = "Write the module, a colon and the name, such as my_study.priors:Smooth."
        raise ValueError(
            checks.message("usual, recipe, or regularizers as MODULE:NAME", repr(text), do)
        )
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        held: Any = importlib.import_module(module)
        for step in name.split("."):
            held = getattr(held, step)
    except (ImportError, AttributeError) as error:
        do = f"Start in the folder of {module.split('.')[0]}.py, or install its package."
        raise ValueError(
            checks.message(f"a module {module} that has {name}", str(error), do)
        ) from error
    finally:
        sys.path.remove(here)
    return held
