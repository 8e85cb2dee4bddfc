"""From CSR rows to mini-batches. Nothing else in the package knows the user's matrix."""

import copy
import math
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array, issparse

# Entries that a scan over a whole matrix looks at together.
_CHUNK = 1 << 18
_CHUNK_ROWS = 1 << 14

MAX_VALUE = float(np.finfo(np.float32).max)


def as_csr(X):
    """Give `X` as a CSR array with sorted, unique indices; copy only if it has none.

    Raises
    ------
    ValueError
        If the index arrays of a sparse `X` are malformed.
    """
    if X.dtype.kind not in "biuf" or X.dtype.itemsize not in (1, 2, 4, 8):
        X = X.astype(np.float64)
    if X.dtype == np.float16:
        X = X.astype(np.float32)
    if not issparse(X):
        return csr_array(X)
    # A new container over the same arrays: whatever SciPy notes down about the
    # format is noted there and not on the caller's object.
    check_indices(X)
    X = csr_array((X.data, X.indices, X.indptr), shape=X.shape)
    if not X.has_canonical_format:
        # Duplicates are summed, which small integers and booleans could not hold.
        X = X.astype(np.float64) if X.dtype.kind in "biu" else X.copy()
        X.sum_duplicates()
    return X


def check_indices(X):
    """Raise ValueError if the index arrays of a CSR or CSC matrix are malformed."""
    # SciPy's check looks no further where the last pointer says that there is nothing.
    if np.any(np.diff(X.indptr) < 0):
        raise ValueError("The index pointer (indptr) of X must not decrease.")
    X.check_format(full_check=True)


def without_stored_zeros(X):
    """Drop stored zeros, which mean the same as absent entries; copy only if any."""
    if np.count_nonzero(X.data) < X.nnz:
        X = X.copy()
        X.eliminate_zeros()
    return X


def check_finite(X, names=None):
    """Raise ValueError naming the first column with a value that float32 cannot hold."""
    if not X.nnz or (X.data.min() >= -MAX_VALUE and X.data.max() <= MAX_VALUE):
        return
    entry = np.flatnonzero(~(np.abs(X.data) <= MAX_VALUE))[0]
    value = X.data[entry]
    what = "NaN" if np.isnan(value) else "infinity or a value too large for float32"
    raise ValueError(
        f"Input X contains {what} in {column_name(X.indices[entry], names)}: {value!r}. "
        "Impute or remove missing values and scale large ones before fitting."
    )


def next_columns(X):
    """For each column, the nearest column that follows it in some row of canonical X.

    Shape (n_features,), int32; n_features stands where no column follows.
    """
    following = np.full(X.shape[1], X.shape[1], np.int32)
    for start in range(0, X.nnz - 1, _CHUNK):
        entries = X.indices[start : start + _CHUNK + 1]
        first, last = np.searchsorted(X.indptr, [start + 1, start + len(entries)])
        same_row = np.ones(len(entries) - 1, bool)
        same_row[X.indptr[first:last] - start - 1] = False
        left = entries[:-1][same_row].astype(np.intp)
        right = entries[1:][same_row].astype(np.int32, copy=False)
        np.minimum.at(following, left, right)
    return following


def entries_per_row(X):
    return np.diff(X.indptr)


def column_name(column, names=None):
    return f"column {column}" + (f" ({names[column]!r})" if names is not None else "")


