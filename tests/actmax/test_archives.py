"""What an archive declares is bounded before it is unpacked, and whatever we write can be read."""

import copy
import io
import re
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import actmax
from actmax import archives, reporting
from actmax.catalogs import store
from actmax.cli import report
from actmax.evaluation import sources
from tests.fuzz import kinds

SMALL = 1 << 16


def header(shape, dtype="<f4"):
    buffer = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def npz(members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zeros(count):
    return header((count,), "|u1") + bytes(count)


def relabeled(data, change):
    """The archive with another directory; the members are as they were."""
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = b"."  # or nothing is written
        change(archive)
    return buffer.getvalue()


def larger_than_it_says():
    """Its header and directory say 100 bytes of data; there are 256 KiB."""
    true = header((100,), "|u1")

    def change(archive):
        (one,) = archive.filelist
        one.file_size = len(true) + 100
        one.CRC = zlib.crc32(true + bytes(100))

    return relabeled(npz({"a.npy": true + bytes(1 << 18)}), change)


def twice():
    def change(archive):
        archive.filelist.append(copy.copy(archive.filelist[0]))

    return relabeled(npz({"a.npy": zeros(3)}), change)


def encrypted():
    def change(archive):
        archive.filelist[0].flag_bits |= 1

    return relabeled(npz({"a.npy": zeros(3)}), change)


SIZES = {
    "one": (lambda: npz({"a.npy": zeros(100_000)}), "unpacks to 100128, most of it 'a.npy'"),
    "many": (lambda: npz({f"{n}.npy": zeros(9000) for n in range(9)}), "unpacks to 82152"),
    "a shape without values": (lambda: npz({"a.npy": header((9000,))}), r"for the shape \(9000"),
    "a shape beyond 64 bits": (lambda: npz({"a.npy": header((1 << 62, 4))}), "for the shape"),
    "a long axis and an empty one": (
        lambda: npz({"a.npy": header((9000, 0))}),
        r"the shape \(9000",
    ),
    "values of no size": (lambda: npz({"a.npy": header((9000,), "|V0")}), "the type |V0"),
    "objects": (lambda: npz({"a.npy": header((0,), "|O")}), "the type object"),
    "another version": (lambda: npz({"a.npy": b"\x93NUMPY\x09\x00" + bytes(99)}), "version"),
    "another method": (lambda: npz({"a.npy": zeros(9)}, zipfile.ZIP_BZIP2), "by method 12"),
    "no array": (lambda: npz({"a.txt": b"text"}), "which is no .npy"),
    "twice": (twice, "2 members of 1 names"),
    "encrypted": (encrypted, "which is encrypted"),
}


def refused(read, *given_, error=ValueError, most=1 << 20):
    """The message of the error, and that it took little memory."""
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            read(*given_)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most
    assert str(caught.value).startswith("Expected ")
    return str(caught.value)


def unpack(data):
    with archives.opened(data) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture
def low(monkeypatch):
    """Limits at which a few kilobytes are too many."""
    monkeypatch.setattr(archives, "FLOOR", SMALL)
    monkeypatch.setattr(archives, "EXPANSION", 2)


@pytest.mark.parametrize("kind", SIZES)
def test_an_archive_of_other_sizes_is_refused_before_it_is_unpacked(kind, low):
    build, said = SIZES[kind]
    text = refused(unpack, build())
    assert re.search(said, text), text


def test_a_member_never_becomes_more_than_it_says():
    data = larger_than_it_says()
    tracemalloc.start()
    try:
        assert unpack(data)["a"].tobytes() == bytes(100)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            whole = archives.read_member(archive, "a.npy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert whole == header((100,), "|u1") + bytes(100)
    assert peak < 1 << 18


@pytest.fixture(scope="module")
def large():
    return SIZES["one"][0]()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("large")


@pytest.mark.parametrize(
    ("kind", "record", "error"),
    [
        ("result", "result.npz", actmax.RecordError),
        ("checkpoint", None, actmax.RecordError),
    ],
)
def test_a_record_that_is_too_large_is_refused_by_its_reader(
    kind, record, error, folder, large, monkeypatch
):
    subject = kinds.make(kind, folder / kind)
    monkeypatch.setattr(archives, "FLOOR", SMALL)
    name = record or next(name for name in subject.files if name.endswith(".npz"))
    place = folder / kind / "large"
    for file, data in kinds.sealed({**subject.files, name: large}).items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_bytes(data)
    assert "which unpacks to" in refused(subject.read, place, error=error, most=1 << 24)


@pytest.mark.parametrize("read", [sources._arrays, report._read], ids=["evaluate", "report"])
def test_a_data_set_that_is_too_large_is_refused(read, folder, large, low):
    file = folder / "data.npz"
    file.write_bytes(large)
    assert "which unpacks to" in refused(read, file)


def test_a_film_that_is_too_large_is_refused(folder, large, low):
    (folder / "frames.npz").write_bytes(large)
    assert "which unpacks to" in refused(reporting.load_frames, folder)


def test_a_shard_that_is_too_large_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="the catalogs' extra is not installed")
    monkeypatch.setattr(archives, "FLOOR", SMALL)
    shard = store.shard(tmp_path, 0, 2)
    shard.parent.mkdir()
    row = dict.fromkeys(store.schema().names)
    pa = store.arrow()
    for count, said in ((2, "of a sane size in"), (3, "Expected 2 rows in")):
        rows = [{**row, "task": task, "values": np.zeros(300_000)} for task in range(count)]
        columns = {name: [each[name] for each in rows] for name in row}
        table = pa.table(columns, schema=store.schema())
        pa.parquet.write_table(table, shard, compression="zstd", use_dictionary=False)
        for read in (store.rows, lambda file: store.dataset([file])):
            assert said in refused(read, shard)


arrays_of_any_kind = st.dictionaries(
    st.text("abc/", min_size=1, max_size=4),
    hnp.arrays(
        st.sampled_from([np.dtype(kind) for kind in ("<f4", "<f8", "<i4", "|u1", "<U3", "|b1")]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    ),
    max_size=4,
)


@given(arrays=arrays_of_any_kind, floor=st.sampled_from([0, SMALL]))
def test_what_is_packed_can_be_read(arrays, floor):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archives, "FLOOR", floor)
        found = unpack(archives.pack(arrays))
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def test_what_is_constant_and_large_is_left_unpacked(monkeypatch):
    """Packed, a record of our own could not be opened again."""
    images = np.zeros([64, 64, 64, 1], np.float32)
    small = archives.pack({"images": images})
    assert len(small) < images.nbytes / archives.EXPANSION
    monkeypatch.setattr(archives, "FLOOR", SMALL)
    with pytest.raises(ValueError, match="which unpacks to"):
        unpack(small)
    large = archives.pack({"images": images})
    assert len(large) > images.nbytes
    np.testing.assert_array_equal(unpack(large)["images"], images)


def test_a_large_honest_record_still_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", SMALL)
    draws = np.random.default_rng(0)
    arrays = {"images": draws.normal(size=[200, 30, 30]), "history": np.full([500, 200], np.nan)}
    arrays["images"] = np.clip(arrays["images"], 0, 1).astype(np.float32)
    (tmp_path / "data.npz").write_bytes(archives.pack(arrays))
    assert (tmp_path / "data.npz").stat().st_size < 1_000_000  # of 1,520,000, so it is packed
    with (tmp_path / "data.npz").open("rb") as stream, archives.opened(stream) as found:
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
