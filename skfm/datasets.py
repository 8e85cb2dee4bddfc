"""Data to try factorization machines on."""

from numbers import Integral, Real

import numpy as np
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.special import expit
from sklearn.metrics import log_loss
from sklearn.utils import Bunch, check_random_state

from ._compat import Interval, validate_params
from ._ffm_files import dump_ffm_file, iter_ffm_file, load_ffm_file

__all__ = ["dump_ffm_file", "iter_ffm_file", "load_ffm_file", "make_clicks"]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_fields": [Interval(Integral, 1, None, closed="left")],
        "n_categories": [Interval(Integral, 1, None, closed="left")],
        "k": [Interval(Integral, 1, None, closed="left")],
        "base_rate": [Interval(Real, 0, 1, closed="neither")],
        "linear": [Interval(Real, 0, None, closed="left")],
        "interaction": [Interval(Real, 0, None, closed="left")],
        "field_awareness": [Interval(Real, 0, 1, closed="both")],
        "exponent": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_clicks(
    n_samples=10_000,
    n_fields=8,
    n_categories=50,
    *,
    k=4,
    base_rate=0.3,
    linear=1.0,
    interaction=1.5,
    field_awareness=0.5,
    exponent=1.0,
    noise=0.0,
    random_state=None,
):
    """Generate clicks on categorical data with planted interactions.

    Every row has one category per field. Its log-odds are those of a field-aware
    factorization machine with random parameters, so that the best possible log loss is
    known::

        s = bias + Σ_a w_a + Σ_{a<b} ⟨v_ab, v_ba⟩,   v_ab = √(1−ρ) u_a + √ρ z_ab

    where ρ is `field_awareness`. With 0 a column has the same factors for every field, as in a
    plain factorization machine; with 1 it has independent ones for each field.

    Parameters
    ----------
    n_samples : int, default=10000
        Number of rows.
    n_fields : int, default=8
        Number of categorical variables.
    n_categories : int, default=50
        Number of categories of each variable.
    k : int, default=4
        Number of planted factors.
    base_rate : float, default=0.3
        Expected share of clicks, in (0, 1).
    linear : float, default=1.0
        Standard deviation of the linear part of the log-odds, over random categories.
    interaction : float, default=1.5
        Standard deviation of the interactions' part of the log-odds.
    field_awareness : float, default=0.5
        How much the factors of a column differ between fields, in [0, 1].
    exponent : float, default=1.0
        The r-th most frequent category has a probability proportional to
        r^(−exponent).
    noise : float, default=0.0
        Share of labels, in [0, 1], that are drawn at the base rate and ignore the row.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    clicks : :class:`~sklearn.utils.Bunch`
        With the attributes

        categories : ndarray of shape (n_samples, n_fields)
            Category numbers, from 0.
        X : csr_array of shape (n_samples, n_fields * n_categories), float32
            The same, one-hot encoded.
        y : ndarray of shape (n_samples,)
            1 for a click, else 0.
        fields : ndarray of shape (n_fields * n_categories,)
            Field of each column of `X`.
        proba : ndarray of shape (n_samples,)
            True probability of a click.
        bayes_log_loss : float
            Log loss of `proba` on `y`. A model can beat it only by chance.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> from skfm.datasets import make_clicks
    >>> clicks = make_clicks(1000, n_fields=3, n_categories=10, random_state=0)
    >>> clicks.X.shape, clicks.categories.shape
    ((1000, 30), (1000, 3))
    """
    # NumPy's integers could overflow.
    n_samples, n_fields, n_categories, k = map(int, (n_samples, n_fields, n_categories, k))
    rng = check_random_state(random_state)
    frequency = np.arange(1.0, n_categories + 1) ** -exponent
    categories = rng.choice(n_categories, size=(n_samples, n_fields), p=frequency / frequency.sum())
    n_features = n_fields * n_categories
    columns = categories + np.arange(n_fields) * n_categories

    weights = rng.normal(scale=linear / np.sqrt(n_fields), size=n_features)
    scores = weights[columns].sum(axis=1)
    # A pair's product of k normal factors of scale σ has variance k σ⁴.
    n_pairs = max(1, n_fields * (n_fields - 1) // 2)
    scale = (interaction**2 / (k * n_pairs)) ** 0.25
    shared = rng.normal(scale=scale, size=(n_features, k))
    aware = rng.normal(scale=scale, size=(n_fields, n_features, k))
    factors = np.sqrt(1 - field_awareness) * shared + np.sqrt(field_awareness) * aware
    for a in range(n_fields):
        for b in range(a + 1, n_fields):
            pair = factors[b, columns[:, a]] * factors[a, columns[:, b]]
            scores += pair.sum(axis=1)

    bias = brentq(lambda bias: expit(scores + bias).mean() - base_rate, -1e3, 1e3)
    proba = (1 - noise) * expit(scores + bias) + noise * base_rate
    y = (rng.uniform(size=n_samples) < proba).astype(int)
    indptr = np.arange(0, columns.size + 1, n_fields, dtype=np.int32)
    ones = np.ones(columns.size, np.float32)
    X = csr_array((ones, columns.astype(np.int32).ravel(), indptr), shape=(n_samples, n_features))
    return Bunch(
        categories=categories,
        X=X,
        y=y,
        fields=np.repeat(np.arange(n_fields), n_categories),
        proba=proba,
        bayes_log_loss=log_loss(y, proba, labels=[0, 1]),
    )
