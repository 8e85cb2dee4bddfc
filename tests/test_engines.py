"""The compiled engine against the reference, on threads, and where it cannot be had."""

import inspect
import itertools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import ClassifierMixin, clone

import skfm._engine
import skfm._training
from skfm import FFMClassifier, FMClassifier, WideDeepClassifier
from skfm._batch import Batcher
from skfm._engine import load

from .common import (
    CLASSIFIERS,
    ESTIMATORS,
    SOLVERS,
    few_passes,
    fields_of,
    scores,
    small_clicks,
    targets,
)

pytestmark = few_passes

nothing_to_learn = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

needs_numba = pytest.mark.skipif(not find_spec("numba"), reason="numba is not installed")

# The engines may differ by this share of the largest score. Float32 rounds by 6e-8; the
# sums in a step have up to some hundred terms, and there are some dozen steps.
BOUND = 2e-5


@st.composite
def problems(draw, index_dtype):
    """Rows of several fields: one-hot, with several entries, values, gaps, many types."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows, n_fields = draw(st.sampled_from([1, 40, 120])), draw(st.sampled_from([1, 2, 5, 9]))
    fields = np.repeat(np.arange(n_fields), draw(st.integers(1, 6)))
    if draw(st.booleans()):
        rng.shuffle(fields)
    if draw(st.booleans()):
        X = np.zeros((n_rows, len(fields)))
        for field in range(n_fields):
            columns = np.flatnonzero(fields == field)
            X[np.arange(n_rows), rng.choice(columns, size=n_rows)] = 1
    else:
        X = (rng.random((n_rows, len(fields))) < draw(st.sampled_from([0.2, 0.7]))) * 1.0
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int8, bool]))
    if draw(st.booleans()) and dtype is not bool:
        X *= rng.integers(1, 4, size=X.shape)
    X = csr_array(X.astype(dtype))
    X.indices, X.indptr = X.indices.astype(index_dtype), X.indptr.astype(index_dtype)
    y = rng.integers(2, size=n_rows)
    y[: 2 * (n_rows > 1)] = [0, 1][: 2 * (n_rows > 1)]
    settings = {
        "k": draw(st.sampled_from([0, 3, 8])),  # 9 fields have rows of 72 factors, padded ones
        "batch_size": draw(st.sampled_from([7, 64])),
    }
    return X, y, fields, rng.random(n_rows) + 0.5, settings


@needs_numba
def test_the_engines_have_the_same_functions():
    reference, other = load("numpy"), load("numba")
    functions = {
        name: inspect.signature(value)
        for name, value in vars(reference).items()
        if inspect.isfunction(value) and value.__module__ == reference.__name__ and name[0] != "_"
    }
    assert len(functions) > 10
    assert {name: inspect.signature(getattr(other, name)) for name in functions} == functions


@needs_numba
@nothing_to_learn
@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("solver", SOLVERS)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), index_dtype=st.sampled_from([np.int32, np.int64]))
def test_the_engines_train_the_same_model(cls, solver, index_dtype, data):
    X, y, fields, weight, parameters = data.draw(problems(index_dtype))
    if cls in CLASSIFIERS and len(np.unique(y)) < 2:
        return
    if "fields" in cls().get_params():
        parameters["fields"] = fields
    if "crosses" in cls().get_params() and fields.max() > 0:
        parameters["crosses"] = data.draw(st.sampled_from([None, "all"]))
    if "activation" in cls().get_params():  # at the kink of a ReLU, rounding decides
        parameters["activation"] = data.draw(st.sampled_from(["tanh", "logistic"]))
    parameters |= {"solver": solver, "max_iter": 3, "early_stopping": False}
    both = []
    for engine in ("numpy", "numba"):
        model = cls(**parameters, engine=engine, tol=None, random_state=0)
        both.append(model.fit(X, y, sample_weight=weight))
    assert X.indices.dtype == index_dtype
    for reader in both:  # a model is read by either engine
        found = [scores(clone_with(reader, engine), X) for engine in ("numpy", "numba")]
        np.testing.assert_allclose(*found, atol=BOUND * max(1, np.abs(found).max()))
    found = [scores(model, X) for model in both]
    np.testing.assert_allclose(*found, atol=BOUND * max(1, np.abs(found).max()))
    np.testing.assert_allclose(both[0].loss_curve_, both[1].loss_curve_, rtol=BOUND)


def clone_with(model, engine):
    """A fitted model under another engine."""
    other = clone(model)
    other.__dict__ |= {**model.__dict__, "engine": engine}
    return other


@pytest.fixture
def eager_threads(monkeypatch):
    """Share out the smallest piece of work."""
    monkeypatch.setattr("skfm._engine.team._WORTH_A_THREAD", 0)
    monkeypatch.setattr(skfm._training, "_WORTH_A_THREAD", 0)
    monkeypatch.setattr(skfm._training, "_MAX_ROWS", 50)


def several_entries(n_rows=300):
    """Rows with gaps and several entries in a field, with values."""
    rng = np.random.default_rng(1)
    X = rng.integers(1, 4, size=(n_rows, 60)) * (rng.random((n_rows, 60)) < 0.15)
    return csr_array(X * 1.0), np.repeat(np.arange(6), 10), rng.integers(2, size=n_rows)


@needs_numba
@nothing_to_learn
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("cls", CLASSIFIERS)
def test_the_number_of_threads_does_not_change_a_bit(cls, solver, eager_threads):
    clicks = small_clicks(300)
    for X, fields, y in (several_entries(), (clicks.X, clicks.fields, clicks.y)):
        given_fields = {"fields": fields} if "fields" in cls().get_params() else {}
        expected = None
        for n_jobs in (1, 2, 3, 1):
            model = cls(3, solver=solver, engine="numba", n_jobs=n_jobs, max_iter=3, random_state=0)
            model.set_params(**given_fields).fit(X, y)
            found = [scores(model, X), model.coef_, model.loss_curve_]
            expected = found if expected is None else expected
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


@needs_numba
def test_threads_end_with_the_fit(eager_threads):
    clicks, before = small_clicks(), threading.active_count()
    FMClassifier(3, engine="numba", n_jobs=3, max_iter=2).fit(clicks.X, clicks.y)
    assert threading.active_count() == before


@needs_numba
@pytest.mark.parametrize("when", [0, 1, 2, 5, 20])
def test_a_thread_that_dies_is_an_error_and_no_hang(eager_threads, monkeypatch, when):
    clicks, team = small_clicks(), skfm._engine.team._Team
    takes_part, calls = team._takes_part, itertools.count()

    def dies(self, part):
        if next(calls) >= when:
            raise MemoryError
        return takes_part(self, part)

    monkeypatch.setattr(team, "_takes_part", dies)
    model = FMClassifier(3, engine="numba", n_jobs=2, max_iter=2)
    with ThreadPoolExecutor(1) as pool, pytest.raises(MemoryError):
        pool.submit(model.fit, clicks.X, clicks.y).result(timeout=60)


@needs_numba
def test_the_tenth_fit_has_the_bits_of_the_first():
    clicks = small_clicks()
    model = FFMClassifier(3, engine="numba", max_iter=3, random_state=0, fields=clicks.fields)
    first = scores(model.fit(clicks.X, clicks.y), clicks.X)
    for _ in range(9):
        np.testing.assert_array_equal(scores(model.fit(clicks.X, clicks.y), clicks.X), first)


@needs_numba
def test_four_threads_fit_at_once(eager_threads):
    clicks = small_clicks()

    def fit(cls):
        model = cls(3, engine="numba", n_jobs=2, max_iter=3, random_state=0)
        model.set_params(**fields_of(cls, clicks))
        return scores(model.fit(clicks.X, clicks.y), clicks.X)

    classes = [FMClassifier, FFMClassifier, WideDeepClassifier, FFMClassifier] * 3
    expected = {cls: fit(cls) for cls in classes}
    with ThreadPoolExecutor(4) as pool:
        for cls, found in zip(classes, pool.map(fit, classes), strict=True):
            np.testing.assert_array_equal(found, expected[cls])


def parts_of_a_kernel(engine):
    """Each part that some thread does, and of how many."""
    parts = []
    engine.run(lambda share: parts.append(share[2:]), 1)
    return sorted(parts)


@needs_numba
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_after_a_fit_fits_and_predicts(eager_threads):
    clicks = small_clicks()
    model = FFMClassifier(3, engine="numba", n_jobs=2, max_iter=3, random_state=0)
    expected = scores(model.fit(clicks.X, clicks.y), clicks.X)
    child = os.fork()
    if not child:
        try:
            same = np.array_equal(scores(model, clicks.X), expected)
            same &= np.array_equal(scores(model.fit(clicks.X, clicks.y), clicks.X), expected)
            os._exit(0 if same else 1)
        except BaseException:
            os._exit(2)
    deadline = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    if ended == (0, 0):
        os.kill(child, 9)
    assert ended == (child, 0)


@needs_numba
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_forked_within_a_fit_has_one_thread(eager_threads):
    """Also if it is not the thread that imported the engine."""
    engine = load("numba")

    def fork_within_a_fit():
        with engine.threads(2):
            assert parts_of_a_kernel(engine) == [(0, 2), (1, 2)]
            child = os.fork()
            if not child:
                signal.alarm(20)  # rather than wait for a thread that there is not
                alone = parts_of_a_kernel(engine) == [(0, 1)]
        if not child:  # also at the end of the context
            os._exit(not alone)
        return os.waitpid(child, 0) == (child, 0)

    assert fork_within_a_fit()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(fork_within_a_fit).result()


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_sparse_values_of_unusual_types(engine, dtype):
    clicks = small_clicks()
    X = clicks.X.copy()
    X.data = X.data.astype(dtype) / dtype(2)
    name = engine.__name__.split(".")[-1]
    model = FMClassifier(3, engine=name, max_iter=2, random_state=0)
    found = scores(model.fit(X, clicks.y), X)
    X.data = X.data.astype(np.float32)
    np.testing.assert_allclose(found, scores(model.fit(X, clicks.y), X), rtol=1e-6)


@needs_numba
def test_nobody_writes_after_an_interrupt(eager_threads):
    """Ctrl-C in one part of a kernel waits for the others, which write to the tables."""
    engine, done = load("numba"), threading.Event()

    def kernel(share):
        if share[2] == 0:
            raise KeyboardInterrupt
        time.sleep(0.2)
        done.set()

    with engine.threads(2), pytest.raises(KeyboardInterrupt):
        engine.run(kernel, 1)
    assert done.is_set()
    assert parts_of_a_kernel(engine) == [(0, 1)]


@needs_numba
def test_a_wait_for_other_threads_survives_ctrl_c(eager_threads, monkeypatch):
    engine, done, calls, join = load("numba"), threading.Event(), [], threading.Thread.join

    def interrupted(thread, timeout=None):
        calls.append(done.is_set())
        if len(calls) == 1:
            raise KeyboardInterrupt
        join(thread, timeout)

    def kernel(share):
        if share[2] == 0:
            raise ZeroDivisionError
        time.sleep(0.2)
        done.set()

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt), engine.threads(2):
            engine.run(kernel, 1)
    assert calls[:2] == [False, False]
    assert done.is_set()


@needs_numba
def test_an_error_on_another_thread_is_raised(eager_threads):
    engine = load("numba")

    def kernel(share):
        if share[2] == 1:
            raise MemoryError("of part 1")

    with engine.threads(2):
        with pytest.raises(MemoryError, match="of part 1"):
            engine.run(kernel, 1)
        assert parts_of_a_kernel(engine) == [(0, 1)]  # the others have ended


@needs_numba
def test_threads_that_cannot_start_are_done_without(eager_threads, monkeypatch):
    engine = load("numba")

    def start(self):
        raise RuntimeError("can't start new thread")

    with engine.threads(3):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            assert parts_of_a_kernel(engine) == [(0, 3), (1, 3), (2, 3)]
        assert parts_of_a_kernel(engine) == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("cls", [FMClassifier, FFMClassifier, WideDeepClassifier])
def test_predictions_while_columns_join_never_leave_the_tables(engine, cls):
    """They are finite."""
    rng = np.random.default_rng(0)
    X = csr_array((rng.random((400, 3000)) < 0.01) * 1.0)
    y = rng.integers(2, size=400)
    model = cls(3, engine=engine.__name__.split(".")[-1], random_state=0, batch_size=8)
    model.set_params(**({"fields": 3} if "fields" in cls().get_params() else {}))
    model.partial_fit(X[:8], y[:8], classes=[0, 1])
    stop = threading.Event()

    def predict():
        while not stop.is_set():
            assert np.isfinite(scores(model, X)).all()

    with ThreadPoolExecutor(1) as pool:
        predictions = pool.submit(predict)
        try:
            for start in range(8, 400, 8):
                model.partial_fit(X[start : start + 8], y[start : start + 8])
            for _ in range(3):
                model.set_params(max_iter=1, early_stopping=False).fit(X, y)
                model.fit(X[:20], y[:20])
        finally:
            stop.set()
        predictions.result()


@needs_numba
def test_many_outputs_share_scratch_memory():
    X, fields, _ = several_entries()
    model = WideDeepClassifier(3, engine="numba", max_iter=1, fields=fields, random_state=0)
    model.fit(X, np.arange(X.shape[0]) % 9)
    fitted = model._fitted
    batcher = Batcher(X, fitted.columns, None, load("numba"), np.float64, renumbers=False)
    skfm._training.raw_scores(fitted.models, batcher, np.arange(X.shape[0]))
    assert len(batcher.buffers) == 1  # the pooled embeddings


@needs_numba
def test_threads_may_be_nested(eager_threads):
    engine = load("numba")
    with engine.threads(2):
        with engine.threads(3):
            assert parts_of_a_kernel(engine) == [(0, 3), (1, 3), (2, 3)]
        assert parts_of_a_kernel(engine) == [(0, 2), (1, 2)]
        with engine.threads(1):
            assert parts_of_a_kernel(engine) == [(0, 1)]
    assert parts_of_a_kernel(engine) == [(0, 1)]


@needs_numba
def test_a_stamp_begins_again_before_it_overflows():
    engine = load("numba")
    slots, stamp = np.array([3, 1, 3, 0, 1]), np.full(6, 2**31 - 4, np.int32)
    for _ in range(3):
        touched, local = engine.distinct(slots, stamp)
        assert touched.tolist() == [3, 1, 0]
        assert local.tolist() == [0, 1, 0, 2, 1]


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=os.path.dirname(os.path.dirname(skfm.__file__)),
        env={**os.environ, **environment},
    )


@needs_numba
@pytest.mark.slow
def test_it_works_where_nothing_can_be_cached():
    run = run_python("""
        import numba.core.caching

        def refuse(self):
            raise PermissionError("read-only")

        numba.core.caching._CacheLocator.ensure_cache_path = refuse
        import numpy as np
        from skfm._engine import load

        engine = load("numba")
        assert engine._renumber.stats.cache_path is None
        assert engine.distinct(np.array([2, 2]), np.zeros(4, np.int32))[0].tolist() == [2]
    """)
    assert run.returncode == 0, run.stderr


@needs_numba
@pytest.mark.slow
def test_a_numba_that_may_not_compile_is_done_without():
    code = """
        from skfm import FMClassifier
        from skfm._engine import load

        FMClassifier(2).partial_fit([[1.0, 0], [0, 1]] * 9, [0, 1] * 9, classes=[0, 1])
        assert load("auto") is load("numpy")
    """
    run = run_python(code, NUMBA_DISABLE_JIT="1")
    assert run.returncode == 0, run.stderr


@pytest.fixture
def fresh_load(monkeypatch):
    load.cache_clear()
    yield monkeypatch
    load.cache_clear()


def test_without_numba_auto_is_numpy(fresh_load, recwarn):
    fresh_load.setattr(skfm._engine, "find_spec", lambda name: None)
    assert load("auto") is load("numpy")
    assert not recwarn


def same_model(one, other, X):
    np.testing.assert_array_equal(one.coef_, other.coef_)
    np.testing.assert_array_equal(scores(one, X), scores(other, X))


@needs_numba
@nothing_to_learn
@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("several", [False, True])
def test_numba_computes_where_it_pays_and_a_model_keeps_the_choice(cls, several, monkeypatch):
    clicks = small_clicks()
    if several and not issubclass(cls, ClassifierMixin):
        pytest.skip("one output")
    y = np.arange(len(clicks.y)) % 3 if several else targets(cls(), clicks)
    model = cls(k=3, random_state=0, max_iter=3, tol=None, warm_start=True)
    width = {"FM": 4, "FwFM": 4, "FFM": 13, "WideDeep": 4}[cls.__name__.split("C")[0].split("R")[0]]
    size = clicks.X.nnz * width * (3 if several else 1)
    for limit, engine in [(size + 1, "numpy"), (size, "numba")]:
        monkeypatch.setattr("skfm._engine._WORTH_COMPILING", limit)
        by_auto, by_name = (clone(model).set_params(engine=name) for name in ("auto", engine))
        for each in (by_auto, by_name):
            each.fit(clicks.X, y)
        same_model(by_auto, by_name, clicks.X)
        assert by_auto._fitted.compiles == (engine == "numba")
        monkeypatch.setattr("skfm._engine._WORTH_COMPILING", 0 if engine == "numpy" else np.inf)
        by_auto, by_name = (pickle.loads(pickle.dumps(each)) for each in (by_auto, by_name))
        same_model(by_auto, by_name, clicks.X)
        for each in (by_auto, by_name):
            each.fit(clicks.X, y).partial_fit(clicks.X, y)
        same_model(by_auto, by_name, clicks.X)


@needs_numba
def test_a_stream_is_compiled(monkeypatch):
    monkeypatch.setattr("skfm._engine._WORTH_COMPILING", np.inf)
    clicks = small_clicks()
    streams = [FMClassifier(3, random_state=0, engine=engine) for engine in ("auto", "numba")]
    for stream in streams:
        stream.partial_fit(clicks.X, clicks.y, classes=np.unique(clicks.y))
    same_model(*streams, clicks.X)


@needs_numba
@pytest.mark.slow
def test_verbose_tells_once_that_it_compiles(tmp_path):
    script = (
        "from skfm import FMClassifier; from skfm.datasets import make_clicks;"
        "clicks = make_clicks(100, random_state=0);"
        "model = FMClassifier(k=0, max_iter=2, tol=None, engine='numba', verbose=True);"
        "model.fit(clicks.X, clicks.y)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", script]
    first, later = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    told = "[FMClassifier] compiling; this takes seconds and is kept for later"
    assert first.splitlines()[0] == told
    assert [text.count("compiling") for text in (first, later)] == [1, 0]


def test_numba_must_be_there_if_asked_for(fresh_load):
    clicks = small_clicks()
    model = FMClassifier(engine="numba")
    fresh_load.setitem(sys.modules, "skfm._engine.numba", None)
    with pytest.raises(ImportError, match=r"pip install 'skfm\[numba\]'"):
        model.fit(clicks.X, clicks.y)
    assert not hasattr(model, "coef_")


def test_a_numba_that_cannot_be_imported_is_mentioned_and_done_without(fresh_load):
    fresh_load.setattr(skfm._engine, "find_spec", lambda name: True)
    fresh_load.setitem(sys.modules, "skfm._engine.numba", None)
    with pytest.warns(UserWarning, match="cannot be imported"):
        assert load("auto") is load("numpy")


def test_there_is_no_other_engine():
    clicks = small_clicks()
    with pytest.raises(ValueError, match="engine"):
        FMClassifier(engine="cuda").fit(clicks.X, clicks.y)
    model = FMClassifier(max_iter=2).fit(clicks.X, targets(FMClassifier(), clicks))
    with pytest.raises(ValueError, match="engine must be"):
        model.set_params(engine="cuda").predict(clicks.X)
