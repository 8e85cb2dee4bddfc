"""What models learned: parts that add up, interactions that were planted, names, look-alikes."""

import pickle
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from skfm import (
    FFMClassifier,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    FwFMClassifier,
    WideDeepClassifier,
    WideDeepRegressor,
    _look,
    inspection,
)
from skfm.datasets import make_clicks
from skfm.inspection import contributions, field_interactions, similar_columns, top_interactions
from skfm.preprocessing import FieldEncoder

from .common import (
    ESTIMATORS,
    MACHINES,
    every_estimator,
    fields_of,
    pair_weights,
    scores,
    small_clicks,
    targets,
    vectors,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:The fields inferred from X"),
]

FIELDS = np.repeat([0, 1, 2], [4, 3, 3])


def rows_of_everything(seed, n=80):
    """Multi-valued fields, numbers of any unit and far from zero, stored zeros, empty rows."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (n, 10)) * rng.choice([1.0, 0.5, -3.0], (n, 10))
    X[:, 4:7] = np.eye(3)[rng.integers(3, size=n)]
    X[:, 8] = 1e4 * rng.normal(size=n)
    X[:, 9] = 2013 + rng.integers(0, 5, n)
    X[0, :9] = 0
    X = csr_array(X)
    X.data[::11] = 0
    return X


def with_options(cls):
    """Estimators of a class that differ in the terms that they sum."""
    common = {"random_state": 0, "max_iter": 3}
    if "fields" in cls().get_params():
        common["fields"] = FIELDS
    yield cls(**common)
    yield cls(k=0, **common)
    if "crosses" in cls().get_params():
        yield cls(crosses="all", interactions=True, n_cross_buckets=8, **common)
        yield cls(crosses=[(0, 1, 2), (0, 2)], hidden_layer_sizes=(), **common)


@pytest.mark.parametrize("n_classes", [2, 3])
@every_estimator
def test_contributions_add_up(cls, n_classes):
    X, rng = rows_of_everything(0), np.random.default_rng(1)
    new = rows_of_everything(5, 30)
    for model in with_options(cls):
        y = rng.integers(n_classes, size=80)
        if not hasattr(model, "predict_proba"):
            y = 5e5 + 1e3 * rng.normal(size=80)
        model.fit(X, y)
        parts = contributions(model, new)
        expected = scores(model, new)
        np.testing.assert_allclose(parts.scores.sum(axis=-1), expected, rtol=1e-9, atol=1e-6)
        assert parts.scores.shape == (*expected.shape, len(parts.names))
        assert len(set(parts.names)) == len(parts.names) == len(parts.kinds) == len(parts.fields)


@pytest.mark.parametrize("cls", MACHINES)
def test_the_parts_are_those_of_the_formula(cls):
    clicks = small_clicks()
    X = csr_array(clicks.X + clicks.X[::-1])  # two entries in each field
    X.data[:] = np.random.default_rng(0).choice([1.0, -1.5], X.nnz)
    model = cls(random_state=0, max_iter=3, **fields_of(cls, clicks)).fit(X, targets(cls(), clicks))
    parts = contributions(model, X[:20], fields=clicks.fields)
    dense, gram, w = X[:20].toarray(), pair_weights(model), model.coef_[0]
    expected = {"intercept": np.full(20, model.intercept_[0])}
    of = [np.flatnonzero(clicks.fields == field) for field in range(4)]
    for a, columns in enumerate(of):
        expected[f"field {a}"] = dense[:, columns] @ w[columns]
        for b in range(a, 4):
            pairs = [
                dense[:, i] * dense[:, j] * gram[i, j]
                for i in columns
                for j in of[b]
                if a < b or i < j
            ]
            expected[f"field {a} × field {b}"] = np.sum(pairs, axis=0)
    assert set(parts.names) == set(expected)
    for name, part in zip(parts.names, parts.scores.T, strict=True):
        np.testing.assert_allclose(part, expected[name], rtol=1e-5, atol=1e-4, err_msg=name)


def test_the_parts_of_wide_and_deep():
    clicks = small_clicks()
    model = WideDeepClassifier(
        random_state=0, max_iter=3, crosses=[(0, 1)], interactions=True, fields=clicks.fields
    ).fit(clicks.X, clicks.y)
    parts = contributions(model, clicks.X)
    kinds, V = np.array(parts.kinds), model.embeddings_[0].astype(float)
    deep = clicks.X.toarray() @ np.hstack([V * (clicks.fields == f)[:, None] for f in range(4)])
    for weights, biases in zip(model.coefs_[:-1], model.intercepts_, strict=True):
        deep = np.maximum(deep @ weights + biases, 0)
    network = (deep @ model.coefs_[-1])[:, 0]
    np.testing.assert_allclose(parts.scores[:, kinds == "network"][:, 0], network, atol=1e-6)
    assert parts.names[-2:] == ["cross field 0 × field 1", "network"]
    # What is left of the score are the crosses.
    cross = model.decision_function(clicks.X) - parts.scores[:, kinds != "cross"].sum(axis=1)
    np.testing.assert_allclose(parts.scores[:, kinds == "cross"][:, 0], cross, atol=1e-6)
    assert np.ptp(cross) > 0
    assert kinds.tolist().count("interaction") == 6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(ESTIMATORS), st.integers(1, 4))
def test_contributions_of_any_rows(seed, cls, n_fields):
    rng = np.random.default_rng(seed)
    dense = rng.integers(-1, 2, (30, 12)) * rng.choice([1.0, 1e-3, 40.0], 12) + rng.integers(0, 2)
    X, fields = csr_array(dense), rng.integers(n_fields, size=12)
    given_fields = {"fields": fields} if "fields" in cls().get_params() else {}
    model = cls(random_state=0, max_iter=2, **given_fields)
    y = rng.permutation(np.arange(30) % 3).astype(float)
    model.fit(X, y)
    parts = contributions(model, X, fields=fields)
    np.testing.assert_allclose(parts.scores.sum(-1), scores(model, X), rtol=1e-8, atol=1e-6)


def test_rows_in_several_batches_are_the_same(monkeypatch):
    clicks = small_clicks()
    model = WideDeepClassifier(
        random_state=0, max_iter=2, crosses="all", interactions=True, fields=clicks.fields
    ).fit(clicks.X, clicks.y)
    expected = [
        contributions(model, clicks.X).scores,
        field_interactions(model, clicks.X).strengths,
    ]
    monkeypatch.setattr(_look, "ROWS_AT_A_TIME", 7)
    monkeypatch.setattr(_look, "_WEIGHTS", 10)
    found = [contributions(model, clicks.X).scores, field_interactions(model, clicks.X).strengths]
    for old, new in zip(expected, found, strict=True):
        np.testing.assert_allclose(old, new, atol=1e-12)


# -- interactions -----------------------------------------------------------------------


@pytest.mark.parametrize("cls", [FMClassifier, FFMClassifier, FwFMClassifier, WideDeepClassifier])
def test_planted_interactions_come_out_on_top(cls):
    clicks = make_clicks(6000, 2, 8, interaction=3.0, linear=0.3, exponent=0, random_state=3)
    others = np.random.default_rng(0).integers(8, size=(6000, 2))
    table = pd.DataFrame(np.hstack([clicks.categories, others]).astype(str), columns=[*"abcd"])
    options = {"interactions": True} if cls is WideDeepClassifier else {}
    model = make_pipeline(FieldEncoder(), cls(random_state=0, **options)).fit(table, clicks.y)
    found = field_interactions(model, table)
    assert found.names == [*"abcd"]
    strengths = found.strengths[np.triu_indices(4, 1)]
    assert strengths[0] == strengths.max()  # of a and b
    assert strengths[0] > 3 * np.sort(strengths)[-2]
    top = top_interactions(model, table, 10)
    assert {name[:2] for one in top for name in one.names} == {"a=", "b="}


@pytest.mark.parametrize("cls", MACHINES)
def test_strengths_are_of_what_no_field_explains_by_itself(cls):
    clicks = small_clicks()
    X = csr_array(clicks.X + clicks.X[::-1])  # two entries in each field
    model = cls(random_state=0, max_iter=3, **fields_of(cls, clicks))
    model.fit(X, targets(model, clicks))
    found = field_interactions(model, X, fields=clicks.fields).strengths
    parts = contributions(model, X, fields=clicks.fields)
    within = parts.scores[:, parts.names.index("field 2 × field 2")]
    assert found[2, 2] == pytest.approx(within.std(), rel=1e-3)
    X, gram = X.toarray(), pair_weights(model)
    for a, b in combinations(range(4), 2):
        i, j = np.ix_(clicks.fields == a, clicks.fields == b)
        score = X[:, i.ravel()] @ gram[i, j] @ X[:, j.ravel()].T  # of a in n and b in m
        difference = np.diagonal(score) - score.mean(axis=1) - score.mean(axis=0)
        np.testing.assert_allclose(found[[a, b], [b, a]], difference.std(), rtol=1e-3)


def test_what_is_the_same_everywhere_interacts_with_nothing():
    clicks = small_clicks()
    table = pd.DataFrame(clicks.categories.astype(str), columns=[*"abcd"]).assign(e="x")
    model = make_pipeline(FieldEncoder(), FFMClassifier(random_state=0)).fit(table, clicks.y)
    assert contributions(model, table).scores[:, -1].std() > 0  # d × e
    strengths = field_interactions(model, table, max_samples=200).strengths
    assert np.abs(strengths[4]).max() < 1e-6
    assert strengths[0, 1] > 0


@pytest.mark.parametrize("pairs_at_a_time", [50, 1 << 22])
@pytest.mark.parametrize("cls", MACHINES)
def test_top_interactions_are_those_of_the_formula(cls, pairs_at_a_time, monkeypatch):
    monkeypatch.setattr(_look, "_PAIRS", pairs_at_a_time)
    clicks = small_clicks()
    X = csr_array(clicks.X)
    X.data[:] = np.random.default_rng(0).choice([1.0, 1.5], X.nnz)
    model = cls(random_state=0, max_iter=3, **fields_of(cls, clicks)).fit(X, targets(cls(), clicks))
    found = top_interactions(model, X, 15, min_count=4, fields=clicks.fields)
    dense, gram = X.toarray(), pair_weights(model)
    varies = dense.var(axis=0) / np.maximum((dense**2).mean(axis=0), 1e-9)
    expected = []
    for i, j in combinations(range(48), 2):
        both = (dense[:, i] != 0) & (dense[:, j] != 0)
        if both.sum() >= 4 and clicks.fields[i] != clicks.fields[j]:
            strength = gram[i, j] * (dense[both, i] * dense[both, j]).mean()
            importance = abs(strength) * varies[i] * varies[j]
            expected.append((-importance, strength, both.sum(), (i, j)))
    expected.sort()
    assert [one.columns for one in found] == [pair for *_, pair in expected[:15]]
    for one, (importance, strength, count, pair) in zip(found, expected, strict=False):
        assert one.count == count
        assert one.strength == pytest.approx(strength, rel=1e-5, abs=1e-9)
        assert one.importance == pytest.approx(-importance, rel=1e-5, abs=1e-9)
        assert one.names == tuple(f"column {column}" for column in pair)
        assert one.target is None


def test_a_million_columns():
    rng = np.random.default_rng(0)
    columns = (rng.random((3000, 20)) ** 12 * 50_000).astype(np.int32) + np.arange(20) * 50_000
    y = (columns[:, 0] == 0) ^ (columns[:, 1] == 50_000)
    indptr = np.arange(0, columns.size + 1, 20)
    X = csr_array((np.ones(columns.size), columns.ravel(), indptr), shape=(3000, 1_000_000))
    model = FMClassifier(random_state=0, max_iter=5).fit(X, y)
    (top,) = top_interactions(
        model, X, 1, max_samples=2000, fields=np.repeat(np.arange(20), 50_000)
    )
    assert top.columns == (0, 50_000)
    assert contributions(model, X[:2]).scores.shape[0] == 2  # of 20 columns in each row


def test_several_classes_each_have_theirs():
    clicks = small_clicks(600)
    y = np.array(["x", "y", "z"])[clicks.y + (clicks.categories[:, 0] > 2)]
    model = FFMClassifier(random_state=0, fields=clicks.fields).fit(clicks.X, y)
    assert contributions(model, clicks.X).scores.shape[:2] == (600, 3)
    assert field_interactions(model, clicks.X).strengths.shape == (3, 4, 4)
    top = top_interactions(model, clicks.X, 2)
    assert sorted(one.target for one in top) == ["x", "x", "y", "y", "z", "z"]
    assert len(similar_columns(model, 0, 3)) == 3


@pytest.mark.parametrize("model", [FMClassifier(k=0), FwFMClassifier(k=0), WideDeepClassifier()])
def test_models_without_interactions_say_so(model):
    clicks = small_clicks()
    model.set_params(random_state=0, max_iter=2, **fields_of(type(model), clicks))
    model.fit(clicks.X, clicks.y)
    for look in (field_interactions, top_interactions):
        with pytest.raises(ValueError, match="no pairwise interactions"):
            look(model, clicks.X)
    if not model.k:
        with pytest.raises(ValueError, match="neither factors nor embeddings"):
            similar_columns(model, 0)


# -- names ------------------------------------------------------------------------------


def flights(n=400):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "carrier": np.array(["AA", "UA", "DL"])[rng.integers(3, size=n)],
            "carrier_kind": np.array(["big", "small"])[rng.integers(2, size=n)],
            "delay": rng.normal(size=n),
        }
    )
    return table, (table["carrier"] == "AA") ^ (table["carrier_kind"] == "big")


def encoders():
    one_hot = OneHotEncoder(handle_unknown="ignore")
    categories = ["carrier", "carrier_kind"]
    yield FieldEncoder()
    yield FieldEncoder(n_buckets=64, categorical_features=categories)
    yield ColumnTransformer([("cat", one_hot, categories)], remainder=StandardScaler())
    yield make_pipeline(FunctionTransformer(feature_names_out="one-to-one"), FieldEncoder())
    yield ColumnTransformer([("cat", FieldEncoder(), categories)], remainder="passthrough")
    yield ColumnTransformer(
        [("cat", OneHotEncoder(sparse_output=False), categories)], remainder="passthrough"
    ).set_output(transform="pandas")


@pytest.mark.parametrize("encoder", encoders(), ids=lambda encoder: type(encoder).__name__)
@pytest.mark.parametrize("cls", [FMClassifier, FFMClassifier, WideDeepClassifier])
def test_fields_are_called_what_the_user_calls_them(encoder, cls):
    table, y = flights()
    fields = {}
    if getattr(encoder, "n_buckets", None) and cls is not FMClassifier:
        fields = {"fields": 3}
    model = make_pipeline(clone(encoder), cls(random_state=0, max_iter=2, **fields)).fit(table, y)
    parts = contributions(model, table[:5])
    linear = [name for name, kind in zip(parts.names, parts.kinds, strict=True) if kind == "linear"]
    assert linear == ["carrier", "carrier_kind", "delay"]
    if cls is WideDeepClassifier:
        return
    assert field_interactions(model, table).names == linear
    names = {name for one in top_interactions(model, table, 100) for name in one.names}
    if getattr(encoder, "n_buckets", None):
        assert all(name.startswith(("carrier=#", "carrier_kind=#", "delay=#")) for name in names)
        return
    assert names & {"carrier=AA", "carrier_AA"}
    assert names & {"carrier_kind=big", "carrier_kind_big"}
    aa = next(name for name in names if name in ("carrier=AA", "carrier_AA"))
    similar = [name for name, _ in similar_columns(model, aa)]
    assert sorted(name[-2:] for name in similar if "unknown" not in name) == ["DL", "UA"]


def test_names_without_a_pipeline():
    table, y = flights()
    encoder = FieldEncoder()
    X = encoder.fit_transform(table)
    model = FFMClassifier(random_state=0, max_iter=2).fit(X, y)
    assert field_interactions(model, X).names == ["carrier", "carrier_kind", "delay"]
    assert "carrier=AA" in {n for one in top_interactions(model, X, 50) for n in one.names}
    assert "carrier=AA" in {
        n for one in top_interactions(model, pickle.loads(pickle.dumps(X)), 50) for n in one.names
    }
    plain = csr_array((X.data, X.indices, X.indptr), shape=X.shape)
    assert field_interactions(model, plain).names == ["carrier", "carrier_kind", "delay"]
    names = encoder.get_feature_names_out()
    found = similar_columns(model, "carrier=UA", feature_names=names)
    assert {"carrier=AA", "carrier=DL"} <= {name for name, _ in found}
    without_names = similar_columns(model, names.tolist().index("carrier=UA"))
    assert found == [(names[int(name.split()[1])], cosine) for name, cosine in without_names]


@pytest.mark.parametrize("columns", [[0, 1], [7, 3]])
def test_names_that_are_no_strings_are_those_of_scikit_learn_everywhere(columns):
    table = pd.DataFrame([["a", "b"], ["c", "d"], ["a", "d"], ["c", "b"]] * 50, columns=columns)
    model = make_pipeline(FieldEncoder(), FMClassifier(random_state=0, max_iter=2))
    model.fit(table, [0, 0, 1, 1] * 50)
    names = model[0].get_feature_names_out().tolist()
    assert names[0] == "x0=a"
    assert contributions(model, table).names == ["intercept", "x0", "x1", "x0 × x1"]
    assert field_interactions(model, table).names == ["x0", "x1"]
    assert {name for one in top_interactions(model, table) for name in one.names} < {*names}
    assert [name for name, _ in similar_columns(model, "x0=a")] == ["x0=c"]


def test_parts_of_fields_that_are_called_like_other_parts_have_names_of_their_own():
    clicks = small_clicks(200)
    params = {"fields": clicks.fields, "interactions": True, "max_iter": 2, "random_state": 0}
    model = WideDeepClassifier(3, **params).fit(clicks.X, clicks.y)
    called = np.array(["intercept", "network", "a", "b"])
    parts = contributions(model, clicks.X, fields=called[clicks.fields])
    assert {"intercept", "intercept (linear)", "network", "network (linear)", "a"} < {*parts.names}
    assert len({*parts.names}) == len(parts.names)
    again = contributions(model, clicks.X, fields=np.array(["a", "b", "a × b", "c"])[clicks.fields])
    assert {"a × b (linear)", "a × b (interaction)"} < {*again.names}
    assert len({*again.names}) == len(again.names)


def test_names_of_data_frames():
    table, y = flights()
    X = pd.get_dummies(table[["carrier"]]).assign(delay=table["delay"])
    model = FFMClassifier(random_state=0, max_iter=2).fit(X, y)
    assert field_interactions(model, X).names == ["carrier", "delay"]
    model = FMClassifier(random_state=0, max_iter=2).fit(X, y)
    assert field_interactions(model, X).names == X.columns.tolist()
    ids = ["airline", "airline", "airline", "number"]
    found = field_interactions(model, X, fields=ids)
    assert found.names == ["airline", "number"]
    assert field_interactions(model, X, fields=[7, 7, 7, 2]).names == ["field 7", "field 2"]
    assert field_interactions(model, X, fields=["a", 1, 1, "a"]).names == ["a", "field 1"]


def test_a_search_stands_for_its_best_estimator():
    table, y = flights()
    pipeline = make_pipeline(FieldEncoder(), FMClassifier(random_state=0, max_iter=2))
    search = GridSearchCV(pipeline, {"fmclassifier__k": [3]}, cv=2).fit(table, y)
    parts = contributions(search, table)
    np.testing.assert_allclose(parts.scores.sum(axis=1), search.decision_function(table), atol=1e-6)


def test_what_cannot_be_looked_at():
    table, y = flights()
    X = FieldEncoder().fit_transform(table)
    with pytest.raises(NotFittedError):
        contributions(FMClassifier(), X)
    with pytest.raises(NotFittedError):
        contributions(make_pipeline(FieldEncoder(), FMClassifier()), table)
    with pytest.raises(TypeError, match="LogisticRegression is no model of skfm"):
        contributions(LogisticRegression().fit(X, y), X)
    model = FMClassifier(random_state=0, max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match=r"fields must have one value for each of the \d+ columns"):
        contributions(model, X, fields=[1, 2])
    with pytest.raises(ValueError, match="'fields' parameter of contributions must be an"):
        contributions(model, X, fields=3)
    with pytest.raises(ValueError, match="There is no column 'carrier=AA', as the columns have no"):
        similar_columns(model, "carrier=AA")
    for column in (1000, -1, 1.5, True):
        with pytest.raises(ValueError, match=f"There is no column {column}: they are numbered"):
            similar_columns(model, column)
    with pytest.raises(ValueError, match=r"No columns are called 'AA'\. Did you mean 'carrier=AA'"):
        similar_columns(make_pipeline(FieldEncoder(), model).fit(table, y), "AA")
    with pytest.raises(ValueError, match="did not occur in training"):
        similar_columns(model.fit(X, y), 3)
    with pytest.raises(ValueError, match="X must have 2 of them or more"):
        field_interactions(model, X[:1])
    with pytest.raises(ValueError, match="'n' parameter"):
        top_interactions(model, X, 0)
    for n in (0, -1, 2.5):
        with pytest.raises(ValueError, match="'n' parameter"):
            similar_columns(model, 0, n)
    twice = [*"abc", "a", *map(str, range(X.shape[1] - 4))]
    with pytest.raises(ValueError, match=r"called 'a': those numbered 0, 3\. Pass the number"):
        similar_columns(model, "a", feature_names=twice)
    for missing in (None, np.nan, pd.NA):
        given = [missing] + ["a"] * (X.shape[1] - 1)
        with pytest.raises(ValueError, match=r"fields must have one .*, got .* for column 0"):
            contributions(model, X, fields=given)
        with pytest.raises(ValueError, match=r"feature_names must have .*, got .* for column 0"):
            contributions(model, X, feature_names=given)
    wide = csr_array((np.ones(600), np.arange(600), [0, 300, 600]), shape=(2, 600))
    model = FMClassifier(random_state=0, max_iter=2).fit(wide, [0, 1])
    with pytest.raises(ValueError, match="There are 600 fields"):
        field_interactions(model, wide)


def test_too_many_numbers_are_refused(monkeypatch):
    clicks = small_clicks()
    model = FMClassifier(random_state=0, max_iter=2).fit(clicks.X, clicks.y)
    monkeypatch.setattr(inspection, "_MAX_NUMBERS", 1000)
    parts, rows_computed = _look.Look.parts, []

    def noted(look, learned, batch):
        rows_computed.append(batch.n_rows)
        return parts(look, learned, batch)

    monkeypatch.setattr(_look.Look, "parts", noted)
    with pytest.raises(ValueError, match=r"300 rows with \d+ or more parts each take more than"):
        contributions(model, clicks.X)
    model.set_params(k=0).fit(clicks.X, clicks.y)
    with pytest.raises(ValueError, match=r"300 rows with \d+ or more parts each take more than"):
        contributions(model, clicks.X)
    assert set(rows_computed) == {1}  # a first row says which other parts there are


def test_each_pair_that_occurs_has_a_part():
    X = csr_array([[1.0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]] * 20)
    model = FMClassifier(random_state=0, max_iter=2).fit(X, [0, 1, 1] * 20)
    names = contributions(model, X, feature_names=[*"abcd"]).names
    assert names == ["intercept", *"abcd", "a × b", "a × c"]
    assert contributions(model, X[2:3], feature_names=[*"abcd"]).names == ["intercept", "d"]


# -- look-alikes -------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [FMClassifier, FFMClassifier, FwFMClassifier, WideDeepClassifier])
def test_columns_that_act_alike_are_found(cls):
    rng = np.random.default_rng(0)
    place, day = rng.integers(6, size=5000), rng.integers(2, size=5000)
    names = np.array(["ski1", "sea1", "ski2", "sea2", "ski3", "sea3"])
    table = pd.DataFrame({"place": names[place], "day": np.array(["hot", "cold"])[day]})
    y = (place % 2 == day) ^ (rng.random(5000) < 0.05)
    model = make_pipeline(FieldEncoder(), cls(random_state=0)).fit(table, y)
    similar = similar_columns(model, "place=ski2")
    assert {name for name, _ in similar[:2]} == {"place=ski1", "place=ski3"}
    assert all(-1.0001 < cosine < 1.0001 for _, cosine in similar)
    assert [cosine for _, cosine in similar] == sorted((c for _, c in similar), reverse=True)
    assert len(similar_columns(model, "place=ski2", 1)) == 1


@pytest.mark.parametrize("cls", [FMRegressor, FFMRegressor, WideDeepRegressor])
def test_cosines_are_those_of_the_vectors(cls):
    clicks = small_clicks()
    model = cls(random_state=0, max_iter=3, **fields_of(cls, clicks)).fit(clicks.X, clicks.proba)
    V = vectors(model)[0].astype(float)
    if cls is FFMRegressor:  # those for the own field never met anything
        V[np.arange(48), clicks.fields] = 0
    V = V.reshape(48, -1)
    V /= np.linalg.norm(V, axis=1)[:, None].clip(1e-12)
    found = similar_columns(model, 5, 100)
    assert len(found) == ((model.coef_ != 0).sum() - 1 if cls is FMRegressor else 11)
    for name, cosine in found:
        assert cosine == pytest.approx(V[5] @ V[int(name.split()[1])], abs=1e-5)


def test_regressors_speak_in_units_of_y():
    clicks = small_clicks()
    for cls in (FFMRegressor, WideDeepRegressor):
        options = {"interactions": True} if cls is WideDeepRegressor else {}
        strengths = [
            field_interactions(
                cls(random_state=0, max_iter=3, fields=clicks.fields, **options).fit(clicks.X, y),
                clicks.X,
            ).strengths
            for y in (clicks.proba, 1000 * clicks.proba)
        ]
        np.testing.assert_allclose(1000 * strengths[0], strengths[1], rtol=1e-3)
