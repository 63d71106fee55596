"""Catalogs: whatever is killed, however it is cut, by whomever it is done, the store holds the same bytes."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pyarrow.dataset
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import actmax
from actmax import batching
from actmax.catalogs import driver, pools, store
from actmax.catalogs import manifest as manifests
from actmax.catalogs.plan import Plan
from actmax.loop.engine import Loop
from regularizers import Jitter, TotalVariation

SETTINGS = {"input_range": (0, 1), "steps": 3, "regularizers": [Jitter(1)]}


def model():
    """Two small layers and ten outputs, the same in every process."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="pixels"),
            keras.layers.Conv2D(
                6, 3, activation="relu", name="one",
                kernel_initializer=keras.initializers.GlorotUniform(1),
            ),
            keras.layers.Conv2D(
                5, 3, activation="relu", name="two",
                kernel_initializer=keras.initializers.GlorotUniform(2),
            ),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(
                10, name="head",
                kernel_initializer=keras.initializers.GlorotUniform(3),
            ),
        ],
        name="small",
    )  # fmt: skip


@pytest.fixture(scope="module")
def small():
    return model()


def make(small, folder, pattern="*", **changed):
    arguments = {"batch_size": 4, "seeds": [0, 7], **SETTINGS, **changed}
    return actmax.catalog(small, actmax.channels(small, pattern), out=folder, **arguments)


def make_one_layer(small, folder, **changed):
    """Ten images, each a chunk of its own: one loop to compile, for tests that start processes."""
    return make(small, folder, "two", batch_size=1, **changed)


def rows(found):
    """Everything in the store, in the order of the job."""
    table = found.dataset().to_table().sort_by("task")
    return table.to_pylist()


@pytest.fixture(scope="module")
def made():
    """The maximizers that made `whole`."""
    return []


