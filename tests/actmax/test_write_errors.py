"""An error of the disk at every single write of everything that writes: nothing torn, nothing lost."""

from __future__ import annotations

import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest

import actmax
import actmax.images
from actmax import files, zoo
from actmax.cli import main
from regularizers import L2, Jitter, TotalVariation
from tests.fuzz.kinds import waves

LOCKS = ("lock", ".lock")


class Disk:
    """Counts the calls that reach the disk, and fails the n-th of one kind.

    `full` fails while a file's bytes are written, with half of them there; `rename` when it gets its
    name; `sync` after that, when the name is forced to the disk.
    """

    def __init__(self, monkeypatch, kind: str, number: int | None) -> None:
        self.failed = False
        self.calls = 0
        self.contents: set[str] = set()
        fsync, replace, sync = os.fsync, Path.replace, files.sync_folder

        def due(own: str) -> bool:
            if own != kind:
                return False
            self.calls += 1
            self.failed |= self.calls - 1 == number
            return self.calls - 1 == number

        def own_fsync(handle: int) -> None:
            if os.path.isdir(f"/proc/self/fd/{handle}"):
                fsync(handle)
                return
            if due("full"):
                os.ftruncate(handle, os.fstat(handle).st_size // 2)
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(handle)

        def own_replace(path: Path, target: Path) -> Path:
            if due("rename"):
                raise OSError(errno.EIO, "Input/output error")
            self.contents.add(digest(path))
            return replace(path, target)

        def own_sync(folder: Path) -> None:
            if due("sync"):
                raise OSError(errno.EIO, "Input/output error")
            sync(folder)

        monkeypatch.setattr(os, "fsync", own_fsync)
        monkeypatch.setattr(Path, "replace", own_replace)
        monkeypatch.setattr(files, "sync_folder", own_sync)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Hash of every file by its path, but of the locks, which are empty."""
    found = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {f.relative_to(folder).as_posix(): digest(f) for f in found if f.name not in LOCKS}


@pytest.fixture(scope="module")
def maximizer():
    return actmax.Maximizer(
        zoo.load("mnist"), input_range=(0, 1), regularizers=[TotalVariation(1.0), Jitter(2)]
    )


@pytest.fixture(scope="module")
def result(maximizer):
    return maximizer([3, 8], steps=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
    folder = tmp_path_factory.mktemp("pictures")
    return actmax.catalog(
        zoo.load("mnist"), out=folder, input_range=(0, 1), regularizers=[], steps=1, batch_size=5
    )


def save(folder, maximizer, result, pictures):
    result.save(folder)


def report(folder, maximizer, result, pictures):
    result.report(folder / "page.html")


def sheets(folder, maximizer, result, pictures):
    pictures.report(folder, per_page=4)


def checkpoint(folder, maximizer, result, pictures):
    found = maximizer([3, 8], steps=6, callback_every=2, checkpoint=folder)
    np.testing.assert_array_equal(found.images, maximizer([3, 8], steps=6).images)


def catalog(folder, maximizer, result, pictures):
    # A function of no weights, compiled once: what is tried is what is written, again and again.
    actmax.catalog(
        waves, out=folder, input_range=(0, 1), input_shape=(5, 5, 1), regularizers=[], steps=0,
        batch_size=2,
    )  # fmt: skip


def snapshots(folder, maximizer, result, pictures):
    maximizer([3], steps=2, callback_every=1, callbacks=[actmax.Snapshots(folder)])


@pytest.fixture(scope="module")
def compiled_once():
    """What a catalog makes of the same arguments, kept over its calls."""
    kept = {}

    @functools.wraps(actmax.Maximizer)
    def make(model, objective, **settings):
        key = (model, objective, repr(settings))
        if key not in kept:
            kept[key] = actmax.Maximizer(model, objective, **settings)
        return kept[key]

    return make


@pytest.mark.parametrize("kind", ["full", "rename", "sync"])
@pytest.mark.parametrize("job", [save, report, sheets, checkpoint, catalog, snapshots])
def test_every_write_may_fail(
    job, kind, tmp_path, monkeypatch, maximizer, result, pictures, compiled_once
):
    given = (maximizer, result, pictures)
    monkeypatch.setattr("actmax.catalogs.build.Maximizer", compiled_once)
    monkeypatch.setattr("actmax.catalogs.job.Maximizer", compiled_once)
    whole = tmp_path / "whole"
    whole.mkdir()
    job(whole, *given)
    expected = tree(whole)
    for number in itertools.count():
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            disk = Disk(patch, kind, number)
            try:
                job(folder, *given)
            except OSError as error:
                assert error.errno in (errno.ENOSPC, errno.EIO)
                assert disk.failed
            else:
                assert not disk.failed, "an error of the disk was swallowed"
        if not disk.failed:
            assert number > 0, "nothing was written, so nothing was tried"
            return
        left = tree(folder)
        assert not [name for name in left if name.endswith(".tmp")]
        # Whatever bears a final name is one of the contents that were written whole.
        assert set(left.values()) <= disk.contents
        job(folder, *given)
        assert tree(folder) == expected


@pytest.mark.parametrize("job", [save, report, sheets, checkpoint, catalog, snapshots])
def test_a_path_that_cannot_be_a_folder_is_an_error_of_the_system(
    job, tmp_path, maximizer, result, pictures
):
    """A file where a folder should be: refused as a read-only folder is, also for the superuser."""
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    with pytest.raises(OSError, match="file"):
        job(blocked / "inside", maximizer, result, pictures)
    assert blocked.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="a superuser may write in read-only folders")
@pytest.mark.parametrize("job", [save, report, sheets, checkpoint, catalog, snapshots])
def test_a_read_only_folder_stays_as_it_was(job, tmp_path, maximizer, result, pictures):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        job(folder / "inside", maximizer, result, pictures)
    assert list(folder.iterdir()) == []


def pictures_of(folder: Path) -> dict[str, str]:
    return {file.name: digest(file) for file in folder.glob("*.png")}


def same_result(found: actmax.Result, known: actmax.Result) -> bool:
    return found.images.tobytes() == known.images.tobytes() and (
        found.scores.tobytes() == known.scores.tobytes() and found.labels == known.labels
    )


@pytest.mark.parametrize("kind", ["full", "rename", "sync"])
def test_an_error_over_an_older_result_leaves_the_older_or_the_newer_one(
    kind, tmp_path, monkeypatch, maximizer, result
):
    """The older JSON was deleted first, so that an error left neither; now one of them always loads."""
    older = maximizer([3, 8, 5], steps=1)
    wholes = {}
    for name, each in (("older", older), ("newer", result)):
        each.save(tmp_path / name)
        wholes[name] = (each, pictures_of(tmp_path / name))
    for number in itertools.count():
        folder = older.save(tmp_path / str(number))
        with monkeypatch.context() as patch:
            disk = Disk(patch, kind, number)
            try:
                result.save(folder)
            except OSError:
                assert disk.failed
        found = actmax.Result.load(folder)
        (which,) = [name for name, (each, _) in wholes.items() if same_result(found, each)]
        # No picture of the other one, as for `actmax evaluate`, which reads the files.
        assert pictures_of(folder).items() <= wholes[which][1].items()
        result.save(folder)
        assert tree(folder) == tree(tmp_path / "newer")
        if not disk.failed:
            assert number > 4
            return


@pytest.fixture(scope="module")
def sweeps():
    """Two sweeps with pictures and the result of one row, all of one network without weights."""
    maximizer = actmax.Maximizer(
        waves, input_range=(0, 1), input_shape=(5, 5, 1), regularizers=[L2(0.1)]
    )
    older = maximizer.sweep([0, 2], weights={"l2": [0.1, 1.0]}, steps=1)
    newer = maximizer.sweep([1], seeds=[3, 4, 5], restarts=2, steps=2)
    return {"older": older, "newer": newer, "result": maximizer([1], steps=1)}


def sweep_of(folder: Path, known: dict) -> str:
    """The name of what a folder holds; its record names whatever else there is."""
    record = json.loads((folder / "result.json").read_text())
    if record["sweep"] is None:
        with pytest.raises(actmax.RecordError, match="no sweep"):
            actmax.Sweep.load(folder)
        assert same_result(actmax.Result.load(folder), known["result"])
        return "result"
    found = actmax.Sweep.load(folder)
    (name,) = [
        name
        for name in ("older", "newer")
        if same_result(found.result, known[name].result) and found.axes == known[name].axes
    ]
    assert found.seeds == known[name].seeds
    assert found.to_records() == known[name].to_records()
    return name


@pytest.mark.parametrize("then", ["newer", "result"])
@pytest.mark.parametrize("kind", ["full", "rename", "sync"])
def test_an_error_over_an_older_sweep_leaves_the_older_or_the_newer_one(
    kind, then, tmp_path, monkeypatch, sweeps
):
    """The older sweep.json was deleted first, so that an error left neither sweep."""
    wholes = {name: tree(each.save(tmp_path / name)) for name, each in sweeps.items()}
    for number in itertools.count():
        folder = sweeps["older"].save(tmp_path / str(number))
        with monkeypatch.context() as patch:
            disk = Disk(patch, kind, number)
            try:
                sweeps[then].save(folder)
            except OSError:
                assert disk.failed
        which = sweep_of(folder, sweeps)
        assert which in ("older", then)
        assert which == then or disk.failed
        pictures = {name for name in tree(folder) if name.endswith(".png")}
        assert {name: tree(folder)[name] for name in pictures}.items() <= wholes[which].items()
        sweeps[then].save(folder)
        assert tree(folder) == wholes[then]
        if not disk.failed:
            assert number > 3
            return


def test_the_table_of_another_sweep_is_refused(tmp_path, sweeps):
    """Of as many rows: nothing but the hash tells them apart."""
    folder = sweeps["older"].save(tmp_path / "own")
    table = json.loads((folder / "sweep.json").read_text())
    table["axes"] = [["target", [0, 1, 2, 3]]]
    (folder / "sweep.json").write_text(json.dumps(table))
    with pytest.raises(actmax.RecordError, match=r"not the one that result\.json means"):
        actmax.Sweep.load(folder)


def test_the_table_of_a_sweep_is_json_without_nan(tmp_path, sweeps):
    """A score that was no number was written as NaN, which is no JSON, and robust scores with it."""
    whole = sweeps["newer"]
    scores = np.where(np.arange(3) == 1, np.nan, whole.scores).astype(np.float32)
    broken = dataclasses.replace(
        whole, result=dataclasses.replace(whole.result, scores=scores), robust_scores=scores
    )
    folder = broken.save(tmp_path)

    def refuse(name):
        raise AssertionError(name)

    json.loads((folder / "sweep.json").read_text(), parse_constant=refuse)
    again = actmax.Sweep.load(folder)
    np.testing.assert_array_equal(again.robust_scores, scores)
    np.testing.assert_array_equal(again.scores, scores)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("robust_scores", [0.5]), ("robust_scores", "0.5"), ("seeds", [1, 2, 0.5]), ("seeds", [1, 2, -3]),
        ("axes", [["target", [1]], ["target", [1, 2, 3]]]), ("axes", [["seed", [1, 2]]]), ("axes", "abc"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_its_rows_is_refused(tmp_path, sweeps, key, value):
    folder = sweeps["newer"].save(tmp_path)
    text = json.dumps({**json.loads((folder / "sweep.json").read_text()), key: value}).encode()
    (folder / "sweep.json").write_bytes(text)
    record = json.loads((folder / "result.json").read_text())
    record["sweep"] = hashlib.sha256(text).hexdigest()
    (folder / "result.json").write_text(json.dumps(record))
    with pytest.raises(actmax.RecordError, match=r"Expected a folder written by Sweep\.save"):
        actmax.Sweep.load(folder)


def test_saving_deletes_no_pictures_of_somebody_else(tmp_path, maximizer, result):
    """Whatever began with three digits was taken for an older result's, such as the photos of a phone."""
    own = np.zeros((2, 2, 1), np.uint8)
    others = ["20240101_120000.png", "001_mine.png", "grid.txt"]
    for name in others[:2]:
        actmax.images.save_png(tmp_path / name, own)
    (tmp_path / others[2]).write_text("mine")
    before = {name: digest(tmp_path / name) for name in others}
    maximizer([3, 8, 5], steps=1).save(tmp_path)
    result.save(tmp_path)
    assert {name: digest(tmp_path / name) for name in others} == before
    left = {file.name for file in tmp_path.glob("*.png")} - set(others)
    assert left == {"000_3.png", "001_8.png", "grid.png"}


@pytest.mark.parametrize(
    "named", [["../../mine.png", "/mine.png", "a/b.png", 3], 3, None, {"a": 1}]
)
def test_a_record_that_names_pictures_elsewhere_deletes_nothing(tmp_path, result, named):
    folder = result.save(tmp_path / "a" / "b")
    (tmp_path / "mine.png").write_text("mine")
    record = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**record, "pictures": named}))
    result.save(folder)
    assert (tmp_path / "mine.png").read_text() == "mine"


