"""The contract that every estimator keeps."""

import inspect
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix, hstack
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from skfm import FFMClassifier, FMClassifier, FMRegressor
from skfm._batch import Batcher
from skfm._engine import load
from skfm._training import Sample, centre

from .common import (
    CLASSIFIERS,
    ESTIMATORS,
    MACHINES,
    REGRESSORS,
    SOLVERS,
    every_classifier,
    every_estimator,
    every_solver,
    few_passes,
    fields_of,
    named,
    pair_scores,
    scores,
    small_clicks,
    targets,
    vectors,
)

pytestmark = few_passes


@parametrize_with_checks(
    # Wide & Deep models have both solvers.
    [cls(max_iter=12, batch_size=16) for cls in ESTIMATORS]
    + [FMClassifier(max_iter=12, batch_size=16, solver="ftrl")],
    expected_failed_checks=lambda estimator: dict.fromkeys(
        (
            "check_sample_weight_equivalence_on_dense_data",
            "check_sample_weight_equivalence_on_sparse_data",
        ),
        "repeated rows fall into other mini-batches, as with SGDClassifier",
    ),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:The fields inferred from X")  # as checks are of any columns
@pytest.mark.filterwarnings("ignore:The first call to partial_fit fixes")  # and of few rows
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def formats(X):
    """The same matrix in every form that users have it in."""
    yield "csr_array", csr_array(X)
    yield "csr_matrix", csr_matrix(X)
    yield "float32", csr_array(X, dtype=np.float32)
    yield "csc", csc_matrix(X)
    yield "coo", coo_array(X)
    yield "dense", X.toarray()
    yield "data frame", pd.DataFrame(X.toarray())

    wide = csr_array(X, copy=True)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    yield "int64 indices", wide

    frozen = csr_array(X, copy=True)
    for array in (frozen.data, frozen.indices, frozen.indptr):
        array.setflags(write=False)
    yield "read-only", frozen

    unsorted = csr_array(X, copy=True)
    for start, end in zip(unsorted.indptr[:-1], unsorted.indptr[1:], strict=True):
        unsorted.indices[start:end] = unsorted.indices[start:end][::-1].copy()
        unsorted.data[start:end] = unsorted.data[start:end][::-1].copy()
    unsorted.has_sorted_indices = False
    yield "unsorted", unsorted

    twice = csr_array(
        (np.repeat(X.data, 2) / 2, np.repeat(X.indices, 2), X.indptr * 2), shape=X.shape
    )
    yield "duplicates", twice


@every_classifier
def test_every_format_gives_the_same_model(cls, engine_name):
    clicks = small_clicks()
    clicks.X.data[:] = np.random.default_rng(0).choice([0.5, 1.0, 2.0], clicks.X.nnz)
    y = targets(cls(), clicks)
    params = dict(engine=engine_name, max_iter=3, random_state=0)
    params.update(fields_of(cls, clicks))
    expected = scores(cls(**params).fit(clicks.X, y), clicks.X)
    for name, X in formats(clicks.X):
        before = [np.copy(a) for a in (X.data, X.indices)] if hasattr(X, "indptr") else []
        model = cls(**params).fit(X, y)
        np.testing.assert_array_equal(scores(model, X), expected, err_msg=name)
        for old, new in zip(before, (X.data, X.indices) if before else (), strict=True):
            np.testing.assert_array_equal(old, new, err_msg=f"{name}: the input was changed")


@every_estimator
def test_a_stored_zero_is_as_if_absent(cls, engine_name):
    clicks = small_clicks()
    y = targets(cls(), clicks)
    params = dict(engine=engine_name, max_iter=3, random_state=0)
    params.update(fields_of(cls, clicks))
    X = csr_array(clicks.X)
    X.data[::7] = 0
    pruned = X.copy()
    pruned.eliminate_zeros()
    models = [cls(**params).fit(Z, y) for Z in (X, pruned)]
    np.testing.assert_array_equal(scores(models[0], clicks.X), scores(models[1], clicks.X))


@every_estimator
def test_fits_are_reproducible_to_the_bit(cls, engine_name):
    clicks = small_clicks(300)  # enough rows for early stopping
    y = targets(cls(), clicks)
    params = dict(engine=engine_name, max_iter=5)
    first, second = (cls(random_state=3, **params).fit(clicks.X, y) for _ in range(2))
    assert first.loss_curve_ == second.loss_curve_
    np.testing.assert_array_equal(scores(first, clicks.X), scores(second, clicks.X))
    other = cls(random_state=4, **params).fit(clicks.X, y)
    assert np.any(scores(other, clicks.X) != scores(first, clicks.X))


@pytest.mark.slow
def test_saved_models_predict_the_same_bits_in_a_new_process(tmp_path):
    clicks = small_clicks()
    models = [
        cls(solver=solver, max_iter=3, random_state=0).fit(clicks.X, targets(cls(), clicks))
        for cls in ESTIMATORS
        for solver in SOLVERS
    ]
    methods = [
        "predict_proba" if hasattr(model, "predict_proba") else "predict" for model in models
    ]
    joblib.dump((models, methods, clicks.X), tmp_path / "models.joblib")
    code = (
        "import joblib; models, methods, X = joblib.load('models.joblib');"
        "found = [getattr(model, method)(X) for model, method in zip(models, methods)];"
        "joblib.dump(found, 'out.joblib')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    loaded = joblib.load(tmp_path / "out.joblib")
    for model, method, found in zip(models, methods, loaded, strict=True):
        np.testing.assert_array_equal(found, getattr(model, method)(clicks.X))


@every_classifier
@every_solver
def test_sample_weight_two_is_class_weight_two(cls, solver):
    clicks = small_clicks()
    params = dict(solver=solver, max_iter=4, random_state=0)
    by_row = cls(**params).fit(clicks.X, clicks.y, np.full(len(clicks.y), 2.0))
    by_class = cls(class_weight={0: 2, 1: 2}, **params).fit(clicks.X, clicks.y)
    np.testing.assert_array_equal(scores(by_row, clicks.X), scores(by_class, clicks.X))
    once = cls(**params).fit(clicks.X, clicks.y)
    assert np.any(scores(by_row, clicks.X) != scores(once, clicks.X))


@every_classifier
@every_solver
def test_sample_weight_two_is_twice_the_gradient(cls, solver, engine_name):
    """One step: the loss gradient of w doubled rows equals that of each row twice."""
    clicks = small_clicks(100)
    fields = fields_of(cls, clicks)
    params = dict(solver=solver, max_iter=1, batch_size=200, random_state=0, shuffle=False)
    params["engine"] = engine_name
    weighted = cls(**params, **fields).fit(clicks.X, clicks.y, np.full(100, 2.0))
    twice = csr_array(np.repeat(clicks.X.toarray(), 2, axis=0))
    repeated = cls(**params, **fields).fit(twice, np.repeat(clicks.y, 2))
    np.testing.assert_allclose(
        scores(weighted, clicks.X), scores(repeated, clicks.X), rtol=1e-4, atol=1e-5
    )


def test_balanced_classes_weigh_the_same():
    clicks = small_clicks(600, base_rate=0.1)
    n = np.bincount(clicks.y)
    weights = {c: 600 / (2 * n[c]) for c in (0, 1)}
    params = dict(max_iter=3, random_state=0)
    balanced = FMClassifier(class_weight="balanced", **params).fit(clicks.X, clicks.y)
    explicit = FMClassifier(class_weight=weights, **params).fit(clicks.X, clicks.y)
    np.testing.assert_array_equal(scores(balanced, clicks.X), scores(explicit, clicks.X))
    assert balanced.predict_proba(clicks.X)[:, 1].mean() > 0.35


@every_estimator
@every_solver
@pytest.mark.parametrize("n_samples", [60, 300])
def test_a_row_of_weight_zero_is_as_if_absent(cls, solver, n_samples):
    clicks = small_clicks(n_samples)
    y = targets(cls(), clicks)
    weight = np.random.default_rng(0).choice([0.0, 1.0, 3.0], n_samples)
    fields = fields_of(cls, clicks)
    params = dict(solver=solver, max_iter=3, random_state=0, **fields)
    keep = weight > 0
    weighted = cls(**params).fit(clicks.X, y, weight)
    removed = cls(**params).fit(clicks.X[keep], y[keep], weight[keep])
    np.testing.assert_array_equal(scores(weighted, clicks.X), scores(removed, clicks.X))


@every_estimator
@every_solver
def test_a_column_never_seen_contributes_nothing(cls, solver, engine_name):
    clicks = small_clicks()
    y = targets(cls(), clicks)
    X = csr_array(clicks.X.toarray() * (np.arange(48) % 12 < 9))  # three unseen per field
    params = dict(solver=solver, engine=engine_name, max_iter=3, random_state=0)
    model = cls(**params, **fields_of(cls, clicks)).fit(X, y)
    unseen = np.arange(48) % 12 >= 9
    with_unseen = X.toarray() + unseen
    np.testing.assert_array_equal(scores(model, csr_array(with_unseen)), scores(model, X))
    only_unseen = scores(model, unseen[None, :].astype(float))
    np.testing.assert_array_equal(only_unseen, scores(model, np.zeros((1, 48))))
    if cls in MACHINES:
        np.testing.assert_allclose(only_unseen, model.intercept_, rtol=1e-6)
    assert not model.coef_[:, unseen].any()
    assert not vectors(model)[:, unseen].any()
    assert vectors(model)[:, ~unseen].any()


@pytest.mark.parametrize("cls", MACHINES)
def test_public_attributes_are_the_model(cls, engine_name):
    """The formula of the docstring, computed from the attributes, is the prediction."""
    clicks = small_clicks()
    model = cls(max_iter=5, engine=engine_name, random_state=0)
    model.fit(clicks.X, targets(cls(), clicks))
    X = clicks.X.toarray()[:20].astype(float)
    expected = model.intercept_ + X @ model.coef_[0] + pair_scores(model, X)
    np.testing.assert_allclose(scores(model, X), expected, rtol=1e-5, atol=1e-5)


@every_solver
def test_without_factors_it_is_logistic_regression(solver):
    clicks = small_clicks(3000)
    params = dict(k=0, l2_linear=0, tol=None, max_iter=60, early_stopping=False, random_state=0)
    model = FMClassifier(solver=solver, **params).fit(clicks.X, clicks.y)
    assert model.factors_.shape == (1, 48, 0)
    best = LogisticRegression(C=1e6, max_iter=1000).fit(clicks.X, clicks.y)
    ours, theirs = (log_loss(clicks.y, m.predict_proba(clicks.X)) for m in (model, best))
    assert theirs - 1e-4 < ours < theirs + 1e-3


@every_solver
def test_without_factors_it_is_linear_regression(solver):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 5))
    y = X @ [1e3, 2e3, 0, -3e3, 500] + 1e4 + rng.normal(size=500)
    params = dict(k=0, l2_linear=0, tol=None, max_iter=100, early_stopping=False, random_state=0)
    model = FMRegressor(solver=solver, **params).fit(X, y)
    best = LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_[0], best.coef_, atol=20)
    np.testing.assert_allclose(model.intercept_, best.intercept_, atol=20)


