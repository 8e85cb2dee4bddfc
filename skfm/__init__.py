"""Factorization machines for scikit-learn."""

from ._estimators import FFMClassifier, FFMRegressor, FMClassifier, FMRegressor
from ._fields import infer_fields

__all__ = ["FFMClassifier", "FFMRegressor", "FMClassifier", "FMRegressor", "infer_fields"]
__version__ = "0.1.0.dev0"
