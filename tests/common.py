"""What the tests share: the estimators, and data small enough to fit in an instant."""

import numpy as np

from skfm import FFMClassifier, FFMRegressor, FMClassifier, FMRegressor
from skfm.datasets import make_clicks

CLASSIFIERS = [FMClassifier, FFMClassifier]
REGRESSORS = [FMRegressor, FFMRegressor]
ESTIMATORS = CLASSIFIERS + REGRESSORS
SOLVERS = ["adagrad", "ftrl"]


def small_clicks(n_samples=300, **kwargs):
    return make_clicks(n_samples, n_fields=4, n_categories=12, random_state=0, **kwargs)


def targets(estimator, clicks):
    """Labels for classifiers; for regressors noisy log-odds, in thousands, far from zero."""
    if hasattr(estimator, "predict_proba"):
        return np.where(clicks.y, "yes", "no")
    noise = np.random.default_rng(0).normal(size=len(clicks.y))
    return 5000 + 1000 * (np.log(clicks.proba / (1 - clicks.proba)) + noise)


def scores(estimator, X):
    """The most detailed prediction an estimator has."""
    if hasattr(estimator, "decision_function"):
        return estimator.decision_function(X)
    return estimator.predict(X)
