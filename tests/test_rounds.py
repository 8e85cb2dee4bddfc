"""A fit on shards, in one process: what it depends on, and what it equals."""

import os
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, csr_matrix, hstack

from skfm import FFMClassifier, FFMRegressor, FMClassifier, FMRegressor, WideDeepClassifier
from skfm._checkpoints import Checkpoint
from skfm._model import Gradient
from skfm._rounds import InProcess, Union
from skfm._sharded import Collection, fit_sharded
from skfm.preprocessing import FieldEncoder

from .common import every_estimator, every_solver, few_passes, scores, small_clicks, targets

pytestmark = few_passes


def blocks_of(array, cuts):
    """An array in blocks that end before the rows `cuts`."""
    return [array[a:b] for a, b in pairwise([0, *sorted(cuts), array.shape[0]])]


def fit(model, X, y, weight=None, *, n_shards, cuts=(), cuts_y=None, valid=None, checkpoint=None):
    """Fit on shards in this process; the rows come in blocks."""
    of_weight = None if weight is None else blocks_of(weight, cuts)
    data = Collection(
        blocks_of(X, cuts), blocks_of(y, cuts if cuts_y is None else cuts_y), of_weight
    )
    if valid:
        valid = Collection(*(blocks_of(array, cuts) for array in valid), None, "_val")
    fit_sharded(model, (model, X, y, weight), InProcess(), data, valid, n_shards, checkpoint)
    return model


def numbers_beside(clicks):
    """The clicks beside columns of numbers, one of them far from zero."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(clicks.X.shape[0], 3)) * [1, 5, 0.1] + [0, 2000, 0.5]
    return csr_array(hstack([clicks.X, csr_array(numbers)]))


def three_classes(clicks):
    return np.array(list("abc"))[clicks.y + clicks.y * (clicks.X[:, [0]].toarray()[:, 0] > 0)]


def assert_same(one, other):
    """Two fits have the same bits."""
    for mine, its in zip(one._fitted.models, other._fitted.models, strict=True):
        assert mine.history == its.history
        for name, table in mine.tables.items():
            for a, b in zip(table.arrays, its.tables[name].arrays, strict=True):
                np.testing.assert_array_equal(a, b)


def assert_close(one, other, X):
    """Two fits differ by no more than the rounding of float32, over a few passes."""
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(one.validation_scores_, other.validation_scores_, rtol=1e-4)
    np.testing.assert_allclose(scores(one, X), scores(other, X), rtol=1e-3, atol=1e-3)


@every_solver
@every_estimator
def test_one_shard_is_the_local_fit(cls, solver):
    clicks = small_clicks(600)
    X, y = numbers_beside(clicks), targets(cls(), clicks)
    weight = np.random.default_rng(1).integers(0, 3, 600).astype(float)
    params = dict(solver=solver, batch_size=16, max_iter=3, random_state=0)
    local = cls(**params).fit(X, y, weight)
    assert_close(fit(cls(**params), X, y, weight, n_shards=1, cuts=[7, 100]), local, X)


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (WideDeepClassifier, {"dropout": 0.3}),
        (WideDeepClassifier, {"crosses": "all", "n_cross_buckets": 64, "interactions": True}),
        (FFMClassifier, {"shuffle": False, "class_weight": "balanced"}),
        (FMClassifier, {"early_stopping": False, "k": 0, "l1_linear": 0.001}),
    ],
)
def test_one_shard_is_the_local_fit_with_other_parameters(cls, params, engine_name):
    clicks = small_clicks(600)
    params = params | dict(batch_size=16, max_iter=3, random_state=0, engine=engine_name)
    if cls is not FMClassifier:
        params["fields"] = clicks.fields
    local = cls(**params).fit(clicks.X, clicks.y)
    assert_close(fit(cls(**params), clicks.X, clicks.y, n_shards=1), local, clicks.X)


def test_one_shard_watches_the_rows_given():
    clicks = small_clicks(600)
    X, y = numbers_beside(clicks), three_classes(clicks)
    only_there = csr_array((np.arange(600) < 50).astype(float)[:, None])
    X = csr_array(hstack([only_there, X]))
    valid = X[:100], y[:100]
    params = dict(batch_size=16, max_iter=3, random_state=0)
    local = FMClassifier(**params).fit(X[100:], y[100:], X_val=valid[0], y_val=valid[1])
    sharded = fit(FMClassifier(**params), X[100:], y[100:], n_shards=1, valid=valid, cuts=[50])
    assert_close(sharded, local, X)


@every_estimator
def test_a_step_on_all_rows_is_that_of_one_machine(cls):
    """One step on all rows: the sum of the shards' gradients is the gradient."""
    clicks = small_clicks(90)
    X, y = numbers_beside(clicks), targets(cls(), clicks)
    params = dict(
        batch_size=90, max_iter=1, random_state=0, early_stopping=False, shuffle=False, tol=None
    )
    local = cls(**params).fit(X, y)
    for n_shards in (2, 3, 7):
        sharded = fit(cls(**params), X, y, n_shards=n_shards)
        assert_close(sharded, local, X)
        for mine, its in zip(sharded._fitted.models, local._fitted.models, strict=True):
            for name, table in mine.tables.items():
                np.testing.assert_allclose(table.value, its.tables[name].value, atol=2e-4)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(0, 150), max_size=6),
    st.lists(st.integers(0, 150), max_size=6),
    st.sampled_from([1, 2, 5, 16]),
    st.sampled_from([FFMRegressor, WideDeepClassifier]),
)
def test_the_cut_into_blocks_does_not_matter(cuts, cuts_y, n_shards, cls):
    clicks = small_clicks(150)
    X, y = numbers_beside(clicks), targets(cls(), clicks)
    weight = np.random.default_rng(1).integers(0, 3, 150).astype(float)
    params = dict(random_state=0, max_iter=2, batch_size=32, k=2)
    whole = fit(cls(**params), X, y, weight, n_shards=n_shards)
    assert_same(
        fit(cls(**params), X, y, weight, n_shards=n_shards, cuts=cuts, cuts_y=cuts_y), whole
    )


