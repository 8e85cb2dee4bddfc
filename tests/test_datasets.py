import numpy as np
import pytest
from scipy.special import xlogy

from skfm.datasets import make_clicks


def test_make_clicks_describes_one_data_set_in_several_ways():
    clicks = make_clicks(500, n_fields=5, n_categories=7, random_state=0)
    assert clicks.X.shape == (500, 35)
    assert set(np.unique(clicks.y)) == {0, 1}
    rows = np.arange(500)[:, None]
    assert (clicks.X.toarray()[rows, clicks.categories + 7 * np.arange(5)] == 1).all()
    assert clicks.X.nnz == clicks.categories.size
    np.testing.assert_array_equal(clicks.fields, np.repeat(np.arange(5), 7))
    loss = -np.mean(xlogy(clicks.y, clicks.proba) + xlogy(1 - clicks.y, 1 - clicks.proba))
    assert clicks.bayes_log_loss == pytest.approx(loss)


def test_make_clicks_is_reproducible():
    one, two, other = (make_clicks(50, random_state=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.y, two.y)
    np.testing.assert_array_equal(one.categories, two.categories)
    assert (one.categories != other.categories).any()


@pytest.mark.parametrize("base_rate", [0.01, 0.5])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_labels_follow_the_probabilities(base_rate, noise):
    clicks = make_clicks(20_000, base_rate=base_rate, noise=noise, random_state=0)
    assert clicks.proba.mean() == pytest.approx(base_rate)
    z = (clicks.y - clicks.proba) / np.sqrt(clicks.proba * (1 - clicks.proba))
    assert abs(z.mean()) < 5 / np.sqrt(20_000)
    high = clicks.proba > np.median(clicks.proba)
    assert abs(z[high].mean()) < 5 / 100


def test_difficulty_is_tunable():
    losses = [make_clicks(5000, noise=n, random_state=0).bayes_log_loss for n in (0, 0.5, 1)]
    assert losses[0] < losses[1] < losses[2]
    plain = make_clicks(5000, linear=0, interaction=0, random_state=0)
    assert np.ptp(plain.proba) < 1e-9
    counts = [
        np.bincount(make_clicks(5000, exponent=e, random_state=0).categories[:, 0]).max()
        for e in (0, 1, 2)
    ]
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize(
    "bad", [{"n_samples": 0}, {"base_rate": 1.0}, {"noise": -0.1}, {"field_awareness": 2}]
)
def test_bad_parameters(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        make_clicks(**bad)
