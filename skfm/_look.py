"""A fitted model beside some rows: what columns and pairs of columns add to their scores."""

import numpy as np
from scipy.sparse import coo_array, csr_array

from ._batch import Batcher, checked, without_stored_zeros
from ._engine import load
from ._names import Names, unwrap
from ._terms import Evaluation

# Pairs of entries that are looked at together, in bulk and with their parameters.
_PAIRS, _WEIGHTS = 1 << 22, 1 << 18

# Rows that are looked at together, at most.
ROWS_AT_A_TIME = 1 << 12


class Look:
    """A fitted model, rows to look at it with, and what its columns and fields are called."""

    def __init__(self, model, X, fields, feature_names):
        steps, estimator = unwrap(model)
        X = checked(estimator, X if steps is None else steps.transform(X))
        self.fitted, self.columns = estimator._fitted, estimator._fitted.columns
        self.columns.fields.check_order(X.variables)
        self.names = Names(steps, estimator, X.variables, fields, feature_names)
        self.group, self.field_names = self.names.groups()
        # The reference engine in float64: compiled ones differ from it by rounding only.
        X, crosses = without_stored_zeros(X), self.fitted.crosses
        self.engine, self.n_rows = load("numpy"), X.shape[0]
        self.batcher = Batcher(X, self.columns, crosses, self.engine, np.float64)

    def batches(self):
        for start in range(0, self.n_rows, ROWS_AT_A_TIME):
            yield self.batcher(np.arange(start, min(start + ROWS_AT_A_TIME, self.n_rows)))

    def has_pairs(self, learned):
        """Whether a model has a pairwise term."""
        return self.pair_weights(learned, *np.zeros((2, 0), np.intp)) is not None

    def check_pairs(self):
        if not any(map(self.has_pairs, self.fitted.models)):
            raise ValueError(
                "The model has no pairwise interactions: it has k=0, or is a Wide & Deep model "
                "without interactions=True."
            )

    def drawn(self, max_samples, rng):
        """The numbers of some rows, ascending."""
        if max_samples is None or max_samples >= self.n_rows:
            return np.arange(self.n_rows)
        return np.sort(rng.choice(self.n_rows, int(max_samples), replace=False))

    def pair_weights(self, learned, i, j):
        """What the pairs of columns in slots i and j count in a score; None if nothing."""
        values, total = tables_of(learned), None
        for start in range(0, max(len(i), 1), _WEIGHTS):
            part = slice(start, start + _WEIGHTS)
            for term in learned.terms:
                weights = term.pair_weights(values, self.columns.field, i[part], j[part])
                if weights is not None:
                    total = np.zeros(len(i)) if total is None else total
                    total[part] += weights
        return total

    def parts(self, learned, batch):
        """The scores of a batch without the bias.

        Returns
        -------
        linear : csr_array of shape (B, n)
            By field.
        pairs : csr_array of shape (B, n²)
            By pair a·n + b of fields, a ≤ b.
        rest : dict of ndarray of shape (B,)
            By kind and the fields of the model.
        """
        n, slots, row = len(self.field_names), batch.touched[batch.indices], _row_of(batch)
        values, group, weights = tables_of(learned), self.group[slots], np.zeros(len(slots))
        for term in learned.terms:
            found = term.column_weights(values, slots)
            weights += 0 if found is None else found
        linear = _summed(weights * batch.values, row, group, (batch.n_rows, n))
        pairs = csr_array((batch.n_rows, n * n))
        if self.has_pairs(learned):
            pairs = self.pairs(learned, row, slots, batch.values, batch.n_rows)
        evaluation = Evaluation(self.engine, batch, learned.gather(self.engine, batch))
        rest = {}
        for term in learned.terms:
            rest |= term.other_parts(evaluation)
        return linear, pairs, rest

    def pairs(self, learned, row, slots, values, n_rows, side=None):
        """What pairs of entries add by row and pair a·n + b of fields, a ≤ b, sparse.

        With a `side` of each entry, 1 or −1, those of fields a < b count with the product of the
        two sides; entries of the same field count with their side, and only if that is the same.
        """
        n, group = len(self.field_names), self.group[slots]
        total = csr_array((n_rows, n * n))
        for left, right in _pairs_of_entries(row):
            a, b = np.sort([group[left], group[right]], axis=0)
            scores = self.pair_weights(learned, slots[left], slots[right])
            scores *= values[left] * values[right]
            if side is not None:
                within = (side[left] + side[right]) / 2
                scores *= np.where(a == b, within, side[left] * side[right])
            total = total + _summed(scores, row[left], a * n + b, total.shape)
        return total

    def differences(self, learned, batch, other):
        """The difference of differences of the rows of two batches by pair, as in `pairs`."""
        row = np.concatenate([_row_of(batch), _row_of(other)])
        slots = np.concatenate([each.touched[each.indices] for each in (batch, other)])
        values, order = np.concatenate([batch.values, other.values]), np.argsort(row, kind="stable")
        side = np.repeat([1, -1], [len(batch.values), len(other.values)])
        entries = row[order], slots[order], values[order]
        return self.pairs(learned, *entries, batch.n_rows, side[order])

    def _group_of(self, field):
        """The field that one of the model's fields is reported under, None if it is several."""
        found = np.unique(self.group[self.columns.field == field])
        return int(found[0]) if len(found) == 1 else None

    def field_name(self, field):
        """What one of the model's fields is called."""
        group = self._group_of(field)
        if group is None:
            return f"field {self.columns.fields.labels[field]}"
        return self.field_names[group]


