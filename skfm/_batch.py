"""From the user's matrix to mini-batches: what is checked, its columns, and batches of its rows."""

import copy
import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.utils.validation import validate_data

from ._input import check_indices, check_matrix, column_name
from ._variables import variables_of

# How many entries, and rows, a scan over a whole matrix reads at once.
_CHUNK = 1 << 18
_CHUNK_ROWS = 1 << 14

MAX_VALUE = float(np.finfo(np.float32).max)
LEAST = float(np.finfo(np.float32).tiny)

# The fewest rows that tell the mean of a column.
FEW_ROWS = 16

# A column is constant if its deviation is less than this many roundings of its largest value.
ROUNDINGS = 4


def checked(estimator, X, fields, name="X"):
    """Validate the matrix that an estimator was given: canonical CSR, stored zeros included.

    Its columns have to be those that the estimator knows, in the `fields` of its model. If
    `fields` is None, the estimator records their number and names. The matrix keeps the attribute
    `variables` that a FieldEncoder sets. Messages call the matrix `name`.
    """
    variables = variables_of(X)
    check_matrix(X, name, vars(estimator).get("feature_names_in_"))
    how = {"reset": fields is None, "accept_sparse": "csr", "ensure_all_finite": False}
    try:
        X = as_csr(validate_data(estimator, X, **how))
    except ValueError as error:
        if not _has_text(X):
            raise
        raise ValueError(
            f"{name} contains strings ({error}). Encode categories as columns first, for example "
            f"with make_pipeline(FieldEncoder(), {type(estimator).__name__}())."
        ) from error
    check_finite(X, vars(estimator).get("feature_names_in_"), name)
    X.variables = variables
    if fields:
        fields.check_order(variables)
    return X


def _has_text(X):
    if issparse(X):
        return False
    return any(isinstance(cell, str | bytes) for cell in np.asarray(X, dtype=object).flat)


def as_csr(X):
    """Return `X` as a CSR array with sorted, unique indices; copy only if it has none.

    Raises
    ------
    ValueError
        If the index arrays of a sparse `X` are malformed, or it has too many columns.
    """
    # The rest of the package numbers columns in int32 and has arrays as long as their number.
    if X.shape[1] >= 2**31:
        raise ValueError(f"X has {X.shape[1]} columns; hash them into fewer than 2³¹.")
    if X.dtype.kind not in "biuf" or X.dtype.itemsize not in (1, 2, 4, 8):
        with np.errstate(over="ignore"):  # check_finite refuses what becomes infinite
            X = X.astype(np.float64)
    if X.dtype == np.float16:
        X = X.astype(np.float32)
    if not X.dtype.isnative:
        X = X.astype(X.dtype.newbyteorder("="))
    if not issparse(X):
        return csr_array(X)
    # SciPy records what it finds out about the format. A new container over the same arrays
    # keeps these records away from the caller's object.
    check_indices(X)
    X = csr_array((X.data, X.indices, X.indptr), shape=X.shape)
    if not X.has_canonical_format:
        # Small integers and booleans could not hold the sums of duplicates.
        X = X.astype(np.float64) if X.dtype.kind in "biu" else X.copy()
        X.sum_duplicates()
    return X


def without_stored_zeros(X):
    """Drop stored zeros, which mean the same as absent entries; copy only if any."""
    if np.count_nonzero(X.data) < X.nnz:
        X = X.copy()
        X.eliminate_zeros()
    return X


def check_finite(X, names=None, name="X"):
    """Raise ValueError naming the first column with a value that float32 cannot hold."""
    if not X.nnz or (X.data.min() >= -MAX_VALUE and X.data.max() <= MAX_VALUE):
        return
    entry = np.flatnonzero(~(np.abs(X.data) <= MAX_VALUE))[0]
    value = X.data[entry]
    what, remedy = "infinity or a value too large for float32", "Replace it, or scale the column."
    if np.isnan(value):
        what = "NaN"
        remedy = (
            "Impute missing values, or encode the table with FieldEncoder, which makes a category "
            "of them."
        )
    where = column_name(X.indices[entry], names)
    raise ValueError(f"Input {name} contains {what} in {where}: {value}. {remedy}")


