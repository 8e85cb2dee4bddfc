"""Variables of a table: how their cells are read, and which columns each becomes.

A variable is read as float64 numbers with NaN where they are missing, or as `Categories`.
An encoding has a `width`, the number of its columns, ``encode(cells)`` and ``labels()``, and
`numeric` says whether its cells are numbers.
"""

import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain, compress, count, pairwise, repeat
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.utils import murmurhash3_32

from ._batch import MAX_VALUE, ROUNDINGS


class Categories(NamedTuple):
    """Values, the types they had and, for each cell, the number of its value.

    It is -1 where the value is missing. A cell with several values is a tuple. Values of other
    types than strings may have the same text.
    """

    codes: np.ndarray
    values: list
    types: set

    @property
    def has_lists(self):
        return tuple in self.types

    @property
    def texts(self):
        return self.values if self.types <= {str} else [*map(text_of, self.values)]


class Slots(NamedTuple):
    """Where the entries of cells are: one for each or, with `counts`, so many for each."""

    column: np.ndarray
    value: np.ndarray | None = None
    counts: np.ndarray | None = None


# -- texts ----------------------------------------------------------------------------


def text_of(value):
    """The text of a value, whatever type holds it: what is equal within has the same text.

    A whole number has the text of the integer. Of another one in float32, it is the shortest
    decimal that float32 rounds to it, which is what stood in the file that it was read from.
    """
    if isinstance(value, str):
        return str.__str__(value)  # an enum's own would be its name
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, Decimal):
        return as_read(str(value))
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, timedelta | np.timedelta64):
        raise TypeError("durations; divide them by one, such as a second, to make numbers of them")
    if isinstance(value, Integral):
        try:
            return str(int(value))
        except ValueError:  # Python limits the digits, but not those of decimals
            return str(Decimal(int(value)))
    if isinstance(value, Real):
        number = float(value)
        if isinstance(value, np.floating) and not number.is_integer():
            number = float(str(value))
        return _text_of_float(number)
    if isinstance(value, Enum):
        return text_of(value.value)
    if isinstance(value, datetime | time | np.datetime64):
        return _text_of_moment(value)
    if isinstance(value, _LISTS):
        raise TypeError("lists in lists")
    hash(value)  # what has none may change, and says so
    text = str(value)
    if _ADDRESS.search(text):
        raise TypeError(
            f"the text of {type(value).__qualname__} objects is {text!r} or the like, another in "
            "each process; give the class a __str__, or turn them into strings or numbers"
        )
    return text


_ADDRESS = re.compile(r"\bat 0x[0-9a-f]", re.IGNORECASE)


