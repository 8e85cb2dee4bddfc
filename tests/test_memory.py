"""Memory: what fits take is what they are estimated to take, and nothing stays behind."""

import gc
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone

from skfm import FFMClassifier, FMClassifier, FwFMClassifier, WideDeepClassifier, _model
from skfm.datasets import make_clicks

from .common import every_classifier, every_solver, few_passes

pytestmark = few_passes

N_COLUMNS = 20_000
LARGE = [
    FMClassifier(64),
    FFMClassifier(16, fields=4),
    FwFMClassifier(64, fields=4),
    WideDeepClassifier(64, fields=4, hidden_layer_sizes=(8,), wide_learning_rate=0.1),
]


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


@pytest.mark.filterwarnings("ignore::UserWarning")
@every_solver
@pytest.mark.parametrize("model", LARGE, ids=lambda model: type(model).__name__)
def test_the_estimate_of_memory_is_what_a_fit_takes(model, solver, monkeypatch):
    """Beside it only the order of rows and the entries of a batch take memory."""
    rng, width = np.random.default_rng(0), N_COLUMNS // 4
    columns = np.stack([rng.permutation(width) + width * field for field in range(4)], axis=1)
    X = csr_array(
        (np.ones(columns.size, np.float32), columns.ravel(), np.arange(0, columns.size + 1, 4)),
        shape=(width, N_COLUMNS),
    )
    y, found = rng.integers(2, size=width), []
    real = _model.memory_needed
    monkeypatch.setattr(_model, "memory_needed", lambda *a: found.append(real(*a)) or found[-1])
    model = clone(model).set_params(
        solver=solver, engine="numpy", max_iter=2, tol=None, random_state=0
    )
    peak, _ = traced(lambda: model.fit(X, y))
    assert found[-1][0] == pytest.approx(peak, rel=0.2)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_columns_that_do_not_occur_count_in_the_estimate(monkeypatch):
    n, found = 1 << 22, []
    columns = np.random.default_rng(0).integers(n, size=(500, 2))
    columns.sort(axis=1)
    columns[:, 1] += columns[:, 0] == columns[:, 1]
    X = csr_array((np.ones(1000), columns.ravel(), np.arange(0, 1001, 2)), shape=(500, n + 1))
    real = _model.memory_needed
    monkeypatch.setattr(_model, "memory_needed", lambda *a: found.append(real(*a)) or found[-1])
    model = FMClassifier(8, engine="numpy", max_iter=2, tol=None, random_state=0)
    peak, _ = traced(lambda: model.fit(X, np.arange(500) % 2))
    assert found[-1][0] == pytest.approx(peak, rel=0.2)


@every_classifier
def test_parameters_are_kept_only_for_columns_that_occur(cls):
    """A column that does not occur takes less than a byte of the parameters."""
    clicks, sizes = make_clicks(64, n_fields=4, n_categories=10, random_state=0), []
    n = clicks.X.shape[1]
    params = {"fields": np.arange(n + 40_000) % 4} if "fields" in cls().get_params() else {}
    for more in 0, 40_000:
        X = csr_array((clicks.X.data, clicks.X.indices, clicks.X.indptr), shape=(64, n + more))
        some = {name: fields[: n + more] for name, fields in params.items()}
        model = cls(64, max_iter=1, random_state=0, **some).fit(X, clicks.y)
        sizes.append(len(pickle.dumps(model._fitted.models)))
    assert sizes[1] - sizes[0] < 40_000


@every_classifier
def test_repeated_calls_leave_nothing_behind(cls, engine_name):
    """There are many parameters and few steps, as tracing takes its time for each step."""
    clicks = make_clicks(1024, n_fields=4, n_categories=1000, random_state=0)
    model = cls(16, max_iter=1, batch_size=256, random_state=0, engine=engine_name)

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