@pytest.mark.parametrize("bound", [10**400, "nan", True], ids=["huge", "text", "bool"])
def test_a_range_that_is_none_is_refused(tmp_path, result, bound):
    """A whole number of JSON may be larger than any float, which ended a report with an OverflowError."""
    folder = result.save(tmp_path)
    record = json.loads((folder / "result.json").read_text())
    record["high"] = {"images": bound}
    (folder / "result.json").write_text(json.dumps(record))
    with pytest.raises(actmax.RecordError, match="an end of the range"):
        actmax.Result.load(folder)


def test_a_record_beside_the_arrays_of_another_result_is_refused(tmp_path, maximizer, result):
    maximizer([1], steps=1).save(tmp_path / "other")
    result.save(tmp_path / "own")
    (tmp_path / "other" / "result.npz").replace(tmp_path / "own" / "result.npz")
    with pytest.raises(actmax.RecordError, match=r"not the one that result\.json means"):
        actmax.Result.load(tmp_path / "own")


def test_bounds_of_single_channels_come_back(tmp_path, result):
    low, high = {"images": (0.0, -1.0, 0.5)}, {"images": None}
    saved = dataclasses.replace(result, low=low, high=high).save(tmp_path)
    found = actmax.Result.load(saved)
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize("digest", ["../../x", "A" * 64, 3, ""])
def test_a_hash_that_is_none_is_refused(tmp_path, result, digest):
    record = json.loads((result.save(tmp_path) / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**record, "sha256": digest}))
    with pytest.raises(actmax.RecordError, match="sha256"):
        actmax.Result.load(tmp_path)


