"""Variables of a table: how their cells are read, and which columns each becomes.

A variable is read as float64 numbers with NaN where they are missing, or as `Categories`.
An encoding has a `width`, the number of its columns, ``encode(cells)`` and ``labels()``.
"""

from itertools import chain, compress, count, pairwise, repeat
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.utils import murmurhash3_32

from ._batch import MAX_VALUE


class Categories(NamedTuple):
    """Distinct values and, for each cell, the number of its value; -1 where it is missing.

    A cell with several values is a tuple.
    """

    codes: np.ndarray
    values: list

    @property
    def has_lists(self):
        return tuple in set(map(type, self.values))


class Slots(NamedTuple):
    """Where the entries of cells are: one for each or, with `counts`, so many for each."""

    column: np.ndarray
    value: np.ndarray | None = None
    counts: np.ndarray | None = None


# -- reading --------------------------------------------------------------------------


def read(cells, name, kind=None):
    """Read a pandas or polars series or an array as `kind`, or as its data type says.

    Parameters
    ----------
    cells : Series or ndarray of shape (n_rows,)
    name : str
        What messages call it.
    kind : {np.ndarray, Categories, None}

    Returns
    -------
    numbers : ndarray of shape (n_rows,), float64, or Categories
    """
    dtype = cells.dtype
    if kind is None and hasattr(dtype, "categories"):
        kind = Categories
    if hasattr(dtype, "is_temporal"):  # polars
        numeric, temporal = dtype.is_numeric(), dtype.is_temporal()
    else:
        numeric, temporal = dtype.kind in "iuf", dtype.kind in "mM"
    if temporal:
        raise ValueError(
            f"Variable {name!r} holds dates or times. Turn them into numbers or categories first."
        )
    if numeric and kind is not Categories:
        return _numbers(cells)
    try:
        found = _factorize(cells)
    except TypeError as error:
        raise ValueError(
            f"Variable {name!r} holds values that are no categories: {error}."
        ) from error
    types = set(map(type, found.values))
    others = {t for t in types if not _holds_numbers(t)}
    if kind is Categories or (kind is None and (others or not types)):
        return found
    if others:
        other = next(value for value in found.values if type(value) in others)
        raise ValueError(f"Variable {name!r} held numbers in fit, but now {other!r}.")
    try:
        return np.array([*found.values, np.nan], np.float64)[found.codes]
    except OverflowError as error:
        raise ValueError(f"Variable {name!r} holds numbers too large for float64.") from error


def _numbers(cells):
    if hasattr(cells, "iloc"):
        return cells.to_numpy(np.float64, na_value=np.nan)
    return cells.cast(float).to_numpy() if hasattr(cells, "cast") else cells.astype(np.float64)


def _holds_numbers(value_type):
    return issubclass(value_type, Real) and not issubclass(value_type, bool)


def _factorize(cells):
    """Number the distinct values in order of appearance, by the library that has them."""
    dtype = cells.dtype
    try:
        if hasattr(cells, "factorize"):
            codes, values = cells.factorize()
            return Categories(codes, values.tolist())
        if hasattr(cells, "replace_strict") and not (dtype.is_nested() or dtype.is_object()):
            values = cells.unique(maintain_order=True).drop_nulls()
            numbers = np.arange(len(values), dtype=np.int32)
            codes = cells.replace_strict(values, numbers, default=-1).to_numpy()
            return _without_missing(codes, values.to_list())
    except (TypeError, NotImplementedError):  # lists
        pass
    cells = cells.to_list() if hasattr(cells, "to_list") else cells.tolist()
    first_of = {}
    try:
        first = np.fromiter(map(first_of.setdefault, cells, count()), np.intp, len(cells))
    except TypeError:
        cells = [tuple(c) if isinstance(c, list | set | np.ndarray) else c for c in cells]
        first_of = {}
        first = np.fromiter(map(first_of.setdefault, cells, count()), np.intp, len(cells))
    number = np.cumsum(first == np.arange(len(first))) - 1
    return _without_missing(number[first], list(first_of))


def _without_missing(codes, values):
    if set(map(type, values)) <= {str, bool, int, tuple}:
        return Categories(codes, values)
    known = np.array([not _is_missing(value) for value in values])
    number = np.where(known, np.cumsum(known) - 1, -1)
    kept = [value for value, keep in zip(values, known, strict=True) if keep]
    return Categories(np.append(number, -1)[codes], kept)


def _is_missing(value):
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA
        return True


# -- encodings ------------------------------------------------------------------------


class Vocabulary:
    """A column for each category, the most frequent first, then missing and unknown values.

    There is a column for missing values only if there were any: the first column must
    occur, or fields could not be inferred.
    """

    kind = Categories

    def __init__(self, cells, min_count, max_categories):
        codes, values = cells
        counts = np.bincount(codes + 1, minlength=len(values) + 1)
        order = np.argsort(-counts[1:], kind="stable")
        order = order[counts[1:][order] >= min_count][:max_categories]
        column = np.full(len(values), -1)
        column[order] = np.arange(len(order))
        kept = column >= 0
        self.column_of = dict(zip(compress(values, kept), column[kept].tolist(), strict=True))
        self.has_missing = bool(counts[0])
        self.width = len(self.column_of) + self.has_missing + 1

    def encode(self, cells):
        unknown, size = self.width - 1, len(cells.values)
        columns = map(self.column_of.get, cells.values, repeat(unknown))
        columns = np.fromiter(chain(columns, [unknown - self.has_missing]), np.int32, size + 1)
        return Slots(columns[cells.codes])

    def labels(self):
        yield from (f"={_text(value)}" for value in sorted(self.column_of, key=self.column_of.get))
        yield from ["=<missing>"] * self.has_missing + ["=<unknown>"]


