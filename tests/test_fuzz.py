"""Whatever comes in: a documented exception or finite predictions, never anything else.

``SKFM_FUZZ_EXAMPLES=10000 pytest tests/test_fuzz.py`` looks longer.
"""

import copy
import os
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from .common import CLASSIFIERS, ESTIMATORS, named, scores, vectors

# Such models may well be warned of, but by skfm itself, not by NumPy.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

N_EXAMPLES = int(os.environ.get("SKFM_FUZZ_EXAMPLES", 60))
long_or_short = settings(
    max_examples=N_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)

VALUES = [0.0, 1.0, -1.0, 0.5, 3.0, 1e6, -1e12, 1e30, 1e-30, 5e-324, 3.4e38, 1e39, np.nan, np.inf]
ORDINARY = VALUES[:6]

PARAMETERS = {
    "k": [0, 1, 3, -1, 2.5, "a", None, 10**30],
    "solver": ["adagrad", "ftrl", "sgd", None, 3],
    "learning_rate": [0.1, 1e6, 1e-10, 0, -1, np.nan, "fast"],
    "l1_linear": [0.0, 1e9, -1, np.inf],
    "l2_factors": [0.02, 0.0, 1e9, np.nan, "auto", "much"],
    "l1_factors": [0.0, 1.0],
    "init_scale": [0.03, 0.0, 1e9],
    "batch_size": ["auto", 1, 7, 10**9, 0, 1.5],
    "max_iter": [1, 3, 0, "many"],
    "tol": [1e-4, None, 0, -1],
    "shuffle": [True, False, "no"],
    "early_stopping": ["auto", True, False, None],
    "validation_fraction": [0.1, 0.5, 0.99, 0, 1],
    "n_jobs": [None, 1, 2, 0, -1],
    "engine": ["auto", "numpy", "gpu", None, []],
    "random_state": [0, None, np.random.RandomState(0), "seed"],
    "warm_start": [False, True, 1],
}
FIELDS = [None, 1, 2, 0, "auto", [0], [0, 1, 0], np.arange(4), [-1, 0], [0.5, 1.0], 10**9]
WIDE_DEEP = {
    "crosses": [
        None,
        "all",
        [(0, 1)],
        [(0, 0)],
        [(0, 1, 2)],
        [(0, 9)],
        "some",
        [],
        3,
        [("a", "b")],
    ],
    "n_cross_buckets": [1, 2, 10**3, 0, 2.5, 10**30],
    "hidden_layer_sizes": [(), (3,), (2, 2), 4, (0,), (-1, 2), "a", (10**9, 10**9), [1.5], None],
    "activation": ["tanh", "logistic", "identity", "gelu", None],
    "dropout": [0.5, 0.99, 1.0, -1, np.nan],
    "layers_l2": [0.0, 1e9, -1],
    "solver": [("ftrl", "adagrad"), ("adagrad", "ftrl"), ("ftrl",), ("a", "b"), ["ftrl", "ftrl"]],
}
CLASS_WEIGHTS = [None, "balanced", {0: 1, 1: 5}, {0: -1}, {7: 1}, "heavy", 3]


@st.composite
def matrices(draw, n_columns=None):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows = draw(st.sampled_from([0, 1, 2, 5, 30]))
    n_columns = draw(st.sampled_from([0, 1, 2, 4, 9])) if n_columns is None else n_columns
    values = draw(st.sampled_from([[1.0], [0.0, 1.0], ORDINARY, VALUES]))
    X = rng.choice(values, size=(n_rows, n_columns))
    X[rng.random(X.shape) > draw(st.sampled_from([0.1, 0.5, 1.0]))] = 0
    form = draw(st.sampled_from(["dense", "csr", "malformed", "list", "typed", "object", "1d"]))
    if form == "list":
        return X.tolist()
    if form == "1d":
        return X.ravel()
    if form == "object":
        X = X.astype(object)
        if X.size and draw(st.booleans()):
            X.flat[0] = draw(st.sampled_from(["a", None, {}, (1, 2)]))
        return X
    if form == "typed":
        kinds = [np.int8, np.uint64, bool, np.float16, np.float32, np.longdouble, complex]
        with np.errstate(all="ignore"):
            return X.astype(draw(st.sampled_from(kinds)))
    if form == "dense":
        return X
    X = csr_array(X)
    if draw(st.booleans()):
        X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    if form == "malformed" and X.nnz:
        array = draw(st.sampled_from([X.indices, X.indptr]))
        array[rng.integers(len(array))] = draw(st.sampled_from([-1, 10**6, 0, 1]))
    return X