@pytest.fixture(scope="module")
def whole(small, made, tmp_path_factory):
    def remember(*arguments, **options):
        made.append(actmax.Maximizer(*arguments, **options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actmax.catalogs.job.Maximizer", remember)
        return make(small, tmp_path_factory.mktemp("whole") / "catalog")


@pytest.fixture(scope="module")
def by_a_worker(small, tmp_path_factory):
    """One layer, by one process of one thread: what more of them must give as well."""
    return make_one_layer(small, tmp_path_factory.mktemp("one") / "one", workers=1, threads=1)


# The plan


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=4)


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seeds=st.integers(1, 3),
    batches=sizes,
    pick=st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_every_task_stands_in_exactly_one_chunk(counts, seeds, batches, pick):
    plan = Plan(tuple(tuple(range(count)) for count in counts), tuple(range(seeds)))
    batches = sorted(batches, reverse=True)
    done = []
    for generation in range(1, len(batches) + 1):
        chunks = plan.chunks(batches[:generation], done)
        covered = sorted([(c.start, c.stop) for c in chunks] + done)
        assert [start for start, _ in covered] == [0, *(stop for _, stop in covered[:-1])]
        assert covered[-1][1] == len(plan)
        for chunk in chunks:
            tasks = plan.tasks(chunk.start, chunk.stop)
            assert [task.number for task in tasks] == list(range(chunk.start, chunk.stop))
            assert len({task.objective for task in tasks}) == 1
            assert len(tasks) <= chunk.batch_size == batches[generation - 1]
        done += [(c.start, c.stop) for c in chunks if pick.random() < 0.5]


# The bytes


def test_every_unit_of_every_layer_once(small, whole):
    units = {"one": 6, "two": 5, "head": 10}
    assert len(whole) == whole.total == 2 * sum(units.values())
    found = whole.select()
    assert [row["task"] for row in found] == list(range(whole.total))
    for layer, count in units.items():
        for seed in (0, 7):
            assert [r["target"] for r in whole.select(layer=layer, seed=seed)] == list(range(count))


def test_a_row_is_what_a_run_of_its_own_gives(small, whole):
    row = whole.select(layer="two", target=3, seed=7)[0]
    maximizer = actmax.Maximizer(
        small, actmax.Channel("two"), input_range=(0, 1), regularizers=[Jitter(1)]
    )
    alone = maximizer([3] * 4, steps=3, seed=[7] * 4)
    assert row["score"] == float(alone.scores[0])
    np.testing.assert_array_equal(whole.images([row])[0], alone.to_uint8()[0])


def test_another_order_and_other_company_give_the_same_bytes(small, whole, tmp_path):
    fewer = actmax.catalog(
        small,
        [actmax.Channel("two")],
        out=tmp_path,
        targets=[4, 1],
        seeds=[7],
        batch_size=4,
        **SETTINGS,
    )
    for row in rows(fewer):
        same = whole.select(layer="two", target=row["target"], seed=7)[0]
        assert row["score"] == same["score"]
        np.testing.assert_array_equal(fewer.images([row]), whole.images([same]))


def test_a_second_call_does_nothing(small, whole):
    before = {file: file.stat().st_mtime_ns for file in whole.folder.rglob("*.parquet")}
    told = []
    make(small, whole.folder, progress=told.append)
    assert not told
    assert {file: file.stat().st_mtime_ns for file in whole.folder.rglob("*.parquet")} == before


def test_what_is_missing_is_done_and_nothing_else(small, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    found = actmax.Catalog(tmp_path)
    files = sorted(store.finished(tmp_path).values())
    for file in files[1::2]:
        file.unlink()
    (tmp_path / "shards" / ".0123.tmp").write_bytes(b"half a shard")
    kept = {file: file.stat().st_mtime_ns for file in files[::2]}
    assert len(found) < found.total
    told = []
    again = make(small, tmp_path, progress=told.append)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert rows(again) == rows(whole)
    assert told[-1].done == told[-1].total == found.total
    assert sum(told[-1].status.values()) == found.total - sum(
        int(f.stem[10:]) - int(f.stem[:9]) for f in kept
    )


KILLED = """
    import sys
    sys.path.insert(0, {root!r})
    import actmax
    from tests.actmax.test_catalogs import make_one_layer, model
    make_one_layer(model(), {folder!r}, progress=lambda told: print(told.done, flush=True))
"""


def test_killed_and_taken_up_again_it_ends_with_the_same_bytes(small, tmp_path):
    """`python -m tests.soak.catalogs` kills twenty times."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = textwrap.dedent(KILLED.format(root=root, folder=str(tmp_path)))
    whole = make_one_layer(small, tmp_path.with_name("whole"))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root
    )
    for line in process.stdout:
        if line.strip().isdigit() and int(line) >= 3:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert manifests.read(tmp_path) is not None
    assert 0 < len(actmax.Catalog(tmp_path)) < whole.total
    assert rows(make_one_layer(model(), tmp_path)) == rows(whole)


def test_a_batch_that_does_not_fit_is_halved(small, tmp_path, monkeypatch):
    real = pools.Worker.run
    given_ = []

    def run(worker, chunk):
        given_.append(chunk)
        if chunk.batch_size > 2 and chunk.start >= 4:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return real(worker, chunk)

    monkeypatch.setattr(pools.Worker, "run", run)
    found = make(small, tmp_path, "two")
    assert found.manifest.batch_sizes == (4, 2)
    assert len(found) == found.total
    assert [c.start for c in given_ if c.batch_size == 4 and c.start < 4] == [0]
    tasks = [row["task"] for row in rows(found)]
    assert tasks == list(range(found.total))


def test_one_image_that_does_not_fit_ends_it(small, tmp_path, monkeypatch):
    def run(worker, chunk):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")

    monkeypatch.setattr(pools.Worker, "run", run)
    with pytest.raises(actmax.CatalogError, match="Expected memory for one image"):
        make(small, tmp_path)


def test_a_loop_is_traced_once_per_layer(whole, made):
    assert [maximizer.traces for maximizer in made] == [1, 1, 1]


# Workers


@pytest.mark.parametrize(
    ("cards", "cores", "threads", "count"),
    [
        (0, 8, None, 8),
        (0, 8, 3, 2),
        (0, 2, 4, 1),
        (0, None, None, 1),
        (4, 16, None, 4),
        (1, 16, 2, 1),
    ],
)
def test_local_is_a_worker_for_every_card_or_for_the_cores(
    monkeypatch, cards, cores, threads, count
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["card"] * cards)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert pools.local_count(threads) == count


def test_local_workers_are_as_many_as_the_machine_has_room_for(small, tmp_path, monkeypatch):
    asked = []

    class Counted(pools.Here):
        def __init__(self, job, count, threads):
            asked.append((count, threads))
            super().__init__(job)

    monkeypatch.setattr(pools, "Local", Counted)
    monkeypatch.setattr(pools, "local_count", lambda threads: 5)
    make_one_layer(small, tmp_path, workers="local", threads=2)
    assert asked == [(5, 2)]


def test_local_workers_give_the_bytes_of_one_and_survive_a_kill(small, tmp_path, by_a_worker):
    import multiprocessing

    killed = []

    def kill(told):
        if not killed:
            victim = multiprocessing.active_children()[0]
            killed.append(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)

    two = make_one_layer(small, tmp_path, workers=2, threads=1, progress=kill)
    assert killed
    assert rows(by_a_worker) == rows(two)
    assert not multiprocessing.active_children()


def test_ray_workers_give_the_bytes_of_one_and_survive_a_kill(small, tmp_path, by_a_worker):
    ray = pytest.importorskip("ray", reason="an extra of its own: pip install 'actmax[ray]'")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, runtime_env=None)
    try:
        pids = []

        def kill(told):
            if not pids:
                found = subprocess.run(
                    ["pgrep", "-f", "ray::_Actor"], capture_output=True, text=True, check=False
                )
                pids.extend(map(int, found.stdout.split()))
                os.kill(pids[0], signal.SIGKILL)

        two = make_one_layer(small, tmp_path, workers="ray", threads=1, progress=kill)
        assert pids
    finally:
        ray.shutdown()
    assert rows(by_a_worker) == rows(two)


def test_a_chunk_that_ends_every_worker_is_named(tmp_path):
    class Dying(pools.Pool):
        count = 2

        def __init__(self):
            self.given = []

        def give(self, worker, chunk):
            self.given.append((worker, chunk))

        def next(self):
            worker, _ = self.given.pop(0)
            return worker, pools.Outcome(trouble="lost", text="exit code -9")

    (tmp_path / "shards").mkdir()
    chunks = Plan(((0, 1, 2, 3),), (0,)).chunks([2], [])
    with pytest.raises(actmax.CatalogError, match=r"tasks 0\.\.1 ended 3 workers \(exit code -9\)"):
        driver.drive(Dying(), chunks, tmp_path, 0, 4, None)


@pytest.mark.parametrize("trouble", ["error in a worker", "Ctrl-C", "Ctrl-C at a write"])
def test_what_workers_handed_in_is_kept_whatever_ends_the_job(tmp_path, monkeypatch, trouble):
    """Two finished chunks lay in the workers' pipes, and the folder kept none of their rows."""
    stored = []

    def write(folder, start, stop, rows):
        if trouble == "Ctrl-C at a write" and not stored:
            stored.append("interrupted")
            raise KeyboardInterrupt
        stored.append((start, stop, rows))

    class Both(pools.Pool):
        count = 3

        def give(self, worker, chunk):
            pass

        def next(self):
            if trouble == "Ctrl-C":
                raise KeyboardInterrupt
            rows = [{"status": "OK"}]
            at_write = trouble == "Ctrl-C at a write"
            return 0, pools.Outcome(rows) if at_write else pools.Outcome(trouble="error", text="no")

        def ready(self):
            return [(1, pools.Outcome([{"n": 1}])), (2, pools.Outcome([{"n": 2}]))]

    monkeypatch.setattr(store, "write", write)
    chunks = Plan(((0, 1, 2),), (0,)).chunks([1], [])
    with pytest.raises((KeyboardInterrupt, RuntimeError)):
        driver.drive(Both(), chunks, tmp_path, 0, 3, None)
    assert (1, 2, [{"n": 1}]) in stored and (2, 3, [{"n": 2}]) in stored
    assert ((0, 1, [{"status": "OK"}]) in stored) == (trouble == "Ctrl-C at a write")


def test_what_no_other_process_can_be_sent_is_said(small, tmp_path):
    with pytest.raises(TypeError, match="Define functions at the top of a module"):
        make(small, tmp_path, workers=1, metrics={"mean": lambda images: images[:, 0, 0, 0]})


# Another job


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"steps": 4}, "call/steps: 3 -> 4"),
        ({"seeds": [0]}, "plan/seeds"),
        ({"targets": [0]}, "plan/targets"),
        ({"regularizers": [TotalVariation(2.0)]}, "settings/regularizers/0/class"),
    ],
)
def test_another_job_is_refused_with_the_difference(small, whole, changed, difference):
    with pytest.raises(actmax.CatalogError, match="Give out= another folder") as caught:
        make(small, whole.folder, **changed)
    assert difference in str(caught.value)


