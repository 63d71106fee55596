"""What is damaged, and who reads it: models, results, sweeps, checkpoints, catalogs.

Every kind is a folder of whole files and a reader. A mutant is that folder with one file damaged: bytes
flipped, cut, doubled, overwritten; or a value somewhere in its JSON replaced, or an array, and every
checksum made right again, so that the reader's own checks are what is tried. The reader either takes it for
what it says, or raises one of our named errors.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import shutil

import numpy as np
import tensorflow as tf

import actmax
from regularizers import L2, Jitter
from tests.actmax import hostile

JUNK = (
    None, True, -1, 0, 3, 0.5, 1e308, 2**70, 10**400, float("nan"), "", "x", "../../x", "\ud800", "<b>",
    [], [[]], [None, "a"], {}, {"a": {"b": []}}, {"class": 3}, [1, 2, 3],
)  # fmt: skip


def waves(images):
    """A network without weights: three units, `[N, 5, 5, 1] -> [N, 3]`."""
    turns = tf.reshape(tf.range(1.0, 4.0), [1, 1, 1, 3])
    return tf.reduce_mean(tf.sin(3.0 * turns * images), axis=[1, 2])


class Models:
    """A `.keras` or `.h5` file."""

    first = 0  # seed of the first block

    def __init__(self, kind, folder):
        good = hostile.Template(folder / "template")
        self.name = f"m.{kind}"
        data = good.hdf5 if kind == "h5" else (folder / "template" / "good.keras").read_bytes()
        self.files = {self.name: data}
        self.errors = actmax.ModelFileError

    def read(self, folder):
        actmax.load_model(folder / self.name)


class Maximizing:
    """What the others share: one compiled loop."""

    first = 0

    def __init__(self, folder):
        self.maximizer = actmax.Maximizer(
            waves, input_range=(0, 1), input_shape=(5, 5, 1), labels=["a", "b", "c"],
            regularizers=[L2(0.1), Jitter(1)],
        )  # fmt: skip
        self.make(folder / "whole")
        found = sorted((folder / "whole").rglob("*"))
        self.files = {
            file.relative_to(folder / "whole").as_posix(): file.read_bytes()
            for file in found
            if file.is_file() and "lock" not in file.name and file.suffix != ".png"
        }
        self.errors = ValueError  # RecordError, or what is asked of a result is not to be had of it


class Results(Maximizing):
    """`Result.save`."""

    def make(self, folder):
        self.maximizer([0, 2], steps=3).save(folder)

    def read(self, folder):
        found = actmax.Result.load(folder)
        # Whatever is loaded is one: each of these would fail late and without a name.
        assert len(found.names()) == len(found) == len(found.take(range(len(found))))
        repr(found)
        found.report(folder / "report.html")


class Sweeps(Maximizing):
    """`Sweep.save`."""

    def make(self, folder):
        self.maximizer.sweep([0, 2], weights={"l2": [0.1, 1.0]}, steps=2).save(folder)

    def read(self, folder):
        found = actmax.Sweep.load(folder)
        assert len(found.to_records()) == len(found)
        found.grid()


def _dies(snapshot):
    if snapshot.step == 3:
        raise StopIteration


class Checkpoints(Maximizing):
    """A run that is taken up again; another call than the checkpoint's is a ValueError that says so."""

    def make(self, folder):
        with contextlib.suppress(StopIteration):
            self.run(folder, callbacks=[_dies])

    def run(self, folder, **more):
        call = {"steps": 3, "callback_every": 1, "keep": "best", "seed": 3}
        return self.maximizer([0, 2], checkpoint=folder, **call, **more)

    def read(self, folder):
        assert len(self.run(folder)) == 2


class Catalogs(Maximizing):
    """Manifest and shards."""

    first = 1000

    def __init__(self, folder):
        super().__init__(folder)
        self.errors = actmax.CatalogError

    def make(self, folder):
        actmax.catalog(
            waves, out=folder, input_range=(0, 1), input_shape=(5, 5, 1), steps=0, batch_size=2,
            regularizers=[], labels=["a", "b", "c"],
        )  # fmt: skip

    def read(self, folder):
        found = actmax.Catalog(folder)
        rows = found.select()
        assert 0 <= len(found) and 0 <= found.total
        if rows:
            found.images(rows)
            found.nearest(rows[0])
        found.report(folder / "report")