def next_columns(X):
    """For each column, the nearest column that follows it in some row of canonical X.

    Returns int32 of shape (n_features,), with n_features where no column follows.
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


def row_of_entries(X):
    return np.repeat(np.arange(X.shape[0]), entries_per_row(X))


class Units(NamedTuple):
    """The units of columns in training: their values count as (x − shift) / scale."""

    shift: np.ndarray
    scale: np.ndarray


class Columns:
    """The columns seen in training, each with a row (slot) of the parameter tables.

    Tables have rows only for columns that occur. A matrix of 2²⁴ hashed columns therefore costs
    four bytes per column, and has parameters only for the columns that it contains. `field` has
    the field of each column seen, `units` the units of their values.

    Columns join by `extended`, which returns a new object. A thread that predicts, or a fit that
    fails, keeps the old object with the old columns. All these objects share `slot_of`, so only
    the newest may be extended. Slots from ``len(self)`` on belong to newer objects, and this one
    ignores them.
    """

    def __init__(self, n_features, fields):
        self.fields, self.slot_of = fields, np.full(n_features, -1, np.int32)
        self.field = np.empty(0, np.int32)
        self._set(np.empty(0, np.intp), Units(np.empty(0), np.empty(0)))

    def _set(self, seen, units):
        self.seen, self.units, self.shifted = seen, units, seen[units.shift != 0]
        self.plain = not len(self.shifted) and bool((units.scale == 1).all())

    def __len__(self):
        return len(self.seen)

    def new_in(self, X, rows):
        """Return the columns that occur in `rows` of X and have no slot yet."""
        fresh = occurring(X, rows)
        fresh[self.seen] = False
        return np.flatnonzero(fresh)

    def extended(self, columns, units):
        """Return these columns and new ones, with slots for all."""
        if not len(columns):
            return self
        longer = object.__new__(Columns)
        longer.fields, longer.slot_of = self.fields, self.slot_of
        # A fit that failed may have left slots that now go to other columns.
        longer.slot_of[longer.slot_of >= len(self)] = -1
        units = Units(*map(np.concatenate, zip(self.units, units, strict=True)))
        longer.field = np.concatenate([self.field, self.fields.of(columns)])
        longer._set(np.concatenate([self.seen, columns]), units)
        longer.slot_of[columns] = np.arange(len(self), len(longer))
        return longer

    def part(self, slots):
        """Some of the columns, numbered anew, for a matrix that has only these.

        They keep their fields, their units and their numbers in the user's matrix.
        """
        some = object.__new__(_SomeColumns)
        some.fields, some.slot_of = self.fields, np.arange(len(slots), dtype=np.int32)
        some.field, some.seen = self.field.take(slots), self.seen.take(slots)
        some.units = Units(*(of_all.take(slots) for of_all in self.units))
        some.shifted, some.plain = np.flatnonzero(some.units.shift), self.plain
        return some

    def slots(self, columns):
        """The slot of each column, -1 for columns never seen."""
        # NumPy would convert any other type to intp with each use.
        return self.slot_of.take(columns).astype(np.intp)

    def spread(self, table):
        """Lay out table rows over all columns, with zeros for columns never seen."""
        full = np.zeros((len(self.slot_of), *table.shape[1:]), table.dtype)
        full[self.seen] = table
        return full

    def counted(self, values, slots):
        """Values of the matrix in the units of their columns, clipped to what float32 holds."""
        if self.plain:
            return values
        shift, scale = self.units
        in_units = (values - shift.take(slots)) / scale.take(slots)
        return np.clip(in_units, -MAX_VALUE, MAX_VALUE)

    def pooled_shifts(self, V):
        """The shifts of all columns pooled by field, each times its row of V."""
        pooled = np.zeros((self.fields.n_fields, *V.shape[1:]))
        np.add.at(pooled, self.field, (self.units.shift * V.T).T)
        return pooled

    def per_value(self, table):
        """Parameters of the columns for values of the matrix instead of those in units."""
        return table if self.plain else table / self.units.scale[:, None]

    def filled(self, X):
        """X with an entry in every row for each shifted column, where 0 does not count as 0."""
        dense = self.shifted
        if not len(dense):
            return X
        # They ascend, as all of them came with the first batch.
        local = np.searchsorted(dense, X.indices).clip(max=len(dense) - 1)
        row, present = row_of_entries(X), dense[local] == X.indices
        absent = np.ones((X.shape[0], len(dense)), bool)
        absent[row[present], local[present]] = False
        if not absent.any():
            return X
        more, which = np.nonzero(absent)
        row, column = np.concatenate([row, more]), np.concatenate([X.indices, dense[which]])
        data = np.concatenate([X.data, np.zeros(len(more), X.dtype)])
        return csr_array((data, (row, column)), shape=X.shape)

    def __getstate__(self):
        units = {} if self.plain else self.units._asdict()
        return {
            "n_features": len(self.slot_of), "fields": self.fields, "seen": self.seen, **units
        }  # fmt: skip

    def __setstate__(self, state):
        self.__init__(state["n_features"], state["fields"])
        seen = state["seen"]
        units = Units(
            state.get("shift", np.zeros(len(seen))), state.get("scale", np.ones(len(seen)))
        )
        self.__dict__ = self.extended(seen, units).__dict__


class _SomeColumns(Columns):
    """Columns of a matrix that has these only; see `Columns.part`."""

    def __getstate__(self):
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__ = state


class Batch:
    """Some rows of a CSR matrix over the distinct columns that occur in them.

    Attributes
    ----------
    touched : ndarray of shape (U,) or None
        Slots of the distinct columns. None stands for all columns, if the engine predicts
        without finding out which are distinct.
    field : ndarray of shape (U,)
        Field of each distinct column.
    indptr : ndarray of shape (B * F + 1,)
        Where the entries of each row and field begin.
    indices, values : ndarray of shape (n_entries,)
        Position in `touched`, and value, of each entry.
    crosses : Batch
        The crosses of the rows, over the distinct buckets that occur.
    memo : dict
        Results that an engine computes only once.
    """

    def __init__(self, batcher, touched, indptr, indices, values, n_fields):
        self.touched, self.n_fields, self._batcher = touched, n_fields, batcher
        self.n_rows, self.binary = (len(indptr) - 1) // n_fields, batcher.binary
        self.dtype = batcher.dtype
        self.indptr, self.indices, self.values = indptr, indices, values
        self.memo = {}

    @cached_property
    def field(self):
        return self._batcher.columns.field.take(self.touched)

    @cached_property
    def crosses(self):
        return self._batcher.crosses_of(self)

    def crosses_apart(self):
        """The crosses of the rows, over the same buckets, for each tuple of crossed fields."""
        return self._batcher.crosses_apart(self)

    def renew_scratch(self):
        """Release all scratch arrays, so that the next ones reuse their memory."""
        self._batcher.n_scratch = 0

    def part(self, of):
        """The batch whose columns are the rows of tables of "columns" or "crosses"."""
        return self.crosses if of == "crosses" else self

    def rows(self, of):
        """The rows that the batch touches in a table of "columns" or "crosses"; None for "all"."""
        return None if of == "all" else self.part(of).touched

    def count(self, engine, of, weight):
        """For each of these rows the sum of `weight` over the entries that are in it."""
        if of == "all":
            return weight.sum(keepdims=True)
        return engine.column_sums(self.part(of), weight, power=0)

    def scratch(self, shape, dtype):
        """An array of arbitrary content, valid until the next batch or `renew_scratch`.

        New memory for every batch would be slow, as the system hands it out page by page.
        """
        buffers, number = self._batcher.buffers, self._batcher.n_scratch
        self._batcher.n_scratch += 1
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if number == len(buffers):
            buffers.append(np.empty(0, np.uint8))
        if len(buffers[number]) < size:
            buffers[number] = np.empty(size, np.uint8)
        return buffers[number][:size].view(dtype).reshape(shape)


class Batcher:
    """Cuts batches out of a CSR matrix, ignoring columns that have no slot.

    Values are counted in the units of their columns. Without `renumbers`, an engine may keep the
    slots of columns instead of numbering the distinct columns of a batch.
    """

    def __init__(self, X, columns, crosses, engine, dtype=np.float32, renumbers=True):
        if X.shape[1] != len(columns.slot_of):
            raise ValueError(f"X has {X.shape[1]} columns, but {len(columns.slot_of)} are known.")
        X = columns.filled(X)
        self.X, self.columns, self.fields, self.crosses = X, columns, columns.fields, crosses
        self.engine, self.dtype, self.renumbers = engine, dtype, renumbers
        self.n_slots = len(columns)
        self.binary = columns.plain and bool((X.data == 1).all())
        length = entries_per_row(X)
        self.length = length[0] if len(length) and (length == length[0]).all() else None
        self._renew()

    def largest(self, rows):
        """Find the value in some rows that is largest in units of its column.

        Returns its column, the value, and the value in units, which is 0 without entries.
        """
        found = 0, 0.0, 0.0
        for chunk in chunks(rows):
            where, _ = positions(self.X.indptr, chunk)
            slots, values = self.columns.slots(self.X.indices.take(where)), self.X.data.take(where)
            known = (slots >= 0) & (slots < self.n_slots)
            slots, values = slots[known], values[known]
            in_units = np.abs(self.columns.counted(values, slots))
            if in_units.max(initial=0) > found[2]:
                at = in_units.argmax()
                found = self.columns.seen[slots[at]], values[at], in_units[at]
        return found

    def sibling(self):
        """A batcher of the same matrix for another thread."""
        other = copy.copy(self)
        other._renew()
        return other

    def _renew(self):
        """Make the arrays that batches write to."""
        self.buffers, self.n_scratch = [], 0
        n_buckets = self.crosses.n_buckets if self.crosses else 0
        self.stamp = np.zeros(max(self.n_slots, n_buckets) + 1, np.int32)

    def __call__(self, rows):
        """Return the batch of the rows numbered `rows`."""
        self.n_scratch = 0
        return Batch(self, *self.engine.assemble(self, rows), self.fields.n_fields)

    def _columns_of(self, batch):
        """The column of each entry of a batch."""
        slots = batch.indices if batch.touched is None else batch.touched.take(batch.indices)
        return self.columns.seen.take(slots)

    def crosses_apart(self, batch):
        """The crosses of a batch with distinct columns, for each tuple of crossed fields."""
        columns, touched, parts = self._columns_of(batch), batch.crosses.touched, {}
        order = np.argsort(touched)
        for fields in self.crosses.tuples:
            one = self.crosses.only(fields)
            indptr, buckets, values = one(batch.indptr, columns, batch.values)
            local = order[np.searchsorted(touched, buckets, sorter=order)]
            parts[fields] = Batch(self, touched, indptr, local, values, 1)
        return parts

    def crosses_of(self, batch):
        """The batch of the crosses of a batch."""
        indptr, buckets, values = self.crosses(batch.indptr, self._columns_of(batch), batch.values)
        touched, local = None, buckets
        if batch.touched is not None:
            touched, local = self.engine.distinct(buckets, self.stamp)
        return Batch(self, touched, indptr, local, values, 1)


def occurring(X, rows):
    """Whether each column occurs in `rows`."""
    occurs = np.zeros(X.shape[1], bool)
    for chunk in chunks(rows):
        occurs[columns_of(X, chunk)] = True
    return occurs


def columns_of(X, rows):
    """The columns of all entries in some rows."""
    return X.indices.take(positions(X.indptr, rows)[0])


def chunks(rows):
    return np.array_split(rows, 1 + len(rows) // _CHUNK_ROWS)


def positions(indptr, rows):
    """Where the entries of `rows` are stored, and how many each row has."""
    start = indptr.take(rows)
    length = indptr.take(rows + 1) - start
    return ranges(start, length), length


def ranges(start, length):
    """Concatenate the ranges of numbers that have these starts and lengths."""
    end = np.cumsum(length)
    return np.repeat(start - end + length, length) + np.arange(end[-1] if len(end) else 0)