def test_another_model_is_refused(whole):
    other = model()
    other.get_layer("one").bias.assign(np.full(6, 1e-3, np.float32))
    with pytest.raises(actmax.CatalogError, match=r"model/weights"):
        make(other, whole.folder)


def test_the_same_job_with_keras_objects_and_functions_goes_on_and_another_does_not(
    small, tmp_path
):
    def job(rate=0.1, factor=1.0):
        return make_one_layer(
            small, tmp_path, targets=[0], seeds=[0], steps=1,
            regularizers=[],
            optimizer=keras.optimizers.SGD(rate),
            preprocess=functools.partial(tf.multiply, factor),
        )  # fmt: skip

    job()
    job()
    with pytest.raises(actmax.CatalogError, match=r"settings/optimizer/config/learning_rate: 0\.1"):
        job(rate=0.2)
    with pytest.raises(actmax.CatalogError, match=r"settings/preprocess/partial/arguments/0: 1\.0"):
        job(factor=2.0)


def test_a_job_of_a_version_that_wrote_less_is_read_and_not_gone_on_with(small, whole, tmp_path):
    shutil.copytree(whole.folder, tmp_path / "old")
    file = tmp_path / "old" / "manifest.json"
    record = json.loads(file.read_text())
    del record["config"]["fingerprint"]
    file.write_text(json.dumps(record))
    assert len(actmax.Catalog(tmp_path / "old")) == len(whole)
    with pytest.raises(actmax.CatalogError, match="wrote down less of its call"):
        make(small, tmp_path / "old")


