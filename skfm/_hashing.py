"""Hashes: random numbers and buckets that depend on nothing but what is hashed."""

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def mix(z):
    """The output function of SplitMix64 (Steele, Lea & Flood 2014), of uint64."""
    z = z + np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hashed_normal(key, rows, width, scale):
    """Pseudo-normal float32 numbers that depend only on (key, row, position).

    The sum of the four 16-bit parts of a 64-bit hash, centred, is an integer that
    float32 holds exactly; one multiplication then gives the same bits everywhere.

    Parameters
    ----------
    key : sequence of int
        Same key, same numbers.
    rows : ndarray of shape (n,)
        Numbers of the rows.
    width : int
    scale : float
        Standard deviation.

    Returns
    -------
    numbers : ndarray of shape (n, width)
    """
    stream = np.zeros(1, np.uint64)
    for part in key:
        stream = mix(stream + np.uint64(int(part) * _GOLDEN & _MASK))
    steps = np.arange(width, dtype=np.uint64) * np.uint64(_GOLDEN)
    factor = np.float32(scale / np.sqrt(4 * (2.0**32 - 1) / 12))
    out = np.empty((len(rows), width), np.float32)
    chunk = 1 + (1 << 16) // max(width, 1)
    for start in range(0, len(rows), chunk):
        row = mix(stream + rows[start : start + chunk].astype(np.uint64) * np.uint64(_GOLDEN))
        bits = mix(row[:, None] + steps)
        total = sum((bits >> np.uint64(s)) & np.uint64(0xFFFF) for s in (0, 16, 32, 48))
        out[start : start + chunk] = (total.astype(np.int32) - 131070) * factor
    return out