class Columns:
    """The columns seen in training, each with a row (slot) of the parameter tables.

    Tables have rows only for columns that occur, so that a matrix of 2²⁴ hashed columns
    costs four bytes per column and parameters only for what it contains. `field` is the
    field of each of them.
    """

    def __init__(self, n_features, fields):
        if n_features >= 2**31:
            raise ValueError(f"X has {n_features} columns; hash them into less than 2³¹.")
        self.fields, self.field = fields, np.empty(0, np.int32)
        self.seen = np.empty(0, np.intp)
        self.slot_of = np.full(n_features, -1, np.int32)

    def __len__(self):
        return len(self.seen)

    def new_in(self, X, rows):
        """Return the columns that occur in `rows` of X and have no slot yet."""
        fresh = np.zeros(len(self.slot_of), bool)
        for chunk in np.array_split(rows, 1 + len(rows) // _CHUNK_ROWS):
            fresh[X.indices.take(positions(X.indptr, chunk)[0])] = True
        fresh &= self.slot_of < 0
        return np.flatnonzero(fresh)

    def add(self, columns):
        """Give slots to new columns."""
        first = len(self)
        # In this order, as another thread may be predicting: `seen` tells it what there is.
        self.field = np.concatenate([self.field, self.fields.of(columns)])
        self.seen = np.concatenate([self.seen, columns])
        self.slot_of[columns] = np.arange(first, first + len(columns))

    def slots(self, columns):
        """Slot of each column, -1 where it was never seen."""
        # As intp, which NumPy would otherwise convert to again with each use.
        return self.slot_of.take(columns).astype(np.intp)

    def spread(self, table):
        """Lay out table rows over all columns, with zeros where none was seen."""
        full = np.zeros((len(self.slot_of), *table.shape[1:]), table.dtype)
        full[self.seen] = table
        return full

    def __getstate__(self):
        return {"n_features": len(self.slot_of), "fields": self.fields, "seen": self.seen}

    def __setstate__(self, state):
        self.__init__(state["n_features"], state["fields"])
        self.add(state["seen"])


class Batch:
    """Some rows of a CSR matrix over the distinct columns that occur in them.

    Attributes
    ----------
    touched : ndarray of shape (U,) or None
        Slots of the distinct columns. None stands for all, where the engine predicts
        without telling them apart.
    field : ndarray of shape (U,)
        Field of each distinct column.
    X : csr_array of shape (B, U)
        The rows.
    P : csr_array of shape (B * F, U)
        The pooling matrix: row ``n * F + a`` holds the entries of sample n in field a.
    squares, pattern : csr_array of shape (B, U)
        X∘X, and X with ones for values. Both are X itself if all its values are 1.
    crosses : Batch
        The crosses of the rows, over the distinct buckets that occur.

    Matrices are made when first asked for, as are the transposes `X_T`, `P_T`,
    `squares_T` and `pattern_T`.
    """

    def __init__(self, batcher, touched, indptr, indices, values, n_fields):
        self.touched, self.n_fields, self._batcher = touched, n_fields, batcher
        self.n_rows, self.binary = (len(indptr) - 1) // n_fields, batcher.binary
        self.dtype = batcher.dtype
        self.indptr, self.indices, self.values = indptr, indices, values

    @cached_property
    def field(self):
        return self._batcher.columns.field.take(self.touched)

    @cached_property
    def crosses(self):
        return self._batcher.crosses_of(self)

    def renew_scratch(self):
        """Give up all scratch arrays, for others to take their place."""
        self._batcher.n_scratch = 0

    def rows(self, table):
        """Rows that take part of a table of "columns" or "crosses"; None for "all"."""
        if table == "all":
            return None
        return (self.crosses if table == "crosses" else self).touched

    def count(self, engine, table, weight):
        """How often each of these rows occurs, weighted."""
        if table == "all":
            return weight.sum(keepdims=True)
        return engine.count(self.crosses if table == "crosses" else self, weight)

    def scratch(self, shape, dtype):
        """An array of any content, valid until the next batch, or the next model's turn.

        New memory for every batch would be slow: the system hands it out page by page.
        """
        buffers, number = self._batcher.buffers, self._batcher.n_scratch
        self._batcher.n_scratch += 1
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if number == len(buffers):
            buffers.append(np.empty(0, np.uint8))
        if len(buffers[number]) < size:
            buffers[number] = np.empty(size, np.uint8)
        return buffers[number][:size].view(dtype).reshape(shape)

    @cached_property
    def P(self):
        shape = len(self.indptr) - 1, len(self.touched)
        return csr_array((self.values, self.indices, self.indptr), shape=shape)

    @cached_property
    def X(self):
        return self.P if self.n_fields == 1 else self._of_rows(self.values)

    @cached_property
    def squares(self):
        return self.X if self.binary else self._of_rows(self.values * self.values)

    @cached_property
    def pattern(self):
        return self.X if self.binary else self._of_rows(np.ones_like(self.values))

    @cached_property
    def X_T(self):
        return self.X.T

    @cached_property
    def P_T(self):
        return self.P.T

    @cached_property
    def squares_T(self):
        return self.X_T if self.binary else self.squares.T

    @cached_property
    def pattern_T(self):
        return self.X_T if self.binary else self.pattern.T

    def _of_rows(self, values):
        shape = self.n_rows, len(self.touched)
        return csr_array((values, self.indices, self.indptr[:: self.n_fields]), shape=shape)


class Batcher:
    """Cuts batches out of a CSR matrix, ignoring columns that have no slot."""

    def __init__(self, X, columns, crosses, engine, dtype=np.float32, trains=True):
        self.X, self.columns, self.fields, self.crosses = X, columns, columns.fields, crosses
        self.engine, self.dtype, self.trains = engine, dtype, trains
        self.n_slots = len(columns)  # another thread may add more
        self.binary = bool((X.data == 1).all())
        length = entries_per_row(X)
        self.length = length[0] if len(length) and (length == length[0]).all() else None
        self._renew()

    def sibling(self):
        """The same for another thread."""
        other = copy.copy(self)
        other._renew()
        return other

    def _renew(self):
        """Make what batches write to."""
        self.buffers, self.n_scratch = [], 0
        n_buckets = self.crosses.n_buckets if self.crosses else 0
        self.stamp = np.zeros(max(self.n_slots, n_buckets) + 1, np.int32)

    def __call__(self, rows):
        """Return the batch of the rows numbered `rows`."""
        self.n_scratch = 0
        return Batch(self, *self.engine.assemble(self, rows), self.fields.n_fields)

    def crosses_of(self, batch):
        """The batch of the crosses of a batch."""
        slots = batch.indices if batch.touched is None else batch.touched.take(batch.indices)
        columns = self.columns.seen.take(slots)
        indptr, buckets, values = self.crosses(batch.indptr, columns, batch.values)
        touched, local = None, buckets
        if batch.touched is not None:
            touched, local = self.engine.distinct(buckets, self.stamp)
        return Batch(self, touched, indptr, local, values, 1)


def positions(indptr, rows):
    """Where the entries of `rows` are stored, and how many each row has."""
    start = indptr.take(rows)
    length = indptr.take(rows + 1) - start
    end = np.cumsum(length)
    return np.repeat(start - end + length, length) + np.arange(end[-1]), length
