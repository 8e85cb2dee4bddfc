"""Rows that are spread over workers: from blocks of a collection to shards, all of it pure.

A *block* is what the user's collection consists of, however it was cut. A *shard* is a range of
row numbers: what follows from the shards does not depend on the blocks. Functions here run where
the rows are. They know nothing of what runs them; their arguments and results can be pickled.
"""

from typing import NamedTuple

import numpy as np
from joblib import hash as digest_of
from scipy.sparse import csr_array, issparse, vstack

from ._base import held_out
from ._batch import Columns, as_csr, checked, occurring, without_stored_zeros
from ._fields import scan
from ._input import check_weight
from ._start import Data
from ._units import Part
from ._variables import variables_of


class About(NamedTuple):
    """What the other blocks have to agree with."""

    n_rows: int
    n_columns: int
    dtype: np.dtype
    names: list | None
    variables: dict | None


class Rows(NamedTuple):
    """A checked block of X, and what is known of it."""

    X: csr_array
    about: About


class Shard(NamedTuple):
    """Rows that count, in the columns that occur in them.

    Attributes
    ----------
    X : csr_array
        Without stored zeros. Its columns are numbered as in `own`.
    own : ndarray
        The columns of the user's matrix that occur here, ascending.
    y, weight : ndarray of shape (n_rows,)
        Encoded targets, and weights with those of classes.
    learned, watched : ndarray
        Numbers of the rows to learn from, and of those that early stopping watches.
    """

    X: csr_array
    own: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    learned: np.ndarray
    watched: np.ndarray


class Piece(NamedTuple):
    """Rows with all that a model needs to know of their columns.

    Attributes
    ----------
    X : csr_array
        Over those columns only that `columns` describes.
    columns : Columns
    slots : ndarray
        The slots that the model has for them, ascending.
    buckets : ndarray or None
        Buckets of crosses that occur, ascending; None if there are none or they are not known.
    y, weight : ndarray of shape (n_rows,)
    parts : dict of ndarray
        Numbers of the rows "learned" from and "watched".
    """

    X: csr_array
    columns: Columns
    slots: np.ndarray
    buckets: np.ndarray | None
    y: np.ndarray
    weight: np.ndarray
    parts: dict


# -- blocks ---------------------------------------------------------------------------


def check_rows(block, number, estimator, name):
    """Check a block of X by itself, as an estimator of its type would."""
    called = f"{name} (block {number})"
    if getattr(block, "ndim", 2) != 2:
        raise ValueError(f"{called} has {block.ndim} dimensions; rows and columns are expected.")
    variables = variables_of(block)
    if block.shape[0]:
        learner = type(estimator)(**estimator.get_params(deep=False))
        X = checked(learner, block, None, called)
        names = vars(learner).get("feature_names_in_")
    elif issparse(block):
        X, names = as_csr(block), None
    else:
        X, names = csr_array(block.shape, dtype=np.int8), None
    names = None if names is None else list(names)
    return Rows(X, About(*X.shape, X.dtype, names, variables))


def check_values(block, number, kind, name):
    """Check a block of targets: `kind` is `Labels` or `Numbers`."""
    if len(block) == 0:
        return np.empty(0)
    return kind.check(block, f"{name} (block {number})")


def check_weights(block, number, name):
    if len(block) == 0:
        return np.empty(0)
    return check_weight(block, len(block), f"{name} (block {number})", is_part=True)


def about(block):
    """What is known of a block, without its rows."""
    return block.about if isinstance(block, Rows) else (len(block), block.dtype)


def cut(block, start, stop):
    """Some consecutive rows of a block."""
    return block.X[start:stop] if isinstance(block, Rows) else block[start:stop]


# -- from slices of blocks to a shard -------------------------------------------------


def joined(rows, y, weight, n_columns, dtype):
    """The rows of a shard from slices of blocks, checked but not encoded."""
    some = [X for X in rows if X.shape[0]]
    X = csr_array((0, n_columns), dtype=dtype)
    if some:
        X = csr_array(some[0] if len(some) == 1 else vstack(some, format="csr"), dtype=dtype)
    y = [part for part in y if len(part)]
    y = np.concatenate(y) if y else np.empty(0)
    weight = [part for part in weight or [] if len(part)]
    weight = np.concatenate(weight) if weight else np.ones(X.shape[0])
    return Data(X, y, weight, np.flatnonzero(weight))