def test_one_folder_one_process(small, tmp_path):
    with (
        manifests.alone(tmp_path),
        pytest.raises(actmax.CatalogError, match="another one that is at it"),
    ):
        make(small, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "actmax.catalog/9"}', "\0", "[" * 100_000]
)
def test_a_damaged_manifest_is_named(small, tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(actmax.CatalogError, match=r"manifest\.json that cannot be read"):
        make(small, tmp_path)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(actmax.CatalogError, match=r"a folder that actmax\.catalog wrote"):
        actmax.Catalog(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"targets": "most"}, TypeError, "targets as a list of numbers"),
        ({"targets": [17]}, ValueError, "Expected targets of Channel in 0..5"),
        ({"targets": []}, ValueError, "at least one target"),
        ({"seeds": []}, ValueError, "seeds that differ"),
        ({"seeds": [1, 1]}, ValueError, "seeds that differ"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": "large"}, TypeError, "batch_size"),
        ({"workers": "slurm"}, ValueError, '"ray://..."'),
        ({"workers": 0}, ValueError, "workers"),
        ({"threads": 1}, ValueError, "Give workers=1 as well."),
        ({"steps": -1}, ValueError, "steps"),
        ({"seeds": 3}, TypeError, "a sequence of seeds, such as range(3). Received: 3."),
        ({"seeds": "01"}, TypeError, "a sequence of seeds"),
        ({"labels": "abc"}, TypeError, "labels to be a list of names"),
        ({"labels": [1, 2]}, TypeError, "labels to be a list of names"),
        ({"input_rage": (0, 1)}, TypeError, "Received: input_rage."),
        ({"seed": 1}, TypeError, "arguments of catalog itself or of Maximizer"),
    ],
)
def test_what_cannot_be_right_is_said_first(small, tmp_path, arguments, error, message):
    with pytest.raises(error) as caught:
        make(small, tmp_path, **arguments)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_labels_are_of_every_unit_and_objectives_are_not_none(tmp_path):
    from actmax import zoo

    given = {"out": tmp_path / "new", "input_range": (0, 1), "steps": 1}
    with pytest.raises(ValueError, match=r"^Expected 10 labels, one per unit\. Received: 1\."):
        actmax.catalog(zoo.load("mnist"), labels=["a"], **given)
    with pytest.raises(TypeError, match=r"^Expected a list of objectives"):
        actmax.catalog(zoo.load("mnist"), [], **given)
    with pytest.raises(TypeError, match=r"^Expected a list of objectives.*Put it in \[\.\.\.\]"):
        actmax.catalog(zoo.load("mnist"), actmax.Logit(), **given)
    assert not list(tmp_path.iterdir())