@pytest.mark.parametrize("cls", MACHINES)
@every_solver
def test_l2_is_paid_per_occurrence(cls, solver):
    """A column in ten times as many rows shrinks more, where the loss says nothing."""
    X = np.zeros((200, 2))
    X[:, 0] = 1
    X[:20, 1] = 1
    y = np.tile(["no", "yes"], 100) if cls in CLASSIFIERS else np.tile([0.0, 1.0], 100)
    fields = {"fields": [0, 0]} if "fields" in cls().get_params() else {}
    params = dict(solver=solver, batch_size=100, max_iter=2, early_stopping=False, **fields)
    params.update(init_scale=1e-3, random_state=0)
    plain, shrunk = (cls(l2_factors=l2, **params).fit(X, y).factors_ for l2 in (0, 0.01))
    often, seldom = np.linalg.norm(shrunk, axis=-1).ravel() / np.linalg.norm(plain, axis=-1).ravel()
    assert 0.5 < often < 0.8
    assert 0.92 < seldom < 1


@every_estimator
def test_early_stopping_keeps_the_best_pass(cls):
    clicks = small_clicks(1500)
    y = targets(cls(), clicks)
    train, valid = slice(0, 1000), slice(1000, None)
    params = named(cls, random_state=0, learning_rate=0.5, l2_factors=0, n_iter_no_change=4)
    model = cls(**params).fit(clicks.X[train], y[train], X_val=clicks.X[valid], y_val=y[valid])
    assert 0 < model.best_iter_ < model.n_iter_
    assert len(model.loss_curve_) == len(model.validation_scores_) == model.n_iter_
    assert np.argmax(model.validation_scores_) + 1 == model.best_iter_
    if cls in CLASSIFIERS:
        loss = log_loss(y[valid], model.predict_proba(clicks.X[valid]))
    else:
        loss = np.mean((y[valid] - model.predict(clicks.X[valid])) ** 2) / 2
    assert -max(model.validation_scores_) == pytest.approx(loss, rel=1e-5)