def test_a_record_without_a_hash_still_loads(tmp_path, result):
    """As versions before it wrote them."""
    folder = result.save(tmp_path / "old")
    record = json.loads((folder / "result.json").read_text())
    del record["sha256"]
    (folder / "result.json").write_text(json.dumps(record))
    assert same_result(actmax.Result.load(folder), result)


def a_fifo(path):
    os.mkfifo(path)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def a_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only the superuser makes devices")


@pytest.mark.skipif(os.name != "posix", reason="files of POSIX")
@pytest.mark.parametrize(
    "name",
    ["out/result.json", "out/result.npz", "out/sweep.json", "out/frames.npz", "out/metrics.json",
     "run/checkpoint.json", "run/lock", "catalog/manifest.json", "catalog/.lock", "pictures/a.png"],
)  # fmt: skip
def test_a_fifo_in_a_folder_keeps_no_reader_waiting(name, tmp_path, monkeypatch, sweeps):
    """Each of them waited for ever for somebody who writes into it."""
    monkeypatch.chdir(tmp_path)
    if name.startswith("out"):
        sweeps["older"].save("out")
    file = Path(name)
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    a_fifo(file)
    maximizer = actmax.Maximizer(waves, input_range=(0, 1), input_shape=(5, 5, 1), regularizers=[])
    settings = {"input_range": (0, 1), "input_shape": (5, 5, 1), "regularizers": [], "steps": 0}
    readers = {
        "out": lambda: main(["report", "out"]),
        "run": lambda: maximizer([0], steps=1, checkpoint="run"),
        "catalog": lambda: actmax.catalog(waves, out="catalog", batch_size=3, **settings),
        "pictures": lambda: actmax.evaluate("pictures"),
    }
    if name == "out/sweep.json":
        with pytest.raises(actmax.RecordError, match="Expected"):
            actmax.Sweep.load("out")
    elif name.startswith("out"):
        assert main(["report", "out"]) == 2
    else:
        if name.startswith("catalog"):
            pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
        with pytest.raises((OSError, ValueError), match=r"Expected .*FIFO"):
            readers[file.parent.name]()
    assert stat.S_ISFIFO(os.lstat(file).st_mode)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
