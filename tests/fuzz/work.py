"""What one process of `python -m tests.fuzz` does."""

import shutil
import sys
import tempfile
import traceback
from pathlib import Path


def work(kind, count, seed):
    from tests.fuzz import kinds

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            read, refused = kinds.outcomes(kind, count, seed, folder)
            print(f"{kind} {seed}: {read} read, {refused} refused", flush=True)
        except Exception:
            shutil.copytree(folder / "mutant", Path.cwd() / f"escaped_{kind}_{seed}")
            traceback.print_exc()
            sys.exit(1)
