"""The estimators on Dask: a cluster of processes gives what one process does, whatever happens."""

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone

from skfm import FFMClassifier, FFMRegressor, FMClassifier, WideDeepClassifier
from skfm._rounds import ShardedSample
from skfm.preprocessing import FieldEncoder

from .common import ESTIMATORS, few_passes, fields_of, small_clicks, targets
from .test_rounds import assert_same, blocks_of, fit

pytest.importorskip("distributed", reason="Dask is not installed")

import dask.array as da
import dask.dataframe as dd
from dask import delayed
from distributed import Client, LocalCluster, Status

import skfm._cluster
import skfm.dask as on_dask

pytestmark = [
    few_passes,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs signals"),
]

PARAMS = dict(max_iter=2, random_state=0, engine="numpy", batch_size=60)
ON_DASK = {
    FMClassifier: on_dask.DaskFMClassifier,
    FFMRegressor: on_dask.DaskFFMRegressor,
    WideDeepClassifier: on_dask.DaskWideDeepClassifier,
}


@pytest.fixture(autouse=True)
def _in_time(request):
    """Fail where a test hangs."""

    def fail(*_):
        raise TimeoutError("The test took too long.")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(200)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def start(n_workers, **how):
    return LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0", **how
    )


@pytest.fixture(scope="module")
def cluster():
    cluster = start(2, memory_limit=0)
    yield cluster
    with suppress(KeyError):  # Dask's, of a worker that was killed
        cluster.close()
    cluster.status = Status.closed


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        cluster.scale(2)
        client.wait_for_workers(2)
        yield client


def parts_of(array, cuts):
    return [delayed(block) for block in blocks_of(array, cuts)]


def matrix_of(X, cuts):
    """A Dask array of sparse blocks."""
    return da.concatenate(
        [
            da.from_delayed(delayed(block), block.shape, meta=X[:0], dtype=X.dtype)
            for block in blocks_of(X, cuts)
        ]
    )


def at_step(monkeypatch, number, act):
    """Call a function before a step of the fit."""
    step, n_steps = ShardedSample._step, []

    def watched(*args):
        n_steps.append(1)
        if len(n_steps) == number:
            act()
        return step(*args)

    monkeypatch.setattr(ShardedSample, "_step", watched)


@pytest.mark.parametrize("cls", ON_DASK)
def test_a_cluster_fits_what_one_process_does(cls, client):
    clicks = small_clicks(160)
    X, y = clicks.X, targets(cls(), clicks)
    params = PARAMS | fields_of(cls, clicks)
    here = fit(cls(**params), X, y, n_shards=3)
    model = ON_DASK[cls](**params, n_shards=3).fit(matrix_of(X, [50]), parts_of(y, [20, 90]))
    assert_same(model, here)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        if not hasattr(here, method):
            continue
        lazy = getattr(model, method)(matrix_of(X, [50]))
        expected = getattr(here, method)(X)
        assert isinstance(lazy, da.Array)
        assert (lazy.shape, lazy.dtype) == (expected.shape, expected.dtype)
        assert lazy.chunks[0] == (50, 110)
        # Matrix products of another number of rows may round otherwise.
        compare = (
            assert_array_equal
            if expected.dtype.kind == "U"
            else partial(assert_allclose, rtol=1e-12)
        )
        compare(lazy.compute(), expected)
        assert_array_equal(getattr(model, method)(X), expected)


def test_the_number_of_workers_does_not_matter(cluster, client):
    clicks = small_clicks(300)
    here = fit(FFMClassifier(**PARAMS), clicks.X, clicks.y, n_shards=4)
    for n_workers, cuts in [(1, []), (3, [10, 20, 250])]:
        cluster.scale(n_workers)
        client.wait_for_workers(n_workers)
        model = on_dask.DaskFFMClassifier(**PARAMS, n_shards=4)
        assert_same(model.fit(parts_of(clicks.X, cuts), parts_of(clicks.y, cuts)), here)


def test_weights_and_validation_rows_come_in_collections(client):
    clicks = small_clicks(300)
    X, y, weight = clicks.X, clicks.y, np.arange(300) % 3 * 1.0
    valid = X[:100], y[:100]
    here = fit(FMClassifier(**PARAMS), X[100:], y[100:], weight[100:], n_shards=2, valid=valid)
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=2, client=client).fit(
        matrix_of(X[100:], [50]),
        da.from_array(y[100:], chunks=70),
        sample_weight=da.from_array(weight[100:], chunks=200),
        X_val=matrix_of(X[:100], [20]),
        y_val=dd.from_pandas(pd.Series(y[:100]), npartitions=2),
    )
    assert_same(model, here)


def test_blocks_may_be_empty_of_one_class_and_of_any_type(client):
    clicks = small_clicks(200)
    order = np.argsort(clicks.y, kind="stable")
    X, y = clicks.X[order].astype(np.float64), clicks.y[order]
    here = fit(FMClassifier(**PARAMS), X, y, n_shards=3)
    wide = csr_array(X[50:90])
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    blocks = [csr_matrix(X[:50].astype(np.int8)), wide, X[90:90], X[90:120].toarray(), X[120:]]
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=3)
    model.fit([*map(delayed, blocks)], [delayed(y[:0]), *parts_of(y, [90])])
    assert_same(model, here)


