"""Encodings: which columns a variable becomes.

An encoding has `widths`, the numbers of columns of its fields, ``encode(cells)``,
``decode(columns)``, where the columns are those of the encoding in a sparse matrix, and
``labels()``, what the names of columns have after that of the variable: each is empty or begins
with one of `SEPARATORS`. `numeric` says whether its cells are numbers.
``graph(graph, cells, name, missing)`` writes what `encode` does into a graph of ONNX: columns,
int64, and values, float32, of shape (n, fields).
"""

import re
from itertools import chain, compress, pairwise, repeat
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils import murmurhash3_32

from ._batch import MAX_VALUE, ROUNDINGS, ranges, row_of_entries
from ._variables import all_as_read, as_read, distinct, text_of

# What may follow the name of a variable in the name of a column.
SEPARATORS = "=<>~"


def _only_column(columns):
    """The column of the only entry in each row of a sparse matrix."""
    if (np.diff(columns.indptr) != 1).any():
        raise ValueError("every row must have one entry there")
    return columns.indices


class Slots(NamedTuple):
    """Where the entries of cells are: one for each or, with `counts`, so many for each."""

    column: np.ndarray
    value: np.ndarray | None = None
    counts: np.ndarray | None = None


class Vocabulary:
    """A column for each category, the most frequent first, then missing and unknown values.

    There is a column for missing values only if there were any: the first column must
    occur, or fields could not be inferred.
    """

    numeric = False

    def __init__(self, cells, min_frequency, max_categories):
        codes, texts = cells.codes, cells.texts
        if texts is not cells.values:  # several may have the same
            number, texts = distinct(texts, texts)
            codes = np.append(number, -1)[codes]
        counts = np.bincount(codes + 1, minlength=len(texts) + 1)
        # By their texts, where they are as frequent: not by the row in which they come first.
        by_text = np.array(sorted(range(len(texts)), key=texts.__getitem__), np.intp)
        order = by_text[np.argsort(-counts[1:][by_text], kind="stable")]
        # A share of the rows, as is 7 / 100: 0.07 * 100 is more than 7.
        whole = 1 if isinstance(min_frequency, Integral) else len(codes)
        order = order[counts[1:][order] / whole >= float(min_frequency)][:max_categories]
        column = np.full(len(texts), -1)
        column[order] = np.arange(len(order))
        kept = column >= 0
        self._set(compress(texts, kept), column[kept], bool(counts[0]))

    def _set(self, texts, column, has_missing):
        self.column_of = dict(zip(texts, column.tolist(), strict=True))
        self.has_missing = has_missing
        self.widths = (len(column) + has_missing + 1,)

    def __getstate__(self):
        """Arrays, which every format keeps as they are: the texts in a row, and their lengths."""
        texts, columns = [*self.column_of], [*self.column_of.values()]
        text = "".join(texts).encode(errors="surrogatepass")
        return {
            "text": np.frombuffer(text, np.uint8),
            "lengths": np.array([*map(len, texts)], np.int64),
            "column": np.array(columns, np.int64),
            "has_missing": self.has_missing,
        }

    def __setstate__(self, state):
        text = state["text"].tobytes().decode(errors="surrogatepass")
        ends = [0, *np.cumsum(state["lengths"]).tolist()]
        texts = [text[start:end] for start, end in pairwise(ends)]
        self._set(texts, state["column"], state["has_missing"])

    def encode(self, cells):
        unknown, size = self.widths[0] - 1, len(cells.values)
        columns = map(self.column_of.get, cells.texts, repeat(unknown))
        columns = np.fromiter(chain(columns, [unknown - self.has_missing]), np.int32, size + 1)
        return Slots(columns[cells.codes])

    def decode(self, columns):
        """The texts of categories, NaN for missing values, None for unknown ones."""
        texts = sorted(self.column_of, key=self.column_of.get)
        cells = np.array([*texts, *[np.nan] * self.has_missing, None], object)
        return cells[_only_column(columns)]

    def graph(self, graph, cells, name, missing):
        """`missing` is the text of a missing value; messages call the variable `name`."""
        if missing in self.column_of:
            raise ValueError(
                f"Variable {name!r} has the category {missing!r}, which is to stand for a missing "
                "value, too. Choose another text: missing_text=... of skfm.export.to_onnx, or "
                "options={FieldEncoder: {'missing_text': ...}} of skl2onnx.to_onnx."
            )
        unknown = self.widths[0] - 1
        of_text = {missing: unknown - self.has_missing}
        for text, column in self.column_of.items():
            if not _SURROGATE.search(text):  # a string of ONNX has none
                of_text[text] = column
        columns = graph(
            "LabelEncoder",
            cells,
            keys_strings=[*of_text],
            values_int64s=[*of_text.values()],
            default_int64=unknown,
        )
        return columns, _ones_like(graph, columns)

    def labels(self):
        for text in sorted(self.column_of, key=self.column_of.get):
            yield "=" + "\\" * bool(_SPECIAL.fullmatch(text)) + text
        yield from ["=<missing>"] * self.has_missing + ["=<unknown>"]


