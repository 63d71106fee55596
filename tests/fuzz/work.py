"""What one process of `python -m tests.fuzz` does."""

import sys
import tempfile
import traceback
from pathlib import Path


def work(kind, count, seed):
    from tests.actmax import hostile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = hostile.Template(folder)
        data = good.hdf5 if kind == "h5" else (folder / "good.keras").read_bytes()
        try:
            print(kind, seed, *hostile.outcomes(kind, data, count, seed, folder), flush=True)
        except Exception:
            (Path.cwd() / f"escaped_{kind}_{seed}").write_bytes(
                (folder / f"mutant.{kind}").read_bytes()
            )
            traceback.print_exc()
            sys.exit(1)
