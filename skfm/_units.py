"""The units in which the values of columns count, from sums over rows.

The rows may be spread over several parts. ``each(function, *arguments)`` calls a function with
each part and the arguments, and gives the list of what it returned; sums are taken in the order
of that list. Functions and arguments can be pickled.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ._batch import FEW_ROWS, LEAST, ROUNDINGS, Units, chunks, columns_of, positions


class Part(NamedTuple):
    """Batches of rows, numbers of rows of X, and the weight of each row of X.

    `own` are the columns that those of X stand for, ascending; None if it has all of them.
    """

    X: csr_array
    batches: list
    weight: np.ndarray
    own: np.ndarray | None = None

    def numbered(self, columns):
        """For each column of X its position in `columns`, which ascend; -1 where it is not."""
        if self.own is None:
            number = np.full(self.X.shape[1], -1, np.int32)
            number[columns] = np.arange(len(columns))
            return number
        at = np.searchsorted(columns, self.own).clip(max=len(columns) - 1)
        return np.where(columns[at] == self.own, at, -1)

    def entries(self, columns, first):
        """Position in `columns`, value and weight of their entries in the batch `first`."""
        of_column = self.numbered(columns)
        batch_of_row = np.repeat(np.arange(len(self.batches)), [*map(len, self.batches)])
        rows = np.concatenate(self.batches)
        for chunk, its_batch in zip(chunks(rows), chunks(batch_of_row), strict=True):
            where, length = positions(self.X.indptr, chunk)
            column = of_column.take(self.X.indices.take(where))
            known = (column >= 0) & (np.repeat(its_batch, length) == first.take(column))
            value = self.X.data.take(where[known]).astype(np.float64)
            yield column[known], value, np.repeat(self.weight[chunk], length)[known]


def units_of(each, columns, may_shift):
    """The units of `columns`, each from the first batch it is in.

    The unit of a column is the root mean square of its entries: 1 where these are ones.
    Numbers far from zero, such as years, would hardly differ in it. A column of the first
    batch is therefore standardized if most rows have an entry in it and its mean over all of
    them is more than half of its standard deviation. Means are weighted.

    Parameters
    ----------
    each : callable
        See above; calls a function with each `Part`.
    columns : ndarray
        Ascending.
    may_shift : bool
        Whether the model has seen no rows before the first batch.
    """
    shift, scale = np.zeros(len(columns)), np.ones(len(columns))
    numbers = reduce(np.union1d, each(_with_numbers))
    others = np.flatnonzero(np.isin(columns, numbers))
    if len(others):
        shift[others], scale[others] = _units(each, columns[others], may_shift)
    return Units(shift, scale)


def _with_numbers(part):
    """The columns that have other values than 1."""
    found = np.unique(part.X.indices[: part.X.nnz][part.X.data[: part.X.nnz] != 1])
    return found if part.own is None else part.own[found]


def _first_batches(part, columns):
    """For each of some columns the batch that it comes in; their number where in none."""
    of_column, first = part.numbered(columns), np.full(len(columns), len(part.batches))
    for batch, rows in enumerate(part.batches):
        column = of_column.take(columns_of(part.X, rows))
        column = column[column >= 0]
        first[column[first[column] > batch]] = batch
    return first


def _extremes(part, columns, first):
    """The least and the largest value of each column."""
    least, most = np.full(len(columns), np.inf), np.full(len(columns), -np.inf)
    for column, value, _ in part.entries(columns, first):
        np.minimum.at(least, column, value)
        np.maximum.at(most, column, value)
    return least, most


def _moments(part, columns, first, largest, power, centre):
    """Weighted sums of a power of the values, as parts of the largest, and of the weights."""
    width = len(columns)
    total, count = np.zeros(width), np.zeros(width)
    for column, value, weight in part.entries(columns, first):
        moment = (value / largest[column] - centre[column]) ** power
        total += np.bincount(column, weight * moment, width)
        count += np.bincount(column, weight, width)
    return total, count


def _size(part):
    """The weight of the first batch, its number of rows, and what values are rounded by."""
    rows, dtype = part.batches[0], part.X.dtype
    rounding = np.finfo(dtype if dtype.kind == "f" else float).eps
    return part.weight[rows].sum(), len(rows), rounding


def _units(each, columns, may_shift):
    """Shift and scale of columns that hold numbers."""
    first = reduce(np.minimum, each(_first_batches, columns))
    least, most = zip(*each(_extremes, columns, first), strict=True)
    least, most = reduce(np.minimum, least), reduce(np.maximum, most)
    largest = np.maximum(np.abs(least), np.abs(most))

    def mean(power, centre):
        parts = each(_moments, columns, first, largest, power, centre)
        total, count = (reduce(np.add, sums) for sums in zip(*parts, strict=True))
        return total / np.where(count > 0, count, 1), count

    zero, differs = np.zeros(len(columns)), least < most
    square, count = mean(2, zero)
    shift, scale = np.zeros(len(columns)), largest * np.where(differs, np.sqrt(square), 1)
    scale[scale < LEAST] = 1  # parameters per such a unit would be infinite: it counts as 0
    weight, n_rows, rounding = zip(*each(_size), strict=True)
    share = np.where(first == 0, count / sum(weight), 0)
    if may_shift and sum(n_rows) >= FEW_ROWS and (differs & (share > 0.5)).any():
        average = share * mean(1, zero)[0]
        deviation, _ = mean(2, average)
        # The rows without an entry have a zero.
        deviation = np.sqrt(share * deviation + (1 - share) * average**2)
        far = (share > 0.5) & (np.abs(average) > 0.5 * deviation)
        far &= differs & (deviation > ROUNDINGS * max(rounding))
        shift[far], scale[far] = (largest * average)[far], (largest * deviation)[far]
    return shift, scale
