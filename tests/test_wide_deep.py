"""Wide & Deep: its attributes, its crosses, and what it can learn."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import FMClassifier, WideDeepClassifier, WideDeepRegressor
from skfm._solvers import FTRL, AdaGrad
from skfm.datasets import make_clicks
from skfm.preprocessing import FieldEncoder

from .common import SOLVERS, few_passes, scores, small_clicks
from .test_terms import crosses_by_definition, network

pytestmark = few_passes


@pytest.mark.parametrize("solver", SOLVERS)
def test_wide_only_is_the_machine_without_factors(solver):
    clicks = small_clicks(400)
    wide = WideDeepClassifier(
        0, solver=solver, wide_l1=0.01, wide_l2=0.02, wide_learning_rate=0.2, random_state=0
    ).fit(clicks.X, clicks.y)
    plain = FMClassifier(
        0, solver=solver, l1_linear=0.01, l2_linear=0.02, learning_rate=0.2, random_state=0
    ).fit(clicks.X, clicks.y)
    np.testing.assert_allclose(wide.coef_, plain.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(wide.intercept_, plain.intercept_, rtol=1e-5)
    assert wide.embeddings_.shape == (1, clicks.X.shape[1], 0)
    assert wide.coefs_ == wide.intercepts_ == []


def test_without_hidden_layers_the_deep_part_is_linear():
    clicks = small_clicks(400)
    model = WideDeepClassifier(3, hidden_layer_sizes=(), random_state=0).fit(clicks.X, clicks.y)
    (weights,) = model.coefs_
    by_field = weights.reshape(-1, 3)[model.fields_]
    slope = model.coef_[0] + (model.embeddings_[0] * by_field).sum(axis=1)
    expected = clicks.X @ slope + model.intercept_
    np.testing.assert_allclose(model.decision_function(clicks.X), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("interactions", "n_fields", "times", "scale"),
    [
        (False, 2, 2, 0.1),
        (False, 20, 2, 0.1),
        (True, 2, 2, 0.03),
        (True, 5, 1.6, 0.03),
        (True, 40, 0.4, 0.03),
    ],
)
def test_the_rate_and_the_start_of_embeddings(interactions, n_fields, times, scale):
    clicks = make_clicks(300, n_fields=n_fields, n_categories=5, random_state=0)
    params = dict(deep_learning_rate=0.1, interactions=interactions, random_state=0, max_iter=1)
    model = WideDeepClassifier(**params, early_stopping=False).fit(clicks.X, clicks.y)
    tables = model._fitted.models[0].tables
    assert tables["embeddings"].solver.learning_rate == pytest.approx(times * 0.1)
    assert tables["weights1"].solver.learning_rate == pytest.approx(0.1)
    first = dict(deep_learning_rate=1e-10, interactions=interactions, random_state=0, max_iter=1)
    start = WideDeepClassifier(**first, early_stopping=False).fit(clicks.X, clicks.y)
    assert start.embeddings_.std() == pytest.approx(scale, rel=0.1)


def test_attributes_give_the_predictions():
    clicks = small_clicks(300)
    y = 50 + 10 * clicks.y + np.random.default_rng(0).normal(size=300)
    model = WideDeepRegressor(3, hidden_layer_sizes=(5, 4), crosses=[(0, 2)], random_state=0)
    model.fit(clicks.X, y)
    assert [c.shape for c in model.coefs_] == [(12, 5), (5, 4), (4, 1)]
    assert [b.shape for b in model.intercepts_] == [(5,), (4,)]
    layers = [model.coefs_[0], model.intercepts_[0][None], model.coefs_[1]]
    layers += [model.intercepts_[1][None], model.coefs_[2]]
    expected = []
    for x in clicks.X[:20].toarray():
        found = crosses_by_definition(x, model.fields_, [(0, 2)], 2**18)
        score = model.intercept_[0] + model.coef_[0] @ x
        score += sum(model.cross_coef_[0, bucket] * value for bucket, value in found.items())
        score += network(x, model.fields_, model.embeddings_[0], layers, "relu")
        expected.append(score)
    np.testing.assert_allclose(model.predict(clicks.X[:20]), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"crosses": [(0, 4)]}, "names field 4, but there are 4 fields"),
        ({"crosses": [(-1, 0)]}, "names field -1"),
        ({"crosses": [(1, 1)]}, "cannot be crossed with itself"),
        ({"crosses": [(1,)]}, "two or more fields"),
        ({"crosses": [0, 1]}, "two or more fields"),
        ({"crosses": [(0, 1.5)]}, "two or more fields"),
        ({"crosses": [("site", "ad")]}, "no field 'site': X does not name its fields"),
        ({"crosses": [(0, 1), (1, 0)]}, "each combination of fields once"),
        ({"crosses": "pairs"}, "'crosses' parameter"),
        ({"crosses": 3}, "'crosses' parameter"),
        ({"crosses": [np.array(1)]}, "two or more fields"),
        ({"crosses": np.array(3)}, "crosses"),
        ({"crosses": {(0, 1): 3}}, "crosses"),
        ({"n_cross_buckets": 0}, "'n_cross_buckets' parameter"),
        ({"hidden_layer_sizes": (8, -1)}, "must be positive integers"),
        ({"hidden_layer_sizes": (0,)}, "must be positive integers"),
        ({"hidden_layer_sizes": (2.5,)}, "must be positive integers"),
        ({"hidden_layer_sizes": ((8, 8),)}, "must be positive integers"),
        ({"hidden_layer_sizes": ((1, 2), 3)}, "must be positive integers"),
        ({"hidden_layer_sizes": (True, 3)}, "must be positive integers"),
        ({"hidden_layer_sizes": -3}, "'hidden_layer_sizes' parameter"),
        ({"hidden_layer_sizes": "large"}, "'hidden_layer_sizes' parameter"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"dropout": -0.1}, "'dropout' parameter"),
        ({"activation": "gelu"}, "'activation' parameter"),
        ({"solver": ("ftrl", "sgd")}, "'solver' parameter"),
        ({"solver": ("ftrl",)}, "'solver' parameter"),
        ({"k": -1}, "'k' parameter"),
    ],
)
def test_bad_parameters_are_refused_and_nothing_is_lost(params, message):
    clicks = small_clicks(200)
    model = WideDeepClassifier(max_iter=2, random_state=0)
    before = model.fit(clicks.X, clicks.y).predict_proba(clicks.X)
    with pytest.raises(ValueError, match=message):
        model.set_params(**params).fit(clicks.X, clicks.y)
    np.testing.assert_array_equal(model.predict_proba(clicks.X), before)


def test_grid_search_over_both_parts():
    clicks = small_clicks(300)
    frame = pd.DataFrame(clicks.categories).astype(str)
    pipe = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"),
        WideDeepClassifier(crosses=[(0, 1)], max_iter=3, random_state=0),
    )
    grid = {
        "solver": [("ftrl", "adagrad"), "ftrl"],
        "k": [0, 3],
        "wide_l1": [0, 2],
        "hidden_layer_sizes": [(), (8, 4)],
    }
    grid = {f"widedeepclassifier__{name}": values for name, values in grid.items()}
    search = GridSearchCV(pipe, grid, scoring="neg_log_loss", cv=2, error_score="raise")
    search.fit(frame, clicks.y)
    results = search.cv_results_["mean_test_score"]
    # Without embeddings the settings of the deep part make no difference.
    assert len(np.unique(results)) == 2 + 2 * 4
    assert np.isfinite(results).all()


@pytest.mark.parametrize("cls", [WideDeepClassifier, WideDeepRegressor])
def test_a_saved_model_goes_on_with_the_states_of_both_solvers(cls, tmp_path):
    clicks = small_clicks(300)
    model = cls(crosses="all", dropout=0.3, wide_l1=0.1, fields=clicks.fields, random_state=0)
    assert model.solver == ("ftrl", "adagrad")
    first = {"classes": [0, 1]} if cls is WideDeepClassifier else {}
    model.partial_fit(clicks.X[:256], clicks.y[:256], **first)
    assert {type(table.solver) for table in model._fitted.models[0].tables.values()} == {
        FTRL,
        AdaGrad,
    }
    joblib.dump(model, tmp_path / "model")
    model.partial_fit(clicks.X[256:], clicks.y[256:])
    loaded = joblib.load(tmp_path / "model").partial_fit(clicks.X[256:], clicks.y[256:])
    tables, others = (m._fitted.models[0].tables.values() for m in (model, loaded))
    for block, other in zip(tables, others, strict=True):
        for array, other_array in zip(block.copy(), other.copy(), strict=True):
            np.testing.assert_array_equal(array, other_array)


def test_interactions_of_three_fields_are_learned():
    """The parity of three fields, which no pair of them shows."""
    rng = np.random.default_rng(0)
    categories = rng.integers(4, size=(6000, 3))
    y = categories.sum(axis=1) % 2
    X = OneHotEncoder().fit_transform(categories)
    pairs = FMClassifier(8, random_state=0)
    pairs.fit(X[:4000], y[:4000])
    assert log_loss(y[4000:], pairs.predict_proba(X[4000:])) > 0.69
    for model in (
        WideDeepClassifier(n_iter_no_change=20, random_state=0),
        WideDeepClassifier(0, crosses=[(0, 1, 2)], random_state=0),
    ):
        model.fit(X[:4000], y[:4000])
        assert log_loss(y[4000:], model.predict_proba(X[4000:])) < 0.2


def test_l1_removes_crosses_that_say_nothing():
    clicks = make_clicks(8000, n_fields=6, n_categories=15, interaction=0.0, random_state=0)
    train, test = slice(0, 6000), slice(6000, None)
    models = [
        WideDeepClassifier(crosses="all", wide_l1=l1, random_state=0).fit(
            clicks.X[train], clicks.y[train]
        )
        for l1 in (0, 8)
    ]
    touched, left = (np.count_nonzero(model.cross_coef_) for model in models)
    assert 0 < left < 0.1 * touched
    plain, sparse = (log_loss(clicks.y[test], m.predict_proba(clicks.X[test])) for m in models)
    assert sparse < 1.005 * plain


@pytest.mark.parametrize(
    "params",
    [
        {"hidden_layer_sizes": (10**7, 10**7)},
        {"k": 1, "fields": 1, "hidden_layer_sizes": (10**11,)},
        {"n_cross_buckets": 2**31 - 1, "crosses": [(0, 1)], "fields": [0, 0, 1, 1]},
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_models_that_do_not_fit_into_memory_are_refused(params, method, monkeypatch):
    monkeypatch.setattr("skfm._memory._memory_of_machine", lambda: 2**32)
    X, y = np.eye(4), [0, 1, 0, 1]
    model = WideDeepClassifier(**params)
    extra = {"classes": [0, 1]} if method == "partial_fit" else {}
    with pytest.raises(ValueError, match="GiB of memory"):
        getattr(model, method)(X, y, **extra)


def test_more_combinations_than_anyone_can_mean_are_refused():
    X = np.ones((20, 10_000))
    with pytest.raises(ValueError, match="several entries in a row give every combination"):
        WideDeepClassifier(0, fields=2, crosses=[(0, 1)]).fit(X, np.arange(20) % 2)


def test_what_was_trained_on_can_be_predicted(monkeypatch):
    """Batches of prediction are larger, and are cut where they have too many crosses."""
    clicks = small_clicks(300)
    model = WideDeepClassifier(fields=clicks.fields, crosses="all", random_state=0, max_iter=3)
    expected = model.fit(clicks.X, clicks.y).predict_proba(clicks.X)
    monkeypatch.setattr("skfm._crosses.MAX_PER_BATCH", 6 * 8)
    np.testing.assert_allclose(model.predict_proba(clicks.X), expected, rtol=1e-12)
    model.set_params(batch_size=8).fit(clicks.X, clicks.y)
    monkeypatch.setattr("skfm._crosses.MAX_PER_BATCH", 5)
    with pytest.raises(ValueError, match="1 rows have 6 crosses"):
        model.predict_proba(clicks.X)


@pytest.mark.parametrize(
    "change",
    [{"crosses": "all"}, {"crosses": None}, {"n_cross_buckets": 9}, {"hidden_layer_sizes": (3,)}],
)
def test_the_shape_of_a_model_cannot_change_where_training_goes_on(change):
    clicks = small_clicks(200)
    model = WideDeepClassifier(
        crosses=[(0, 1)], fields=clicks.fields, warm_start=True, max_iter=2, random_state=0
    ).fit(clicks.X, clicks.y)
    before = scores(model, clicks.X)
    model.set_params(**change)
    for go_on in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"{next(iter(change))}.*cannot change"):
            go_on(clicks.X, clicks.y)
        np.testing.assert_array_equal(scores(model, clicks.X), before)
    model.set_params(crosses=[(1, 0)], n_cross_buckets=2**18, hidden_layer_sizes=[64, 32])
    assert model.fit(clicks.X, clicks.y).n_iter_ == 4


def test_crosses_of_huge_values_stay_finite():
    X = np.random.default_rng(0).random((200, 9))
    model = WideDeepClassifier(0, crosses=[tuple(range(9))], wide_l1=1e3, max_iter=2)
    with pytest.warns(ConvergenceWarning, match="learned nothing"):
        model.fit(X, np.arange(200) % 2)
    assert np.isfinite(model.predict_proba(np.full((1, 9), 1e35))).all()


def test_all_pairs_of_very_many_fields_are_refused():
    X = np.ones((3, 2000))
    with pytest.raises(ValueError, match="1999000 pairs of the 2000 fields"):
        WideDeepClassifier(crosses="all", fields=2000).fit(X, [0, 1, 0])


def test_a_cross_with_an_unseen_column_counts_nothing():
    rng = np.random.default_rng(0)
    X = np.zeros((200, 6))
    X[np.arange(200), rng.integers(2, size=200)] = 1
    X[np.arange(200), 3 + rng.integers(2, size=200)] = 1
    y = X[:, 0] == X[:, 3]
    # One bucket only: whatever is crossed meets its weight.
    model = WideDeepClassifier(
        0, fields=[0, 0, 0, 1, 1, 1], crosses="all", n_cross_buckets=1, random_state=0
    ).fit(X, y)
    unseen = np.array([[0, 0, 1.0, 0, 0, 0], [0, 0, 1.0, 0, 0, 1.0], [0, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(model.decision_function(unseen), model.intercept_[0])
    crossed = model.decision_function([[1, 0, 0, 1, 0, 0]])[0]
    expected = model.intercept_[0] + model.coef_[0, [0, 3]].sum() + model.cross_coef_[0, 0]
    assert crossed == pytest.approx(expected)


def flights(n=400):
    rng = np.random.default_rng(0)
    carrier, dest = rng.integers(3, size=n), rng.integers(4, size=n)
    table = pd.DataFrame(
        {
            "carrier": np.array(["AA", "UA", "DL"])[carrier],
            "dest": np.array(["JFK", "LAX", "SFO", "ORD"])[dest],
            "dest_kind": np.array(["big", "small"])[rng.integers(2, size=n)],
        }
    )
    return table, (carrier + dest) % 2


@pytest.mark.parametrize("encoder", [FieldEncoder(), FieldEncoder(n_buckets=64)])
@pytest.mark.parametrize("fields", [None, 3])
def test_crosses_by_the_names_of_an_encoders_variables(encoder, fields):
    table, y = flights()
    if encoder.n_buckets is None and fields:
        fields = encoder.fit(table).fields_
    elif encoder.n_buckets and not fields:
        fields = 3

    def fit(crosses):
        model = WideDeepClassifier(0, crosses=crosses, fields=fields, random_state=0, max_iter=3)
        return make_pipeline(encoder, model).fit(table, y)

    by_name = fit([("dest", "carrier"), ("carrier", 2)])
    by_number = fit([(0, 1), (0, 2)])
    np.testing.assert_array_equal(by_name.predict_proba(table), by_number.predict_proba(table))
    with pytest.raises(ValueError, match="'origin': the fields are 'carrier', 'dest', 'dest_kind'"):
        fit([("carrier", "origin")])
    # What comes later need not name its fields, and nor does a model that is read again.
    model = pickle.loads(pickle.dumps(by_name[-1]))
    model.partial_fit(csr_array(by_name[:-1].transform(table).toarray()), y)


def test_names_are_only_known_if_the_variables_are_the_fields():
    table, y = flights()
    X = FieldEncoder().fit_transform(table)
    model = WideDeepClassifier(fields=np.repeat([0, 1], [4, 8]), crosses=[("carrier", "dest")])
    with pytest.raises(ValueError, match=r"fields=encoder.fields_"):
        model.fit(X, y)


def test_crosses_by_the_names_of_a_data_frame():
    table, y = flights()
    X = pd.get_dummies(table)

    def fit(crosses, X=X):
        return WideDeepClassifier(0, crosses=crosses, random_state=0, max_iter=3).fit(X, y)

    by_name = fit([("carrier", "dest_kind")])
    by_number = fit([(0, 2)])
    np.testing.assert_array_equal(by_name.predict_proba(X), by_number.predict_proba(X))
    by_name.partial_fit(X, y)
    with pytest.raises(ValueError, match="No fields consist of columns that are called 'origin'"):
        fit([("carrier", "origin")])
    with pytest.raises(ValueError, match="2 fields consist of columns that are called 'dest' or"):
        fit([("carrier", "dest")])
    fit([("carrier", "dest")], X.drop(columns=["dest_kind_big", "dest_kind_small"]))


def test_variables_in_another_order_are_refused():
    table, y = flights()
    X = FieldEncoder().fit_transform(table)
    model = WideDeepClassifier(random_state=0, max_iter=2, fields=FieldEncoder().fit(table).fields_)
    model.fit(X, y)
    turned = FieldEncoder().fit_transform(table[["carrier", "dest_kind", "dest"]])
    for call in (model.predict, lambda X: model.partial_fit(X, y)):
        with pytest.raises(ValueError, match="variables in another order: 'carrier', 'dest_kind'"):
            call(turned)
