"""Input of odd types and sizes is taken for what it is, or refused by its name."""

import datetime
import inspect
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skfm import FMClassifier, FMRegressor, infer_fields
from skfm.datasets import make_clicks

from .common import (
    every_estimator,
    few_passes,
    named,
    scores,
    targets,
)

pytestmark = few_passes


_NUMPY_INTEGERS = [np.int8, np.uint8, np.int16, np.int32, np.uint64, np.int64]
_COUNTS = ["k", "batch_size", "max_iter", "n_iter_no_change", "n_jobs", "random_state", "verbose"]
_COUNTS += ["fields", "hidden_layer_sizes", "n_cross_buckets", "tol", "l2_factors", "init_scale"]


@every_estimator
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_integers_of_numpy_are_integers(cls, data):
    defaults = cls().get_params()
    name = data.draw(
        st.sampled_from([n for n in named(cls, **dict.fromkeys(_COUNTS)) if n in defaults])
    )
    value = data.draw(st.sampled_from([1, 2, 3, 100, 127]))
    value = {"fields": 3, "n_jobs": min(value, 3), "verbose": 0}.get(name, value)
    kind = data.draw(st.sampled_from(_NUMPY_INTEGERS))
    clicks = make_clicks(150, n_fields=3, n_categories=100, random_state=0)
    results = []
    for number in (value, kind(value)):
        small = {"k": 2, "max_iter": 2, "random_state": 0, "engine": "numpy"}
        model = cls(**small | {name: number})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            y = targets(model, clicks)
            model.fit(clicks.X, y).partial_fit(clicks.X, y)
        assert model.get_params()[name] is number
        results.append(scores(model, clicks.X))
    np.testing.assert_array_equal(*results)


_DAYS = np.array(["2020-01-01", "2021-01-01", "NaT"] * 2, "M8[D]")
_SPANS = _DAYS - _DAYS[0]
_DATES = [datetime.date(2020, 1, 1)] * 6
_TIMES = {
    "datetime64": _DAYS,
    "timedelta64": _SPANS,
    "objects": _DAYS.astype("M8[D]").astype(object),
    "scalars": np.array([np.timedelta64(3, "D")] * 6, object),
    "list": _DATES,
    "pandas": pd.Series(_DAYS),
    "zone": pd.Series(pd.to_datetime(_DAYS)).dt.tz_localize("UTC"),
    "spans": pd.Series(pd.to_timedelta(_SPANS)),
    "categories": pd.Series(pd.Categorical(_DAYS)),
    "polars": pl.Series(_DAYS),
    "polars spans": pl.Series([datetime.timedelta(3)] * 6),
    "polars times": pl.Series([datetime.time(3)] * 6),
}


@pytest.mark.parametrize("times", _TIMES.values(), ids=_TIMES)
def test_times_are_no_numbers(times):
    y = np.arange(6.0)
    if isinstance(times, (list, np.ndarray)):
        tables, name = [np.array([times, times]).T], "column 0"
    else:
        frame = pd.DataFrame if isinstance(times, pd.Series) else pl.DataFrame
        tables, name = (
            [frame({"a": y, "when": times}), frame({"a": [*"abcdef"], "when": times})],
            "column 1",
        )
    model = FMRegressor(max_iter=1, random_state=0)
    for X in tables:
        fitted = FMRegressor(max_iter=1, random_state=0).fit(np.eye(6)[:, :2], y)
        for call in (
            lambda m, X: m.fit(X, y),
            lambda m, X: m.partial_fit(X, y),
            lambda m, X: m.predict(X),
        ):
            with pytest.raises(ValueError, match=rf"X holds dates.*{name}.*Convert.*FieldEncoder"):
                call(fitted, X)
        with pytest.raises(ValueError, match=f"X_val holds dates.*{name}"):
            model.fit(np.eye(6)[:, :2], y, X_val=X, y_val=y)
        with pytest.raises(ValueError, match="X holds dates"):
            infer_fields(X)
    X = np.eye(6)
    with pytest.raises(ValueError, match=r"^y holds dates.*Convert"):
        model.fit(X, times)
    with pytest.raises(ValueError, match=r"^y holds dates.*Convert"):
        model.partial_fit(X, times)
    with pytest.raises(ValueError, match=r"^sample_weight holds dates.*Convert"):
        model.fit(X, y, times)
    with pytest.raises(ValueError, match=r"^y_val holds dates"):
        model.fit(X, y, X_val=X, y_val=times)


def test_times_may_be_labels():
    y = _DAYS[[0, 1, 0, 1]]
    model = FMClassifier(max_iter=1).fit(np.eye(4), y, X_val=np.eye(4), y_val=y)
    assert model.predict(np.eye(4)).dtype == y.dtype


def test_what_lies_under_a_mask_is_not_learned_from(fitted):
    model, X, y = fitted
    X, weight = X.toarray(), np.ones(60)
    masks = [np.ma.masked_array(values, np.zeros(values.shape, bool)) for values in (X, y, weight)]
    model.set_params(max_iter=1)
    expected = scores(type(model)(max_iter=1, random_state=0).fit(X, y, weight), X)
    np.testing.assert_array_equal(
        scores(type(model)(max_iter=1, random_state=0).fit(*masks), masks[0]), expected
    )
    for which, name in enumerate(["X", "y", "sample_weight"]):
        values = [X, y, weight]
        values[which] = np.ma.masked_array(values[which], np.zeros(values[which].shape, bool))
        values[which].mask[3] = True
        with pytest.raises(ValueError, match=f"^{name} is a masked array"):
            model.fit(*values)
        with pytest.raises(ValueError, match=f"^{name} is a masked array"):
            model.partial_fit(*values[:2], sample_weight=values[2])
        with pytest.raises(ValueError, match=f"^{name}_val is a masked array"):
            model.fit(
                X, y, **dict(zip(["X_val", "y_val", "sample_weight_val"], values, strict=True))
            )
    masked = np.ma.masked_array(X, X > 0)
    with pytest.raises(ValueError, match="X is a masked array"):
        model.predict(masked)