class Bins:
    """A column for each interval [edge, next edge), then one for missing values.

    None for numbers where there were none.
    """

    kind = np.ndarray

    def __init__(self, edges, any_seen=True):
        self.edges = edges
        self.width = len(edges) + any_seen + 1

    @classmethod
    def of_quantiles(cls, numbers, n_bins):
        """Bins that hold about as many numbers each; of few distinct ones, each its own.

        A number that fills more than a bin by itself counts as one bin full, so that many
        zeros do not take the bins of the rest.
        """
        distinct, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
        if len(distinct) <= n_bins:
            return cls(distinct[1:], len(distinct) > 0)
        full, before = len(numbers) / n_bins, np.inf
        while full < before:
            light = counts <= full
            before, full = full, counts[light].sum() / (n_bins - (~light).sum())
        weight = np.minimum(counts, full)
        bins = np.floor((np.cumsum(weight) - weight / 2) / full)
        return cls(distinct[1:][np.diff(bins) > 0])

    @classmethod
    def of_logarithms(cls, numbers):
        """The bins of `logarithmic` that occur, each up to the next of them."""
        seen = np.unique(logarithmic(numbers[~np.isnan(numbers)]))
        return cls(_lower_limit(seen[1:]), len(seen) > 0)

    def encode(self, numbers):
        columns = np.searchsorted(self.edges, numbers, side="right").astype(np.int32)
        missing = self.width - 1
        columns[np.isnan(numbers)] = missing
        return Slots(np.minimum(columns, missing))

    def labels(self):
        edges = [_text(edge) for edge in self.edges]
        if edges:
            yield f"<{edges[0]}"
            yield from (f"=[{low}, {high})" for low, high in pairwise(edges))
            yield f">={edges[-1]}"
        elif self.width > 1:
            yield "=<number>"
        yield "=<missing>"


class Value:
    """One column for the number itself, standardized, and one for missing values."""

    kind, width = np.ndarray, 2

    def __init__(self, numbers, name):
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean, self.scale = np.nanmean(numbers), np.nanstd(numbers) or 1.0
        if not np.isfinite([self.mean, self.scale]).all():
            raise ValueError(
                f"Variable {name!r} holds infinity, or numbers too large to standardize; use "
                "numeric='quantile'."
            )

    def encode(self, numbers):
        missing = np.isnan(numbers)
        with np.errstate(over="ignore"):
            value = np.clip((numbers - self.mean) / self.scale, -MAX_VALUE, MAX_VALUE)
        return Slots(missing.astype(np.int32), np.where(missing, 1, value).astype(np.float32))

    def labels(self):
        return ["", "=<missing>"]


class Buckets:
    """So many columns, the first for missing values, into the others of which values are hashed.

    Logarithmic bins of numbers take their own column each as long as there are enough.
    """

    def __init__(self, kind, width, separator, pooling):
        self.kind, self.width, self.separator, self.pooling = kind, width, separator, pooling

    def encode(self, cells):
        if self.kind is np.ndarray:
            missing = np.isnan(cells)
            columns = 1 + logarithmic(np.where(missing, 0, cells)) % (self.width - 1)
            return Slots(np.where(missing, 0, columns).astype(np.int32))
        if not (self.separator or cells.has_lists):
            return Slots(np.append(self._buckets(cells.values), np.int32(0))[cells.codes])
        parts = [*map(self._parts, cells.values), [None]]
        columns = self._buckets([*chain.from_iterable(parts)])
        lengths = np.array([*map(len, parts)])
        counts = lengths[cells.codes]
        start = (np.cumsum(lengths) - lengths)[cells.codes]
        which = np.arange(counts.sum()) + np.repeat(start - np.cumsum(counts) + counts, counts)
        weight = 1 / counts if self.pooling == "mean" else np.ones(len(counts))
        return Slots(columns[which], np.repeat(weight, counts).astype(np.float32), counts)

    def _parts(self, value):
        """The values of one cell; a missing one if there are none."""
        if isinstance(value, tuple):
            parts = [part for part in value if not _is_missing(part)]
        elif self.separator and isinstance(value, str):
            parts = [part for part in value.split(self.separator) if part]
        else:
            return [value]
        return parts or [None]

    def _buckets(self, values):
        texts = values if set(map(type, values)) == {str} else map(_text, values)
        hashes = np.array([murmurhash3_32(text, positive=True) for text in texts], np.int64)
        buckets = 1 + hashes % (self.width - 1)
        if None in values:
            buckets[[value is None for value in values]] = 0
        return buckets.astype(np.int32)

    def labels(self):
        yield "=<missing>"
        yield from (f"=#{bucket}" for bucket in range(1, self.width))


def logarithmic(numbers):
    """The number of the bin of each of `numbers`, int64.

    That of n = ⌊x⌋ is n up to 2, and 2 + ⌊ln²(n)⌋ from 3 on; that of -n is its negative.
    """
    whole = np.floor(numbers)
    size = np.minimum(np.abs(whole), np.finfo(np.float64).max)
    bins = np.where(size <= 2, size, 2 + np.floor(np.log(np.maximum(size, 1)) ** 2))
    return np.copysign(bins, whole).astype(np.int64)


def _lower_limit(bins):
    """The least number in each bin of `logarithmic`."""
    size = np.abs(bins).astype(np.float64)
    first = np.ceil(np.exp(np.sqrt(np.maximum(size - 2, 0))))
    last = np.ceil(np.exp(np.sqrt(np.maximum(size - 1, 0)))) - 1
    return np.where(size <= 2, bins, np.where(bins < 0, -last, first))


def _text(value):
    """What names and hashes say for a value; the same for 3 and 3.0."""
    if isinstance(value, Integral) or not _holds_numbers(type(value)):
        return str(value)
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