def tables_of(learned):
    return {name: table.value for name, table in learned.tables.items()}


def _row_of(batch):
    """The row of each entry of a batch."""
    return np.repeat(np.arange(batch.n_rows), np.diff(batch.indptr[:: batch.n_fields]))


def _pairs_of_entries(row):
    """The numbers of the left and the right entry of each pair in a row, some at a time.

    `row` has the row of each entry, ascending.
    """
    n_after = np.searchsorted(row, row, side="right") - 1 - np.arange(len(row))
    end = np.cumsum(n_after)
    for start in range(0, int(end[-1]) if len(end) else 0, _WEIGHTS):
        number = np.arange(start, min(start + _WEIGHTS, end[-1]))
        left = np.searchsorted(end, number, side="right")
        yield left, left + 1 + number - (end - n_after)[left]


def varying(batch):
    """The share of each column's mean square that is variance, over all rows of a batch.

    Of zeros and ones it is the share of zeros.
    """
    square = np.bincount(batch.indices, batch.values**2) * batch.n_rows
    total = np.bincount(batch.indices, batch.values)
    return 1 - total**2 / np.where(square > 0, square, 1)


def pairs_that_occur(batch, group, min_count):
    """Pairs of columns of different fields that enough rows have, some left columns at a time.

    Yields
    ------
    i, j : ndarray of shape (n_pairs,)
        Where in ``batch.touched`` the two columns are.
    mean : ndarray of shape (n_pairs,)
        Average product of their values, over the rows that have both.
    count : ndarray of shape (n_pairs,)
        The number of these rows.
    """
    # A pair is not in more rows than each of its columns.
    frequent = np.bincount(batch.indices, minlength=len(batch.touched)) >= min_count
    keep = frequent[batch.indices]
    column, value, row = batch.indices[keep].astype(np.int64), batch.values[keep], _row_of(batch)
    n_columns, length = len(batch.touched), np.bincount(row[keep], minlength=batch.n_rows)
    n_after = np.repeat(np.cumsum(length), length) - 1 - np.arange(len(column))
    # Within rows, columns have the same order everywhere: by field, then by number.
    by_column = np.argsort(column, kind="stable")
    n_pairs = np.cumsum(np.bincount(column, n_after, n_columns))
    ends = np.cumsum(np.bincount(column, minlength=n_columns))
    first = 0
    while first < n_columns:
        before = n_pairs[first - 1] if first else 0
        last = max(np.searchsorted(n_pairs, before + _PAIRS, side="right"), first + 1)
        entries = by_column[(ends[first - 1] if first else 0) : ends[last - 1]]
        left = np.repeat(entries, n_after[entries])
        begin = np.cumsum(n_after[entries]) - n_after[entries]
        right = left + 1 + np.arange(len(left)) - np.repeat(begin, n_after[entries])
        first = last
        i, j = column[left], column[right]
        apart = group[batch.touched[i]] != group[batch.touched[j]]
        key = (i * n_columns + j)[apart]
        order = np.argsort(key)
        key, product = key[order], (value[left] * value[right])[apart][order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        count = np.diff(starts, append=len(key))
        enough = count >= min_count
        if enough.any():
            mean = np.add.reduceat(product, starts)[enough] / count[enough]
            i, j = np.divmod(key[starts[enough]], n_columns)
            yield i, j, mean, count[enough]


def _summed(scores, row, column, shape):
    """Scores summed by row and column, sparse."""
    return csr_array(coo_array((scores, (row, column)), shape))