def test_a_fitted_model_needs_no_dask(client, tmp_path):
    clicks = small_clicks(160)
    model = on_dask.DaskFMClassifier(**PARAMS, client=client, n_shards=2)
    model.fit(parts_of(clicks.X, []), parts_of(clicks.y, []))
    assert clone(model).client is client
    assert pickle.loads(pickle.dumps(model)).client is None
    local = model.to_local()
    assert type(local) is FMClassifier
    (tmp_path / "model").write_bytes(pickle.dumps((local, clicks.X)))
    np.save(tmp_path / "expected.npy", local.predict_proba(clicks.X))
    program = """
import pickle, sys
sys.modules["dask"] = sys.modules["distributed"] = None
import numpy as np
with open("model", "rb") as file:
    local, X = pickle.load(file)
np.testing.assert_array_equal(local.predict_proba(X), np.load("expected.npy"))
local.partial_fit(X, np.zeros(X.shape[0], int))
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def frame_of(n):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"ad": rng.integers(9, size=n), "day": rng.choice(["mon", "tue"], n)})
    return frame, (rng.random(n) < np.where(frame["ad"] > 4, 0.8, 0.1)).astype(int)


def test_data_frames_are_encoded_by_partitions(client):
    frame, y = frame_of(300)
    encoder = FieldEncoder(n_buckets=32)
    X = encoder.fit_transform(frame)
    here = fit(FFMClassifier(fields=2, **PARAMS), X, y, n_shards=2)
    lazy = dd.from_pandas(frame, npartitions=3)
    for how in (encoder, FieldEncoder(n_buckets=32)):
        encoded = on_dask.encode(how, lazy)
        model = on_dask.DaskFFMClassifier(fields=2, **PARAMS, n_shards=2)
        model.fit(encoded, da.from_array(y, chunks=100))
        assert_same(model, here)
    with pytest.raises(ValueError, match="has to be fitted first"):
        on_dask.encode(FieldEncoder(), lazy)


# -- faults: an error within seconds or the right result -------------------------------------


def test_a_killed_worker_costs_a_retry(client, monkeypatch):
    clicks = small_clicks(300)
    here = fit(FMClassifier(**PARAMS), clicks.X, clicks.y, n_shards=4)

    def kill():
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    at_step(monkeypatch, 5, kill)
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=4)
    assert_same(model.fit(matrix_of(clicks.X, [90, 200]), parts_of(clicks.y, [90])), here)


def test_a_worker_that_joins_late_changes_nothing(cluster, client, monkeypatch):
    clicks = small_clicks(300)
    here = fit(FMClassifier(**PARAMS), clicks.X, clicks.y, n_shards=4)

    def join():
        cluster.scale(3)
        client.wait_for_workers(3)

    at_step(monkeypatch, 5, join)
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=4)
    assert_same(model.fit(matrix_of(clicks.X, [90, 200]), parts_of(clicks.y, [90])), here)


def test_a_partition_with_columns_elsewhere_is_named(client):
    frame, y = frame_of(100)
    mixed = [frame[:50], frame.loc[50:, ["day", "ad"]]]
    numbers = [delayed(part[["ad"]].assign(day=1.0)[[*part.columns]]) for part in mixed]
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=2)
    with pytest.raises(ValueError, match=r"block 1\) has its columns in another order"):
        model.fit(numbers, [delayed(y)])
    one = FieldEncoder(n_buckets=8, categorical_features="all")
    encoded = [delayed(one.fit_transform(part)) for part in mixed]
    with pytest.raises(ValueError, match=r"block 1\) has its columns in another order"):
        model.fit(encoded, [delayed(y)])
    assert not hasattr(model, "classes_")


def test_data_in_memory_are_refused_for_a_fit(client):
    clicks = small_clicks(100)
    with pytest.raises(TypeError, match="must be a Dask array"):
        on_dask.DaskFMClassifier(**PARAMS).fit(clicks.X, clicks.y)
    with pytest.raises(ValueError, match="whole rows"):
        on_dask.DaskFMClassifier(**PARAMS).fit(da.ones((10, 10), chunks=5), da.ones(10))
    with pytest.raises(NotImplementedError, match="to_local"):
        on_dask.DaskFMClassifier().partial_fit(clicks.X, clicks.y)


def test_a_client_that_is_closed_is_an_error(cluster, monkeypatch):
    clicks = small_clicks(300)
    with pytest.raises(RuntimeError, match="There is no Dask client"):
        on_dask.DaskFMClassifier(**PARAMS).fit(parts_of(clicks.X, []), parts_of(clicks.y, []))
    client = Client(cluster)
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=2, client=client)
    at_step(monkeypatch, 3, client.close)
    with pytest.raises(RuntimeError, match="client is closed"):
        model.fit(parts_of(clicks.X, []), parts_of(clicks.y, []))
    with pytest.raises(RuntimeError, match="client is closed"):
        model.fit(parts_of(clicks.X, []), parts_of(clicks.y, []))


def test_a_cluster_without_workers_is_an_error(monkeypatch):
    monkeypatch.setattr(skfm._cluster, "_PATIENCE", 2.0)
    clicks = small_clicks(100)
    with start(0) as cluster, Client(cluster) as client:
        model = on_dask.DaskFMClassifier(**PARAMS, client=client)
        with pytest.raises(RuntimeError, match="No worker takes the tasks"):
            model.fit(parts_of(clicks.X, []), parts_of(clicks.y, []))


def test_workers_that_lack_memory_are_an_error(monkeypatch):
    """They are killed time and again."""
    monkeypatch.setattr(skfm._cluster, "_PATIENCE", 4.0)

    def large(n):
        return np.random.default_rng(0).random((n, 100))

    with start(1, memory_limit="230MB") as cluster, Client(cluster) as client:
        model = on_dask.DaskFMClassifier(**PARAMS, client=client, n_shards=2)
        X = [delayed(large)(200_000) for _ in range(4)]
        with pytest.raises(RuntimeError, match="memory"):
            model.fit(X, [delayed(np.arange(800_000) % 2)])


def test_workers_that_pause_are_an_error(client, monkeypatch):
    """As they do where their memory is nearly full."""
    monkeypatch.setattr(skfm._cluster, "_PATIENCE", 2.0)
    clicks = small_clicks(300)

    def set_status(name, dask_worker):
        dask_worker.status = getattr(Status, name)

    at_step(monkeypatch, 3, lambda: client.run(set_status, "paused"))
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=2)
    with pytest.raises(RuntimeError, match="paused, as their memory is full"):
        model.fit(parts_of(clicks.X, []), parts_of(clicks.y, []))
    client.run(set_status, "running")


def test_a_fit_whose_client_process_is_killed_goes_on(client, tmp_path, monkeypatch):
    """Another client takes it up from the checkpoint."""
    clicks = small_clicks(300)
    here = fit(FMClassifier(**PARAMS), clicks.X, clicks.y, n_shards=2)
    path = tmp_path / "checkpoint"
    params = PARAMS | dict(n_shards=2, checkpoint=path)
    program = f"""