KINDS = {"result": Results, "sweep": Sweeps, "checkpoint": Checkpoints, "catalog": Catalogs}


def make(kind, folder):
    """The kind of that name; `folder` is its own."""
    (folder / "template").mkdir(parents=True)
    return Models(kind, folder) if kind in ("keras", "h5") else KINDS[kind](folder)


def outcomes(kind, count, seed, folder, given=None):
    """How many mutants are read and how many are refused; any other error escapes, its mutant left there."""
    subject = make(kind, folder / "made") if given is None else given
    rng = np.random.default_rng([*kind.encode(), subject.first + seed])
    read = refused = 0
    place = folder / "mutant"
    for _ in range(count):
        files = mutant(subject.files, rng)
        shutil.rmtree(place, ignore_errors=True)
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        try:
            subject.read(place)
            read += 1
        except subject.errors as error:
            if not str(error).startswith("Expected "):
                raise
            refused += 1
    return read, refused


def mutant(files, rng):
    """The files with one of them damaged."""
    files = dict(files)
    name = list(files)[int(rng.integers(len(files)))]
    if name.endswith((".json", ".npz")) and rng.random() < 0.7:
        damaged = _value if name.endswith(".json") else _array
        files[name] = damaged(files[name], rng)
        return sealed(files)
    files[name] = next(iter(hostile.mutants(files[name], 1, int(rng.integers(1 << 31)))))
    return sealed(files) if name.endswith(".npz") and rng.random() < 0.5 else files


def _value(data, rng):
    """JSON with one value replaced, left out or doubled."""
    tree = {"": json.loads(data)}
    places = list(_places(tree))
    holder, key = places[int(rng.integers(len(places)))]
    kind = int(rng.integers(4))
    if kind == 0 and key != "":
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(0, copy.deepcopy(holder[key]))
    else:
        holder[key] = JUNK[int(rng.integers(len(JUNK)))]
    return json.dumps(tree[""]).encode()


def _places(tree):
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    for key in keys:
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _places(tree[key])


def _array(data, rng):
    """NPZ with one array of another shape, kind or content, left out, or under another name."""
    with np.load(io.BytesIO(data)) as found:
        arrays = {name: found[name] for name in found.files}
    name = list(arrays)[int(rng.integers(len(arrays)))]
    value = arrays.pop(name)
    match int(rng.integers(7)):
        case 0:
            pass
        case 1:
            arrays[name + "x"] = value
        case 2:
            arrays[name] = value[..., None]
        case 3:
            arrays[name] = value[:1] if value.ndim else value[None]
        case 4:
            arrays[name] = value.astype(str)
        case 5:
            arrays[name] = np.full(value.shape, np.nan)
        case _:
            arrays[name] = np.concatenate([value, value]) if value.ndim else value.astype(complex)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def sealed(files):
    """The files with the checksums that a writer would have given them, where there is a place for them."""
    files = dict(files)
    try:
        if "result.json" in files:
            record = json.loads(files["result.json"])
            for key, name in (("sha256", "result.npz"), ("sweep", "sweep.json")):
                if key in record and name in files:
                    record[key] = hashlib.sha256(files[name]).hexdigest()
            files["result.json"] = json.dumps(record).encode()
        if "checkpoint.json" in files:
            record = json.loads(files["checkpoint.json"])
            arrays = next(data for name, data in files.items() if name.endswith(".npz"))
            record |= {"sha256": hashlib.sha256(arrays).hexdigest(), "check": ""}
            text = (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()
            record["check"] = hashlib.sha256(text).hexdigest()
            files["checkpoint.json"] = (
                json.dumps(record, indent=1, sort_keys=True) + "\n"
            ).encode()
    except (TypeError, KeyError):
        pass  # no longer a record that could have one
    return files
