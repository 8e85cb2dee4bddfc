"""Wide & Deep: the head against its definition, crosses, and what the model can learn."""

from itertools import product

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skfm import FMClassifier, WideDeepClassifier, WideDeepRegressor
from skfm._crosses import check_crosses
from skfm._fields import check_fields
from skfm._heads import WideDeep
from skfm._solvers import FTRL, AdaGrad
from skfm.datasets import make_clicks

from .common import SOLVERS, make_batch, scores, small_clicks

ACTIVATE = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "logistic": expit,
    "identity": lambda z: z,
}


def mix(z):
    """SplitMix64's step and output function, in Python's integers."""
    mask = 2**64 - 1
    z = (z + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
    return z ^ z >> 31


def crosses_by_definition(x, fields, crosses, n_buckets):
    """{bucket: summed value} of a dense row: each combination of a column per field."""
    found = {}
    for cross in crosses:
        present = [np.flatnonzero((x != 0) & (fields == field)) for field in sorted(cross)]
        for columns in product(*present):
            hashed = 0
            for column in columns:
                hashed = mix((hashed + mix(int(column))) % 2**64)
            bucket = hashed % n_buckets
            found[bucket] = found.get(bucket, 0) + np.prod(x[list(columns)])
    return found


def network(x, fields, embeddings, layers, activation, masks=()):
    """The deep part of one dense row; `layers` as the head has them."""
    n_fields = fields.max() + 1
    pooled = [(x * (fields == field)) @ embeddings for field in range(n_fields)]
    output = np.concatenate(pooled)
    for number in range(len(layers) // 2):
        weights, biases = layers[2 * number : 2 * number + 2]
        output = ACTIVATE[activation](output @ weights + biases[0])
    return (output @ layers[-1])[0]


@st.composite
def problems(draw, engine):
    """Rows with multi-valued fields, values other than 1, empty fields and rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows, n_columns = draw(st.integers(1, 5)), draw(st.integers(3, 8))
    n_fields = draw(st.integers(2, 3))
    fields = np.concatenate([np.arange(n_fields), rng.integers(n_fields, size=n_columns)])
    if draw(st.booleans()):
        fields.sort()
    shape = n_rows, len(fields)
    X = (rng.normal(size=shape) if draw(st.booleans()) else 1) * (rng.random(shape) < 0.6)
    X[rng.integers(n_rows)] *= draw(st.integers(0, 1))
    k = draw(st.integers(0, 3))
    hidden = draw(st.sampled_from([(), (4,), (3, 2)]))
    crosses = draw(st.sampled_from([None, [(0, 1)], [(1, 0), (0, 2)], "all", [(2, 1, 0), (0, 1)]]))
    if n_fields == 2 and crosses and any(2 in cross for cross in crosses if crosses != "all"):
        crosses = "all"
    n_buckets = draw(st.sampled_from([5, 2**20]))
    crosses = check_crosses(crosses, check_fields(fields, X), n_buckets)
    activation = draw(st.sampled_from(sorted(ACTIVATE)))
    dropout = draw(st.sampled_from([0.0, 0.4]))
    head = WideDeep(k, n_fields, crosses, hidden, activation, dropout, 0.1, (1, 0))
    batch = make_batch(engine, X, fields, crosses)
    values = []
    for role, table, value in zip(head.roles, head.tables, head.initial(), strict=True):
        n = len(value) if table == "all" else len(batch.rows(table))
        values.append(rng.normal(size=(n, value.shape[1])))
        assert (role in ("weights", "biases")) == (table == "all")
    return X, fields, crosses, head, batch, values, activation, rng.normal(size=n_rows)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_scores_equal_their_definition(engine, data):
    X, fields, crosses, head, batch, values, activation, _ = data.draw(problems(engine))
    scores = head.forward(engine, batch, values)[0]
    by_role = {}
    for role, value in zip(head.roles, values, strict=True):
        by_role.setdefault(role, []).append(value)
    linear = np.zeros(len(fields))
    linear[batch.touched] = by_role["linear"][0][:, 0]  # every column has a slot of its number
    for x, score in zip(X, scores, strict=True):
        expected = linear @ x
        if crosses:
            weight = dict(zip(batch.crosses.touched, by_role["crosses"][0][:, 0], strict=True))
            found = crosses_by_definition(x, fields, crosses.tuples, crosses.n_buckets)
            expected += sum(weight[bucket] * value for bucket, value in found.items())
        if "embeddings" in by_role:
            embeddings = np.zeros((len(fields), head.k))
            embeddings[batch.touched] = by_role["embeddings"][0]
            expected += network(x, fields, embeddings, values[head.n_sparse :], activation)
        np.testing.assert_allclose(score, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_gradients_of_every_table_equal_finite_differences(engine, data):
    *_, head, batch, values, _, delta = data.draw(problems(engine))
    at = 7  # the step fixes the mask of the dropout
    grads = head.backward(
        engine, batch, values, head.forward(engine, batch, values, at)[1], delta.copy()
    )
    assert [grad.shape for grad in grads] == [value.shape for value in values]
    for table, grad in enumerate(grads):
        for position in np.ndindex(grad.shape):
            scores = []
            for step in (1e-6, -1e-6):
                moved = [value.copy() for value in values]
                moved[table][position] += step
                scores.append(head.forward(engine, batch, moved, at)[0])
            numeric = delta @ (scores[0] - scores[1]) / 2e-6
            np.testing.assert_allclose(grad[position], numeric, rtol=1e-6, atol=1e-6)


def test_dropout_leaves_out_its_share_and_keeps_the_mean(engine):
    head = WideDeep(4, 2, None, (1000,), "identity", 0.3, 1.0, (5, 0))
    X = np.ones((50, 2))
    batch = make_batch(engine, X, np.arange(2))
    values = [np.zeros((2, 1)), np.ones((2, 4)), np.ones((8, 1000)), np.zeros((1, 1000))]
    values.append(np.ones((1000, 1)))
    (_, _, masks) = head.forward(engine, batch, values, 3)[1]
    share = (masks[0] == 0).mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.21 / masks[0].size)
    np.testing.assert_allclose(masks[0][masks[0] > 0], 1 / 0.7)
    again, other = (head.forward(engine, batch, values, step)[0] for step in (3, 4))
    np.testing.assert_array_equal(again, head.forward(engine, batch, values, 3)[0])
    assert (again != other).any()
    np.testing.assert_array_equal(head.forward(engine, batch, values)[0], 8000)


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
        ({"crosses": [("site", "ad")]}, "two or more fields"),
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
        "k": [0, 2],
        "wide_l1": [0, 2],
        "deep_learning_rate": [0.02, 0.1],
        "hidden_layer_sizes": [(), (8, 4)],
    }
    grid = {f"widedeepclassifier__{name}": values for name, values in grid.items()}
    search = GridSearchCV(pipe, grid, scoring="neg_log_loss", cv=2, n_jobs=2, error_score="raise")
    search.fit(frame, clicks.y)
    results = search.cv_results_["mean_test_score"]
    # Without embeddings the settings of the deep part make no difference.
    assert len(np.unique(results)) == 2 + 2 * 8
    assert np.isfinite(results).all()


@pytest.mark.parametrize("cls", [WideDeepClassifier, WideDeepRegressor])
def test_a_saved_model_goes_on_with_the_states_of_both_solvers(cls, tmp_path):
    clicks = small_clicks(300)
    model = cls(crosses="all", dropout=0.3, wide_l1=0.1, fields=clicks.fields, random_state=0)
    assert model.solver == ("ftrl", "adagrad")
    first = {"classes": [0, 1]} if cls is WideDeepClassifier else {}
    model.partial_fit(clicks.X[:256], clicks.y[:256], **first)
    assert {type(block.solver) for block in model._models[0].blocks} == {FTRL, AdaGrad}
    joblib.dump(model, tmp_path / "model")
    model.partial_fit(clicks.X[256:], clicks.y[256:])
    loaded = joblib.load(tmp_path / "model").partial_fit(clicks.X[256:], clicks.y[256:])
    for block, other in zip(model._models[0].blocks, loaded._models[0].blocks, strict=True):
        for array, other_array in zip(block.copy(), other.copy(), strict=True):
            np.testing.assert_array_equal(array, other_array)


def test_interactions_of_three_fields_are_learned():
    """The parity of three fields, which no pair of them shows."""
    rng = np.random.default_rng(0)
    categories = rng.integers(4, size=(6000, 3))
    y = categories.sum(axis=1) % 2
    X = OneHotEncoder().fit_transform(categories)
    pairs = FMClassifier(16, random_state=0)
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
    monkeypatch.setattr("skfm._training._memory_of_machine", lambda: 2**32)
    X, y = np.eye(4), [0, 1, 0, 1]
    model = WideDeepClassifier(**params)
    extra = {"classes": [0, 1]} if method == "partial_fit" else {}
    with pytest.raises(ValueError, match="GiB of memory"):
        getattr(model, method)(X, y, **extra)


def test_more_combinations_than_anyone_can_mean_are_refused():
    X = np.ones((200, 2000))
    with pytest.raises(ValueError, match="several entries give every combination"):
        WideDeepClassifier(0, fields=2, crosses=[(0, 1)]).fit(X, np.arange(200) % 2)


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
    model.fit(X, np.arange(200) % 2)
    assert np.isfinite(model.predict_proba(np.full((1, 9), 1e35))).all()


def test_all_pairs_of_very_many_fields_are_refused():
    X = np.ones((3, 2000))
    with pytest.raises(ValueError, match="1999000 pairs of the 2000 fields"):
        WideDeepClassifier(crosses="all").fit(X, [0, 1, 0])


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
