"""Bad input gets a clear error; a fit that goes wrong ends finite and says so."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import bsr_array, csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import skfm._model
from skfm import FFMClassifier, FMClassifier, FMRegressor, WideDeepClassifier, infer_fields
from skfm.datasets import dump_ffm_file

from .common import (
    CLASSIFIERS,
    SOLVERS,
    every_classifier,
    every_estimator,
    few_passes,
    named,
    scores,
    small_clicks,
    targets,
    vectors,
)

pytestmark = few_passes


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("sparse", [True, False])
def test_values_that_are_not_finite_name_the_column(fitted, bad, sparse):
    model, X, y = fitted
    X = X.astype(np.float64).toarray()
    X[7, 5] = bad
    X = csr_array(X) if sparse else X
    for call in (lambda: model.fit(X, y), lambda: model.predict(X)):
        with pytest.raises(ValueError, match=r"contains (NaN|infinity).*column 5: "):
            call()


def test_columns_are_named_by_their_names():
    frame = pd.DataFrame({"age": [1.0, 2.0], "income": [1.0, np.nan]})
    with pytest.raises(ValueError, match=r"column 1 \('income'\)"):
        FMClassifier().fit(frame, [0, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_that_are_not_finite(bad):
    with pytest.raises(ValueError, match=r"Input y contains (NaN|infinity)"):
        FMRegressor().fit(np.eye(3), [1.0, bad, 2.0])


def test_another_width_names_both(fitted):
    model, X, _ = fitted
    with pytest.raises(ValueError, match=r"47 features.*expecting 48"):
        model.predict(X[:, :47])


@pytest.mark.parametrize(
    "X", [[["a", "b"], ["c", "d"]], pd.DataFrame({"site": ["a", "b"]}), np.array([["a"], ["b"]])]
)
def test_strings_point_to_an_encoder(fitted, X):
    model, *_ = fitted
    with pytest.raises(ValueError, match="FieldEncoder"):
        model.fit(X, model.predict(np.zeros((2, 48))))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("k", -1),
        ("k", 1.5),
        ("solver", "sgd"),
        ("learning_rate", 0),
        ("learning_rate", np.nan),
        ("l2_factors", -1e-3),
        ("l1_linear", np.inf),
        ("batch_size", 0),
        ("max_iter", 0),
        ("tol", -1),
        ("early_stopping", "yes"),
        ("validation_fraction", 1.0),
        ("n_iter_no_change", 0),
        ("shuffle", "no"),
        ("random_state", "x"),
        ("n_jobs", 0.5),
    ],
)
def test_parameters_out_of_range(fitted, parameter, value):
    model, X, y = fitted
    changed = named(type(model), **{parameter: value})
    message = f"'({'|'.join(changed)})' parameter of {type(model).__name__}"
    with pytest.raises(ValueError, match=message):
        model.set_params(**changed).fit(X, y)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(60), "not all zero"),
        (-np.ones(60), "must be non-negative"),
        (np.ones(59), "shape"),
        (np.full(60, np.nan), "NaN"),
    ],
)
def test_bad_weights(fitted, weight, message):
    model, X, y = fitted
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, weight)


@every_classifier
def test_one_class_only(cls):
    with pytest.raises(ValueError, match="only one class: 'yes'"):
        cls().fit(np.eye(3), ["yes"] * 3)
    with pytest.raises(ValueError, match="only one class: 'yes'"):
        cls().fit(np.eye(3), ["yes", "no", "yes"], [1, 0, 1])


@every_classifier
def test_continuous_labels(cls):
    with pytest.raises(ValueError, match="continuous"):
        cls().fit(np.eye(3), [0.1, 0.2, 0.7])


def test_validation_rows_must_be_complete(fitted):
    model, X, y = fitted
    with pytest.raises(ValueError, match="pass both"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="pass both"):
        model.fit(X, y, y_val=y)
    with pytest.raises(ValueError, match="pass both"):
        model.fit(X, y, sample_weight_val=np.ones(60))
    with pytest.raises(ValueError, match="early_stopping=False"):
        model.set_params(early_stopping=False).fit(X, y, X_val=X, y_val=y)
    model.set_params(early_stopping="auto")
    with pytest.raises(ValueError, match="features"):
        model.fit(X, y, X_val=X[:, :3], y_val=y)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(X, y, X_val=X, y_val=y[:5])


@pytest.mark.parametrize(
    ("known", "other"),
    [
        (["a", "b"], ["a", "c"]),
        (["a", "b"], ["a", "bc"]),  # which NumPy cuts off to "b"
        ([0, 1], ["0", "1"]),
        ([0, 1], ["a", "b"]),
        (["a", "b"], [0, 1]),
        (np.array([0, 44], np.int8), [0, 300]),  # 44, if made an int8
        (np.array(["a", "b"], object), [0, 1]),
        ([0, 1], np.array(["1970", "1971"], "M8[Y]")),
        ([0, 1], [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_labels_that_are_not_among_the_classes(known, other):
    X = np.eye(len(other))
    message = r"contains previously unseen labels: \[.*\]\. The classes are \[.*\]\."
    with pytest.raises(ValueError, match="y_val " + message):
        FMClassifier().fit(X[:2, :2], known, X_val=X[:, :2], y_val=other)
    with pytest.raises(ValueError, match="y " + message):
        FMClassifier().partial_fit(X, other, classes=known)


@pytest.mark.parametrize(
    ("known", "other"),
    [([0, 1], [0.0, 1.0]), ([0, 1], [False, True]), (["a", "b"], np.array(["a", "b"], object))],
)
def test_labels_are_the_same_in_another_type(known, other):
    models = [FMClassifier().partial_fit(np.eye(2), y, classes=known) for y in (known, other)]
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)


def put(name, at, value):
    return lambda X: getattr(X, name).__setitem__(at, value)


def longer(name):
    return lambda X: setattr(X, name, np.append(getattr(X, name), getattr(X, name)[-1]))


def twice(name):
    return lambda X: setattr(X, name, np.stack([getattr(X, name)] * 2, axis=1))


def of_floats(name):
    return lambda X: setattr(X, name, getattr(X, name).astype(float))


@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (put("indices", 3, 10**6), "indices of X must be integers from 0 to"),
        (put("indices", 3, -1), "indices of X must be integers from 0 to"),
        (put("indptr", 3, 10**6), "must begin with 0, not decrease, and end within"),
        (put("indptr", 0, 1), "must begin with 0, not decrease, and end within"),
        (put("indptr", -1, 0), "must begin with 0, not decrease, and end within"),
        (put("indptr", -1, 10**6), "must begin with 0, not decrease, and end within"),
        (longer("indptr"), "must have the same length"),
        (longer("indices"), "must have the same length"),
        (twice("indices"), "wrong number of dimensions"),
        (twice("data"), "wrong number of dimensions"),
        (twice("indptr"), "wrong number of dimensions"),
        (of_floats("indices"), "must be integers"),
        (of_floats("indptr"), "must be integers"),
    ],
)
def test_malformed_sparse_input(form, damage, message):
    clicks = small_clicks(60)
    X, y = clicks.X, clicks.y
    model = FMClassifier(max_iter=1, random_state=0).fit(X, y)
    before = scores(model, X)
    bad = X.asformat(form) if form != "bsr" else bsr_array(X, blocksize=(1, 1))
    bad = bad.copy()
    damage(bad)
    for call in (lambda: model.fit(bad, y), lambda: model.predict(bad)):
        with pytest.raises(ValueError, match=message):
            call()
    np.testing.assert_array_equal(scores(model, X), before)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "dia", "lil"])
def test_a_matrix_without_rows_is_well_formed(form):
    X = np.eye(4)
    model = FMClassifier(max_iter=1, random_state=0, tol=None).partial_fit(X, [0, 1] * 2, [0, 1])
    with pytest.raises(ValueError, match="0 sample"):
        model.predict(csr_array((0, 4)).asformat(form))


@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
def test_what_is_behind_the_end_of_a_matrix_does_not_count(fitted, form):
    model, X, _ = fitted
    same = X.asformat(form) if form != "bsr" else bsr_array(X, blocksize=(1, 2))
    expected = scores(model, X)
    same.indices = np.append(same.indices, 10**6)
    same.data = np.concatenate([same.data, same.data[:1]])
    np.testing.assert_array_equal(scores(model, same), expected)


def test_field_aware_machines_say_how_much_memory_they_miss(monkeypatch):
    clicks = small_clicks(60)
    model = FFMClassifier(random_state=0, max_iter=1, engine="numpy").fit(clicks.X, clicks.y)
    before = model.decision_function(clicks.X)
    monkeypatch.setattr(skfm._memory, "_memory_of_machine", lambda: 2**30)
    with pytest.raises(ValueError, match=r"needs [\d.]+ GiB, but there are 1.0 GiB.*columns"):
        model.set_params(k=10**7).fit(clicks.X, clicks.y)
    np.testing.assert_array_equal(model.decision_function(clicks.X), before)
    monkeypatch.setattr(skfm._memory, "_memory_of_machine", lambda: None)
    model.set_params(k=2).fit(clicks.X, clicks.y)  # no limit known: try


def test_the_memory_of_this_machine_is_known_on_linux():
    memory = skfm._memory._memory_of_machine()
    assert memory is None or 2**28 < memory < 2**50


@every_estimator
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("factor", "params"),
    [
        (1e6, {}),
        (1e15, {}),
        (1e30, {}),
        (1.0, {"learning_rate": 1e3}),
        (1.0, {"learning_rate": 1e6, "max_iter": 30}),
        (1.0, {"l2_factors": 1e9, "l2_linear": 1e9}),
        (1.0, {"init_scale": 1e9}),
    ],
)
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # as it may end badly
def test_no_fit_ends_in_nan(cls, solver, factor, params, early_stopping):
    clicks = small_clicks(100)
    X = clicks.X.astype(np.float64).toarray()
    X[:, 3] *= factor
    params = {"max_iter": 20, "early_stopping": early_stopping, **params}
    model = cls(**named(cls, solver=solver, random_state=0, **params))
    model.fit(X, targets(model, clicks))
    assert np.isfinite(scores(model, X)).all()
    assert np.isfinite(model.predict_proba(X) if cls in CLASSIFIERS else 0).all()
    for attribute in (model.coef_, model.intercept_, vectors(model)):
        assert np.isfinite(attribute).all()
    assert np.isfinite(model.loss_curve_).all()
    assert not np.isnan(model.validation_scores_).any()


@every_estimator
def test_a_diverging_fit_names_the_largest_column(cls):
    clicks = small_clicks(100)
    X = clicks.X.astype(np.float64).toarray()
    X[:, 3] *= 1e30
    X[np.flatnonzero(X[:, 3])[0], 3] *= 1000
    model = cls(early_stopping=False)
    with pytest.warns(ConvergenceWarning, match=r"diverged.*the value 1e\+33 of column 3 is"):
        model.fit(X, targets(cls(), clicks), sample_weight=np.full(100, 1e20))
    assert model.best_iter_ == model.n_iter_ == 0


@every_estimator
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize(
    "params",
    [{"l1_linear": 1e6, "l1_factors": 1e6}, {"solver": "ftrl", "k": 0, "l1_linear": 1e6}],
    ids=SOLVERS,
)
def test_a_constant_model_says_so(cls, early_stopping, params):
    clicks = small_clicks(200)
    if hasattr(cls, "embeddings_"):
        params = {"k": 0, **params}  # layers have no L1 penalty
    model = cls(**named(cls, early_stopping=early_stopping, random_state=0, **params))
    with pytest.warns(ConvergenceWarning, match="constant|learned nothing"):
        model.fit(clicks.X, targets(cls(), clicks))
    if model.best_iter_:
        assert not model.coef_.any()
        assert np.ptp(scores(model, clicks.X)) == 0


def test_pure_noise_is_not_learned_when_watched():
    clicks = small_clicks(1000, noise=1.0)
    with pytest.warns(ConvergenceWarning, match="learned nothing"):
        model = FMClassifier(learning_rate=1.0, random_state=0).fit(clicks.X, clicks.y)
    assert model.best_iter_ == 0


@every_estimator
@pytest.mark.filterwarnings("ignore::UserWarning")  # nothing is to be learned from such rows
def test_shapes_at_the_edge(cls):
    y = np.array([0, 1, 0])
    for X in (np.ones((3, 1)), np.zeros((3, 2)), csr_array((3, 4)), np.eye(3)):
        model = cls(max_iter=2).fit(X, y)
        assert scores(model, X).shape == (3,)
        assert np.isfinite(scores(model, X)).all()
    with pytest.raises(ValueError, match="0 sample"):
        cls().fit(np.empty((0, 3)), [])
    with pytest.raises(ValueError, match="0 feature"):
        cls().fit(np.empty((3, 0)), y)
    with pytest.raises(ValueError, match=r"y is None"):
        cls().fit(np.eye(3), None)


@every_classifier
@pytest.mark.parametrize("bad", [-1, np.nan, np.inf, 0])
def test_bad_class_weights(cls, bad):
    clicks = small_clicks(60)
    for early_stopping in (True, False):
        model = cls(class_weight={0: bad, 1: bad}, early_stopping=early_stopping)
        with pytest.raises(ValueError, match="class_weight"):
            model.fit(clicks.X, clicks.y)


def test_one_weight_is_that_of_each_row(fitted):
    model, X, y = fitted
    expected = clone(model).fit(X, y, sample_weight=np.full(X.shape[0], 2.0))
    other = clone(model).fit(X, y, sample_weight=2)
    np.testing.assert_array_equal(scores(other, X), scores(expected, X))


def test_weights_too_large_to_sum(fitted):
    model, X, y = fitted
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(X, y, np.full(60, 1e308))
    with pytest.warns(ConvergenceWarning, match="sample weights"):
        type(model)().fit(X * 0, y, np.full(60, 1e26))


@pytest.mark.parametrize("X", [pd.Series(list("ab") * 30, dtype="category").to_frame("site")])
def test_categories_point_to_an_encoder(X):
    with pytest.raises(ValueError, match="FieldEncoder"):
        FMClassifier().fit(X, np.arange(60) % 2)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.int8, np.uint64, bool, object])
def test_dense_types(dtype):
    X = np.eye(6)[np.arange(60) % 6]
    expected = FMClassifier(max_iter=2, random_state=0).fit(X, np.arange(60) % 2)
    model = FMClassifier(max_iter=2, random_state=0).fit(X.astype(dtype), np.arange(60) % 2)
    np.testing.assert_array_equal(model.decision_function(X), expected.decision_function(X))


def test_duplicates_of_small_integers_do_not_overflow():
    twice = csr_array((np.full(4, 100, np.int8), [0, 0, 1, 1], [0, 2, 4]), shape=(2, 2))
    model = FMRegressor(max_iter=2, random_state=0).fit(np.eye(2) * 200, [0.0, 1.0])
    np.testing.assert_array_equal(model.predict(twice), model.predict(np.eye(2) * 200))


def _damage(X, draw):
    """Write something into a sparse matrix that is not in it, or take away what must be."""
    arrays = {
        "coo": ["row", "col", "data"],
        "dia": ["offsets", "data"],
        "lil": ["rows", "data"],
    }.get(X.format, ["indices", "indptr", "data"])
    name = draw(st.sampled_from(arrays))
    array = getattr(X, name)
    at = draw(st.integers(0, len(array) - 1))
    how = draw(st.sampled_from(["cut off", "overwritten", "floats"]))
    value = draw(st.sampled_from([-(10**8), -1, 6, 10**8, 0]))
    if how == "cut off":
        array = array[:at]
    elif X.format == "lil":
        array[at] = [value] * draw(st.sampled_from([1, 6, 1000]))
    elif how == "floats":
        array = array + 0.5
    elif name != "data":
        array[at] = value
    if X.format == "coo" and name != "data":  # `row` and `col` cannot be set in all versions
        X.coords = (array, X.col) if name == "row" else (X.row, array)
    else:
        setattr(X, name, array)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia", "lil"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_malformed_matrices_of_any_format_are_refused(form, data):
    """Or mean what SciPy's constructor takes them for; none ends the process."""
    X = csr_array(np.arange(1.0, 25.0).reshape(4, 6))
    X = X.tobsr((2, 2)) if form == "bsr" else X.asformat(form)
    _damage(X, data.draw)
    y = [0, 1, 0, 1]
    model = FMClassifier(max_iter=1).fit(np.eye(6), [0, 1] * 3)
    calls = (
        lambda: FMClassifier(max_iter=1).fit(X, y),
        lambda: FMClassifier().partial_fit(X, y, classes=[0, 1]),
        lambda: model.predict(X),
        lambda: infer_fields(X),
        lambda: dump_ffm_file(X, y, io.BytesIO(), fields=1),
    )
    refused = []
    for call in calls:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
        except (ValueError, TypeError) as error:
            refused.append(str(error))
    assert len(refused) in (0, len(calls))
    if not refused and form != "dia":  # whose diagonals may lie outside
        rows, columns = X.tocoo().coords
        assert 0 <= rows.min() <= rows.max() < 4
        assert 0 <= columns.min() <= columns.max() < 6


