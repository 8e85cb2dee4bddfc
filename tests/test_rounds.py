"""A fit on shards, in one process: what it depends on, and what it equals."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix, hstack

from skfm import FFMClassifier, FMClassifier, FMRegressor, WideDeepClassifier
from skfm._rounds import InProcess
from skfm._sharded import Collection, fit_sharded

from .common import (
    CLASSIFIERS,
    every_estimator,
    every_solver,
    few_passes,
    scores,
    small_clicks,
    targets,
)

pytestmark = few_passes


def blocks_of(array, cuts):
    """An array in blocks that end before the rows `cuts`."""
    edges = [0, *sorted(cuts), len(array) if not hasattr(array, "tocsr") else array.shape[0]]
    return [array[a:b] for a, b in pairwise(edges)]


def fit(model, X, y, weight=None, *, n_shards, cuts=(), cuts_y=None, valid=None, checkpoint=None):
    """Fit on shards in this process; the rows come in blocks."""
    cuts_y = cuts if cuts_y is None else cuts_y
    data = Collection(
        blocks_of(X, cuts),
        blocks_of(y, cuts_y),
        weight if weight is None else blocks_of(weight, cuts),
    )
    if valid:
        valid = Collection(blocks_of(valid[0], cuts), blocks_of(valid[1], cuts), None, "_val")
    fit_sharded(model, (model, X, y, weight), InProcess(), data, valid, n_shards, checkpoint)
    return model


def numbers_beside(clicks):
    """The clicks beside columns of numbers, one of them far from zero."""
    rng = np.random.default_rng(0)
    n = clicks.X.shape[0]
    numbers = rng.normal(size=(n, 3)) * [1, 5, 0.1] + [0, 2000, 0.5]
    return csr_array(hstack([clicks.X, csr_array(numbers)]))


def assert_same(one, other):
    """Two fits have the same bits."""
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    for a, b in zip(one._fitted.models, other._fitted.models, strict=True):
        for name, table in a.tables.items():
            for mine, its in zip(table.arrays, b.tables[name].arrays, strict=True):
                np.testing.assert_array_equal(mine, its)


@every_solver
@every_estimator
def test_one_shard_is_the_local_fit(cls, solver):
    clicks = small_clicks(600)
    X, y = numbers_beside(clicks), targets(cls(), clicks)
    weight = np.random.default_rng(1).integers(0, 3, 600).astype(float)
    params = dict(solver=solver, batch_size=16, max_iter=3, random_state=0)
    local = cls(**params).fit(X, y, weight)
    sharded = fit(cls(**params), X, y, weight, n_shards=1, cuts=[7, 100])
    np.testing.assert_allclose(sharded.loss_curve_, local.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(scores(sharded, X), scores(local, X), rtol=1e-4, atol=1e-4)