@pytest.mark.parametrize("lock", ["run/lock", "catalog/.lock"])
def test_a_lock_that_is_a_link_is_not_followed(lock, tmp_path, monkeypatch):
    """Whoever may write in the folder could have any file of the user's emptied."""
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("mine")
    file = Path(lock)
    file.parent.mkdir()
    file.symlink_to(tmp_path / "mine.txt")
    settings = {"input_range": (0, 1), "input_shape": (5, 5, 1), "regularizers": []}
    with pytest.raises(FileExistsError, match="which is a link"):
        if lock.startswith("run"):
            actmax.maximize(waves, targets=[0], steps=1, checkpoint="run", **settings)
        else:
            pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
            actmax.catalog(waves, out="catalog", batch_size=3, steps=0, **settings)
    assert Path("mine.txt").read_text() == "mine"


def a_folder(path):
    path.mkdir()


def a_link_to_a_folder(path):
    path.with_name("real").mkdir()
    path.symlink_to("real")


@pytest.mark.skipif(os.name != "posix", reason="files of POSIX")
@pytest.mark.parametrize("make", [a_fifo, a_socket, a_device, a_folder, a_link_to_a_folder])
def test_what_is_no_file_is_never_replaced(make, tmp_path, monkeypatch, result):
    """A report onto a FIFO took the FIFO away and left a file; onto a folder, an error without words."""
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    path = Path("p.html")
    make(path)
    before = os.lstat(path)
    what = make.__name__.replace("_", " ").split(" ")[-1]
    named = "FIFO" if what == "fifo" else what
    for write in (lambda: files.write_atomic(path, b"x"), lambda: result.report(path)):
        with pytest.raises(OSError, match=f"Expected a path for a file.*which is a {named}"):
            write()
    for command in (["evaluate", "none", "--out"], ["bench", "none.keras", "--out"]):
        assert main([*command, str(path)]) == 2  # refused before the model is looked for
    # A log is written line by line, and opening a FIFO for that waited for ever.
    for log in (actmax.CSVLog, actmax.JSONLines):
        with pytest.raises(OSError, match=f"Expected a path for a file.*which is a {named}"):
            log(path)
        linked = Path(f"{log.__name__}.link")
        linked.symlink_to(path)
        with pytest.raises(OSError, match=f"which is a {named}"):
            log(linked)
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_records_of_the_commands_are_whole_or_not_there(tmp_path, monkeypatch):
    picture = np.zeros((28, 28, 1), np.uint8)
    actmax.images.save_png(tmp_path / "a.png", picture)
    out = tmp_path / "record.json"
    out.write_text("older")
    with monkeypatch.context() as patch:
        Disk(patch, "full", 0)
        assert main(["evaluate", str(tmp_path), "--out", str(out)]) == 2
    assert out.read_text() == "older"
    assert main(["evaluate", str(tmp_path), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["measurements"]
