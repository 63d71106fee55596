"""`python -m tests.soak.catalogs --kills 20`: a catalog killed again and again ends with the same bytes.

505 units of five layers. Every process is killed a random time after its first finished chunk, the next
one goes on, and at the end all rows equal those of a catalog that was left in peace.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import actmax
from regularizers import Jitter

UNITS = (101, 101, 101, 101, 101)
PROGRAM = "from tests.soak.catalogs import make; make({folder!r})"


def model():
    """Five layers of 101 channels, the same in every process."""
    layers = [
        keras.layers.Conv2D(
            units, 3, padding="same", activation="tanh", name=f"layer_{number}",
            kernel_initializer=keras.initializers.GlorotUniform(number),
        )
        for number, units in enumerate(UNITS)
    ]  # fmt: skip
    return keras.Sequential([keras.Input((8, 8, 1), name="pixels"), *layers], name="five")


def make(folder):
    network = model()
    return actmax.catalog(
        network, actmax.channels(network), out=folder, batch_size=8, steps=4, input_range=(0, 1),
        regularizers=[Jitter(1)],
    )  # fmt: skip


def rows(found):
    return found.dataset().to_table().sort_by("task").to_pylist()


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.soak.catalogs", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        whole = rows(make(str(Path(name) / "whole")))
        folder = Path(name) / "killed"
        killed = 0
        while killed < arguments.kills:
            done = len(list(folder.rglob("*.parquet")))
            process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(folder=str(folder))])
            while process.poll() is None and len(list(folder.rglob("*.parquet"))) <= done:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 0.05))
            process.kill()
            if process.wait() == 0:
                break
            killed += 1
            print(f"kill {killed}: {len(actmax.Catalog(folder))} of {sum(UNITS)}", flush=True)
        found = rows(make(str(folder)))
        tasks = [row["task"] for row in found]
        same = found == whole and tasks == list(range(sum(UNITS)))
        print(f"{killed} kills, {'identical' if same else 'DIFFERENT'}")
        return int(not same or killed < arguments.kills)


if __name__ == "__main__":
    sys.exit(main())