_SURROGATE = re.compile("[\ud800-\udfff]")


def _ones_like(graph, columns):
    return graph("Expand", np.float32(1), graph("Shape", columns))


_SPECIAL = re.compile(r"\\*<(missing|unknown)>")  # names of columns, and what is escaped so


class Bins:
    """A column for each interval [edge, next edge), then one for missing values.

    None for numbers where there were none. `least` is the least number in training.
    """

    numeric, least = True, np.nan

    def __init__(self, edges, least=np.nan, any_seen=True):
        self.edges, self.least = edges, least
        self.widths = (len(edges) + any_seen + 1,)

    @classmethod
    def of_quantiles(cls, numbers, n_bins):
        """Bins that hold about as many numbers each; of few distinct ones, each its own.

        A number that fills more than a bin by itself counts as one bin full, so that many
        zeros do not take the bins of the rest.
        """
        values, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
        if len(values) <= n_bins:
            return cls(values[1:], values.min(initial=np.inf), len(values) > 0)
        full, before = len(numbers) / n_bins, np.inf
        while full < before:
            light = counts <= full
            before, full = full, counts[light].sum() / (n_bins - (~light).sum())
        weight = np.minimum(counts, full)
        bins = np.floor((np.cumsum(weight) - weight / 2) / full)
        return cls(values[1:][np.diff(bins) > 0], values[0])

    @classmethod
    def of_logarithms(cls, numbers):
        """The bins of `logarithmic` that occur, each up to the next of them."""
        numbers = numbers[~np.isnan(numbers)]
        seen = np.unique(logarithmic(numbers))
        return cls(_lower_limit(seen[1:]), numbers.min(initial=np.inf), len(seen) > 0)

    def encode(self, numbers):
        columns = np.searchsorted(self.edges, numbers, side="right").astype(np.int32)
        missing = self.widths[0] - 1
        columns[np.isnan(numbers)] = missing
        return Slots(np.minimum(columns, missing))

    def decode(self, columns):
        """The lower end of each bin; of the first the least number there was."""
        least = [self.least] if self.widths[0] > 1 else []
        return np.array([*least, *self.edges, np.nan])[_only_column(columns)]

    def graph(self, graph, numbers, name, missing):
        last = np.array(self.widths[0] - 1)
        reached = graph("GreaterOrEqual", numbers, self.edges.astype(float)[None])
        columns = graph("ReduceSum", graph("Cast", reached, to=np.int64), np.array([1]))
        columns = graph("Where", graph("IsNaN", numbers), last, graph("Min", columns, last))
        return columns, _ones_like(graph, columns)

    def labels(self):
        edges = [str(edge).removesuffix(".0") for edge in (self.edges + 0.0).tolist()]
        if edges:
            yield f"<{edges[0]}"
            yield from (f"=[{low}, {high})" for low, high in pairwise(edges))
            yield f">={edges[-1]}"
        elif self.widths[0] > 1:
            yield "=<number>"
        yield "=<missing>"


# Of a knot from 0.
_FARTHEST = np.finfo(float).max / 4