@every_estimator
@pytest.mark.filterwarnings(
    "ignore:The model (is constant|has learned nothing)"
)  # so soon and on so few rows
def test_validation_rows_are_held_out_from_100_rows_on(cls):
    clicks = small_clicks(100)
    y = targets(cls(), clicks)
    assert len(cls(max_iter=2).fit(clicks.X, y).validation_scores_) == 2
    assert cls(max_iter=2).fit(clicks.X[:99], y[:99]).validation_scores_ == []
    assert cls(max_iter=2, early_stopping=False).fit(clicks.X, y).validation_scores_ == []
    small = cls(max_iter=2, early_stopping=True).fit(clicks.X[:50], y[:50])
    assert len(small.validation_scores_) == 2


def test_without_shuffling_the_last_rows_are_held_out():
    clicks = small_clicks(1000)
    params = dict(max_iter=3, shuffle=False, random_state=0)
    split = FMClassifier(**params).fit(clicks.X, clicks.y)
    explicit = FMClassifier(**params).fit(
        clicks.X[:900], clicks.y[:900], X_val=clicks.X[900:], y_val=clicks.y[900:]
    )
    np.testing.assert_array_equal(split.validation_scores_, explicit.validation_scores_)
    np.testing.assert_array_equal(split.loss_curve_, explicit.loss_curve_)
    assert split.best_iter_ == explicit.best_iter_