def row_count(X):
    return X.shape[0] if hasattr(X, "shape") else len(X)


@st.composite
def target_values(draw, n):
    kinds = [
        [0, 1],
        [0, 1, 2],
        ["a", "b"],
        [True, False],
        [1.5, -2.0],
        [1e200, -1e200],
        [np.nan, 1.0],
    ]
    values = draw(st.sampled_from([*kinds, [5], [None, "a"]]))
    y = np.array(values, dtype=object if None in values else None)
    y = y[np.arange(n) % len(y)]
    return y if draw(st.integers(0, 9)) else y[: n // 2]


@st.composite
def row_weights(draw, n):
    value = draw(st.sampled_from([None, None, 1.0, 0.0, -1.0, np.nan, 1e30, 1e308, 1e-300]))
    return value if value is None else np.full(n, value)


def attempt(call):
    """Run a call; only exceptions that the documentation names may come out."""
    try:
        return call()
    except (ValueError, TypeError):
        return None


@cache
def fitted(cls):
    """A model, some rows, and their scores."""
    X = np.random.default_rng(0).integers(2, size=(20, 4)) * 1.0
    model = cls(1, max_iter=1, random_state=0).fit(X, np.arange(20) % 2)
    return model, X, scores(model, X)


@pytest.mark.parametrize("cls", ESTIMATORS)
@long_or_short
@given(data=st.data())
def test_any_input_is_learned_from_or_refused(cls, data):
    model, good, before = copy.deepcopy(fitted(cls))
    names = data.draw(st.lists(st.sampled_from(sorted(PARAMETERS)), max_size=2, unique=True))
    change = {name: data.draw(st.sampled_from(PARAMETERS[name]), label=name) for name in names}
    if "fields" in cls().get_params() and data.draw(st.booleans()):
        change["fields"] = data.draw(st.sampled_from(FIELDS), label="fields")
    if "crosses" in cls().get_params():
        for name, values in WIDE_DEEP.items():
            if not data.draw(st.integers(0, 3)):
                change[name] = data.draw(st.sampled_from(values), label=name)
    if cls in CLASSIFIERS and not data.draw(st.integers(0, 4)):
        change["class_weight"] = data.draw(st.sampled_from(CLASS_WEIGHTS), label="class_weight")
    model.set_params(**named(cls, **change))

    X = data.draw(matrices(), label="X")
    y = data.draw(target_values(row_count(X)), label="y")
    weight = data.draw(row_weights(row_count(X)), label="weight")
    how = data.draw(st.sampled_from(["fit", "validated", "partial_fit"]))
    if how == "partial_fit":
        extra = {"classes": [0, 1]} if cls in CLASSIFIERS else {}
        done = attempt(lambda: model.partial_fit(X, y, sample_weight=weight, **extra))
    elif how == "validated":
        done = attempt(lambda: model.fit(X, y, weight, X_val=X, y_val=y))
    else:
        done = attempt(lambda: model.fit(X, y, weight))
    if done is None:
        model.set_params(n_jobs=None, engine="auto")  # which predictions use, too
        np.testing.assert_array_equal(scores(model, good), before)
        return
    Z = data.draw(matrices(n_columns=model.n_features_in_), label="Z")
    for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
        if hasattr(model, method):
            result = attempt(lambda method=method: getattr(model, method)(Z))
            if result is not None and result.dtype.kind == "f":
                assert not np.isnan(result).any(), method
    for attribute in (model.coef_, model.intercept_, vectors(model)):
        assert np.isfinite(attribute).all()