@every_estimator
def test_attributes_before_a_fit(cls):
    attributes = [
        name
        for name, _ in inspect.getmembers(cls, lambda a: isinstance(a, property))
        if name.endswith("_") and not name.startswith("_")
    ]
    assert len(attributes) > 6
    for name in attributes:
        assert not hasattr(cls(), name)
        text = f"^'{cls.__name__}' object has no attribute '{name}': it is not fitted yet"
        with pytest.raises(AttributeError, match=text):
            getattr(cls(), name)
    for model in (cls(), cls(max_iter=1).fit(np.eye(4), [0, 1] * 2)):
        with pytest.raises(AttributeError, match=r"object has no attribute 'weights_'$"):
            model.weights_  # noqa: B018


def test_an_error_within_an_attribute_is_seen(monkeypatch):
    model = FMClassifier(max_iter=1).fit(np.eye(4), [0, 1] * 2)
    del model._fitted.target.classes
    with pytest.raises(AttributeError, match="'Labels' object has no attribute 'classes'"):
        model.classes_  # noqa: B018


@pytest.mark.filterwarnings("ignore::UserWarning")  # nothing is to be learned from such rows
@every_estimator
@given(
    n=st.integers(2, 40),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    shuffle=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_shares_to_hold_out(cls, n, fraction, shuffle):
    model = cls(3, max_iter=1, early_stopping=True, validation_fraction=fraction, shuffle=shuffle)
    X, y = np.ones((n, 1)), np.arange(n) % 2
    try:
        model.fit(X, y)
    except ValueError as error:
        assert f"validation_fraction={fraction} of {n} rows leaves no row" in str(error)  # noqa: PT017
        assert fraction * n > n - 1


@pytest.mark.filterwarnings("ignore::UserWarning")  # nothing is to be learned from such rows
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=6),
    how=st.sampled_from(["fit", "stream", "validated"]),
)
@example(values=[6e307, -6e307], how="fit")
@settings(max_examples=150, deadline=None)
def test_targets_of_any_size_are_learned_or_refused(values, how):
    X, y = np.eye(4)[np.arange(24) % 4], np.resize(values, 24)
    model = FMRegressor(3, max_iter=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            if how == "fit":
                model.fit(X, y)
            elif how == "stream":
                model.partial_fit(X, np.arange(24.0)).partial_fit(X, y)
            else:
                model.fit(X, np.arange(24.0), X_val=X, y_val=y)
        except ValueError as error:
            assert "Keep targets within ±1e+100" in str(error)  # noqa: PT017
            assert np.abs(y).max() > 1e100
            return
        assert np.abs(y).max() <= 1e100
        assert np.isfinite(model.predict(X)).all()
        assert np.isfinite(model.loss_curve_).all()
        assert not np.isnan(model.validation_scores_).any()


@pytest.mark.filterwarnings("ignore::UserWarning")  # nothing is to be learned from such rows
@every_estimator
@pytest.mark.parametrize("value", [1e300, 3e38, 1e-300, np.longdouble("1e400"), -1e38])
def test_no_warning_of_numpy_comes_out(cls, value):
    X = np.eye(4)[np.arange(24) % 4].astype(type(value))
    far = X.copy()
    far[0, 0] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for first, then in ((X, far), (far, X), (far, far)):
            model = cls(3, max_iter=2, random_state=0)
            try:
                model.fit(first, np.arange(24) % 2).partial_fit(then, np.arange(24) % 2)
                assert np.isfinite(scores(model, then)).all()
            except ValueError as error:
                assert "too large for float32" in str(error)  # noqa: PT017


@every_estimator
def test_small_weights_are_named(cls):
    clicks = make_clicks(300, random_state=0)
    y = targets(cls(), clicks)
    for weight, n_said in ((0.05, 0), (1 / 300, 1)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cls(random_state=0, max_iter=2).fit(clicks.X, y, np.full(300, weight))
        said = [str(w.message) for w in caught if "on average" in str(w.message)]
        assert len(said) == n_said


def test_a_class_weight_that_leaves_one_class_is_refused():
    for fit in ("fit", "partial_fit"):
        model = FMClassifier(class_weight={0: 0})
        how = {} if fit == "fit" else {"classes": [0, 1]}
        with pytest.raises(ValueError, match="must leave at least 2 classes"):
            getattr(model, fit)(np.eye(4), [0, 1, 0, 1], **how)


@pytest.mark.parametrize("kind", [">f8", ">f4", ">i4"])
def test_bytes_in_another_order(kind):
    X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 2
    model = FMClassifier(random_state=0, max_iter=2, early_stopping=False)
    expected = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X.astype(kind), y).predict_proba(X), expected)
    np.testing.assert_array_equal(model.predict_proba(X.astype(kind)), expected)


def test_numpy_computes_where_loops_would_be_compiled_for_minutes():
    X, y = np.eye(4)[np.arange(40) % 4], np.arange(40) % 2
    params = {"max_iter": 2, "random_state": 0, "early_stopping": False}
    models = [FMClassifier(3000, engine=name, **params).fit(X, y) for name in ("auto", "numpy")]
    np.testing.assert_array_equal(*(model.predict_proba(X) for model in models))
