"""Batches, sums over them, losses and initial values."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from skfm._batch import Batcher, Columns
from skfm._fields import check_fields
from skfm._losses import LogLoss, SquaredLoss
from skfm._terms import Interactions

from .common import all_columns


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
    expected, weight = X.toarray()[rows][:, seen], np.array([1.0, 0.5, 2.0, 3.0])
    w, V = rng.normal(size=(len(seen), 1)), rng.normal(size=(len(seen), 2))
    for power in (1, 2):
        powers = expected**power
        np.testing.assert_allclose(engine.row_sums(batch, w, power), powers @ w[:, 0])
        np.testing.assert_allclose(engine.column_sums(batch, weight, power), weight @ powers)
    np.testing.assert_allclose(engine.column_sums(batch, weight, 0), weight @ (expected != 0))
    pooled = engine.pool(batch, V).reshape(4, 3, -1)
    for field in range(3):
        np.testing.assert_allclose(pooled[:, field], (expected * (fields[seen] == field)) @ V)
    E = rng.normal(size=(12, 2))
    by_field = np.stack([expected * (fields[seen] == field) for field in range(3)], axis=1)
    np.testing.assert_allclose(
        engine.pool_gradient(batch, E), by_field.reshape(12, -1).T @ E, atol=1e-12
    )


def test_columns_without_a_slot_are_left_out(engine):
    X = csr_array(np.arange(1.0, 13.0).reshape(3, 4))
    columns = Columns(4, check_fields([0, 0, 1, 1], X))
    columns = columns.extended(np.array([1, 3]), all_columns(2)[1])
    batch = Batcher(X, columns, None, engine)(np.arange(3))
    assert columns.seen.tolist() == [1, 3]
    for weight in np.eye(3):
        sums = engine.column_sums(batch, weight.astype(np.float32))[np.argsort(batch.touched)]
        np.testing.assert_array_equal(sums, weight @ X.toarray()[:, [1, 3]])


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
    assert LogLoss.start(LogLoss.sum(y, weight), weight.sum()) == pytest.approx(np.log(5.5 / 3.5))
    assert SquaredLoss.start(SquaredLoss.sum(y, weight), weight.sum()) == pytest.approx(5 / 8)


def test_initial_factors_are_hashed_per_column_and_look_normal():
    (layout,) = Interactions(8, 5, 0.1, (42, 0)).layouts()
    values = layout.initial(np.arange(20_000))
    assert values.shape == (20_000, 41)
    assert values.dtype == np.float32
    assert not values[:, 0].any()
    some = np.array([19_999, 3, 500])
    np.testing.assert_array_equal(layout.initial(some), values[some])
    (other,) = Interactions(8, 5, 0.1, (42, 1)).layouts()
    other_output = other.initial(some)
    assert not np.any(other_output[:, 1:] == values[some, 1:])
    # 800,000 numbers: five standard errors of mean, deviation and lag-one products.
    z = values[:, 1:].astype(float) / 0.1
    assert abs(z.mean()) < 5 / 894
    assert abs(z.std() - 1) < 5 / 894
    assert abs((z[:, 1:] * z[:, :-1]).mean()) < 5 / 883
    assert abs((z[1:] * z[:-1]).mean()) < 5 / 894