def test_a_path_is_no_model(tmp_path):
    with pytest.raises(TypeError, match=r"^Expected a Keras model") as caught:
        actmax.catalog("model.keras", out=tmp_path / "new", input_range=(0, 1), steps=1)
    assert "actmax.load_model" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_objectives_of_units_only(small, tmp_path):
    with pytest.raises(TypeError, match="a list of objectives"):
        actmax.catalog(small, ["one"], out=tmp_path, input_range=(0, 1))
    with pytest.raises(ValueError, match="objectives of units"):
        actmax.catalog(small, [actmax.Direction("one")], out=tmp_path, input_range=(0, 1))


def test_channels_by_pattern(small):
    assert [each.layer for each in actmax.channels(small, "t*")] == ["two"]
    with pytest.raises(ValueError, match="'three'"):
        actmax.channels(small, "three")


# Reading


def test_facts_are_selected(whole):
    assert [row["seed"] for row in whole.select(layer="one", target=2)] == [0, 7]
    best = whole.select(layer="head", best=3)
    scores = [row["score"] for row in whole.select(layer="head")]
    assert [row["score"] for row in best] == sorted(scores, reverse=True)[:3]
    least = best[-1]["score"]
    assert len(whole.select(layer="head", least_score=least)) == 3
    assert whole.select(status="NON_FINITE") == []
    assert len(whole.select(objective="Channel")) == whole.total


def test_scores_that_are_no_numbers_are_not_the_best(tmp_path):
    """A comparison with NaN is false, so that one of them left the others in no order."""

    def broken(images):
        mean = tf.reduce_mean(images, [1, 2])
        return mean * tf.constant([1.0, np.nan, 2.0, np.nan, 3.0, 0.5])

    found = actmax.catalog(
        broken, out=tmp_path, input_range=(1, 2), input_shape=(4, 4, 1), regularizers=[], steps=0,
        batch_size=3,
    )  # fmt: skip
    assert [row["target"] for row in found.select(best=5)][:4] == [4, 2, 0, 5]


def test_contact_sheet(whole):
    sheet = whole.grid(whole.select(layer="one", seed=0), columns=3)
    assert sheet.dtype == np.uint8
    assert sheet.ndim == 3


def test_nearest_pictures_are_by_likeness(whole):
    row = whole.select(layer="head", target=0, seed=0)[0]
    near = whole.nearest(row, 5)
    assert len(near) == 5
    values = [each["similarity"] for each in near]
    assert values == sorted(values, reverse=True)
    own = whole.images([row])[0].astype(float).ravel()
    others = whole.images(whole.select()).astype(float).reshape(whole.total, -1)
    centered = others - others.mean(1, keepdims=True)
    cosine = centered @ (own - own.mean()) / np.linalg.norm(own - own.mean())
    cosine /= np.linalg.norm(centered, axis=1)
    cosine[row["task"]] = -2
    # The pictures are 8 x 8: brought to 16 x 16 by repetition, which leaves the cosine as it is.
    assert near[0]["task"] == int(np.argmax(cosine))


def test_a_picture_is_not_found_in_another_catalog(whole):
    with pytest.raises(actmax.CatalogError, match="rows of this catalog"):
        whole.images([{"task": 10**6}])


def test_inputs_that_are_no_pictures_are_kept_as_numbers(tmp_path):
    vector = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="d")])
    found = actmax.catalog(
        vector, [actmax.Channel("d")], out=tmp_path, input_range=(-1, 1), steps=2, batch_size=3
    )
    kept = found.images(found.select())
    assert kept.shape == (3, 5)
    assert kept.dtype == np.float32