@every_classifier
@every_solver
@pytest.mark.parametrize("shuffle", [True, False])
def test_rows_held_out_are_learned_from_in_the_end(cls, solver, shuffle):
    """What occurs in no other row has weights."""
    clicks = small_clicks(1000)
    X = hstack([clicks.X, np.zeros((1000, 1))]).tolil()
    X[900:, -1] = 1
    X, fields = csr_array(X), np.append(clicks.fields, 4)
    params = dict(solver=solver, shuffle=shuffle, random_state=0, **named(cls, learning_rate=0.1))
    if "fields" in cls().get_params():
        params["fields"] = fields
    model = cls(**params).fit(X, clicks.y)
    assert model.coef_[0, -1] != 0
    # One's own validation rows are not learned from.
    other = cls(**params).fit(X[:900], clicks.y[:900], X_val=X[900:], y_val=clicks.y[900:])
    assert other.coef_[0, -1] == 0


def test_probabilities_are_consistent():
    clicks = small_clicks()
    model = FFMClassifier(max_iter=3, random_state=0).fit(
        clicks.X, targets(FFMClassifier(), clicks)
    )
    proba = model.predict_proba(clicks.X)
    assert proba.shape == (300, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(proba[:, 1], expit(model.decision_function(clicks.X)), rtol=1e-14)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(clicks.X)), proba, rtol=1e-14)
    np.testing.assert_array_equal(model.classes_, ["no", "yes"])
    np.testing.assert_array_equal(model.predict(clicks.X) == "yes", proba[:, 1] > 0.5)


@every_classifier
def test_mean_prediction_is_the_base_rate(cls):
    """To 2% and two standard deviations of the number of clicks, as documented."""
    clicks = small_clicks(5000, base_rate=0.05)
    proba = cls(random_state=0).fit(clicks.X, clicks.y).predict_proba(clicks.X)[:, 1]
    limit = 0.02 * clicks.y.sum() + 2 * np.sqrt((proba * (1 - proba)).sum())
    assert abs(proba.sum() - clicks.y.sum()) < limit


