"""LIBFFM's text format: a row a line, ``label field:index:value field:index:value …``."""

import gzip
import math
import warnings
import zlib
from contextlib import nullcontext
from itertools import islice
from numbers import Integral
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from ._batch import as_csr
from ._compat import HasMethods, Interval, validate_params
from ._fields import check_fields
from ._input import check_matrix, check_values
from ._memory import check_columns

# Lines that are parsed, or written, together.
_BLOCK = 1 << 13

_MAX = 2**31

_COMMON = {
    "f": [str, HasMethods("__fspath__"), HasMethods("readline")],
    "n_features": [Interval(Integral, 1, _MAX - 1, closed="both"), None],
    "dtype": "no_validation",
}


@validate_params(_COMMON, prefer_skip_nested_validation=True)
def load_ffm_file(f, *, n_features=None, dtype=np.float64):
    """Load a file in LIBFFM's text format.

    Parameters
    ----------
    f : str, path-like or binary file
        What to read. A file whose name ends in ``.gz`` is decompressed.
    n_features : int, default=None
        Number of columns. None takes the largest index + 1; pass the training data's for
        rows to predict. Columns that a model was not trained on contribute nothing.
    dtype : {float64, float32, float16}, default=float64
        Type of the values.

    Returns
    -------
    X : csr_array of shape (n_samples, n_features)
        Index i is column i; values are stored even if they are zero.
    y : ndarray of shape (n_samples,), float64
        Labels.
    fields : ndarray of shape (n_features,), dtype int32
        Field of each column, to be passed as ``fields=`` to an estimator. A column that no
        row names has the field of the one before it.

    Raises
    ------
    ValueError
        If a line is malformed, an index appears under two fields, or it makes more columns
        than there is memory for. The message names file and line.
    EOFError, OSError, zlib.error
        If a compressed file is cut off or damaged.

    See Also
    --------
    iter_ffm_file : The same in chunks.
    dump_ffm_file : Write such a file.

    Examples
    --------
    >>> import io
    >>> from skfm.datasets import load_ffm_file
    >>> X, y, fields = load_ffm_file(io.BytesIO(b"1 0:0:1 1:2:0.5\\n0 0:1:1 1:2:1\\n"))
    >>> X.toarray()
    array([[1. , 0. , 0.5],
           [0. , 1. , 1. ]])
    >>> y, fields
    (array([1., 0.]), array([0, 0, 1], dtype=int32))
    """
    reader = _Reader(f, n_features, _float_type(dtype))
    blocks = list(reader.blocks())
    return *reader.rows(blocks), reader.fields()


