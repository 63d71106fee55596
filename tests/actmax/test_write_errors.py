"""An error of the disk at every single write of everything that writes: nothing torn, nothing lost."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

import actmax
from actmax import files, zoo
from regularizers import Jitter, TotalVariation

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
    actmax.catalog(
        zoo.load("mnist"), out=folder, input_range=(0, 1), regularizers=[], steps=1, batch_size=5
    )


def snapshots(folder, maximizer, result, pictures):
    maximizer([3], steps=2, callback_every=1, callbacks=[actmax.Snapshots(folder)])


@pytest.mark.parametrize("kind", ["full", "rename", "sync"])
@pytest.mark.parametrize("job", [save, report, sheets, checkpoint, catalog, snapshots])
def test_every_write_may_fail(job, kind, tmp_path, monkeypatch, maximizer, result, pictures):
    given = (maximizer, result, pictures)
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