def _text_of_moment(value):
    """Its ISO text in UTC, to the microsecond, which is all that Python and polars tell.

    Midnight is the date: NumPy and pandas have dates in no other way.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        return text_of(value.astimezone(UTC).replace(tzinfo=None)) + "+00:00"
    if isinstance(value, np.datetime64):
        value = str(value + np.timedelta64(0, "s")).replace("T", " ")  # in seconds or shorter
    return _FRACTION.sub(lambda part: part[1].rstrip("0."), str(value)).removesuffix(" 00:00:00")


_FRACTION = re.compile(r"(\.\d{1,6})\d*")


def _text_of_float(number):
    return str(int(number)) if number.is_integer() else repr(number)


def as_read(text):
    """The text of the number or boolean that a reader of files may make of a text.

    It does where the rest of a column are numbers or booleans, too. What is too large for
    float64 keeps its text: ids in hexadecimal, such as "1e999999", are not all infinity.
    """
    match = _READABLE.fullmatch(text)
    kind = match and match.lastgroup
    if kind is None:
        return text
    if kind == "boolean":
        return text.capitalize()
    if kind == "integer":
        return str(int(text))
    number = float(text)
    return text if kind == "decimal" and np.isinf(number) else _text_of_float(number)


_READABLE = re.compile(
    r"(?P<boolean>true|false)|\s*[+-]?(?:(?P<integer>[0-9]{1,4000})|(?P<infinity>inf(?:inity)?)"
    r"|(?P<decimal>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?))\s*",
    re.ASCII | re.IGNORECASE,
)


def all_as_read(texts):
    """`as_read` of each, where a fast look at their bytes finds the few that may change."""
    joined = "\0".join(texts).encode(errors="surrogatepass") + b"\0"
    ends = np.flatnonzero(np.frombuffer(joined, np.uint8) == 0)
    if len(ends) != len(texts):  # some hold this character themselves
        return [*map(as_read, texts)]
    starts = np.append(0, ends[:-1] + 1)
    lacks = np.bitwise_or.reduceat(np.frombuffer(joined.translate(_LACKS), np.uint8), starts)
    leading = np.frombuffer(joined, np.uint8)[starts]
    as_it_is = (lacks & 3 == 3) | ((lacks & 4 == 0) & (leading != ord("0")))
    texts = texts.copy()
    for i in np.flatnonzero(~as_it_is).tolist():
        texts[i] = as_read(texts[i])
    return texts


# Of each byte, whether it is 1: in no number, 2: in none of the words, 4: no digit.
_KINDS = {
    1: b" \t\n\r\f\v+-0123456789.eE",
    2: b" \t\n\r\f\v+-infytrualseINFYTRUALSE",
    4: b"0123456789",
}
_LACKS = bytes(
    sum(bit for bit, those in _KINDS.items() if byte and byte not in those) for byte in range(256)
)


# -- reading --------------------------------------------------------------------------


def read(cells, name, numeric=None, verb="holds"):
    """Read a pandas or polars series or an array as numbers or categories.

    Parameters
    ----------
    cells : Series or ndarray of shape (n_rows,)
    name, verb : str
        What messages call it, and how they go on where a value is no number.
    numeric : bool or None
        Whether they are numbers, which strings may hold, too. None asks the data type.

    Returns
    -------
    numbers : ndarray of shape (n_rows,), float64, or Categories
    """
    dtype = cells.dtype
    is_dictionary = hasattr(dtype, "categories") or str(dtype).startswith("dictionary<")
    if numeric is None and is_dictionary:
        numeric = False
    if hasattr(dtype, "is_decimal"):  # polars, whose decimals are rounded when cast
        has_numbers = dtype.is_numeric() and not dtype.is_decimal()
    else:
        has_numbers = dtype.kind in "iuf"
    if has_numbers and numeric is not False:
        return _numbers(cells)
    try:
        found = _factorize(cells)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"Variable {name!r} holds values that are no categories: {error}."
        ) from error
    if numeric is None:
        numeric = bool(found.types) and all(map(_holds_numbers, found.types))
    if not numeric:
        return found
    numbers = np.full(len(found.values) + 1, np.nan)
    for i, value in enumerate(found.values):
        try:
            numbers[i] = _number(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Variable {name!r} {verb} {value!r}, which is no number. If the values are "
                "categories, name the variable in categorical_features."
            ) from error
        except OverflowError as error:
            raise ValueError(f"Variable {name!r} holds numbers too large for float64.") from error
    return numbers[found.codes]


def _numbers(cells):
    if hasattr(cells, "iloc"):
        return cells.to_numpy(np.float64, na_value=np.nan)
    return cells.cast(float).to_numpy() if hasattr(cells, "cast") else cells.astype(np.float64)


def _number(value):
    """The number that a value is or, as a text, says; True is 1."""
    if isinstance(value, str | bytes):
        text = text_of(value)
        match = _READABLE.fullmatch(text)
        if match is None:
            raise ValueError(text)
        value = text.lower() == "true" if match["boolean"] else text
    elif not isinstance(value, Real | Decimal | np.bool_):
        raise TypeError(type(value))
    return float(value)


def _holds_numbers(value_type):
    return issubclass(value_type, Real | Decimal) and not issubclass(value_type, bool)


def _factorize(cells):
    """Number the distinct values in order of appearance, by the library that has them."""
    dtype, narrow_type = cells.dtype, _narrow_type(cells.dtype)
    try:
        found = None
        if hasattr(cells, "factorize"):
            codes, values = cells.factorize()
            found = _without_missing(codes, values.tolist(), narrow_type)
        elif hasattr(cells, "replace_strict") and not (dtype.is_nested() or dtype.is_object()):
            values = cells.unique(maintain_order=True).drop_nulls()
            numbers = np.arange(len(values), dtype=np.int32)
            codes = cells.replace_strict(values, numbers, default=-1).to_numpy()
            found = _without_missing(codes, values.to_list(), narrow_type)
        has_objects = isinstance(dtype, np.dtype) and dtype.hasobject
        if found and (not has_objects or found.types <= {str}):
            return found  # of objects, pandas takes True and 1 for equal
    except (TypeError, NotImplementedError):  # lists
        pass
    if hasattr(cells, "to_list"):
        cells = cells.to_list()
    else:  # the list of datetime64[ns] is integers
        cells = list(cells) if cells.dtype.kind in "mM" else cells.tolist()
    return _without_missing(*_distinct([*map(_key, cells)], cells), narrow_type)


def _key(cell):
    """What equals the keys of other cells only if their texts are the same."""
    if type(cell) in _KEYS_THEMSELVES:
        return cell
    if _is_missing(cell):
        return None
    if isinstance(cell, _LISTS):
        return tuple, *map(_key, cell)
    return type(cell), text_of(cell)


_KEYS_THEMSELVES = {str, bytes, int, float, type(None), np.str_, np.int64, np.float64}
_LISTS = list | set | frozenset | tuple | np.ndarray


def _distinct(keys, cells):
    """The number of each key in the distinct ones, and the first cell of each of these."""
    first_of = {}
    first = np.fromiter(map(first_of.setdefault, keys, count()), np.intp, len(keys))
    number = np.cumsum(first == np.arange(len(first))) - 1
    return number[first], [cells[i] for i in first_of.values()]


def _narrow_type(dtype):
    """NumPy's type of floats shorter than float64, which lists of them do not tell."""
    dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)
    name = _NARROW_NAME.search(str(dtype).lower())
    return name and (np.float16 if name[0] in ("float16", "halffloat") else np.float32)