class Knots:
    """Hat functions at knots: a number between two of them is 1 − t of the one and t of the other.

    Even knots are one field and odd ones another, so that each row has one entry in each, a
    stored zero where there is nothing to say. Numbers that are frequent by themselves have columns
    of their own in the first field, which also has that of missing values.
    """

    numeric = True

    def __init__(self, knots, frequent):
        self.knots, self.frequent = knots, frequent
        self.widths = (len(knots) + 1) // 2 + len(frequent) + 1, len(knots) // 2

    @classmethod
    def of_quantiles(cls, numbers, n_knots):
        """As many knots, with as many numbers between each two; `Bins` where there are no more."""
        values, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
        frequent, before = np.zeros(len(values), bool), None
        while before is None or frequent.sum() > before:  # the rest becomes fewer by it
            before = frequent.sum()
            frequent = counts > counts[~frequent].sum() / n_knots
        if len(values) <= n_knots or np.count_nonzero(~frequent) < 2:
            return Bins.of_quantiles(numbers, max(n_knots, len(values)))
        # Distances between knots, and what divides by them, stay finite.
        rest = np.clip(values[~frequent], -_FARTHEST, _FARTHEST)
        knots = np.unique(
            np.quantile(np.repeat(rest, counts[~frequent]), np.linspace(0, 1, n_knots))
        )
        knots = knots[np.diff(knots, prepend=-np.inf) >= np.finfo(float).tiny]
        if len(knots) < 2:
            return Bins.of_quantiles(numbers, max(n_knots, len(values)))
        return cls(knots, values[frequent])

    def encode(self, numbers):
        n_even, last = self.widths[0] - len(self.frequent) - 1, len(self.knots) - 1
        missing = np.isnan(numbers)
        place = np.interp(
            np.where(missing, self.knots[0], numbers), self.knots, np.arange(last + 1)
        )
        left = np.minimum(place.astype(np.int32), last - 1)
        share = (place - left).astype(np.float32)
        even = left % 2 == 0  # whether the knot on the left is
        column = np.stack([(left + 1) // 2, self.widths[0] + left // 2], axis=1)
        value = np.stack(
            [np.where(even, 1 - share, share), np.where(even, share, 1 - share)], axis=1
        )
        at = np.searchsorted(self.frequent, numbers).clip(max=len(self.frequent) - 1)
        alone = missing.copy()
        if len(self.frequent):
            alone |= self.frequent[at] == numbers
        column[alone] = self.widths[0]
        column[alone, 0] = n_even + np.where(missing, len(self.frequent), at)[alone]
        value[alone] = 1, 0
        return Slots(column.ravel(), value.ravel(), np.full(len(numbers), 2))

    def decode(self, columns):
        """The numbers, up to rounding to float32; the outer knots for those beyond them."""
        at = np.concatenate([self.knots[::2], self.frequent, [np.nan], self.knots[1::2]])
        columns = columns.astype(np.float64)
        total = columns.sum(axis=1)
        if (np.abs(total - 1) > 1e-3).any():
            raise ValueError("the entries of every row must sum up to 1 there")
        # Shares of float32 do not sum to exactly 1, which counts where numbers are far from 0.
        cells = columns @ np.nan_to_num(at) / total
        cells[row_of_entries(columns)[columns.indices == self.widths[0] - 1]] = np.nan
        return cells

    def graph(self, graph, numbers, name, missing):
        absent, two, last = graph("IsNaN", numbers), np.array(2), len(self.knots) - 1
        # How far a number is in each interval, from 0 to 1; the sum is its place.
        number = graph("Where", absent, self.knots[0], numbers)
        number = graph("Clip", number, self.knots[0], self.knots[-1])
        shares = graph("Div", graph("Sub", number, self.knots[:-1]), np.diff(self.knots))
        shares = graph("Clip", shares, np.array(0.0), np.array(1.0))
        place = graph("ReduceSum", shares, np.array([1]))
        left = graph("Min", graph("Cast", place, to=np.int64), np.array(last - 1))
        share = graph("Sub", place, graph("Cast", left, to=float))
        share = graph("Cast", share, to=np.float32)
        rest, half = graph("Sub", np.float32(1), share), graph("Div", left, two)
        even = graph("Equal", graph("Mul", half, two), left)
        columns = graph("Div", graph("Add", left, np.array(1)), two), half
        values = graph("Where", even, rest, share), graph("Where", even, share, rest)
        # Frequent and missing numbers, which have columns of their own.
        is_one = graph("Concat", graph("Equal", numbers, self.frequent[None]), absent, axis=1)
        is_one = graph("Cast", is_one, to=np.int64)
        n_even = self.widths[0] - len(self.frequent) - 1
        column = graph("Add", graph("ArgMax", is_one, axis=1), np.array(n_even))
        alone = graph("Greater", graph("ReduceSum", is_one, np.array([1])), np.array(0))
        column = graph("Where", alone, column, columns[0])
        other = graph("Where", alone, np.array(0), columns[1])
        return (
            graph("Concat", column, graph("Add", other, np.array(self.widths[0])), axis=1),
            graph(
                "Concat",
                graph("Where", alone, np.float32(1), values[0]),
                graph("Where", alone, np.float32(0), values[1]),
                axis=1,
            ),
        )

    def labels(self):
        even, odd, frequent = (
            [str(number).removesuffix(".0") for number in (numbers + 0.0).tolist()]
            for numbers in (self.knots[::2], self.knots[1::2], self.frequent)
        )
        yield from (f"~{number}" for number in even)
        yield from (f"={number}" for number in frequent)
        yield "=<missing>"
        yield from (f"~{number}" for number in odd)


class Value:
    """One column for the number itself, standardized, and one for missing values."""

    numeric, widths = True, (2,)

    def __init__(self, numbers, name):
        self.name = name
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean, self.scale = float(np.nanmean(numbers)), float(np.nanstd(numbers))
            largest = float(np.nanmax(np.abs(numbers)))
        self._check(self.mean + self.scale)
        if self.scale <= ROUNDINGS * np.finfo(float).eps * largest:
            self.scale = 1.0  # what differs by rounding only is constant

    def _check(self, numbers):
        if np.isinf(numbers).any() or (np.ndim(numbers) == 0 and np.isnan(numbers)):
            raise ValueError(
                f"Variable {self.name!r} holds infinity, or numbers too large to standardize; use "
                "numeric='quantile'."
            )

    def encode(self, numbers):
        self._check(numbers)
        missing = np.isnan(numbers)
        with np.errstate(over="ignore"):
            value = np.clip((numbers - self.mean) / self.scale, -MAX_VALUE, MAX_VALUE)
        return Slots(missing.astype(np.int32), np.where(missing, 1, value).astype(np.float32))

    def decode(self, columns):
        """The numbers, up to rounding to float32."""
        value, missing = columns.toarray().astype(np.float64).T
        return np.where(missing != 0, np.nan, value * self.scale + self.mean)

    def graph(self, graph, numbers, name, missing):
        absent = graph("IsNaN", numbers)
        value = graph("Div", graph("Sub", numbers, np.array(self.mean)), np.array(self.scale))
        value = graph("Clip", value, np.array(-MAX_VALUE), np.array(MAX_VALUE))
        value = graph("Cast", graph("Where", absent, np.array(1.0), value), to=np.float32)
        return graph("Cast", absent, to=np.int64), value

    def labels(self):
        return ["", "=<missing>"]


class Buckets:
    """So many columns, the first for missing values, into the others of which values are hashed.

    Logarithmic bins of numbers take their own column each as long as there are enough.
    """

    def __init__(self, numeric, width, separator, pooling):
        self.numeric, self.separator, self.pooling = numeric, separator, pooling
        self.widths = (width,)

    def encode(self, cells):
        if self.numeric:
            missing = np.isnan(cells)
            columns = 1 + logarithmic(np.where(missing, 0, cells)) % (self.widths[0] - 1)
            return Slots(np.where(missing, 0, columns).astype(np.int32))
        if not (self.separator or cells.has_lists):
            columns = self._buckets(cells.texts)
            return Slots(np.append(columns, np.int32(0))[cells.codes])
        parts = [*map(self._parts, cells.values), [None]]
        texts = [*chain.from_iterable(parts)]
        columns = self._buckets([text or "" for text in texts])
        columns[[text is None for text in texts]] = 0
        lengths = np.array([*map(len, parts)])
        counts = lengths[cells.codes]
        which = ranges((np.cumsum(lengths) - lengths)[cells.codes], counts)
        weight = 1 / counts if self.pooling == "mean" else np.ones(len(counts))
        return Slots(columns[which], np.repeat(weight, counts).astype(np.float32), counts)

    def graph(self, graph, cells, name, missing):
        raise ValueError(
            f"ONNX cannot hash, and the FieldEncoder hashes variable {name!r} (n_buckets). Fit it "
            "with a vocabulary (n_buckets=None), or export the last step of the pipeline alone "
            "and give it the entries of encoder.transform(X)."
        )

    def _parts(self, value):
        """The texts of the values in one cell; None if there are none."""
        if isinstance(value, tuple):
            parts = [*map(text_of, value)]
        else:
            parts = [as_read(text_of(value))]  # a number may have the separator in it
            if self.separator:
                parts = [part for part in parts[0].split(self.separator) if part]
        return parts or [None]

    def _buckets(self, texts):
        texts = all_as_read(texts)
        # Arguments by position: this takes most of the time.
        try:
            hashes = [*map(murmurhash3_32, texts, repeat(0), repeat(True))]
        except UnicodeEncodeError:  # half of a surrogate pair
            texts = [text.encode(errors="surrogatepass") for text in texts]
            hashes = [*map(murmurhash3_32, texts, repeat(0), repeat(True))]
        hashes = np.array(hashes, np.int64)
        return (1 + hashes % (self.widths[0] - 1)).astype(np.int32)

    def labels(self):
        yield "=<missing>"
        yield from (f"=#{bucket}" for bucket in range(1, self.widths[0]))


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
    with np.errstate(over="ignore"):  # of the bin of infinity
        first = np.ceil(np.exp(np.sqrt(np.maximum(size - 2, 0))))
        last = np.ceil(np.exp(np.sqrt(np.maximum(size - 1, 0)))) - 1
    return np.where(size <= 2, bins, np.where(bins < 0, -last, first))
