"""Several threads and processes at once: same bits, no shared state, no crowd."""

import os
import signal
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, cpu_count, delayed, parallel_config, register_parallel_backend
from joblib.parallel import ThreadingBackend
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_iris
from threadpoolctl import threadpool_info

import skfm._base
import skfm._training
from skfm import FMClassifier, FMRegressor, WideDeepClassifier
from skfm._threads import for_each, n_threads, one_blas_thread, only_here
from skfm.datasets import make_clicks

from .common import CLASSIFIERS, ESTIMATORS, SOLVERS, few_passes, scores, small_clicks, targets

pytestmark = few_passes


def module_state():
    """The identity of everything in skfm's modules, and the contents of what can change."""
    modules = {name: m for name, m in sys.modules.items() if name.split(".")[0] == "skfm"}
    return {
        (name, key): (id(value), repr(value) if isinstance(value, (dict, list, set)) else None)
        for name, module in modules.items()
        for key, value in vars(module).items()
        if not key.startswith("__")
    }


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_predictions_while_clones_are_fitted_have_the_bits_of_one_thread(cls):
    clicks = small_clicks(400)
    y = targets(cls(), clicks)
    model = cls(solver="adagrad", max_iter=3, tol=None, random_state=0).fit(clicks.X, y)
    expected = {"adagrad": scores(model, clicks.X)}
    other = clone(model).set_params(solver="ftrl").fit(clicks.X, y)
    expected["ftrl"] = scores(other, clicks.X)
    before = module_state()

    def predict(_):
        return scores(model, clicks.X)

    def fit(solver):
        return solver, scores(clone(model).set_params(solver=solver).fit(clicks.X, y), clicks.X)

    with ThreadPoolExecutor(12) as pool:
        fits = [pool.submit(fit, solver) for solver in SOLVERS * 6]
        predictions = list(pool.map(predict, range(80)))
    for found in predictions:
        np.testing.assert_array_equal(found, expected["adagrad"])
    for solver, found in (future.result() for future in fits):
        np.testing.assert_array_equal(found, expected[solver])
    assert module_state() == before


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_blas_stays_on_one_thread_until_the_last_fit_ends():
    before = blas_threads()
    with one_blas_thread:
        with one_blas_thread:
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_during_a_fit_starts_afresh():
    before = blas_threads()
    with one_blas_thread:
        child = os.fork()
        if not child:
            with one_blas_thread:
                alone = blas_threads() == {1}
            os._exit(not alone or blas_threads() != before)
    assert os.waitpid(child, 0)[1] == 0


def threads_of_a_fit(n_jobs):
    """Threads that train the outputs of one fit, and the BLAS threads of each."""
    X, y = load_iris(return_X_y=True)
    seen, blas, one_pass = set(), set(), skfm._training.one_pass

    def watched(*args):
        seen.add(threading.get_ident())
        blas.update(blas_threads())
        return one_pass(*args)

    skfm._training.one_pass = watched
    try:
        FMClassifier(n_jobs=n_jobs, max_iter=20, tol=None, random_state=0).fit(X, y)
    finally:
        skfm._training.one_pass = one_pass
    return len(seen), blas


@pytest.mark.slow
def test_no_more_threads_than_asked_for_and_none_within_a_worker():
    assert threads_of_a_fit(None) == (1, {1})
    threads, blas = threads_of_a_fit(3)
    assert threads > 1  # or what follows would prove nothing
    assert blas == {1}
    for n_jobs in (2, -1):
        in_workers = Parallel(2, backend="loky")(delayed(threads_of_a_fit)(n_jobs) for _ in "ab")
        assert in_workers == [(1, {1})] * 2


def test_the_network_predicts_the_same_bits_with_any_number_of_blas_threads():
    clicks = make_clicks(3000, n_fields=20, n_categories=30, random_state=0)
    model = WideDeepClassifier(hidden_layer_sizes=(128, 64), max_iter=1, random_state=0)
    model.fit(clicks.X, clicks.y)
    many = scores(model, clicks.X)
    with one_blas_thread:
        np.testing.assert_array_equal(scores(model, clicks.X), many)


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("warm_start", [False, True])
def test_predictions_during_a_refit_are_of_the_old_model_or_the_new(cls, warm_start):
    clicks = small_clicks(400)
    few = cls in CLASSIFIERS
    tasks = [np.arange(400) % n if few else targets(cls(), clicks) * n for n in (3, 5)]
    if warm_start:
        tasks[1] = tasks[0][::-1]
    model = cls(random_state=0, max_iter=2, warm_start=warm_start)
    expected = [scores(model.fit(clicks.X, y), clicks.X[:20]) for y in tasks]
    if warm_start:
        model = cls(random_state=0, max_iter=2, warm_start=True).fit(clicks.X, tasks[0])
    stop = threading.Event()

    def predict():
        found = []
        while not stop.is_set():
            found.append(scores(model, clicks.X[:20]))
            time.sleep(1e-4)  # or each kernel would wait for the interpreter
        return found

    with ThreadPoolExecutor(1) as pool:
        predictions = pool.submit(predict)
        try:
            for y in tasks[1:] if warm_start else tasks * 3:
                model.fit(clicks.X, y)
        finally:
            stop.set()
        found = predictions.result()
    for scored in found:
        assert any(np.array_equal(scored, other) for other in expected)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
