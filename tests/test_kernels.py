"""Heads against the sum over pairs, their gradients against finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from skfm._batch import Batcher, Columns
from skfm._fields import check_fields
from skfm._heads import Interactions
from skfm._losses import LogLoss, SquaredLoss

from .common import all_columns, make_batch


def score_by_definition(x, fields, w, V):
    """w·x plus ⟨v_{i,f(j)}, v_{j,f(i)}⟩ x_i x_j over the pairs i < j of a dense row."""
    present = np.flatnonzero(x)
    return w @ x + sum(
        V[i, fields[j]] @ V[j, fields[i]] * x[i] * x[j] for i in present for j in present if i < j
    )


def table(w, V):
    """Parameter rows as the heads want them: a linear weight, then the factors."""
    return np.hstack([w[:, None], V.reshape(len(V), -1)])


@st.composite
def problems(draw):
    """Random rows with multi-valued fields, values other than 1, zeros and empty rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows, n_columns = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    X = rng.normal(size=(n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.6)
    if draw(st.booleans()):
        X[rng.integers(n_rows)] = 0
    n_fields = draw(st.integers(1, 4))
    fields = np.unique(rng.integers(n_fields, size=n_columns), return_inverse=True)[1]
    if draw(st.booleans()):
        fields.sort()
    k = draw(st.integers(0, 3))
    n_fields = fields.max() + 1
    V = rng.normal(size=(n_columns, n_fields, k))
    return X, fields, rng.normal(size=n_columns), V, rng.normal(size=n_rows)


@settings(max_examples=100, deadline=None)
@given(problem=problems(), stored_zero=st.booleans())
def test_scores_equal_their_definition(engine, problem, stored_zero):
    X, fields, w, V, _ = problem
    csr = csr_array(X)
    if stored_zero and csr.nnz:
        csr.data[0] = 0
    batch, X = make_batch(engine, csr, fields), csr.toarray()
    head = Interactions(V.shape[2], V.shape[1], 0.1, (0, 0))
    scores, _ = head.forward(engine, batch, [table(w, V)[batch.touched]])
    expected = [score_by_definition(x, fields, w, V) for x in X]
    np.testing.assert_allclose(scores, expected, rtol=1e-13, atol=1e-13)


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_gradients_equal_finite_differences(engine, problem):
    X, fields, w, V, delta = problem
    batch = make_batch(engine, X, fields)
    head = Interactions(V.shape[2], V.shape[1], 0.1, (0, 0))
    U = table(w, V)[batch.touched]
    memory = head.forward(engine, batch, [U])[1]
    (gradient,) = head.backward(engine, batch, [U], memory, delta)
    assert gradient.shape == U.shape
    for position in np.ndindex(U.shape):
        step = np.zeros_like(U)
        step[position] = 1e-3
        # Scores are quadratic in V, so that central differences are exact.
        up, down = (head.forward(engine, batch, [U + s])[0] for s in (step, -step))
        np.testing.assert_allclose(gradient[position], delta @ (up - down) / 2e-3, atol=1e-9)


def test_one_field_is_the_factorization_machine_and_columns_within_fields_interact(engine):
    x = np.array([[1.0, 2.0, -1.0]])
    V = np.array([[1.0, 0.5], [2.0, -1.0], [0.0, 3.0]])
    batch = make_batch(engine, x, [0, 0, 0])
    rows = table(np.zeros(3), V)[batch.touched]
    score, _ = Interactions(2, 1, 0.1, (0, 0)).forward(engine, batch, [rows])
    # 1·2·(2 − 0.5) + 1·(−1)·1.5 + 2·(−1)·(−3), worked out by hand.
    assert score == pytest.approx([3.0 - 1.5 + 6.0])


def test_batches_hold_the_asked_rows_over_distinct_columns(engine):
    rng = np.random.default_rng(0)
    X = csr_array(rng.normal(size=(20, 12)) * (rng.random((20, 12)) < 0.4))
    fields = np.arange(12) % 3  # not ascending
    columns = Columns(12, check_fields(fields, X))
    new = columns.new_in(X, np.arange(20))
    columns = columns.extended(new, [part[new] for part in all_columns(12)[1]])
    batcher = Batcher(X, columns, None, engine, np.float64)
    rows = np.array([7, 3, 19, 3])
    batch = batcher(rows)
    assert len(np.unique(batch.touched)) == len(batch.touched)
    seen = columns.seen[batch.touched]
    np.testing.assert_array_equal(batch.X.toarray(), X.toarray()[rows][:, seen])
    np.testing.assert_array_equal(batch.squares.toarray(), X.toarray()[rows][:, seen] ** 2)
    pooled = batch.P.toarray().reshape(4, 3, -1)
    for field in range(3):
        expected = batch.X.toarray() * (fields[seen] == field)
        np.testing.assert_array_equal(pooled[:, field], expected)
    weight = np.array([1.0, 0.5, 2.0, 3.0])
    np.testing.assert_allclose(batch.pattern.T @ weight, weight @ (batch.X.toarray() != 0))


def test_columns_without_a_slot_are_left_out(engine):
    X = csr_array(np.arange(1.0, 13.0).reshape(3, 4))
    columns = Columns(4, check_fields([0, 0, 1, 1], X))
    columns = columns.extended(np.array([1, 3]), all_columns(2)[1])
    batch = Batcher(X, columns, None, engine)(np.arange(3))
    assert columns.seen.tolist() == [1, 3]
    np.testing.assert_array_equal(
        batch.X.toarray()[:, np.argsort(batch.touched)], X.toarray()[:, [1, 3]]
    )


@pytest.mark.parametrize("loss", [LogLoss, SquaredLoss])
def test_loss_gradients_equal_finite_differences(loss):
    raw = np.linspace(-30, 30, 41)
    for y in (0.0, 1.0):
        numeric = (loss.value(y, raw + 1e-5) - loss.value(y, raw - 1e-5)) / 2e-5
        np.testing.assert_allclose(loss.gradient(y, raw), numeric, atol=1e-8)


def test_log_loss_does_not_overflow():
    raw = np.array([-1e4, 1e4])
    np.testing.assert_array_equal(LogLoss.value(np.array([1.0, 0.0]), raw), [1e4, 1e4])
    np.testing.assert_array_equal(LogLoss.value(np.array([0.0, 1.0]), raw), [0, 0])


def test_losses_start_at_the_best_constant():
    y, weight = np.array([0.0, 0.0, 1.0]), np.array([1.0, 2.0, 5.0])
    assert LogLoss.start(y, weight) == pytest.approx(np.log(5.5 / 3.5))
    assert SquaredLoss.start(y, weight) == pytest.approx(5 / 8)


def test_initial_factors_are_hashed_per_column_and_look_normal():
    head = Interactions(8, 5, 0.1, (42, 0))
    (values,) = head.initial_rows(np.arange(20_000))
    assert values.shape == (20_000, 41)
    assert values.dtype == np.float32
    assert not values[:, 0].any()
    some = np.array([19_999, 3, 500])
    np.testing.assert_array_equal(head.initial_rows(some)[0], values[some])
    (other_output,) = Interactions(8, 5, 0.1, (42, 1)).initial_rows(some)
    assert not np.any(other_output[:, 1:] == values[some, 1:])
    # 800,000 numbers: five standard errors of mean, deviation and lag-one products.
    z = values[:, 1:].astype(float) / 0.1
    assert abs(z.mean()) < 5 / 894
    assert abs(z.std() - 1) < 5 / 894
    assert abs((z[:, 1:] * z[:, :-1]).mean()) < 5 / 883
    assert abs((z[1:] * z[:-1]).mean()) < 5 / 894