def test_arrow_and_datasets_open_it(whole):
    datasets = pytest.importorskip("datasets", reason="reads catalogs in this test only")
    table = pyarrow.dataset.dataset(whole.folder / "shards", format="parquet").to_table()
    assert table.num_rows == whole.total
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(whole.folder / "shards" / "*.parquet"),
        split="train",
        cache_dir=str(whole.folder / "cache"),
    )
    assert len(loaded) == whole.total
    picture = loaded[3]["image"]
    row = whole.select()[loaded[3]["task"]]
    np.testing.assert_array_equal(np.asarray(picture)[..., None], whole.images([row])[0])


def test_the_manifest_says_what_the_job_is(whole):
    record = json.loads((whole.folder / "manifest.json").read_text())
    assert record["batch_sizes"] == [4]
    assert record["config"]["versions"]["tensorflow"] == tf.__version__
    assert record["plan"]["seeds"] == [0, 7]


# The batch size


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (lambda size: 1.0, 64),  # time does not grow: as large as there are images
        (float, 4),  # time grows with the batch: the smallest
        (lambda size: max(size, 16) / 16, 16),  # free up to 16
    ],
)
def test_the_batch_size_is_where_the_rate_stops_growing(monkeypatch, seconds, expected):
    clock = [0.0]
    monkeypatch.setattr(batching.time, "perf_counter", lambda: clock[0])

    def run(size, steps):
        clock[0] += seconds(size)

    assert batching.best_batch_size(run, 64)[0] == expected


def test_a_batch_that_does_not_fit_ends_the_search():
    def run(size, steps):
        if size > 8:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    assert batching.best_batch_size(run, 64)[0] in (4, 8)


def test_the_search_leaves_memory_for_others(monkeypatch):
    sizes_ = []
    monkeypatch.setattr(batching, "free_memory", lambda: 1000)
    monkeypatch.setattr(batching, "resident_memory", lambda: 300 * len(sizes_))
    clock = [0.0]
    monkeypatch.setattr(batching.time, "perf_counter", lambda: clock[0])

    def run(size, steps):
        clock[0] += 1
        sizes_.append(size)

    assert batching.best_batch_size(run, 64)[0] == 4


def test_auto_is_measured_once_and_kept(small, tmp_path):
    found = make(small, tmp_path, "two", batch_size="auto", seeds=[0])
    size = found.manifest.batch_sizes[0]
    assert size >= 4
    again = make(small, tmp_path, "two", batch_size="auto", seeds=[0])
    assert again.manifest.batch_sizes == (size,)


# Interrupted, damaged


def test_an_interrupted_chunk_is_no_finished_one(small, tmp_path, monkeypatch):
    """Ctrl-C in a run gives back what there is: it was stored as finished, and the job went on."""
    run = Loop.run

    def interrupted(*arguments, **settings):
        if len(list((tmp_path / "shards").glob("[!.]*"))) == 2:
            raise KeyboardInterrupt
        return run(*arguments, **settings)

    def job():
        return actmax.catalog(
            small, [actmax.Channel("two")], out=tmp_path, batch_size=2, seeds=[0], **SETTINGS
        )

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Loop, "run", interrupted)
        job()
    kept = actmax.Catalog(tmp_path).select()
    assert len(kept) == 4
    half = tmp_path / "shards" / ".0123456789abcdef.tmp"
    half.write_bytes(b"left by a kill")
    done = job().select()
    assert done[:4] == kept
    assert len(done) == 5
    assert "INTERRUPTED" not in {row["status"] for row in done}
    assert not half.exists()


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_damaged_shard_is_named(whole, tmp_path, where):
    """Arrow's errors came through, or another picture."""
    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    file = sorted((folder / "shards").iterdir())[1]
    data = bytearray(file.read_bytes())
    at = int(where * len(data))
    data[at : at + 16] = b"\xff" * 16
    file.write_bytes(data)
    found = actmax.Catalog(folder)
    with pytest.raises(actmax.CatalogError, match=file.name):
        found.images(found.select())


def test_an_argument_that_does_not_fit_is_not_taken_for_damage(whole):
    with pytest.raises(Exception, match=r"(?i)string|type|kernel") as caught:
        whole.select(target="three")
    assert not isinstance(caught.value, actmax.CatalogError)
