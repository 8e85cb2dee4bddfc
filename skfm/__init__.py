"""Factorization machines and Wide & Deep models for scikit-learn."""

from ._estimators import (
    FFMClassifier,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    WideDeepClassifier,
    WideDeepRegressor,
)
from ._fields import infer_fields

__all__ = [
    "FFMClassifier",
    "FFMRegressor",
    "FMClassifier",
    "FMRegressor",
    "WideDeepClassifier",
    "WideDeepRegressor",
    "infer_fields",
]
__version__ = "0.1.0.dev0"
