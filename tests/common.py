"""What the tests share: the estimators, and data small enough to fit in an instant."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from skfm import (
    FFMClassifier,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    FwFMClassifier,
    FwFMRegressor,
    WideDeepClassifier,
    WideDeepRegressor,
    _solvers,
)
from skfm._batch import Batcher, Columns, Units
from skfm._fields import check_fields
from skfm.datasets import make_clicks

CLASSIFIERS = [FMClassifier, FFMClassifier, FwFMClassifier, WideDeepClassifier]
REGRESSORS = [FMRegressor, FFMRegressor, FwFMRegressor, WideDeepRegressor]
ESTIMATORS = CLASSIFIERS + REGRESSORS
MACHINES = [c for c in ESTIMATORS if c not in (WideDeepClassifier, WideDeepRegressor)]
SOLVERS = [*_solvers.SOLVERS]

every_estimator = pytest.mark.parametrize("cls", ESTIMATORS)
every_classifier = pytest.mark.parametrize("cls", CLASSIFIERS)
every_solver = pytest.mark.parametrize("solver", SOLVERS)

# Most tests make few passes on few rows: that more would do better is beside their point.
few_passes = pytest.mark.filterwarnings(
    "ignore:The loss was still falling:sklearn.exceptions.ConvergenceWarning"
)


def small_clicks(n_samples=300, **kwargs):
    return make_clicks(n_samples, n_fields=4, n_categories=12, random_state=0, **kwargs)


def fields_of(cls, clicks):
    """The fields of `clicks`, where an estimator wants them."""
    return {"fields": clicks.fields} if "fields" in cls().get_params() else {}


def named(cls, **params):
    """Parameters of the factorization machines, under the names of other models."""
    if cls not in (WideDeepClassifier, WideDeepRegressor):
        return params
    names = {
        "learning_rate": ["wide_learning_rate", "deep_learning_rate"],
        "l1_linear": ["wide_l1"],
        "l2_linear": ["wide_l2"],
        "l1_factors": [],
        "l2_factors": ["deep_l2", "layers_l2"],
    }
    return {new: value for old, value in params.items() for new in names.get(old, [old])}


def vectors(model):
    """What a model has for each column beside its linear weight."""
    return model.factors_ if hasattr(model, "factors_") else model.embeddings_


def targets(estimator, clicks):
    """Labels for classifiers; for regressors noisy log-odds, in thousands, far from zero."""
    if hasattr(estimator, "predict_proba"):
        return np.where(clicks.y, "yes", "no")
    noise = np.random.default_rng(0).normal(size=len(clicks.y))
    return 5000 + 1000 * (np.log(clicks.proba / (1 - clicks.proba)) + noise)


def pair_weights(model):
    """What the pair of each two columns counts in the documented formula of a machine."""
    V = vectors(model)[0].astype(float)
    if V.ndim == 2:
        gram = V @ V.T
        if hasattr(model, "field_weights_"):
            gram *= model.field_weights_[0][np.ix_(model.fields_, model.fields_)]
        return gram
    met = V[:, model.fields_]  # met[i, j]: what column i meets column j with
    return np.einsum("ijk,jik->ij", met, met)


def pair_scores(model, X):
    """The interactions of the rows of a dense X, by the formula of a machine."""
    gram = pair_weights(model)
    return 0.5 * (np.einsum("ni,ij,nj->n", X, gram, X) - X**2 @ np.diag(gram))


def scores(estimator, X):
    """The most detailed prediction an estimator has."""
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(X)
    return estimator.predict(X)


def all_columns(n):
    """Columns from 0 to n - 1, and units in which values count as they are."""
    return np.arange(n), Units(np.zeros(n), np.ones(n))


def make_batch(engine, X, fields, crosses=None):
    """A float64 batch over all rows of X, where every column has the slot of its number."""
    X = csr_array(X)
    columns = Columns(X.shape[1], check_fields(fields, X))
    columns = columns.extended(*all_columns(X.shape[1]))
    return Batcher(X, columns, crosses, engine, np.float64)(np.arange(X.shape[0]))