def weight_of(data):
    return data.weight.sum()


def scanned(data):
    """What fields are inferred from."""
    return scan(data.X)


def encoded(data, target, name):
    """The rows of positive weight, in the columns that occur in them."""
    codes, weight = np.empty(0, np.intp), np.empty(0)
    if len(data.y):
        codes, weight = target.encode(data.y, data.weight, name)
    used = np.flatnonzero(weight)
    X = data.X if len(used) == data.X.shape[0] else data.X[used]
    X = without_stored_zeros(X)
    own = np.flatnonzero(occurring(X, np.arange(X.shape[0])))
    X = _renumbered(X, own)
    return Shard(X, own, codes[used], weight[used], np.arange(len(used)), np.arange(0))


def _renumbered(X, columns):
    """X in some of its columns only, which ascend."""
    number = np.full(X.shape[1], -1, np.int32)
    number[columns] = np.arange(len(columns))
    indices, data, indptr = number[X.indices[: X.nnz]], X.data[: X.nnz], X.indptr
    known = indices >= 0
    if not known.all():
        kept = np.concatenate([[0], np.cumsum(known)])
        indices, data, indptr = indices[known], data[known], kept[indptr]
    return csr_array((data, indices, indptr), shape=(X.shape[0], len(columns)))


def split(shard, estimator, target, seed):
    """Hold out rows of the shard to watch the loss on; none where there are too few."""
    data = Data(shard.X, shard.y, shard.weight, shard.learned)
    rows = held_out(estimator, data, target, seed) if len(shard.y) else None
    return shard if rows is None else shard._replace(learned=rows[0], watched=rows[1])


class Summary(NamedTuple):
    """Sums over a shard; `starts` are those of each output over the rows learned from."""

    own: np.ndarray
    n_rows: int
    n_learned: int
    n_watched: int
    nnz: int
    weight: float
    weight_learned: float
    weight_watched: float
    starts: list


def summary(shard, target):
    y, weight = shard.y[shard.learned], shard.weight[shard.learned]
    outputs = range(target.n_outputs)
    starts = [target.loss.sum(target.of_output(y, output), weight) for output in outputs]
    return Summary(
        shard.own,
        len(shard.y),
        len(shard.learned),
        len(shard.watched),
        shard.X.nnz,
        shard.weight.sum(),
        weight.sum(),
        shard.weight[shard.watched].sum(),
        starts,
    )


def labels_split(shard):
    """The codes learned from and those watched, each at most 16 times."""
    found = []
    for rows in (shard.learned, shard.watched):
        codes, counts = np.unique(shard.y[rows], return_counts=True)
        found.append(np.repeat(codes, np.minimum(counts, 16)))
    return found


def of_part(shard, function, *arguments):
    """A function of `_units` on the rows of a shard."""
    rows = [np.arange(len(shard.y))]
    return function(Part(shard.X, rows, shard.weight, shard.own), *arguments)


def digest(shard):
    """What tells other rows from these."""
    X = shard.X
    arrays = X.data, X.indices[: X.nnz], X.indptr, shard.own, shard.y, shard.weight, shard.learned
    return digest_of(arrays)


def placed(shard, columns, slots):
    """The shard over the columns that a model knows; `slots` are theirs in the model.

    `columns` describes them, in the order of their numbers in the user's matrix.
    """
    # From the numbers of columns here to those of `columns`, which may miss some and have more.
    at = np.searchsorted(columns.seen, shard.own).clip(max=max(len(columns) - 1, 0))
    known = columns.seen[at] == shard.own if len(columns) else np.zeros(len(shard.own), bool)
    X = shard.X if known.all() else _renumbered(shard.X, np.flatnonzero(known))
    wide = csr_array(
        (X.data, at[known].astype(np.int32)[X.indices], X.indptr), shape=(X.shape[0], len(columns))
    )
    parts = {"learned": shard.learned, "watched": shard.watched}
    return Piece(columns.filled(wide), columns, slots, None, shard.y, shard.weight, parts)


def slots_of(piece):
    return piece.slots


def head(shard, n_rows, n_columns):
    """The first rows, over the columns of the user's matrix; their targets and weights."""
    X = shard.X[:n_rows]
    X = csr_array((X.data, shard.own[X.indices], X.indptr), shape=(X.shape[0], n_columns))
    return X, shard.y[:n_rows], shard.weight[:n_rows]
