"""Terms against their definitions, written out by brute force, and against finite differences."""

import pickle
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from skfm import FwFMRegressor
from skfm._crosses import check_crosses
from skfm._fields import check_fields
from skfm._hashing import hashed_normal
from skfm._model import layouts_of
from skfm._network import Network
from skfm._parameters import Training, WithFields, documented
from skfm._prediction import Regressor
from skfm._tables import Layout, Setting
from skfm._terms import (
    Evaluation,
    FieldWeighted,
    Interactions,
    Linear,
    PooledInteractions,
    Term,
)

from .common import make_batch

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
    """The value in each bucket."""
    found = {}
    for cross in crosses:
        present = [np.flatnonzero((x != 0) & (fields == field)) for field in sorted(cross)]
        for columns in product(*present):
            hashed = 0
            for column in columns:
                hashed = mix(hashed + mix(int(column)) & 2**64 - 1)
            bucket = hashed % n_buckets
            found[bucket] = found.get(bucket, 0) + np.prod(x[list(columns)])
    return found


def network(x, fields, embeddings, layers, activation):
    """A forward pass by hand, for one row."""
    pooled = [(x * (fields == field)) @ embeddings for field in range(fields.max() + 1)]
    hidden = np.concatenate(pooled)
    for weights, biases in zip(layers[0:-1:2], layers[1::2], strict=True):
        hidden = ACTIVATE[activation](hidden @ weights + biases[0])
    return hidden @ layers[-1][:, 0]


def pairs(x):
    return combinations(np.flatnonzero(x), 2)


# The score of one row by each term, by its definition. Tables have a row for each column.


def linear(term, x, fields, tables):
    return x @ tables["linear"][:, 0]


def crosses(term, x, fields, tables):
    (spec,) = [term.structure]
    found = crosses_by_definition(x, fields, spec["crosses"], spec["n_cross_buckets"])
    return sum(tables["crosses"][bucket, 0] * value for bucket, value in found.items())


def machine(term, x, fields, tables):
    w, V = np.split(tables["interactions"], [1], axis=1)
    V = V.reshape(len(V), term.n_fields, -1)
    of = fields if term.n_fields > 1 else np.zeros_like(fields)
    return x @ w[:, 0] + sum(V[i, of[j]] @ V[j, of[i]] * x[i] * x[j] for i, j in pairs(x))


def pooled(term, x, fields, tables):
    V = tables["embeddings"]
    return sum(V[i] @ V[j] * x[i] * x[j] for i, j in pairs(x))


def field_weighted(term, x, fields, tables):
    V, r = tables["factors"], tables["field_weights"]
    return sum(r[fields[i], fields[j]] * (V[i] @ V[j]) * x[i] * x[j] for i, j in pairs(x))


def deep(term, x, fields, tables):
    layers = [value for name, value in tables.items() if name != "embeddings"]
    return network(x, fields, tables["embeddings"], layers, term.activation)