@pytest.mark.parametrize("n_rows", [50, 500])
def test_few_rows_raise_the_penalty_on_factors(n_rows):
    clicks = small_clicks(n_rows)
    automatic, usual = (
        FMClassifier(l2_factors=l2, random_state=0).fit(clicks.X, clicks.y)
        for l2 in ("auto", max(0.005, 2 / n_rows))
    )
    np.testing.assert_array_equal(automatic.factors_, usual.factors_)
    automatic, low = (
        FMClassifier(l2_factors=l2, random_state=0).partial_fit(clicks.X, clicks.y, classes=[0, 1])
        for l2 in ("auto", 0.005)
    )
    np.testing.assert_array_equal(automatic.factors_, low.factors_)


@every_estimator
@every_solver
def test_centring_the_bias(cls, solver):
    """Targets and predictions have the same sum, and the solver's state agrees."""
    clicks = small_clicks(500)
    y, weight = targets(cls(), clicks), np.random.default_rng(0).random(500)
    params = dict(max_iter=1, early_stopping=False, solver=solver, random_state=0)
    model = cls(**params, **fields_of(cls, clicks)).fit(clicks.X, y)
    (output,), of_y, engine = model._fitted.models, model._fitted.target, load("numpy")
    target = of_y.of_output(of_y.encode(of_y.check(y), weight)[0], 0)
    batcher = Batcher(clicks.X, model._fitted.columns, None, engine)
    before = output.bias
    halves = [Sample(batcher, rows, target, weight) for rows in np.split(np.arange(500), 2)]
    centre(output, of_y.loss, halves)
    assert output.bias != before
    slopes = of_y.loss.gradient(target, model._raw(clicks.X)[:, 0])
    assert abs(weight @ slopes) < 1e-4
    bias, table = output.bias, output.tables["bias"]
    nothing = np.zeros((1, 1), np.float32)
    table.solver.update(engine, table.arrays, None, table.value.copy(), nothing, np.ones(1), 0)
    np.testing.assert_allclose(output.bias, bias, rtol=1e-6)


@every_estimator
def test_regressors_follow_the_unit_of_y(cls):
    if cls not in REGRESSORS:
        pytest.skip("labels have no unit")
    clicks = small_clicks()
    y = targets(cls(), clicks)
    params = dict(max_iter=5, random_state=0)
    model, scaled = cls(**params).fit(clicks.X, y), cls(**params).fit(clicks.X, 2.0**20 * y)
    np.testing.assert_allclose(scaled.predict(clicks.X), 2.0**20 * model.predict(clicks.X))
    np.testing.assert_allclose(scaled.loss_curve_, 2.0**40 * np.array(model.loss_curve_))
    constant = cls(**params).fit(clicks.X, np.full(300, 7e-9))
    np.testing.assert_array_equal(constant.predict(clicks.X), 7e-9)


@pytest.mark.slow
def test_grid_search_in_a_pipeline_on_strings(tmp_path):
    clicks = small_clicks(400, exponent=1.5)
    frame = pd.DataFrame(clicks.categories).map("c{}".format).add_prefix("v")
    labels = np.where(clicks.y, "click", "none")
    pipe = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), FFMClassifier(max_iter=3, random_state=0)
    )
    grid = {
        "ffmclassifier__k": [0, 3],
        "ffmclassifier__l2_factors": [1e-3, 1e-1],
        "ffmclassifier__solver": SOLVERS,
    }
    search = GridSearchCV(pipe, grid, scoring="neg_log_loss", cv=3, n_jobs=2, error_score="raise")
    search.fit(frame, labels)
    folds = StratifiedKFold(3).split(frame, labels)
    widths = {len(OneHotEncoder().fit(frame.iloc[i]).get_feature_names_out()) for i, _ in folds}
    assert len(widths) > 1, "every fold should have another width"
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(np.unique(search.cv_results_["mean_test_score"])) >= 6
    assert len(np.unique(search.best_estimator_[-1].fields_)) == 4
    joblib.dump(search.best_estimator_, tmp_path / "pipeline.joblib")
    loaded = joblib.load(tmp_path / "pipeline.joblib")
    np.testing.assert_array_equal(loaded.predict_proba(frame), search.predict_proba(frame))


