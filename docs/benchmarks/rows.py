"""Rows to measure on: one-hot encoded clicks, and larger sets made piece by piece."""

import numpy as np
from scipy.sparse import csr_matrix

CHUNK = 250_000


class Clicks:
    """Training and test rows with their labels, and the field of each column."""

    def __init__(self, n_rows, n_fields=39, n_categories=1282, exponent=1.5, n_test=None):
        from skfm.datasets import make_clicks

        n_test = n_test or max(n_rows // 5, 200)
        # A steep power law, so that there is something to learn from this many rows.
        made = make_clicks(
            n_rows + n_test, n_fields, n_categories, exponent=exponent, random_state=0
        )
        X, y = csr_matrix(made.X), made.y  # not an array, which some peers do not take
        self.n_fields, self.fields = n_fields, made.fields.astype(np.int32)
        self.X, self.y, self.X_test, self.y_test = (
            X[:-n_test],
            y[:-n_test],
            X[-n_test:],
            y[-n_test:],
        )
        self.best = made.bayes_log_loss

    @property
    def train(self):
        return self.X, self.y, self.fields

    @property
    def test(self):
        return self.X_test, self.y_test, self.fields

    def __str__(self):
        n_rows, n_columns = self.X.shape
        return f"{n_rows:,} rows of {self.n_fields} one-hot fields, {n_columns:,} columns"


def many_rows(n_rows, n_fields, n_categories, seed=0):
    """Rows with one category per field, drawn by a power law, and labels.

    They are made a chunk at a time: beside the result there is memory for one chunk. Values
    are float32 and indices int32, 8 bytes an entry.
    """
    rng = np.random.default_rng(seed)
    indices = np.empty(n_rows * n_fields, np.int32)
    y = np.empty(n_rows, np.int8)
    weights = rng.normal(size=(n_fields, n_categories)).astype(np.float32)
    for first in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - first)
        # The inverse of the distribution function of a density like 1 / (rank + 1).
        rank = np.exp(rng.random((n, n_fields), np.float32) * np.float32(np.log(n_categories)))
        category = np.minimum(rank.astype(np.int32) - 1, n_categories - 1)
        score = weights[np.arange(n_fields), category].sum(axis=1) / n_fields**0.5
        y[first : first + n] = rng.random(n) < 1 / (1 + np.exp(-score))
        category += np.arange(n_fields, dtype=np.int32) * n_categories
        indices[first * n_fields : (first + n) * n_fields] = category.ravel()
    small = indices.size < 2**31
    indptr = np.arange(0, indices.size + 1, n_fields, dtype=np.int32 if small else np.int64)
    data = np.ones(indices.size, np.float32)
    shape = n_rows, n_fields * n_categories
    X = csr_matrix(shape, dtype=np.float32)
    X.data, X.indices, X.indptr = data, indices, indptr  # as they are, unchecked and uncopied
    X.has_sorted_indices = X.has_canonical_format = True
    return X, y