@validate_params(
    {**_COMMON, "chunk_rows": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def iter_ffm_file(f, chunk_rows=65_536, *, n_features=None, dtype=np.float64):
    """Read a file in LIBFFM's text format chunk by chunk.

    It needs memory for one chunk and for the fields.

    Parameters
    ----------
    f : str, path-like or binary file
        What to read. A file whose name ends in ``.gz`` is decompressed.
    chunk_rows : int, default=65536
        Rows of each chunk but the last. If it is a multiple of `batch_size`, `partial_fit` over
        the chunks equals a single call on all rows.
    n_features : int, default=None
        Number of columns. With None a first pass over the file finds it and the fields;
        `f` must then be a name or a seekable file.
    dtype : {float64, float32, float16}, default=float64
        Type of the values.

    Yields
    ------
    X : csr_array of shape (chunk_rows, n_features)
        See :func:`load_ffm_file`.
    y : ndarray of shape (chunk_rows,), float64
        Labels.
    fields : ndarray of shape (n_features,), dtype int32, or None
        Field of each column, the same in every chunk; None if `n_features` was given,
        because they would be known only at the end.

    Raises
    ------
    ValueError
        As :func:`load_ffm_file` does, and if `f` can be read only once, such as a pipe, and
        `n_features` is missing.
    EOFError, OSError, zlib.error
        If a compressed file is cut off or damaged.

    Examples
    --------
    >>> import io
    >>> from skfm.datasets import iter_ffm_file
    >>> file = io.BytesIO(b"1 0:0:1 1:2:1\\n0 0:1:1 1:2:1\\n1 0:1:1\\n")
    >>> for X, y, fields in iter_ffm_file(file, chunk_rows=2):
    ...     print(X.shape, y, fields)
    (2, 3) [1. 0.] [0 0 1]
    (1, 3) [1.] [0 0 1]
    """
    return _chunks(f, chunk_rows, n_features, _float_type(dtype))


def _float_type(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        raise ValueError(f"dtype={dtype} would truncate values. Use a float type, such as float32.")
    return dtype


def _chunks(f, chunk_rows, n_features, dtype):
    fields = None
    if n_features is None:
        first = _Reader(f, None, dtype)
        if not _goes_back(f):
            raise ValueError(
                f"{first.name} can be read only once, but finding n_features needs a pass of its "
                "own. Pass n_features, or use load_ffm_file."
            )
        start = f.tell() if hasattr(f, "readline") else None
        for _ in first.blocks():
            pass
        fields, n_features = first.fields(), first.width
        if start is not None:
            f.seek(start)
    reader = _Reader(f, n_features, dtype)
    blocks, n_rows = [], 0
    for block in reader.blocks(chunk_rows):
        blocks.append(block)
        n_rows += len(block[0])
        if n_rows == chunk_rows:
            yield *reader.rows(blocks), fields
            blocks, n_rows = [], 0
    if blocks:
        yield *reader.rows(blocks), fields


def _goes_back(f):
    if hasattr(f, "readline"):
        return hasattr(f, "seekable") and f.seekable()
    return not Path(f).is_fifo()  # which would be waited for, in vain


class _Reader:
    """Reads blocks of rows, and notes the field of each column on the way.

    A block is (labels, entries of each row, indices, values).
    """

    def __init__(self, f, n_features, dtype):
        self.f, self.n_features, self.dtype = f, n_features, dtype
        name = getattr(f, "name", "") if hasattr(f, "readline") else str(f)
        self.name = name if name and isinstance(name, str) else "the file"  # a pipe has a number
        self.field_of = np.empty(0, np.int32)  # -1 where no row names the column
        self.width = int(n_features or 0)

    def blocks(self, chunk_rows=_BLOCK):
        """Parse block by block, so that one is complete every `chunk_rows` rows."""
        with _open(self.f, "rb") as file:
            numbered = enumerate(self._lines(file), start=1)
            stripped = ((number, self._stripped(line)) for number, line in numbered)
            lines = ((number, line) for number, line in stripped if line)
            left = chunk_rows
            while block := list(islice(lines, min(_BLOCK, left))):
                left = left - len(block) or chunk_rows
                yield self._parse(*zip(*block, strict=True))

    def _lines(self, file):
        try:
            yield from file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:  # none of them names the file
            raise type(error)(f"{self.name} cannot be decompressed: {error}") from error

    def _stripped(self, line):
        if isinstance(line, str):
            raise TypeError(f"{self.name} is open as text; open it in binary mode.")
        return b" ".join(line.split())

    def _parse(self, numbers, lines):
        text = b"\n".join(lines) + b"\n"
        counts = np.array([line.count(b" ") for line in lines])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)
                found = np.fromstring(text.replace(b":", b" "), sep=" ")
        except (ValueError, DeprecationWarning):
            found = np.empty(0)
        if not _well_formed(text) or len(found) != len(lines) + 3 * counts.sum():
            self._refuse(numbers, lines)
        is_label = np.zeros(len(found), bool)
        is_label[np.concatenate([[0], np.cumsum(1 + 3 * counts)[:-1]])] = True
        field, index, value = found[~is_label].reshape(-1, 3).T
        whole = (field == np.floor(field)) & (index == np.floor(index))
        small = (field < _MAX) & (index < (self.n_features or _MAX))
        small &= np.abs(value) <= np.finfo(self.dtype).max
        if not (whole & small & (field >= 0) & (index >= 0)).all() or not np.isfinite(found).all():
            self._refuse(numbers, lines)
        index = index.astype(np.int32)
        self._note(field.astype(np.int32), index, np.repeat(numbers, counts))
        return found[is_label], counts, index, value.astype(self.dtype)

    def _refuse(self, numbers, lines):
        """Raise the ValueError that says what is wrong with the first malformed line."""
        for number, line in zip(numbers, lines, strict=True):
            wrong = _what_is_wrong(line, self.n_features, self.dtype)
            if wrong:
                raise ValueError(f"{self.name}, line {number}: {wrong}.")
        raise ValueError(f"{self.name}, lines {numbers[0]} to {numbers[-1]}: one is malformed.")

    def _note(self, field, index, line):
        """Note the field of each column; raise ValueError if a column has two."""
        width = int(index.max(initial=-1)) + 1
        self.width = max(self.width, width)
        if width > len(self.field_of):
            where = f"{self.name}, line {line[index.argmax()]}"
            check_columns(width, f"{where}: index {width - 1} makes {width} columns")
            grown = np.full(max(width, min(2 * len(self.field_of), _MAX)), -1, np.int32)
            grown[: len(self.field_of)] = self.field_of
            self.field_of = grown
        before = self.field_of.take(index)
        new = before < 0
        self.field_of[index[new]] = field[new]
        if (self.field_of.take(index) == field).all():
            return
        first_of = dict(zip(index[~new].tolist(), before[~new].tolist(), strict=True))
        for f, i, number in zip(field.tolist(), index.tolist(), line.tolist(), strict=True):
            if first_of.setdefault(i, f) != f:
                raise ValueError(
                    f"{self.name}, line {number}: index {i} appears under field {f} here and "
                    f"under field {first_of[i]} before. An index stands for a column, and a column "
                    "has one field. Give each pair of field and index an index of its own."
                )

    def rows(self, blocks):
        """The matrix and the labels of consecutive blocks."""
        none = np.empty(0), np.empty(0, np.intp), np.empty(0, np.int32), np.empty(0, self.dtype)
        parts = zip(none, *blocks, strict=True)
        labels, counts, indices, values = map(np.concatenate, parts)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        if indptr[-1] < _MAX:
            indptr = indptr.astype(np.int32)
        return csr_array((values, indices, indptr), shape=(len(counts), self.width)), labels

    def fields(self):
        """The field of each column; of one that no row names, that of the column before."""
        check_columns(self.width, f"{self.name} has n_features={self.width}")
        named = np.flatnonzero(self.field_of[: self.width] >= 0)
        if not len(named):
            return np.zeros(self.width, np.int32)
        ends = np.append(named[1:], self.width)
        return np.repeat(self.field_of[named], np.diff(ends, prepend=0))


def _well_formed(text):
    """Whether between the numbers of all lines stand a space and two colons, in turn."""
    separators = np.frombuffer(text, np.uint8)
    separators = separators[(separators == 32) | (separators == 58) | (separators == 10)]
    ends = np.flatnonzero(separators == 10)
    inner = np.delete(separators, ends)
    in_threes = (ends - np.arange(len(ends))) % 3 == 0
    return in_threes.all() and (inner.reshape(-1, 3) == [32, 58, 58]).all()


def _what_is_wrong(line, n_features, dtype):
    label, *entries = line.split(b" ")
    if not _is_number(label):
        return f"the label {_text(label)} is not a finite number"
    for entry in entries:
        parts = entry.split(b":")
        if len(parts) != 3:
            return f"{_text(entry)} is not of the form field:index:value"
        for what, part in zip(("field", "index"), parts, strict=False):
            if not _is_number(part) or float(part) % 1 or not 0 <= float(part) < _MAX:
                return f"the {what} of {_text(entry)} is not an integer from 0 to 2³¹ - 1"
        if not _is_number(parts[2]):
            return f"the value of {_text(entry)} is not a finite number"
        if abs(float(parts[2])) > float(np.finfo(dtype).max):
            return f"the value of {_text(entry)} is too large for {dtype}"
        if n_features and float(parts[1]) >= n_features:
            return f"the index of {_text(entry)} is not below n_features={n_features}"
    return None


def _text(part):
    return repr(part.decode(errors="replace"))


def _is_number(part):
    # As bytes: of a text, Python would read the digits and skip the spaces of any alphabet.
    try:
        return b"_" not in part and math.isfinite(float(part))
    except ValueError:
        return False


def dump_ffm_file(X, y, f, *, fields=None):
    """Write rows in LIBFFM's text format.

    Values are written so that :func:`load_ffm_file` returns them exactly.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Encoded rows. Zeros are written if they are stored.
    y : array-like of shape (n_samples,)
        Numeric labels.
    f : str, path-like or binary file
        Where to write. A file whose name ends in ``.gz`` is compressed.
    fields : None, int or array-like of shape (n_features,), default=None
        Field of each column, as for :class:`skfm.FFMClassifier`; None infers them.

    Raises
    ------
    ValueError
        If `X` or `y` is not finite, the labels are not numbers, or the fields do not fit.
    """
    check_matrix(X)
    X = as_csr(check_array(X, accept_sparse="csr"))
    check_values(y, "y")
    y = column_or_1d(y)
    check_consistent_length(X, y)
    if y.dtype.kind not in "biuf" or not np.isfinite(y).all():
        raise ValueError(
            "The labels of a LIBFFM file are finite numbers; encode others as numbers."
        )
    fields = check_fields(fields, X)
    with _open(f, "wb") as file:
        for start in range(0, X.shape[0], _BLOCK):
            ends = X.indptr[start : start + _BLOCK + 1]
            part = slice(ends[0], ends[-1])
            columns = X.indices[part]
            entries = [
                f" {field}:{column}:{value}"
                for field, column, value in zip(
                    fields.labels_of(columns).tolist(),
                    columns.tolist(),
                    _texts(X.data[part]),
                    strict=True,
                )
            ]
            ends = (ends - ends[0]).tolist()
            rows = zip(_texts(y[start : start + _BLOCK]), ends, ends[1:], strict=False)
            file.write("".join(f"{y}{''.join(entries[a:b])}\n" for y, a, b in rows).encode())


def _texts(numbers):
    """The shortest texts that give back exactly these numbers, as float64."""
    distinct, which = np.unique(numbers.astype(np.float64), return_inverse=True)
    texts = [
        str(int(x)) if x.is_integer() and abs(x) < 2**53 else repr(x) for x in distinct.tolist()
    ]
    return map(texts.__getitem__, which.tolist())


def _open(f, mode):
    if hasattr(f, "readline"):
        return nullcontext(f)
    return gzip.open(f, mode) if str(f).endswith(".gz") else open(f, mode)