_NARROW_NAME = re.compile(r"\b(float16|float32|halffloat|float)\b")  # two of them are Arrow's


def _without_missing(codes, values, narrow_type):
    types = set(map(type, values))
    if types <= {str, bool, int}:
        return Categories(codes, values, types)
    known = np.array([not _is_missing(value) for value in values])
    number = np.where(known, np.cumsum(known) - 1, -1)

    def settled(value):
        """Numbers, strings and lists of them as they are, and the texts of all others."""
        if narrow_type and type(value) is float:
            return narrow_type(value)
        if isinstance(value, np.timedelta64) or not isinstance(value, _KEPT):
            return text_of(value)
        return value

    kept = [
        tuple([settled(part) for part in value if not _is_missing(part)])
        if isinstance(value, _LISTS)
        else settled(value)
        for value in compress(values, known)
    ]
    types = {tuple if issubclass(t, _LISTS) else t for t in map(type, compress(values, known))}
    return Categories(np.append(number, -1)[codes], kept, types)


_KEPT = str | bytes | Real | Decimal | np.bool_


def _is_missing(value):
    if isinstance(value, _LISTS):
        return value is np.ma.masked
    try:
        return value is None or bool(value != value)
    except (TypeError, ArithmeticError):  # pandas.NA, a signaling NaN
        return True


# -- encodings ------------------------------------------------------------------------


class Vocabulary:
    """A column for each category, the most frequent first, then missing and unknown values.

    There is a column for missing values only if there were any: the first column must
    occur, or fields could not be inferred.
    """

    numeric = False

    def __init__(self, cells, min_frequency, max_categories):
        codes, texts = cells.codes, cells.texts
        if texts is not cells.values:  # several may have the same
            number, texts = _distinct(texts, texts)
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
        self.width = len(column) + has_missing + 1

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
        unknown, size = self.width - 1, len(cells.values)
        columns = map(self.column_of.get, cells.texts, repeat(unknown))
        columns = np.fromiter(chain(columns, [unknown - self.has_missing]), np.int32, size + 1)
        return Slots(columns[cells.codes])

    def labels(self):
        for text in sorted(self.column_of, key=self.column_of.get):
            yield "=" + "\\" * bool(_SPECIAL.fullmatch(text)) + text
        yield from ["=<missing>"] * self.has_missing + ["=<unknown>"]


_SPECIAL = re.compile(r"\\*<(missing|unknown)>")  # names of columns, and what is escaped so


class Bins:
    """A column for each interval [edge, next edge), then one for missing values.

    None for numbers where there were none.
    """

    numeric = True

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
        edges = [str(edge).removesuffix(".0") for edge in (self.edges + 0.0).tolist()]
        if edges:
            yield f"<{edges[0]}"
            yield from (f"=[{low}, {high})" for low, high in pairwise(edges))
            yield f">={edges[-1]}"
        elif self.width > 1:
            yield "=<number>"
        yield "=<missing>"


class Value:
    """One column for the number itself, standardized, and one for missing values."""

    numeric, width = True, 2

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

    def labels(self):
        return ["", "=<missing>"]


class Buckets:
    """So many columns, the first for missing values, into the others of which values are hashed.

    Logarithmic bins of numbers take their own column each as long as there are enough.
    """

    def __init__(self, numeric, width, separator, pooling):
        self.numeric, self.width, self.separator, self.pooling = numeric, width, separator, pooling

    def encode(self, cells):
        if self.numeric:
            missing = np.isnan(cells)
            columns = 1 + logarithmic(np.where(missing, 0, cells)) % (self.width - 1)
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
        start = (np.cumsum(lengths) - lengths)[cells.codes]
        which = np.arange(counts.sum()) + np.repeat(start - np.cumsum(counts) + counts, counts)
        weight = 1 / counts if self.pooling == "mean" else np.ones(len(counts))
        return Slots(columns[which], np.repeat(weight, counts).astype(np.float32), counts)

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
        return (1 + hashes % (self.width - 1)).astype(np.int32)

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
