"""A disk that is really full, and files that may not grow: nothing torn, and afterwards all goes on.

`test_write_errors.py` plays an error at every write; here the kernel refuses.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess

import pytest

import actmax
from tests.actmax.test_write_errors import checkpoint, digest, report, save, snapshots, tree
from tests.fuzz.kinds import waves

JOBS = [save, report, checkpoint, snapshots]


@pytest.fixture(scope="module")
def maximizer():
    from regularizers import L2

    return actmax.Maximizer(
        lambda images: waves(images[:, :5, :5]), input_range=(0, 1), input_shape=(40, 40, 1),
        regularizers=[L2(0.1)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def maximizer_of_ten(maximizer):
    """As the jobs call it: with targets 3 and 8."""

    def run(targets, **call):
        return maximizer([target % 3 for target in targets], **call)

    return run


@pytest.fixture
def disk(tmp_path):
    """A file system of 256 KiB in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount on this machine")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@contextlib.contextmanager
def full(disk, left):
    """Fills a disk but for some bytes."""
    space = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(max(space.f_bavail * space.f_frsize - left, 0)))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def no_file_above(size):
    """The kernel cuts every write of this process at that size. SIGXFSZ is ignored by Python."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def try_it(job, folder, whole, limits, maximizer_of_ten, result):
    given = (maximizer_of_ten, result, None)
    whole.mkdir()
    job(whole, *given)
    expected = tree(whole)
    refused = 0
    for number, limit in enumerate(limits):
        place = folder / str(number)
        place.mkdir()
        older = maximizer_of_ten([1], steps=1)
        if job is save:
            older.save(place)
        try:
            with limit:
                job(place, *given)
        except OSError as error:
            assert error.errno in (errno.ENOSPC, errno.EFBIG)
            refused += 1
            left = tree(place)
            assert not [name for name in left if name.endswith(".tmp")]
            if job is save:
                found = actmax.Result.load(place).images.tobytes()
                assert found in (older.images.tobytes(), result.images.tobytes())
            elif job is not checkpoint:  # whose files change from step to step
                assert left.items() <= expected.items()
        job(place, *given)
        assert tree(place) == expected
        shutil.rmtree(place)
    assert refused > 0


@pytest.fixture(scope="module")
def result(maximizer_of_ten):
    return maximizer_of_ten([3, 8], steps=2)


@pytest.mark.parametrize("job", JOBS)
def test_a_disk_without_space(job, disk, tmp_path, maximizer_of_ten, result):
    limits = [full(disk, left) for left in (0, 4096, 12288, 32768)]
    try_it(job, disk, tmp_path / "whole", limits, maximizer_of_ten, result)


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("job", JOBS)
def test_files_that_may_not_grow(job, tmp_path, maximizer_of_ten, result):
    folder = tmp_path / "places"
    folder.mkdir()
    limits = [no_file_above(size) for size in (0, 700, 5000)]
    try_it(job, folder, tmp_path / "whole", limits, maximizer_of_ten, result)


def test_the_limit_cuts_what_is_written(tmp_path):
    """That a write is torn in the middle is what is tried, not that it never begins."""
    file = tmp_path / "file"
    with no_file_above(100), pytest.raises(OSError, match="File too large"), file.open("wb") as out:
        out.write(bytes(300))
    assert file.stat().st_size == 100
    assert digest(file)