def test_gradients_are_summed_in_the_order_of_the_shards(engine):
    rng = np.random.default_rng(0)
    touched = [np.sort(rng.choice(20, 8, replace=False)) for _ in range(5)]
    parts = [rng.normal(size=(8, 3)).astype(np.float32) for _ in touched]
    stamps = {"columns": np.full(21, 3, np.int32)}
    union = Union([{"columns": rows, "crosses": None} for rows in touched], engine, stamps)
    found = union.sum(
        [Gradient(0.5, {"v": part}, {"columns": part[:, 0]}) for part in parts], {"v": "columns"}
    )
    rows = union.rows("columns")
    assert sorted(rows.tolist()) == sorted({*np.concatenate(touched).tolist()})
    for at, row in enumerate(rows):
        total = np.zeros(3, np.float32)
        for its_rows, part in zip(touched, parts, strict=True):
            if row in its_rows:
                total += part[np.searchsorted(its_rows, row)]
        np.testing.assert_array_equal(found.of["v"][at], total)
        assert found.counts["columns"][at] == total[0]
    assert found.loss == 2.5


def test_shards_may_be_empty_or_have_one_class():
    clicks = small_clicks(200)
    order = np.argsort(clicks.y, kind="stable")
    X, y = clicks.X[order], np.where(clicks.y[order], "yes", "no")
    weight = np.ones(200)
    weight[:60] = 0  # leaves nothing in some shards
    model = fit(FMClassifier(random_state=0, max_iter=3), X, y, weight, n_shards=8)
    assert model.classes_.tolist() == ["no", "yes"]
    assert np.isfinite(model.predict_proba(X)).all()


def test_blocks_may_differ_in_type():
    clicks = small_clicks(200)
    X, y = clicks.X.astype(np.float64), clicks.y
    whole = fit(FMClassifier(random_state=0, max_iter=2), X, y, n_shards=3)
    first, wide = csr_matrix(X[:50].astype(np.int8)), csr_array(X[50:90])
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    blocks = [first, wide, X[90:90], X[90:120].toarray(), X[120:], np.empty((0, X.shape[1]))]
    model = FMClassifier(random_state=0, max_iter=2)
    data = Collection(blocks, [y[:90].astype(float), y[90:]], None)
    fit_sharded(model, (model, X, y, None), InProcess(), data, None, 3)
    assert_same(model, whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b | {"X": [b["X"][0], b["X"][1][:, 1:]]}, "block 1.* has 47 columns, block 0"),
        (lambda b: b | {"y": [b["y"][0]]}, "X has 200 rows, y has 100"),
        (lambda b: b | {"y": [b["y"][0], b["y"][1].astype(str)]}, "labels have one type"),
        (lambda b: b | {"y": [np.zeros(200)]}, "only one class"),
        (lambda b: b | {"weight": [-np.ones(200)]}, "block 0.* non-negative"),
        (lambda b: b | {"weight": [np.zeros(200)]}, "sample_weight must not be all zero"),
        (lambda b: b | {"X": [b["X"][0], b["X"][1] * np.nan]}, r"X \(block 1\) contains NaN"),
        (lambda b: b | {"X": [b["X"][0][:0]], "y": [b["y"][0][:0]]}, "nothing to learn from"),
    ],
)
def test_faulty_blocks_are_named(change, message):
    clicks = small_clicks(200)
    blocks = {"X": blocks_of(clicks.X, [100]), "y": blocks_of(clicks.y, [100]), "weight": None}
    model = FMClassifier(max_iter=1)
    data = Collection(**change(blocks))
    with pytest.raises(ValueError, match=message):
        fit_sharded(model, (model, None, None, None), InProcess(), data, None, 2)


def test_a_batch_has_a_row_of_each_shard():
    clicks = small_clicks(100)
    with pytest.raises(ValueError, match="leaves no row for some of the n_shards=8"):
        fit(FMClassifier(batch_size=4), clicks.X, clicks.y, n_shards=8)


class Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.parametrize("cls", [FMRegressor, FFMClassifier])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_killed_fit_goes_on_with_the_same_bits(cls, early_stopping, tmp_path, monkeypatch):
    clicks = small_clicks(200)
    y = three_classes(clicks) if cls is FFMClassifier else targets(cls(), clicks)
    params = dict(random_state=0, max_iter=4, early_stopping=early_stopping)
    whole = fit(cls(**params), clicks.X, y, n_shards=3)
    path, write = tmp_path / "checkpoint", Checkpoint.write
    for _ in range(20):
        n_passes = []

        def write_and_die(self, output, state, n_passes=n_passes):
            write(self, output, state)
            n_passes.append(output)
            if len(n_passes) == 3:
                raise Killed

        monkeypatch.setattr(Checkpoint, "write", write_and_die)
        try:
            model = fit(cls(**params), clicks.X, y, n_shards=3, checkpoint=Checkpoint(path, params))
            break
        except Killed:
            assert path.exists()
    assert_same(model, whole)
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_is_of_one_fit(tmp_path, monkeypatch):
    clicks, path = small_clicks(200), tmp_path / "checkpoint"
    monkeypatch.setattr(Checkpoint, "remove", lambda _: None)
    params = dict(random_state=0, max_iter=1)
    fit(FMClassifier(**params), clicks.X, clicks.y, n_shards=2, checkpoint=Checkpoint(path, params))
    with pytest.raises(ValueError, match="of a fit with other settings"):
        Checkpoint(path, params | {"k": 3})
    with pytest.raises(ValueError, match="of a fit with other data"):
        fit(
            FMClassifier(**params),
            clicks.X,
            1 - clicks.y,
            n_shards=2,
            checkpoint=Checkpoint(path, params),
        )
    path.write_bytes(pickle.dumps(3))
    with pytest.raises(ValueError, match="is not a checkpoint"):
        Checkpoint(path, params)


def test_an_interrupted_write_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    clicks, path = small_clicks(200), tmp_path / "checkpoint"
    params = dict(random_state=0, max_iter=3)
    dump, n_dumps = pickle.dump, []

    def dump_half(state, file, **how):
        n_dumps.append(1)
        if len(n_dumps) == 2:
            file.write(b"half")
            raise Killed
        dump(state, file, **how)

    monkeypatch.setattr("skfm._checkpoints.pickle.dump", dump_half)
    with pytest.raises(Killed):
        fit(FMClassifier(**params), clicks.X, clicks.y, n_shards=2, checkpoint=Checkpoint(path, 0))
    assert Checkpoint(path, 0).read(0)[-1].n_passes == 1


def test_a_slice_of_encoded_blocks_needs_no_names():
    """Slicing a matrix loses the names of its variables; a block in another order is refused."""
    table = np.array([["a", "x"], ["b", "y"]] * 60, object)
    encoder = FieldEncoder(n_buckets=8)
    X, y = encoder.fit_transform(table), np.arange(120) % 2
    params = dict(max_iter=1, random_state=0, engine="numpy")
    whole = fit(FMClassifier(**params), X, y, n_shards=2)
    for blocks in ([X[:50], X[50:]], [encoder.transform(table[:50]), X[50:]]):
        data = Collection(blocks, [y], None)
        model = FMClassifier(**params)
        fit_sharded(model, (model, X, y, None), InProcess(), data, None, 2)
        assert_same(model, whole)


def test_small_weights_and_too_many_shards_are_named():
    clicks = small_clicks(120)
    with pytest.warns(UserWarning, match=r"row weights are 0.0001 on average"):
        fit(FMClassifier(max_iter=1), clicks.X, clicks.y, np.full(120, 1e-4), n_shards=2)
    with pytest.raises(ValueError, match=r"n_shards=120 is too many for 120 rows"):
        fit(FMClassifier(), clicks.X, clicks.y, n_shards=120)


@pytest.mark.parametrize("labels", [[0, 1], ["a", "b"]])
def test_shards_without_rows_leave_the_type_of_the_labels(labels):
    y = np.array(labels)[[0, 1, 0, 1, 1]]
    model = fit(FMClassifier(max_iter=1), csr_array(np.eye(5)), y, n_shards=8)
    assert model.classes_.dtype == y.dtype


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "here", {})
    monkeypatch.setattr(os, "fsync", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checkpoint.write(0, {})
    assert not [*tmp_path.iterdir()]


def test_weights_of_a_part_are_checked_as_those_of_all(tmp_path):
    clicks = small_clicks(120)
    for wrong in (np.ma.masked_equal(np.arange(120), 3), np.ones(120, "M8[D]"), np.ones(120) + 1j):
        with pytest.raises(ValueError, match=r"mask|times|[Cc]omplex"):
            fit(FMClassifier(), clicks.X, clicks.y, wrong, n_shards=2)


def test_a_damaged_checkpoint_and_a_path_without_folder_are_refused(tmp_path):
    path = tmp_path / "here"
    Checkpoint(path, 0).write(0, {"some": "state"})
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        with pytest.raises(ValueError, match="is not a checkpoint"):
            Checkpoint(path, 0)
    with pytest.raises(ValueError, match=r"checkpoint='.*nowhere/it' cannot be written"):
        Checkpoint(tmp_path / "nowhere" / "it", 0)