def test_grid_search_with_as_many_rows_as_columns():
    """Nothing of one entry per column may be mistaken for one entry per row."""
    clicks = small_clicks(48)
    assert clicks.X.shape == (48, 48)
    grid = {"k": [3, 8], "l2_factors": [0.1, 0.01], "solver": SOLVERS}
    model = FFMClassifier(fields=clicks.fields, max_iter=2, random_state=0)
    search = GridSearchCV(model, grid, cv=3, error_score="raise")
    search.fit(clicks.X, clicks.y)
    np.testing.assert_array_equal(search.best_estimator_.fields_, clicks.fields)


def test_metadata_is_routed():
    clicks = small_clicks(300)
    frame = pd.DataFrame(clicks.categories).astype(str)
    weight = np.random.default_rng(0).uniform(1, 2, 300)
    with sklearn.config_context(enable_metadata_routing=True):
        model = FMClassifier(max_iter=2, random_state=0).set_fit_request(
            sample_weight=True, X_val=True, y_val=True
        )
        pipe = make_pipeline(
            OneHotEncoder(handle_unknown="ignore"), model, transform_input=["X_val"]
        )
        pipe.fit(
            frame[:200],
            clicks.y[:200],
            sample_weight=weight[:200],
            X_val=frame[200:],
            y_val=clicks.y[200:],
        )
    encoder = OneHotEncoder(handle_unknown="ignore").fit(frame[:200])
    expected = clone(model).fit(
        encoder.transform(frame[:200]),
        clicks.y[:200],
        weight[:200],
        X_val=encoder.transform(frame[200:]),
        y_val=clicks.y[200:],
    )
    assert pipe[-1].validation_scores_ == expected.validation_scores_
    # Without routing the last step gets the table itself.
    pipe = make_pipeline(OneHotEncoder(handle_unknown="ignore"), FMClassifier())
    raw = {"fmclassifier__X_val": frame[200:], "fmclassifier__y_val": clicks.y[200:]}
    with pytest.raises(
        ValueError, match=r"X_val contains strings(.|\n)*transform_input=\['X_val'\]"
    ):
        pipe.fit(frame, clicks.y, **raw)


def test_feature_names_are_checked():
    X = pd.DataFrame(np.eye(6)[np.arange(60) % 6], columns=list("abcdef"))
    y = np.arange(60) % 2
    model = FMClassifier(max_iter=2).fit(X, y)
    np.testing.assert_array_equal(model.feature_names_in_, list("abcdef"))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[list("fedcba")])


@every_estimator
def test_verbose_prints_a_line_per_pass(cls, capsys):
    clicks = small_clicks()
    model = cls(verbose=True, max_iter=3, early_stopping=True)
    model.fit(clicks.X, targets(cls(), clicks))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_
    assert cls.__name__ in lines[0]
    assert "pass 1" in lines[0]
    assert "validation loss" in lines[0]
    cls(max_iter=3).fit(clicks.X, targets(cls(), clicks))
    assert capsys.readouterr().out == ""


@every_estimator
def test_unfitted_estimators_say_so(cls):
    with pytest.raises(NotFittedError):
        cls().predict([[1.0]])
    assert not hasattr(cls(), "coef_")
    assert not hasattr(cls(), "n_iter_")


@every_estimator
def test_it_warns_if_passes_did_not_suffice(cls):
    clicks = small_clicks()
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        cls(max_iter=2, early_stopping=False).fit(clicks.X, targets(cls(), clicks))


@every_estimator
def test_parameters_are_keywords_after_the_first(cls):
    assert cls(3).k == 3
    kinds = [p.kind for p in inspect.signature(cls).parameters.values()]
    assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}


@every_estimator
def test_help_is_complete(cls):
    """Every parameter and attribute is documented, with its default."""
    doc = cls.__doc__
    assert "@" not in doc
    for name, value in cls().get_params().items():
        line = next(line for line in doc.splitlines() if name in line.split(" :")[0].split(", "))
        assert f"default={value!r}" in line.replace("1e-4", "0.0001").replace('"', "'"), line
    weights = "embeddings_" if hasattr(cls, "embeddings_") else "factors_"
    for name in ("coef_", "intercept_", weights, "n_iter_", "best_iter_"):
        assert f"\n{name} : " in doc
