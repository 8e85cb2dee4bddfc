"""Heads: what a model adds to its linear part, and how its parameters start."""

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


class Interactions:
    """All pairwise interactions, through k factors per column and field.

    One field makes the factorization machine, several the field-aware one.

    Parameters
    ----------
    k : int
        Number of factors.
    n_fields : int
        Number of fields; a column has k factors for each.
    scale : float
        Standard deviation of the initial factors.
    key : tuple of int
        Seed and number of the output: same key, same initial factors.
    """

    def __init__(self, k, n_fields, scale, key):
        self.k, self.width, self.scale, self.key = k, n_fields * k, scale, key

    def initial(self, columns):
        """Initial factors of `columns`, of shape (len(columns), width)."""
        return hashed_normal(self.key, columns, self.width, self.scale)

    def forward(self, engine, batch, V):
        """Scores of the batch, of shape (B,), and what `backward` needs to remember."""
        return engine.interact(batch, V)

    def backward(self, engine, batch, V, memory, delta):
        """Gradient of Σ delta·score in V."""
        return engine.interact_gradient(batch, V, memory, delta)


def hashed_normal(key, columns, width, scale):
    """Pseudo-normal float32 numbers that depend only on (key, column, position).

    The sum of the four 16-bit parts of a 64-bit hash, centred, is an integer that
    float32 holds exactly; one multiplication then gives the same bits everywhere. The
    hash is the output function of SplitMix64 (Steele, Lea & Flood 2014).
    """
    if not len(columns):
        return np.empty((0, width), np.float32)
    stream = np.zeros(1, np.uint64)
    for part in key:
        stream = _mix(stream + np.uint64((int(part) * _GOLDEN + _GOLDEN) & _MASK))
    steps = np.arange(1, width + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    factor = np.float32(scale / np.sqrt(4 * (2.0**32 - 1) / 12))
    out = np.empty((len(columns), width), np.float32)
    chunk = 1 + (1 << 16) // max(width, 1)
    for start in range(0, len(columns), chunk):
        column = columns[start : start + chunk].astype(np.uint64)
        row = _mix(stream + (column + np.uint64(1)) * np.uint64(_GOLDEN))
        bits = _mix(row[:, None] + steps)
        total = sum((bits >> np.uint64(s)) & np.uint64(0xFFFF) for s in (0, 16, 32, 48))
        out[start : start + chunk] = (total.astype(np.int32) - 131070) * factor
    return out


def _mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
