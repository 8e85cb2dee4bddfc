"""Variables of a table: how their cells are read.

A variable is read as float64 numbers with NaN where they are missing, or as `Categories`.
"""

import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import compress, count
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np


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
        raise TypeError("durations; divide them by a unit, such as one hour, to get numbers")
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
            f"the text of {type(value).__qualname__} objects, such as {text!r}, differs from "
            "process to process; give the class a __str__, or convert them to strings or numbers"
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

    It does if the rest of a column are also numbers or booleans. What is too large for
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
        Whether they are numbers, which strings may also hold. None asks the data type.

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
            f"Variable {name!r} holds values that cannot be categories: {error}."
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
                f"Variable {name!r} {verb} {value!r}, which is not a number. If the values are "
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
    return _without_missing(*distinct([*map(_key, cells)], cells), narrow_type)


def _key(cell):
    """What equals the keys of other cells only if their texts are the same."""
    if type(cell) in _KEYS_THEMSELVES:
        return cell
    if is_missing(cell):
        return None
    if isinstance(cell, _LISTS):
        return tuple, *map(_key, cell)
    return type(cell), text_of(cell)


_KEYS_THEMSELVES = {str, bytes, int, float, type(None), np.str_, np.int64, np.float64}
_LISTS = list | set | frozenset | tuple | np.ndarray


def distinct(keys, cells):
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
    known = np.array([not is_missing(value) for value in values])
    number = np.where(known, np.cumsum(known) - 1, -1)

    def settled(value):
        """Numbers, strings and lists of them as they are, and the texts of all others."""
        if narrow_type and type(value) is float:
            return narrow_type(value)
        if isinstance(value, np.timedelta64) or not isinstance(value, _KEPT):
            return text_of(value)
        return value

    kept = [
        tuple([settled(part) for part in value if not is_missing(part)])
        if isinstance(value, _LISTS)
        else settled(value)
        for value in compress(values, known)
    ]
    types = {tuple if issubclass(t, _LISTS) else t for t in map(type, compress(values, known))}
    return Categories(np.append(number, -1)[codes], kept, types)


_KEPT = str | bytes | Real | Decimal | np.bool_


def is_missing(value):
    if isinstance(value, _LISTS):
        return value is np.ma.masked
    try:
        return value is None or bool(value != value)
    except (TypeError, ArithmeticError):  # pandas.NA, a signaling NaN
        return True


class Variables(dict):
    """What a FieldEncoder notes on a matrix: the first columns of each variable's fields.

    Parameters
    ----------
    names : list of str
    encodings : list
        Of each variable.
    """

    def __init__(self, names, encodings):
        super().__init__()
        self.names, self.encodings = list(names), list(encodings)
        self._firsts, first = [], 0
        for name, encoding in zip(self.names, self.encodings, strict=True):
            self._firsts.append(first)
            for width in encoding.widths:
                self.setdefault(name, []).append(first)
                first += width

    def __reduce__(self):
        return Variables, (self.names, self.encodings)

    def column_names(self, columns):
        """The names of some columns, of which only their variables are made."""
        which = (np.searchsorted(self._firsts, columns, side="right") - 1).tolist()
        labels = {i: [*self.encodings[i].labels()] for i in set(which)}
        return [
            self.names[i] + labels[i][column - self._firsts[i]]
            for i, column in zip(which, columns, strict=True)
        ]


def variables_of(X):
    """The `Variables` of a matrix, None if it has none. A data frame may have such a column."""
    variables = getattr(X, "variables", None)
    return variables if isinstance(variables, Variables) else None
