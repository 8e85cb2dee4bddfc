"""Solvers against their published update rules, one coordinate at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from skfm import FMClassifier, WideDeepClassifier
from skfm._solvers import FTRL, SOLVERS, AdaGrad, Solver
from skfm._tables import Layout, Table
from skfm._terms import filled

from .common import small_clicks


def sparse_updates(seed, n_steps=30, n_rows=6, width=2):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(n_rows, width))
    start[0] = 0
    for_rows = []
    for _ in range(n_steps):
        rows = rng.permutation(n_rows)[: rng.integers(1, n_rows + 1)]
        grad = rng.normal(size=(len(rows), width)) * 10.0 ** rng.integers(-3, 2)
        for_rows.append((rows, grad, rng.uniform(0.1, 3, size=len(rows))))
    return start, for_rows


def table(solver, start):
    groups = {"weights": start.shape[1]}
    return Table(Layout("weights", "all", groups, lambda rows: start[rows], len(start)), solver)


def step(engine, found, rows, grad, count):
    values = found.value if rows is None else found.value[rows]
    grad = grad.copy()
    assert engine.add_penalty(grad, values, count, found.solver.l2)
    found.solver.update(engine, found.arrays, rows, values, grad, count, 0)


def run(engine, solver, start, updates):
    found = table(solver, start)
    for rows, grad, count in updates:
        step(engine, found, rows, grad, count)
    return found


class ReferenceAdaGrad:
    """Duchi et al. 2011: w ← prox of λ₁·count·η/√G at w − η/√G·g, with G from 1 on."""

    def __init__(self, w, eta, l1, l2):
        self.w, self.total, self.eta, self.l1, self.l2 = w, 1.0, eta, l1, l2

    def update(self, g, count):
        g = g + self.l2 * count * self.w
        self.total += g * g
        rate = self.eta / np.sqrt(self.total)
        w = self.w - rate * g
        self.w = np.sign(w) * max(0.0, abs(w) - self.l1 * count * rate)


class ReferenceFTRL:
    """McMahan et al. 2013, algorithm 1; λ₂ is in the gradient."""

    def __init__(self, w, alpha, beta, l1, l2):
        self.alpha, self.beta, self.l1, self.l2 = alpha, beta, l1, l2
        self.w, self.n = w, 0.0
        self.z = -(w * beta / alpha + np.sign(w) * l1)

    def update(self, g, count):
        g = g + self.l2 * count * self.w
        sigma = (np.sqrt(self.n + g * g) - np.sqrt(self.n)) / self.alpha
        self.z += g - sigma * self.w
        self.n += g * g
        if abs(self.z) <= self.l1:
            self.w = 0.0
        else:
            shrunk = self.z - np.sign(self.z) * self.l1
            self.w = -shrunk / ((self.beta + np.sqrt(self.n)) / self.alpha)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["adagrad", "ftrl"]),
    rate=st.floats(1e-3, 10),
    l1=st.sampled_from([0.0, 0.01, 0.5]),
    l2=st.sampled_from([0.0, 0.02, 1.0]),
    beta=st.sampled_from([0.1, 1.0]),
)
def test_solvers_follow_their_published_rules(engine, seed, kind, rate, l1, l2, beta):
    start, updates = sparse_updates(seed)
    if kind == "adagrad":
        found = run(engine, AdaGrad(rate, l1, l2), start, updates)
        make = lambda w: ReferenceAdaGrad(w, rate, l1, l2)  # noqa: E731
    else:
        found = run(engine, FTRL(rate, l1, l2, ftrl_beta=beta), start, updates)
        make = lambda w: ReferenceFTRL(w, rate, beta, l1, l2)  # noqa: E731
    for column in range(start.shape[1]):
        weights = [make(w) for w in start[:, column]]
        for rows, grad, count in updates:
            for i, row in enumerate(rows):
                weights[row].update(grad[i, column], count[i])
        expected = [weight.w for weight in weights]
        np.testing.assert_allclose(found.value[:, column], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("l1", [0.0, 0.3])
def test_ftrl_starts_from_the_given_values(engine, l1):
    """An update without gradient reproduces the initial value from z."""
    start = np.array([[0.5], [-0.2], [0.0]])
    found = table(FTRL(0.1, l1), start)
    rows = np.arange(3)
    step(engine, found, rows, np.zeros((3, 1)), np.ones(3))
    np.testing.assert_allclose(found.value, start, rtol=1e-14)


@pytest.mark.parametrize("make", [AdaGrad, FTRL])
def test_penalties_may_differ_between_the_columns_of_a_table(engine, make):
    start, updates = sparse_updates(1)
    together = run(engine, make(0.1, [0.3, 0.0], [0.0, 0.2]), start, updates)
    for column, penalties in enumerate([(0.3, 0.0), (0.0, 0.2)]):
        alone = [(rows, grad[:, [column]], count) for rows, grad, count in updates]
        found = run(engine, make(0.1, *penalties), start[:, [column]], alone)
        np.testing.assert_allclose(together.value[:, [column]], found.value, rtol=1e-12)


@pytest.mark.parametrize("solver", [AdaGrad(0.1, 0.1, 0.1), FTRL(0.1, 0.1, 0.1)])
def test_all_rows_at_once_as_one_by_one(engine, solver):
    start, grad = np.ones((3, 2)), np.arange(6.0).reshape(3, 2)
    found, other = table(solver, start), table(solver, start)
    step(engine, found, None, grad, np.full(1, 2.0))
    step(engine, other, np.arange(3), grad, np.full(3, 2.0))
    np.testing.assert_array_equal(found.value, other.value)


def test_other_settings_of_ftrl_keep_values_and_what_zeros_have_gathered(engine):
    start, updates = sparse_updates(2)
    found = run(engine, FTRL(0.1, l1=20.0), start, updates)
    values, z = found.value.copy(), found.arrays[1].copy()
    zero = values == 0
    assert z[zero].any()
    assert not zero.all()
    found.change_solver(FTRL(0.1, l1=20.0, l2=0.5))
    np.testing.assert_array_equal(found.arrays[1], z)
    found.change_solver(FTRL(0.2, l1=5.0, ftrl_beta=2.0))
    np.testing.assert_array_equal(found.arrays[1][zero], np.clip(z[zero], -5, 5))
    step(engine, found, np.arange(6), np.zeros((6, 2)), np.zeros(6))
    np.testing.assert_allclose(found.value, values, rtol=1e-12)


def test_l1_leaves_exact_zeros(engine):
    start, updates = sparse_updates(0)
    for solver in (AdaGrad(0.1, l1=5.0), FTRL(0.1, l1=50.0)):
        found = run(engine, solver, start, updates)
        assert (found.value == 0).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_a_gradient_that_is_not_finite_is_not_usable(engine, bad):
    l2 = AdaGrad(0.1, l2=0.1).l2
    grad, count = np.array([[1.0], [bad]]), np.ones(2)
    with np.errstate(over="ignore"):
        assert not engine.add_penalty(grad, np.ones((2, 1)), count, l2)
        assert not engine.add_penalty(np.ones((2, 1)), np.full((2, 1), bad), count, l2)


def test_tables_grow_copy_and_restore(engine):
    found = table(FTRL(0.5), np.ones((2, 3), np.float32))
    assert [len(array) for array in found.arrays] == [2, 2, 2]  # no spare rows at first
    found.append(np.arange(1), filled(3, 2.0))
    assert found.value[:, 0].tolist() == [1, 1, 2]
    assert len(found.arrays[0]) == 4  # room to grow
    saved = found.copy()
    rows = np.array([2])
    step(engine, found, rows, np.ones((1, 3), np.float32), np.ones(1, np.float32))
    assert found.value[2, 0] != 2
    found.restore(saved)
    assert found.value[2, 0] == 2
    assert all(a.dtype == np.float32 for a in found.arrays)
    assert all(len(array) == 3 for array in found.__getstate__()["arrays"])


class Descent(Solver):
    """Plain gradient descent."""

    def start(self, values):
        return []  # it has no states

    def update(self, engine, arrays, rows, values, grad, count, step):
        (table,) = arrays
        table[slice(None) if rows is None else rows] = values - self.learning_rate * grad


def test_a_solver_is_a_class_and_an_entry(engine_name, monkeypatch):
    monkeypatch.setitem(SOLVERS, "descent", Descent)
    clicks = small_clicks(400)
    params = {"solver": "descent", "engine": engine_name, "random_state": 0}
    step = FMClassifier(0, learning_rate=0.01, l2_linear=0.0, batch_size=400, **params)
    step.partial_fit(clicks.X, clicks.y, classes=[0, 1])
    start = (clicks.y.sum() + 0.5) / 401
    expected = 0.01 * (clicks.y - start) @ clicks.X
    np.testing.assert_allclose(step.coef_[0], expected, rtol=1e-5, atol=1e-6)
    constant = log_loss(clicks.y, np.full(400, clicks.y.mean()))
    for model in (
        FMClassifier(learning_rate=0.02, **params),
        WideDeepClassifier(wide_learning_rate=0.02, deep_learning_rate=0.02, **params),
    ):
        model.fit(clicks.X, clicks.y)
        loss = log_loss(clicks.y, model.predict_proba(clicks.X))
        assert loss < (constant + clicks.bayes_log_loss) / 2
    monkeypatch.undo()
    with pytest.raises(ValueError, match="'solver' parameter of FMClassifier must be"):
        step.fit(clicks.X, clicks.y)
