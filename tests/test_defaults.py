"""What defaults follow from the entries per row."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone

from skfm import FFMClassifier, FMClassifier, FwFMClassifier, WideDeepClassifier
from skfm.datasets import make_clicks

from .common import few_passes, fields_of, named, vectors

pytestmark = few_passes


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("n_fields", "share", "aware"),
    [(1, 1, 1), (2, 1, 1), (8, 0.5, 1), (10, 0.4, 1), (16, 0.25, 0.625), (60, 0.2, 0.5)],
)
def test_the_rate_of_factors_falls_with_the_entries_per_row(how, n_fields, share, aware):
    """In a stream those of the first batch, and it stays."""
    clicks = make_clicks(600, n_fields=n_fields, n_categories=5, random_state=0)
    for cls in (FMClassifier, FFMClassifier):
        params = dict(learning_rate=0.3, max_iter=1, early_stopping=False, random_state=0)
        model = cls(3, **params, **fields_of(cls, clicks))
        if how == "fit":
            model.fit(clicks.X, clicks.y)
        else:
            model.partial_fit(clicks.X, clicks.y, classes=[0, 1])
            sparse = csr_array(clicks.X.toarray() * (np.arange(clicks.X.shape[1]) < 5))
            model.partial_fit(sparse, clicks.y)
        rates = model._fitted.models[0].tables["interactions"].solver.learning_rate[0]
        expected = share if cls is FMClassifier else aware
        np.testing.assert_allclose(rates, [0.3, *[0.3 * expected] * (len(rates) - 1)])


@pytest.mark.filterwarnings("ignore:The model is constant")
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "model",
    [
        FMClassifier(3),
        FwFMClassifier(3, fields=2),
        WideDeepClassifier(3, fields=2, interactions=True),
    ],
    ids=["FM", "FwFM", "DeepFM"],
)
@pytest.mark.parametrize(("n_entries", "share"), [(20, 1), (100, 1), (400, 0.25)])
def test_initial_factors_fall_with_the_entries_per_row(n_entries, share, model, how):
    X, y = np.ones((40, n_entries)), np.arange(40) % 2
    model = clone(model).set_params(**named(type(model), learning_rate=1e-9), random_state=0)
    if how == "fit":
        model.set_params(max_iter=1, early_stopping=False, tol=None).fit(X, y)
    else:
        model.partial_fit(X, y, classes=[0, 1])
    assert vectors(model).std() == pytest.approx(0.03 * share, rel=0.2 if n_entries > 20 else 0.4)