@st.composite
def problems(draw, engine):
    """A term and a batch: multi-valued fields, values other than 1, zeros and empty rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_fields = draw(st.integers(2, 3))
    fields = np.concatenate([np.arange(n_fields), rng.integers(n_fields, size=4)])
    if draw(st.booleans()):
        fields.sort()
    shape = draw(st.integers(1, 5)), len(fields)
    X = (rng.normal(size=shape) if draw(st.booleans()) else 1) * (rng.random(shape) < 0.6)
    X[rng.integers(len(X))] *= draw(st.integers(0, 1))
    k, scale, key = 3, 0.1, (1, 0)  # each k is compiled
    hidden, activation = (
        draw(st.sampled_from([(), (4,), (3, 2)])),
        draw(st.sampled_from([*ACTIVATE])),
    )
    named = draw(
        st.sampled_from([[(0, 1)], "all", [(1, 0, n_fields - 1), (0, 1)][n_fields == 2 :]])
    )
    found = check_crosses(named, check_fields(fields, X), draw(st.sampled_from([5, 2**20])))
    term, definition = draw(
        st.sampled_from(
            [
                (Linear(), linear),
                (Linear(found), crosses),
                (Interactions(draw(st.sampled_from([0, 1, 3])), 1, scale, key), machine),
                (Interactions(k, n_fields, scale, key), machine),
                (PooledInteractions(k, scale, key), pooled),
                (FieldWeighted(k, n_fields, scale, key), field_weighted),
                (Network(k, n_fields, hidden, activation, 0.0, scale, key), deep),
            ]
        )
    )
    one_field = definition is machine and term.n_fields == 1
    batch = make_batch(engine, X, np.zeros_like(fields) if one_field else fields, found)
    tables, values = {}, {}
    for layout in term.layouts():
        n = X.shape[1] if layout.of == "columns" else layout.n_rows
        tables[layout.name] = rng.normal(size=(n, layout.width))
        if layout.name == "field_weights":
            tables[layout.name] += tables[layout.name].T
        rows = batch.rows(layout.of)
        whole = tables[layout.name]
        values[layout.name] = whole.copy() if rows is None else whole[rows]
    return term, definition, X, fields, batch, tables, values, rng.normal(size=len(X))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_scores_equal_their_definition(engine, data):
    term, definition, X, fields, batch, tables, values, _ = data.draw(problems(engine))
    scores, _ = term.forward(Evaluation(engine, batch, values))
    expected = [definition(term, x, fields, tables) for x in X]
    np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_gradients_in_every_table_equal_finite_differences(engine, data):
    term, *_, batch, _, values, delta = data.draw(problems(engine))
    evaluation = Evaluation(engine, batch, values)
    term.backward(evaluation, term.forward(evaluation)[1], delta.copy())
    gradients = evaluation.gradients()
    assert {n: g.shape for n, g in gradients.items()} == {n: v.shape for n, v in values.items()}
    for table, gradient in gradients.items():
        for position in np.ndindex(gradient.shape):
            scores = []
            for step in (1e-6, -1e-6):
                moved = {name: value.copy() for name, value in values.items()}
                moved[table][position] += step
                if table == "field_weights" and position[0] != position[1]:
                    moved[table][position[::-1]] += step  # the same weight
                scores.append(term.forward(Evaluation(engine, batch, moved))[0])
            numeric = delta @ (scores[0] - scores[1]) / 2e-6
            np.testing.assert_allclose(gradient[position], numeric, rtol=1e-6, atol=1e-6)


def test_an_interaction_worked_out_by_hand(engine):
    V = np.array([[0, 1.0, 0.5], [0, 2.0, -1.0], [0, 0.0, 3.0]])
    batch = make_batch(engine, np.array([[1.0, 2.0, -1.0]]), [0, 0, 0])
    values = {"interactions": V[batch.touched]}
    score, _ = Interactions(2, 1, 0.1, (0, 0)).forward(Evaluation(engine, batch, values))
    # 1·2·(2 − 0.5) + 1·(−1)·1.5 + 2·(−1)·(−3)
    assert score == pytest.approx([3.0 - 1.5 + 6.0])


def test_terms_that_share_a_table_add_up_and_pool_once(engine, monkeypatch):
    calls = []
    monkeypatch.setattr(engine, "pool", lambda *a, pool=engine.pool: calls.append(1) or pool(*a))
    rng = np.random.default_rng(0)
    X, fields = rng.normal(size=(5, 6)), np.repeat(np.arange(3), 2)
    batch, delta = make_batch(engine, X, fields), rng.normal(size=5)
    terms = [PooledInteractions(2, 0.1, (0, 0)), Network(2, 3, (4,), "tanh", 0.0, 0.1, (0, 0))]
    values = {
        layout.name: rng.normal(size=(6 if layout.of == "columns" else layout.n_rows, layout.width))
        for term in terms
        for layout in term.layouts()
    }
    together = Evaluation(engine, batch, values)
    memories = [term.forward(together)[1] for term in terms]
    assert len(calls) == 1
    for term, memory in zip(terms, memories, strict=True):
        term.backward(together, memory, delta.copy())
    expected = 0
    for term in terms:
        alone = Evaluation(engine, batch, values)
        term.backward(alone, term.forward(alone)[1], delta.copy())
        expected = expected + alone.gradients()["embeddings"]
    np.testing.assert_allclose(together.gradients()["embeddings"], expected)


def test_dropout_leaves_out_its_share_and_keeps_the_mean(engine):
    term = Network(4, 2, (1000,), "identity", 0.3, 1.0, (5, 0))
    batch = make_batch(engine, np.ones((50, 2)), np.arange(2))
    values = {"embeddings": np.ones((2, 4)), "weights1": np.ones((8, 1000))}
    values |= {"biases1": np.zeros((1, 1000)), "weights2": np.ones((1000, 1))}

    def forward(step=None):
        return term.forward(Evaluation(engine, batch, values, step))

    (*_, masks) = forward(3)[1]
    share = (masks[0] == 0).mean()
    assert abs(share - 0.3) < 5 * np.sqrt(0.21 / masks[0].size)
    np.testing.assert_allclose(masks[0][masks[0] > 0], 1 / 0.7)
    again, other = forward(3)[0], forward(4)[0]
    np.testing.assert_array_equal(again, forward(3)[0])
    assert (again != other).any()
    np.testing.assert_array_equal(forward()[0], 8000)


def test_a_table_means_one_thing():
    network = Network(4, 2, (3,), "tanh", 0.0, 0.1, (0, 0))
    assert layouts_of([PooledInteractions(4, 0.1, (0, 0)), network])["embeddings"].width == 4
    with pytest.raises(ValueError, match="different tables by the name 'embeddings'"):
        layouts_of([PooledInteractions(8, 0.1, (0, 0)), network])


class Backwards(FwFMRegressor):
    """With its terms in another order."""

    def _make_terms(self, fields, crosses, key):
        return super()._make_terms(fields, crosses, key)[::-1]


def test_the_order_of_terms_does_not_matter():
    X = np.random.default_rng(0).normal(1000, 1, size=(60, 3))  # columns that are shifted
    params = {"fields": 3, "max_iter": 3, "tol": None, "random_state": 0}
    one, other = (cls(**params).fit(X, X.sum(axis=1)) for cls in (FwFMRegressor, Backwards))
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-4)
    np.testing.assert_allclose(one.intercept_, other.intercept_, rtol=1e-4)


def test_all_weights_one_is_the_factorization_machine(engine):
    rng = np.random.default_rng(0)
    X, fields = rng.normal(size=(5, 6)), np.repeat(np.arange(3), 2)
    batch, V = make_batch(engine, X, fields), rng.normal(size=(6, 2))
    weighted = {"factors": V[batch.touched], "field_weights": np.ones((3, 3))}
    plain = {"embeddings": V[batch.touched]}
    found, _ = FieldWeighted(2, 3, 0.1, (0, 0)).forward(Evaluation(engine, batch, weighted))
    expected, _ = PooledInteractions(2, 0.1, (0, 0)).forward(Evaluation(engine, batch, plain))
    np.testing.assert_allclose(found, expected)


class Product(Term):
    """The product of two weighted sums, of the columns of field 0 and of those of field 1."""

    def __init__(self, key):
        self.key = key

    def layouts(self):
        initial = lambda columns: hashed_normal(self.key, columns, 1, 0.5)  # noqa: E731
        return [Layout("product", "columns", {"product": 1}, initial)]

    def forward(self, evaluation):
        return evaluation.pooled("product")[:, :, 0].prod(axis=1), None

    def backward(self, evaluation, memory, delta):
        others = evaluation.pooled("product")[:, ::-1]
        evaluation.add_pooled("product", delta[:, None, None] * others)

    def attributes(self, columns, values, seen):
        seen["product"] = columns.per_value(values["product"])[:, 0]


@documented({})
@dataclass(repr=False, eq=False, kw_only=True)
class ProductRegressor(Training, WithFields, Regressor):
    def _make_terms(self, fields, crosses, key):
        return [Linear(), Product(key)]

    def _settings(self, fields, weight, entries):
        setting = Setting.of(self, "adagrad", learning_rate=0.3)
        return dict.fromkeys(["bias", "linear", "product"], setting)


def test_a_model_is_a_list_of_terms(engine_name):
    rng = np.random.default_rng(0)
    first, second = rng.integers(4, size=(2, 600))
    X = np.hstack([np.eye(4)[first], np.eye(4)[second]])
    y = 10.0 * np.array([-1, 2, 0, 1])[first] * np.array([1, -1, 2, 0])[second]
    model = ProductRegressor(fields=2, engine=engine_name, random_state=0).fit(X[:400], y[:400])
    assert model.score(X[400:], y[400:]) > 0.99
    fitted = model._fitted
    u = fitted.spread("product")[0]
    products = (X[:, :4] @ u[:4]) * (X[:, 4:] @ u[4:]) * fitted.target.scale
    expected = model.intercept_ + X @ model.coef_[0] + products
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-4)

    params = dict(fields=2, engine=engine_name, batch_size=50, random_state=0)
    whole = ProductRegressor(**params).partial_fit(X, y)
    sliced = ProductRegressor(**params).partial_fit(X[:300], y[:300])
    loaded = pickle.loads(pickle.dumps(sliced))
    for other in (sliced, loaded):
        other.partial_fit(X[300:], y[300:])
        np.testing.assert_array_equal(other.predict(X), whole.predict(X))
