"""A fitted model beside some rows: what columns and pairs of columns add to their scores."""

import numpy as np
from scipy.sparse import coo_array, csr_array

from ._batch import Batcher, checked, row_of_entries, without_stored_zeros
from ._engine import load
from ._names import Names, unwrap
from ._terms import Evaluation

# Pairs of entries that are looked at together, in bulk and with their parameters.
_PAIRS, _WEIGHTS = 1 << 22, 1 << 18

# Rows that are looked at together, and numbers for all of them, at most.
ROWS_AT_A_TIME, _NUMBERS = 1 << 12, 1 << 22

# Rows that averages are over: so many that pairs with the columns of them stay few, but no fewer.
_AVERAGED, _LEAST_AVERAGED = 1 << 24, 10


class Look:
    """A fitted model, rows to look at it with, and what its columns and fields are called."""

    def __init__(self, model, X, fields, feature_names):
        steps, estimator = unwrap(model)
        self.fitted, self.columns = estimator._fitted, estimator._fitted.columns
        X = checked(estimator, X if steps is None else steps.transform(X), self.columns.fields)
        self.names = Names(steps, estimator, X.variables, fields, feature_names)
        self.reported, self.field_names = self.names.reported_fields()
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
        values, reported, weights = tables_of(learned), self.reported[slots], np.zeros(len(slots))
        for term in learned.terms:
            found = term.column_weights(values, slots)
            weights += 0 if found is None else found
        linear = _summed(weights * batch.values, row, reported, (batch.n_rows, n))
        pairs = csr_array((batch.n_rows, n * n))
        if self.has_pairs(learned):
            pairs = self._pairs(learned, row, slots, batch.values, batch.n_rows)
        evaluation = Evaluation(self.engine, batch, learned.gather(self.engine, batch))
        rest = {}
        for term in learned.terms:
            rest |= term.other_parts(evaluation)
        return linear, pairs, rest

    def _pairs(self, learned, row, slots, values, n_rows):
        """What pairs of entries add, as in `parts`; `row` has the row of each entry, ascending."""
        total = csr_array((n_rows, len(self.field_names) ** 2))
        for left, right in _pairs_of_entries(row):
            weights = self.pair_weights(learned, slots[left], slots[right])
            scores = weights * values[left] * values[right]
            pairs = self._number(slots[left], slots[right])
            total = total + _summed(scores, row[left], pairs, total.shape)
        return total

    def _number(self, i, j):
        """The number a·n + b of the pair of fields, a ≤ b, that columns in slots i and j are of."""
        a, b = np.sort([self.reported[i], self.reported[j]], axis=0)
        return a * len(self.field_names) + b

    def pairs_of_fields(self, batch):
        """The numbers of the pairs of fields that entries of one row are of, some at a time.

        There are none if the model has no pairwise term.
        """
        if any(map(self.has_pairs, self.fitted.models)):
            slots = batch.touched[batch.indices]
            for left, right in _pairs_of_entries(_row_of(batch)):
                yield np.unique(self._number(slots[left], slots[right]))

    def interactions(self, learned, rows, rng):
        """What each two fields add together in some rows, less what the average adds with each.

        Yields
        ------
        scores : ndarray of shape (B, n, n)
            Of some of the rows, symmetric. From the diagonal nothing is taken off.
        """
        n, batch = len(self.field_names), self.batcher(rows)
        X = csr_array(
            (batch.values, batch.indices, batch.indptr[:: batch.n_fields]),
            shape=(batch.n_rows, len(batch.touched)),
        )
        average = self._with_average(learned, batch.touched, X, rng)
        reported, apart = self.reported[batch.touched], ~np.eye(n, dtype=bool)
        size = max(1, min(ROWS_AT_A_TIME, _NUMBERS // n**2))
        for start in range(0, len(rows), size):
            part = X[start : start + size]
            row, slots = row_of_entries(part), batch.touched[part.indices]
            pairs = self._pairs(learned, row, slots, part.data, part.shape[0])
            together = pairs.toarray().reshape(-1, n, n)
            together += np.triu(together, 1).swapaxes(1, 2)
            field = row * n + reported[part.indices]
            by_field = _summed(part.data, field, part.indices, (len(together) * n, X.shape[1]))
            expected = (by_field @ average).reshape(-1, n, n) * apart
            yield together - expected - expected.swapaxes(1, 2)

    def _with_average(self, learned, touched, X, rng):
        """What each column of X adds with the average values of each field, (n_columns, n)."""
        n_columns, most = X.shape[1], _AVERAGED // max(X.shape[1] * X.nnz // X.shape[0], 1)
        some = rng.permutation(X.shape[0])[: max(most, _LEAST_AVERAGED)]
        mean = X[some].mean(axis=0)
        others = np.flatnonzero(mean)
        shape = len(self.field_names), len(others)
        by_field = _summed(
            mean[others], self.reported[touched[others]], np.arange(len(others)), shape
        )
        result, step = np.zeros((n_columns, shape[0])), 1 + _WEIGHTS // max(len(others), 1)
        for start in range(0, n_columns, step):
            part = touched[start : start + step]
            i, j = np.repeat(part, len(others)), np.tile(touched[others], len(part))
            weights = self.pair_weights(learned, i, j).reshape(len(part), -1)
            result[start : start + step] = (by_field @ weights.T).T
        return result

    def _reported_under(self, field):
        """The field that one of the model's fields is reported under, None if it is several."""
        found = np.unique(self.reported[self.columns.field == field])
        return int(found[0]) if len(found) == 1 else None

    def field_name(self, field):
        """What one of the model's fields is called."""
        reported = self._reported_under(field)
        if reported is None:
            return f"field {self.columns.fields.labels[field]}"
        return self.field_names[reported]


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


def pairs_that_occur(batch, reported, min_count):
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
        apart = reported[batch.touched[i]] != reported[batch.touched[j]]
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
