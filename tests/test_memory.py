"""Memory: what fits take is what they are estimated to take, and nothing stays behind."""

import gc
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone

from skfm import FFMClassifier, FMClassifier, FwFMClassifier, WideDeepClassifier, _memory
from skfm.datasets import make_clicks

from .common import every_classifier, every_solver, few_passes

pytestmark = few_passes

N_COLUMNS = 20_000
SMALL, LARGE = 8, 64
HIDDEN = {SMALL: (8,), LARGE: (256, 128)}
MODELS = {
    "FM": lambda k: FMClassifier(k),
    "FFM": lambda k: FFMClassifier(k // 4, fields=4),
    "FwFM": lambda k: FwFMClassifier(k, fields=4),
    "Wide & Deep": lambda k: WideDeepClassifier(k, fields=4, hidden_layer_sizes=HIDDEN[k]),
    "DeepFM": lambda k: MODELS["Wide & Deep"](k).set_params(interactions=True),
}


def traced(call):
    """The most bytes that Python and NumPy held more during a call, and those held after it."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        gc.collect()
        return tracemalloc.get_traced_memory()[::-1]
    finally:
        tracemalloc.stop()


def estimate_and_peak(model, X, y, monkeypatch):
    found, real = [], _memory.memory_needed
    monkeypatch.setattr(_memory, "memory_needed", lambda *a: found.append(real(*a)) or found[-1])
    peak, _ = traced(lambda: model.fit(X, y))
    return found[-1][0], peak


def every_column_once(n_fields=4):
    """Rows with an entry in each field, that have each column once; and random labels."""
    rng, width = np.random.default_rng(0), N_COLUMNS // n_fields
    columns = [rng.permutation(width) + width * field for field in range(n_fields)]
    columns = np.stack(columns, axis=1)
    indptr = np.arange(0, columns.size + 1, n_fields)
    data = np.ones(columns.size, np.float32)
    X = csr_array((data, columns.ravel(), indptr), shape=(width, N_COLUMNS))
    return X, rng.integers(2, size=width)


@pytest.mark.filterwarnings("ignore::UserWarning")
@every_solver
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("name", MODELS)
def test_the_estimate_of_memory_is_what_a_fit_takes(name, size, solver, engine_name, monkeypatch):
    if engine_name == "numba" and size == LARGE:
        pytest.skip("kernels for so many factors take long to compile")
    X, y = every_column_once()
    model = MODELS[name](size).set_params(
        solver=solver, engine=engine_name, max_iter=1, batch_size=500, random_state=0
    )
    clone(model).fit(X[:100], y[:100])  # what is compiled and imported is there
    estimate, peak = estimate_and_peak(model, X, y, monkeypatch)
    assert estimate == pytest.approx(peak, rel=0.2)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "model",
    [
        FMClassifier(16, batch_size=5_000),
        FFMClassifier(4, fields=4, batch_size=5_000),
        FwFMClassifier(16, fields=4, batch_size=5_000),
        WideDeepClassifier(4, fields=4, batch_size=5_000, hidden_layer_sizes=(128, 64)),
        WideDeepClassifier(4, fields=4, dropout=0.5, batch_size=5_000),
        WideDeepClassifier(4, fields=4, hidden_layer_sizes=(1000, 1000)),
        WideDeepClassifier(4, fields=4, crosses="all", n_cross_buckets=1 << 20),
        FMClassifier(16, n_jobs=2),
    ],
    ids=lambda model: str(model).replace("\n", ""),
)
def test_batches_layers_and_classes_count_in_the_estimate(model, monkeypatch):
    X, y = every_column_once()
    if model.n_jobs:  # three outputs, two of them at a time
        monkeypatch.setattr("skfm._start.n_threads", lambda _: 2)
        monkeypatch.setattr("skfm._base.n_threads", lambda _: 2)
        y = np.arange(len(y)) % 3
    model = clone(model).set_params(engine="numpy", max_iter=1, random_state=0)
    estimate, peak = estimate_and_peak(model, X, y, monkeypatch)
    assert estimate == pytest.approx(peak, rel=0.2)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("value", [1, 2])  # which gets a unit
def test_columns_that_do_not_occur_count_in_the_estimate(value, monkeypatch):
    n = 1 << 22
    columns = np.random.default_rng(0).integers(n, size=(500, 2))
    columns.sort(axis=1)
    columns[:, 1] += columns[:, 0] == columns[:, 1]
    data = np.full(1000, value, float)
    X = csr_array((data, columns.ravel(), np.arange(0, 1001, 2)), shape=(500, n + 1))
    model = FMClassifier(8, engine="numpy", max_iter=1, random_state=0)
    estimate, peak = estimate_and_peak(model, X, np.arange(500) % 2, monkeypatch)
    assert estimate == pytest.approx(peak, rel=0.2)


@every_classifier
def test_parameters_are_kept_only_for_columns_that_occur(cls):
    """A column that does not occur takes less than a byte of the parameters."""
    clicks, sizes = make_clicks(64, n_fields=4, n_categories=10, random_state=0), []
    n = clicks.X.shape[1]
    params = {"fields": np.arange(n + 40_000) % 4} if "fields" in cls().get_params() else {}
    for more in 0, 40_000:
        X = csr_array((clicks.X.data, clicks.X.indices, clicks.X.indptr), shape=(64, n + more))
        some = {name: fields[: n + more] for name, fields in params.items()}
        model = cls(8, max_iter=1, random_state=0, **some).fit(X, clicks.y)
        sizes.append(len(pickle.dumps(model._fitted.models)))
    assert sizes[1] - sizes[0] < 40_000


@every_classifier
def test_repeated_calls_leave_nothing_behind(cls, engine_name):
    """There are many parameters and few steps, as tracing takes its time for each step."""
    clicks = make_clicks(1024, n_fields=4, n_categories=1000, random_state=0)
    model = cls(8, max_iter=1, batch_size=256, random_state=0, engine=engine_name)

    def fit(n):
        for _ in range(n):
            model.fit(clicks.X, clicks.y)

    def predict(n):
        for _ in range(n):
            model.predict_proba(clicks.X[:1])

    fit(1)
    predict(1)
    held, size = traced(lambda: fit(4))[1], len(pickle.dumps(model))
    # The last model takes other memory than the one before; caches of Python fill up slowly.
    assert held < size + 80_000 < 2 * size
    assert traced(lambda: predict(60))[1] < 40_000
