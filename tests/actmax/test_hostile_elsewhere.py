"""The files that `load_model` refuses harm nobody else: zipfile, h5py and Keras end by themselves with each.

A child process reads them, ten seconds and 1 GiB for each file and reader. What it prints is asserted.
"""

import json
import subprocess
import sys

import pytest

from tests.actmax import hostile

SECONDS = 10
BYTES = 1 << 30

CHILD = """
import io, json, resource, signal, sys, time, warnings, zipfile
import h5py, keras

warnings.simplefilter("ignore")

def by_zipfile(path):
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            archive.read(name)

def by_h5py(path):
    source = path
    if path.endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(source, "r") as file:
        def look(name, item):
            dict(item.attrs)
            if isinstance(item, h5py.Dataset):
                item[()]
        file.visititems(look)
        dict(file.attrs)

def by_keras(path):
    keras.models.load_model(path)

# TensorFlow's libraries alone take gigabytes of addresses: what counts is what a file adds to them.
keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
with open("/proc/self/status") as status:
    (size,) = [int(line.split()[1]) << 10 for line in status if line.startswith("VmSize:")]
resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, size + BYTES))
for name, path in json.load(sys.stdin):
    for read in (by_zipfile, by_h5py, by_keras):
        # Ends this process where a reader does not come back.
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            read(path)
            end = "read"
        except Exception as error:
            end = type(error).__name__
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(json.dumps([name, read.__name__, end]), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and time of a process")
def test_zipfile_h5py_and_keras_end_by_themselves(tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    good = hostile.Template(place)
    files = [(name, place / name) for name in ("good.keras", "good.h5")]
    for number, (name, case) in enumerate(hostile.BUILDERS.items()):
        (place / f"{number}").mkdir()
        files.append((name, case.build(good, place / f"{number}")))
    for kind, data in good.files().items():
        for number, mutant in enumerate(hostile.mutants(data, hostile.COUNT, hostile.SEED)):
            files.append((f"{kind} {number}", place / f"{number}.{kind}"))
            files[-1][1].write_bytes(mutant)
    before = sorted(place.rglob("*"))
    program = CHILD.replace("BYTES", str(BYTES)).replace("SECONDS", str(SECONDS))
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([(name, str(path)) for name, path in files]),
        capture_output=True, text=True, timeout=300, check=False,
        cwd=place, env={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "HOME": str(tmp_path)},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    ends = {(name, reader): end for name, reader, end in lines}
    assert len(ends) == 3 * len(files)
    assert ends["good.keras", "by_keras"] == ends["good.h5", "by_keras"] == "read"
    assert ends["good.keras", "by_h5py"] == ends["good.h5", "by_h5py"] == "read"
    assert {"MemoryError", "ResourceExhaustedError"}.isdisjoint(ends.values())
    assert sorted((tmp_path / "files").rglob("*")) == before