def test_one_thread_learns_at_a_time(call, monkeypatch):
    """Two would write to the same tables."""
    clicks = small_clicks(400)
    model = FMRegressor(random_state=0).partial_fit(clicks.X[:200], clicks.y[:200])
    expected = clone(model).partial_fit(clicks.X[:200], clicks.y[:200])
    begun, go, steps = threading.Event(), threading.Event(), skfm._base.train_online

    def slow_steps(*args):
        begun.set()
        assert go.wait(60)
        steps(*args)

    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr("skfm._base.train_online", slow_steps)
        learns = pool.submit(model.partial_fit, clicks.X[200:], clicks.y[200:])
        try:
            assert begun.wait(60)
            with pytest.raises(RuntimeError, match="FMRegressor is learning on another"):
                getattr(model, call)(clicks.X[:200], clicks.y[:200])
            with only_here(pool, "busy"), only_here(pool, "busy"):  # the thread itself may
                pass
        finally:
            go.set()
        learns.result()
    expected.partial_fit(clicks.X[200:], clicks.y[200:])
    for _ in "now", "and later":
        np.testing.assert_array_equal(scores(model, clicks.X), scores(expected, clicks.X))
        for each in (model, expected):
            each.partial_fit(clicks.X[:200], clicks.y[:200])


def test_attributes_during_a_refit_are_of_one_model():
    clicks = small_clicks(300)
    model, expected, stop = FMRegressor(random_state=0, max_iter=1), [], threading.Event()
    tasks = [targets(model, clicks) * unit for unit in (1.0, 1e6)]
    for y in tasks:
        model.fit(clicks.X, y)
        expected.append((model.coef_.tobytes(), model.intercept_.tobytes()))

    def read():
        coefs, intercepts = set(), set()
        while not stop.is_set():
            coefs.add(model.coef_.tobytes())
            intercepts.add(model.intercept_.tobytes())
            time.sleep(1e-4)  # or each kernel would wait for the interpreter
        return coefs, intercepts

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for y in tasks * 60:
                model.fit(clicks.X, y)
        finally:
            stop.set()
        coefs, intercepts = reading.result()
    assert coefs <= {coef for coef, _ in expected}
    assert intercepts <= {intercept for _, intercept in expected}


class Cluster(ThreadingBackend):
    """A backend of joblib with more workers than this machine has cores."""

    supports_sharedmem = True

    def effective_n_jobs(self, n_jobs):
        return 1000 if n_jobs in (None, -1) else n_jobs


def test_a_cluster_does_not_say_how_many_threads_start_here():
    register_parallel_backend("many", Cluster)
    with parallel_config(backend="many"):
        assert n_threads(None) <= cpu_count()
        assert n_threads(-1) <= cpu_count()
        assert n_threads(cpu_count()) == cpu_count()
        assert n_threads(1000) == cpu_count()
    assert n_threads(None) == 1


def test_targets_of_many_classes_are_not_made_all_at_once():
    """Those of all 40 classes, float64, take 16 MB."""
    X = csr_array((np.ones(50_000), np.arange(50_000) % 5, np.arange(50_001)))
    y = np.arange(50_000) % 40
    model = FMClassifier(1, max_iter=1, early_stopping=False, engine="numpy", batch_size=4096)
    model.fit(X[:2000], y[:2000])
    tracemalloc.start()
    model.fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals of threads")
def test_ctrl_c_lets_no_further_call_begin():
    begun = []

    def do(item, number):
        begun.append(number)
        if number == 0:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.05)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            for_each(range(8), do, 2)
    finally:
        signal.signal(signal.SIGINT, before)
    time.sleep(0.2)
    assert len(begun) < 8
