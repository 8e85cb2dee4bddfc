"""Numbers of any unit are learned from alike, and attributes are in the units of the matrix."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, hstack
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.preprocessing import StandardScaler

from skfm import FFMClassifier, FMClassifier, FMRegressor, WideDeepClassifier, WideDeepRegressor
from skfm._units import Part
from skfm._units import units_of as units_of_parts
from skfm.preprocessing import FieldEncoder

from .common import ESTIMATORS, REGRESSORS, every_estimator, few_passes, pair_scores, scores

pytestmark = few_passes

powers = st.integers(-6, 6)


def units_of(X, batches, weight, columns, may_shift):
    """The units of columns from one part that has all rows."""
    part = Part(X, batches, weight)
    return units_of_parts(lambda do, *args: [do(part, *args)], columns, may_shift)


def mixed(n=400, seed=0):
    """One-hot columns beside numbers: dense, far from zero, heavy-tailed, mostly absent."""
    rng = np.random.default_rng(seed)
    one_hot = np.eye(6)[rng.integers(6, size=n)]
    numbers = np.column_stack(
        [
            rng.normal(size=n),
            rng.normal(2000, 10, size=n),
            rng.lognormal(size=n),
            rng.normal(3, 1, size=n) * (rng.random(n) < 0.3),
            rng.normal(3, 1, size=n) * (rng.random(n) < 0.9),
        ]
    )
    signal = one_hot[:, 0] - one_hot[:, 1] + numbers[:, 0] * (numbers[:, 1] - 2000) / 10
    y = (rng.random(n) < 1 / (1 + np.exp(-signal))).astype(int)
    return np.hstack([one_hot, numbers]), y, signal


def fitted(cls, X, y, how, engine="numpy", **params):
    params = {"random_state": 0, "engine": engine, "max_iter": 5} | params
    if "fields" in cls().get_params():
        params["fields"] = np.repeat([0, 1, 2, 3, 4, 5], [6, 1, 1, 1, 1, 1])
    model = cls(**params)
    if how == "fit":
        return model.fit(X, y)
    extra = {} if cls in REGRESSORS else {"classes": [0, 1]}
    for start in range(0, len(y), 128):
        model.set_params(batch_size=64).partial_fit(
            X[start : start + 128], y[start : start + 128], **extra
        )
        extra = {}
    return model


@every_estimator
@pytest.mark.parametrize("engine", ["numpy", "auto"])
@settings(max_examples=4, deadline=None)
@given(data=st.data(), how=st.sampled_from(["fit", "partial_fit"]))
def test_any_power_of_ten_gives_the_same_model(cls, engine, how, data):
    X, y, signal = mixed()
    y = signal if cls in REGRESSORS else y
    factor = 10.0 ** np.array(data.draw(st.lists(powers, min_size=11, max_size=11)))
    plain, scaled = (fitted(cls, Z, y, how, engine) for Z in (X, X * factor))
    np.testing.assert_allclose(scores(scaled, X * factor), scores(plain, X), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        scaled.coef_ * factor, plain.coef_, rtol=0.02, atol=1e-3 * np.abs(plain.coef_).max()
    )


@every_estimator
def test_numbers_as_they_come_do_as_well_as_standardized_ones(cls):
    X, y = load_diabetes(return_X_y=True, scaled=False)
    if cls not in REGRESSORS:
        y = (y > 140).astype(int)
    loss = mean_squared_error if cls in REGRESSORS else log_loss
    predict = "predict" if cls in REGRESSORS else "predict_proba"
    losses = []
    standardized = StandardScaler().fit(X[:300]).transform(X)
    for Z in (X, standardized, X * 10.0 ** np.arange(-5, 5)):
        model = cls(random_state=0).fit(Z[:300], y[:300])
        losses.append(loss(y[300:], getattr(model, predict)(Z[300:])))
    raw, standardized, other_units = losses
    assert raw == pytest.approx(standardized, rel=0.01)
    assert other_units == pytest.approx(standardized, rel=0.01)
    average = np.full(142, y[:300].mean())
    assert raw < 0.95 * loss(y[300:], average)


@pytest.mark.parametrize("cls", ESTIMATORS)
@pytest.mark.parametrize("engine", ["numpy", "auto"])
@pytest.mark.parametrize("deep", [{}, {"hidden_layer_sizes": ()}, {"interactions": True}])
def test_attributes_are_in_the_units_of_the_matrix(cls, engine, deep):
    """The documented formula, with the matrix as it came, gives the predictions."""
    X, y, signal = mixed()
    y = 50 + 7 * signal if cls in REGRESSORS else y
    if deep and not hasattr(cls, "embeddings_"):
        pytest.skip("has no layers")
    model = fitted(cls, X, y, "fit", engine, **deep)
    fields = getattr(model, "fields_", np.zeros(11, int))
    raw = X @ model.coef_[0] + model.intercept_[0]
    if hasattr(model, "embeddings_"):
        E = np.stack([(X * (fields == f)) @ model.embeddings_[0] for f in range(6)], axis=1)
        hidden = E.reshape(len(X), -1)
        for W, b in zip(model.coefs_[:-1], model.intercepts_, strict=True):
            hidden = np.maximum(hidden @ W + b, 0)
        raw += (hidden @ model.coefs_[-1])[:, 0]
    if not hasattr(model, "embeddings_") or deep.get("interactions"):
        raw += pair_scores(model, X)
    np.testing.assert_allclose(scores(model, X), raw, rtol=1e-3, atol=1e-3 * np.std(raw))


def test_units_by_hand():
    X = np.zeros((20, 6))
    X[:, 0] = 1
    X[:4, 1] = 5  # always the same
    X[:3, 2] = [3, -4, 5]  # in few rows
    X[:, 3] = 100 + np.arange(20)  # far from zero
    X[:, 4] = np.arange(20) - 9.5  # about zero
    X[2:, 5] = 100 + np.arange(18)  # far from zero in most rows
    shift, scale = units_of(csr_array(X), [np.arange(20)], np.ones(20), np.arange(6), True)
    np.testing.assert_allclose(shift, [0, 0, 0, X[:, 3].mean(), 0, X[:, 5].mean()])
    expected = [1, 5, np.sqrt(50 / 3), X[:, 3].std(), X[:, 4].std(), X[:, 5].std()]
    np.testing.assert_allclose(scale, expected)
    shift, scale = units_of(csr_array(X), [np.arange(20)], np.ones(20), np.arange(6), False)
    assert not shift.any()
    np.testing.assert_allclose(scale[3], np.sqrt((X[:, 3] ** 2).mean()))
    # A weight counts as so many rows; one of zero as none.
    rows, weight = np.arange(20), np.random.default_rng(0).integers(1, 4, size=20)
    weighted = units_of(csr_array(X), [rows], weight * 1.0, np.arange(6), True)
    repeated = csr_array(np.repeat(X, weight, axis=0))
    n = repeated.shape[0]
    again = units_of(repeated, [np.arange(n)], np.ones(n), np.arange(6), True)
    np.testing.assert_allclose(weighted, again)


def test_extreme_numbers_have_units():
    X = np.array([[1e-300, 3e38, 1e300], [2e-300, -3e38, 1.5], [1e-310, 1e38, 0]] * 8)[:, :2]
    shift, scale = units_of(csr_array(X), [np.arange(24)], np.ones(24), np.arange(2), True)
    assert (scale > 0).all()
    assert np.isfinite([shift, scale]).all()
    assert np.abs(X / scale).max() < 10
    model = FMRegressor(random_state=0).fit(X, np.arange(24) % 3)
    assert np.isfinite(model.predict(X)).all()


@every_estimator
@pytest.mark.parametrize("engine", ["numpy", "auto"])
def test_columns_of_zeros_and_ones_keep_their_bits(cls, engine):
    """Beside other numbers, too, and for any other two numbers instead."""
    X, y, signal = mixed()
    y = signal if cls in REGRESSORS else y
    one_hot = csr_array(X[:, :6])
    params = {"random_state": 0, "engine": engine, "max_iter": 3}
    if "fields" in cls().get_params():
        params["fields"] = 1
    plain = cls(**params).fit(one_hot, y)
    np.testing.assert_array_equal(plain._fitted.columns.units.scale, 1)
    np.testing.assert_array_equal(plain._fitted.columns.units.shift, 0)
    beside = cls(**params).fit(X, y)._fitted.columns
    binary = beside.seen < 6
    assert not beside.units.shift[binary].any()
    np.testing.assert_array_equal(beside.units.scale[binary], 1)
    assert (beside.units.scale[~binary] != 1).all()
    doubled = cls(**params).fit(5 * one_hot, y)
    np.testing.assert_array_equal(scores(doubled, 5 * one_hot), scores(plain, one_hot))


def test_a_zero_is_the_number_zero_where_columns_are_shifted():
    rng = np.random.default_rng(0)
    X = rng.normal(2, 1, size=(300, 3))
    model = FMRegressor(random_state=0, max_iter=20).fit(X, X @ [1, 2, 3])
    zero = np.zeros((1, 3))
    almost = np.full((1, 3), 1e-9)
    np.testing.assert_allclose(model.predict(zero), model.predict(almost), atol=1e-4)
    np.testing.assert_allclose(model.predict(zero), model.intercept_, rtol=1e-4, atol=1e-4)
    stored = csr_array((np.zeros(2), [0, 2], [0, 2]), shape=(1, 3))
    np.testing.assert_array_equal(model.predict(stored), model.predict(csr_array((1, 3))))


@pytest.mark.parametrize("cls", [FMClassifier, FFMClassifier, WideDeepClassifier])
def test_several_values_in_a_cell_in_any_order(cls):
    rng = np.random.default_rng(0)
    cells = [list(rng.choice(list("abcdefgh"), rng.integers(1, 5))) for _ in range(300)]
    moved = [list(rng.permutation(cell)) for cell in cells]
    y = [int("a" in cell or "b" in cell) for cell in cells]

    def table(cells):
        return np.array([[cell, "x"] for cell in map(tuple, cells)], dtype=object)

    encoder = FieldEncoder(n_buckets=50, pooling="mean")
    X, Z = encoder.transform(table(cells)), encoder.transform(table(moved))
    params = {"random_state": 0, "max_iter": 25}
    if cls is not FMClassifier:
        params["fields"] = 2
    for engine in ("numpy", "auto"):
        model = cls(engine=engine, **params).fit(X, y)
        again = cls(engine=engine, **params).fit(Z, y)
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(Z))
        assert log_loss(y, model.predict_proba(X)) < 0.3


def test_slices_of_a_stream_settle_the_same_units():
    X, y, _ = mixed()
    X[:70, 8] = 0  # joins later
    whole = FMClassifier(random_state=0, batch_size=32).partial_fit(X, y, classes=[0, 1])
    parts = FMClassifier(random_state=0, batch_size=32)
    for start in range(0, 400, 64):
        parts.partial_fit(X[start : start + 64], y[start : start + 64], classes=[0, 1])
    np.testing.assert_array_equal(parts.predict_proba(X), whole.predict_proba(X))
    assert sorted(np.flatnonzero(whole._fitted.columns.units.shift)) == [7, 10]


@every_estimator
def test_ending_worse_than_the_average_says_so(cls):
    """Steps are too large, and nothing is held out that could stop them."""
    X, y, signal = mixed(60)
    y = signal if cls in REGRESSORS else y
    X[7, 8] = 1e9
    fields = {"fields": 1} if "fields" in cls().get_params() else {}
    rates = [name for name in cls().get_params() if name.endswith("learning_rate")]
    model = cls(random_state=0, max_iter=2, **dict.fromkeys(rates, 30.0), **fields)
    with pytest.warns(ConvergenceWarning, match="(worse|diverged).*the value 1e.* of column 8 is"):
        model.fit(X, y)


def test_a_lognormal_column_in_cents_beside_one_hot_columns():
    rng = np.random.default_rng(0)
    X = hstack([csr_array(np.eye(20)[rng.integers(20, size=2000)]) for _ in range(5)])
    amount = rng.lognormal(size=2000)
    signal = X @ rng.normal(size=100) + np.log(amount)
    y = (signal > 0).astype(int)
    for model in (FMClassifier(random_state=0), FFMClassifier(random_state=0)):
        losses = []
        for unit in (1, 1e5):
            Z = csr_array(hstack([X, csr_array(amount[:, None] * unit)]))
            model.fit(Z[:1500], y[:1500])
            losses.append(log_loss(y[1500:], model.predict_proba(Z[1500:])))
        assert losses[1] == pytest.approx(losses[0], rel=0.01)
        assert losses[1] < 0.6


def said_by(function, *args, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    return [str(w.message) for w in caught if w.category is UserWarning]


@every_estimator
def test_a_stream_that_begins_with_too_little_says_so(cls):
    X, y, _ = mixed(200)
    params = {"random_state": 0}
    if "fields" in cls().get_params():
        params["fields"] = X.shape[1]
    labels = {} if cls in REGRESSORS else {"classes": [0, 1]}
    (said,) = said_by(cls(**params).partial_fit, X[:5], y[:5], **labels)
    assert "only 5 rows" in said
    assert "16 typical rows" in said
    said = said_by(cls(**params).partial_fit, X[:5, :6].repeat(2, 1)[:, :11], y[:5], **labels)
    assert len(said) == (cls in REGRESSORS)  # for the scale of y
    model = cls(**params)
    assert said_by(model.partial_fit, X[:100], y[:100], **labels) == []
    X[150, 8] = 1e5
    (said,) = said_by(model.partial_fit, X[100:], y[100:])
    assert "column 8 occurred fixed its unit" in said


@pytest.mark.parametrize(("n", "shifted"), [(15, False), (16, True)])
def test_a_mean_is_told_from_16_rows_on(n, shifted):
    X = csr_array(np.linspace(5, 6, n)[:, None])
    shift, _ = units_of(X, [np.arange(n)], np.ones(n), np.arange(1), may_shift=True)
    assert (shift[0] != 0) == shifted


@pytest.mark.parametrize(("mean", "shifted"), [(0.49, False), (0.51, True)])
def test_a_column_is_shifted_if_its_mean_is_half_of_its_deviation(mean, shifted):
    values = np.random.default_rng(0).normal(size=1000)
    values = (values - values.mean()) / values.std() + mean
    shift, scale = units_of(
        csr_array(values[:, None]), [np.arange(1000)], np.ones(1000), np.arange(1), may_shift=True
    )
    assert (shift[0] != 0) == shifted
    assert scale[0] == pytest.approx(1 if shifted else np.sqrt(1 + mean**2))


@pytest.mark.parametrize(("roundings", "shifted"), [(2, False), (8, True)])
def test_what_differs_by_rounding_only_is_constant(roundings, shifted):
    values = 1 + np.finfo(float).eps * roundings * np.tile([-1.0, 1.0], 50)
    shift, _ = units_of(
        csr_array(values[:, None]), [np.arange(100)], np.ones(100), np.arange(1), may_shift=True
    )
    assert (shift[0] != 0) == shifted


@pytest.mark.parametrize("first", [1.0, 2.0])
def test_numbers_out_of_the_unit_of_a_column_that_was_constant(first):
    rng = np.random.default_rng(0)
    values = rng.normal(size=400) * 1e5
    model = FMClassifier(random_state=0)
    begin = np.full((100, 1), first)
    assert said_by(model.partial_fit, begin, np.arange(100) % 2, classes=[0, 1]) == []
    (said,) = said_by(model.partial_fit, values[:, None], values > 0)
    assert "column 0 occurred fixed its unit" in said


@pytest.mark.parametrize("cls", REGRESSORS)
def test_targets_out_of_the_scale_of_the_first_rows_are_named(cls):
    X = np.eye(4)[np.arange(200) % 4]
    y = X @ np.arange(4.0)
    labels = {"fields": 1} if "fields" in cls().get_params() else {}

    def said(first, then, n=100):
        model = cls(random_state=0, **labels)
        return said_by(model.partial_fit, X[:n], first[:n]), said_by(model.partial_fit, X, then)

    assert said(y, y) == ([], [])
    assert said(y, np.full(200, 1.7)) == ([], [])
    assert said(np.full(200, 7.0), y) == ([], [])
    assert said(np.full(200, 7.0), np.full(200, 7.0)) == ([], [])
    for first, then in ((y, 1e5 * y), (y, 1e-5 * y), (0 * y, 1e-6 * y), (0 * y, 1e6 + y)):
        before, (after,) = said(first, then)
        assert before == []
        assert "scale of y" in after
    (before,), after = said(y, y, n=5)
    assert "scale of y" in before
    assert after == []


@pytest.mark.parametrize("unit", [1e-310, 1e-320])
def test_columns_too_small_for_float32_count_as_nothing(unit):
    X = np.random.default_rng(0).normal(size=(200, 1)) * unit
    model = FMRegressor(random_state=0, max_iter=2, tol=None)
    with np.errstate(over="raise", invalid="raise", divide="raise"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.hstack([X, np.eye(2)[np.arange(200) % 2]]), np.arange(200) % 2)
    for attribute in (model.coef_, model.factors_, model.intercept_):
        assert np.isfinite(attribute).all()


def test_rows_without_entries_do_not_settle_units():
    years = np.random.default_rng(0).normal(2000, 10, size=64)[:, None]
    years[:32] = 0
    y = np.arange(64) % 2
    once = FMClassifier(random_state=0, batch_size=32).partial_fit(years, y, classes=[0, 1])
    twice = FMClassifier(random_state=0, batch_size=32)
    for half in (slice(32), slice(32, 64)):
        twice.partial_fit(years[half], y[half], classes=[0, 1])
    np.testing.assert_array_equal(once.predict_proba(years), twice.predict_proba(years))


def test_attributes_after_constant_targets():
    model = WideDeepRegressor(interactions=True, random_state=0, max_iter=1, early_stopping=False)
    with pytest.warns(ConvergenceWarning, match="constant"):
        model.fit(np.eye(4)[np.arange(40) % 4], np.full(40, 3.0))
    for attribute in (*model.coefs_, model.embeddings_, model.coef_):
        assert np.isfinite(attribute).all()


def test_numbers_far_from_zero_may_be_float32():
    """Steps between float32 numbers are 1/16 here."""
    Z = np.random.default_rng(0).normal(size=(400, 3))
    X, y = (Z + np.array([1e6, 0, 0])).astype(np.float32), Z[:, 0] + Z[:, 1]
    assert FMRegressor(random_state=0).fit(X, y).score(X, y) > 0.95
