"""The models learn what they are for, measured against a known optimum."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skfm import FFMClassifier, FMClassifier
from skfm.datasets import make_clicks


def held_out_loss(model, clicks, n_train):
    model.fit(clicks.X[:n_train], clicks.y[:n_train])
    return log_loss(clicks.y[n_train:], model.predict_proba(clicks.X[n_train:])[:, 1])


def tuned(cls, clicks, n_train):
    """Choose the penalty by the validation rows that early stopping holds out."""
    models = [cls(l2_factors=l2, random_state=0) for l2 in (0.02, 0.002)]
    losses = [held_out_loss(model, clicks, n_train) for model in models]
    return losses[np.argmax([max(model.validation_scores_) for model in models])]


@pytest.mark.parametrize("seed", range(3))
def test_field_aware_beats_plain_beats_linear(seed):
    clicks = make_clicks(30_000, n_fields=5, n_categories=8, field_awareness=0.9, random_state=seed)
    bayes = log_loss(clicks.y[20_000:], clicks.proba[20_000:])
    linear = held_out_loss(LogisticRegression(), clicks, 20_000) - bayes
    plain = tuned(FMClassifier, clicks, 20_000) - bayes
    aware = tuned(FFMClassifier, clicks, 20_000) - bayes
    # Excess over Bayes; a third of the remainder each time is far beyond the noise.
    assert 0 < aware < 2 / 3 * plain
    assert plain < 2 / 3 * linear
    assert aware < 0.05 * bayes


@pytest.mark.parametrize("seed", range(3))
def test_ftrl_with_l1_leaves_zeros_at_nearly_the_same_loss(seed):
    clicks = make_clicks(12_000, n_categories=500, random_state=seed)
    dense = FMClassifier(solver="ftrl", random_state=0)
    sparse = FMClassifier(solver="ftrl", l1_linear=6, random_state=0)
    loss = held_out_loss(dense, clicks, 6000)
    assert held_out_loss(sparse, clicks, 6000) < 1.01 * loss
    touched = np.unique(clicks.X[:6000].indices)
    assert np.mean(dense.coef_[0, touched] != 0) > 0.9
    assert np.mean(sparse.coef_[0, touched] != 0) < 0.25


def test_pairs_never_seen_together_are_predicted():
    """Factors carry over: categories behave by a hidden sign, some pairs are withheld."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(10, size=(2, 6000))
    y = ((a % 2) == (b % 2)).astype(int)
    withheld = (a * 10 + b) % 7 == 0
    X = np.zeros((6000, 20))
    X[np.arange(6000), a] = X[np.arange(6000), 10 + b] = 1
    model = FMClassifier(random_state=0, l2_factors=1e-3).fit(X[~withheld], y[~withheld])
    assert model.score(X[withheld], y[withheld]) > 0.99
    linear = LogisticRegression().fit(X[~withheld], y[~withheld])
    assert linear.score(X[withheld], y[withheld]) < 0.7
