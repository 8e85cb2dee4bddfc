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
from ._version import __version__
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
    "__version__",
    "infer_fields",
]