import os, pickle, sys
from distributed import Client
from dask import delayed
import skfm._checkpoints
from skfm.dask import DaskFMClassifier
write = skfm._checkpoints.Checkpoint.write
def write_and_die(*args):
    write(*args)
    os.kill(os.getpid(), 9)
skfm._checkpoints.Checkpoint.write = write_and_die
X, y = pickle.load(open({str(tmp_path / "data")!r}, "rb"))
client = Client({client.scheduler.address!r})
DaskFMClassifier(**pickle.loads({pickle.dumps(params)!r})).fit([delayed(X)], [delayed(y)])
"""
    (tmp_path / "data").write_bytes(pickle.dumps((clicks.X, clicks.y)))
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.exists()
    model = on_dask.DaskFMClassifier(**params).fit([delayed(clicks.X)], [delayed(clicks.y)])
    assert_same(model, here)
    assert not path.exists()


def test_every_estimator_has_one_on_dask():
    assert {f"Dask{cls.__name__}" for cls in ESTIMATORS} == {*on_dask.__all__} - {"encode"}


def test_a_subclass_gives_the_local_estimator():
    class Mine(on_dask.DaskFMClassifier):
        pass

    assert type(Mine()._unfitted()) is FMClassifier


def test_a_timeout_of_the_data_is_not_one_of_the_cluster(client):
    def read():
        raise TimeoutError("read timed out")

    with pytest.raises(TimeoutError, match="read timed out"):
        on_dask.DaskFMClassifier(**PARAMS).fit([delayed(read)()], [delayed(np.arange)(3)])


def test_a_fit_within_a_task_leaves_its_thread_and_nothing_on_the_workers(client):
    clicks = small_clicks(100)

    def inner():
        model = on_dask.DaskFMClassifier(**PARAMS, n_shards=2)
        return model.fit([delayed(clicks.X)], [delayed(clicks.y)]).to_local()

    futures = client.map(lambda _: inner(), range(2), pure=False)  # one for each thread there is
    assert_same(*client.gather(futures))
    del futures
    before = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
    model = on_dask.DaskFMClassifier(**PARAMS, n_shards=2)
    model.fit([delayed(clicks.X)], [delayed(clicks.y)])
    for _ in range(100):
        after = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        if after <= before:
            break
        time.sleep(0.05)
    assert after <= before


@pytest.mark.parametrize("single", [delayed(3), delayed(small_clicks(60).X)])
def test_a_single_delayed_part_is_no_collection(client, single):
    with pytest.raises(TypeError, match="must be a Dask array"):
        on_dask.DaskFMClassifier(**PARAMS).fit(single, [delayed(small_clicks(60).y)])


def test_encode_takes_a_field_encoder_and_a_dask_frame():
    with pytest.raises(TypeError, match="got FieldEncoder and DataFrame"):
        on_dask.encode(FieldEncoder(n_buckets=8), pd.DataFrame({"a": [1]}))
