"""Factorization machines and Wide & Deep models for scikit-learn."""

from ._fields import infer_fields
from ._machines import (
    FFMClassifier,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    FwFMClassifier,
    FwFMRegressor,
)
from ._wide_deep import WideDeepClassifier, WideDeepRegressor

__all__ = [
    "FFMClassifier",
    "FFMRegressor",
    "FMClassifier",
    "FMRegressor",
    "FwFMClassifier",
    "FwFMRegressor",
    "WideDeepClassifier",
    "WideDeepRegressor",
    "infer_fields",
]
__version__ = "0.1.0.dev0"