def test_too_many_columns_are_refused_before_anything_is_allocated(monkeypatch):
    entries = np.ones(20), np.arange(20, dtype=np.int64) * 2**35, np.arange(21)
    X = csr_array(entries, shape=(20, 2**40))
    for model in (FMClassifier(), FFMClassifier(), WideDeepClassifier(fields=2)):
        for sparse in (X, X.tocoo()):
            with pytest.raises(ValueError, match="1099511627776 columns; hash them"):
                model.fit(sparse, np.arange(20) % 2)
    with pytest.raises(ValueError, match="hash them"):
        infer_fields(X)
    monkeypatch.setattr(skfm._memory, "_memory_of_machine", lambda: 2**30)
    with pytest.raises(ValueError, match=r"X has 2147483647 columns.* 1\.0 GiB of memory"):
        FFMClassifier().fit(csr_array((20, 2**31 - 1)), np.arange(20) % 2)


def test_huge_field_ids_are_refused():
    fields = np.array([0, 1, 2, 3, 4, 2**63 + 1], np.uint64)
    with pytest.raises(ValueError, match="fields must be"):
        FFMClassifier(fields=fields).fit(np.eye(6), [0, 1] * 3)


def test_a_batch_too_large_for_memory_is_refused(monkeypatch):
    monkeypatch.setattr(skfm._memory, "_memory_of_machine", lambda: 2**30)
    X = np.eye(800)[:300]
    with pytest.raises(ValueError, match="batch_size"):
        FFMClassifier(fields=800, batch_size=300, engine="numpy").fit(X, np.arange(300) % 2)


def test_a_warning_made_an_error_keeps_the_fit():
    clicks = small_clicks(60)
    model = FMClassifier(max_iter=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            model.fit(clicks.X, clicks.y)
    assert model.n_iter_ == 2


def test_warnings_point_to_the_caller():
    clicks = small_clicks(60)
    with pytest.warns(ConvergenceWarning) as record:
        FMClassifier(max_iter=1).fit(clicks.X, clicks.y)
    assert record[0].filename == __file__


def test_attributes_are_those_of_the_fit():
    clicks = small_clicks(60)
    for k in (0, 3):
        for cls in (FMClassifier, FFMClassifier):
            model = cls(k, max_iter=1).fit(clicks.X, clicks.y)
            shape = model.factors_.shape
            for other in (0, 2, 8):
                assert model.set_params(k=other).factors_.shape == shape
