"""Input that is refused: NumPy and SciPy would turn it into nonsense, or crash on it."""

from datetime import date, time, timedelta
from numbers import Real

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import check_array

MAX_WEIGHT = 1e30

BAD_CLASS_WEIGHT = (
    f"With this class_weight, the weights of these rows sum to 0, or to {MAX_WEIGHT:.0e} or more."
)

_TIMES = (date, time, timedelta, np.datetime64, np.timedelta64)


def check_matrix(X, name="X", names=None):
    """Raise ValueError if a matrix must not even be converted to an array or to CSR."""
    if not issparse(X):
        check_values(X, name, names)
    elif X.format != "csr" and X.ndim == 2:
        # Converting a malformed one could crash. CSR is not converted, but checked once it is ours.
        check_indices(X)


def check_values(values, name, names=None, times=False):
    """Raise ValueError if converting `values` to an array of numbers would lose what they are.

    Parameters
    ----------
    values : array-like
    name : str
        What to call them.
    names : sequence of str, default=None
        Names of the columns.
    times : bool, default=False
        Whether times are welcome, as labels are.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"{name} is a masked array, and masked values would count as data. Drop "
            "the rows with masked entries, or put other values in their place (filled)."
        )
    column = None if times else _column_of_times(values)
    if column is not None:
        several = np.ndim(values) == 2
        where = f" in {column_name(column, getattr(values, 'columns', names))}" if several else ""
        raise ValueError(
            f"{name} holds dates, times or durations{where}. They would be read as nanoseconds "
            "or the like. Convert them to numbers, such as days: (t - start) / "
            "np.timedelta64(1, 'D')"
            + (", or to categories, such as the weekday, for a FieldEncoder." if several else ".")
        )


def column_name(column, names=None):
    return f"column {column}" + (f" ({names[column]!r})" if names is not None else "")


def _column_of_times(values):
    """Number of the first column that holds times, None if none does."""
    if hasattr(values, "columns") and hasattr(values, "dtypes"):  # pandas, polars
        for number, dtype in enumerate(values.dtypes):
            if _is_of_times(dtype):
                return number
            if _is_of_objects(dtype):
                by_position = getattr(values, "iloc", values)
                if _first_time(np.asarray(by_position[:, number], object)) is not None:
                    return number
        return None
    if not hasattr(values, "dtype"):
        try:
            values = np.asarray(values)
        except (ValueError, TypeError):  # no array: scikit-learn says why
            return None
    if _is_of_times(values.dtype):
        return 0
    if not _is_of_objects(values.dtype):
        return None
    values = np.asarray(values, object)
    first = _first_time(values.ravel())
    return first if first is None or values.ndim < 2 else first % values.shape[1]


def _first_time(cells):
    return next((i for i, cell in enumerate(cells) if isinstance(cell, _TIMES)), None)


def _is_of_times(dtype):
    dtype = getattr(getattr(dtype, "categories", None), "dtype", dtype)  # of pandas
    temporal = getattr(dtype, "is_temporal", None)  # of polars
    return getattr(dtype, "kind", "") in ("M", "m") or bool(temporal and temporal())


def _is_of_objects(dtype):
    return getattr(dtype, "kind", "") == "O" or str(dtype) == "Object"  # the latter of polars


def check_indices(X):
    """Raise ValueError if the index arrays of a sparse matrix are malformed.

    SciPy looks at them where a matrix is made, but not at what was written into them later.
    A DOK matrix has none.
    """
    if X.format in ("csr", "csc", "bsr"):
        _check_compressed(X)
    elif X.format == "coo":
        _check_as_many(X.row, X.col, X.data)
        for what, index, size in zip(("row", "column"), (X.row, X.col), X.shape, strict=True):
            _check_bounds(f"{what} indices", index, size)
    elif X.format == "dia":
        _check_as_many(X.offsets, X.data)
        if X.offsets.dtype.kind not in "iu" or len(np.unique(X.offsets)) < len(X.offsets):
            raise ValueError("The offsets of X must be distinct integers.")
    elif X.format == "lil":
        _check_as_many(X.rows, X.data, range(X.shape[0]))
        for indices, values in zip(X.rows, X.data, strict=True):
            _check_as_many(indices, values)
            if len(indices):
                _check_bounds("column indices", np.array(indices), X.shape[1])


def _check_compressed(X):
    # `X.check_format(full_check=True)` says the same, but takes a tenth of the time in which
    # one row is scored, and looks no further where the last pointer says that there is nothing.
    if [X.indices.ndim, X.indptr.ndim, X.data.ndim] != [1, 1, 3 if X.format == "bsr" else 1]:
        raise ValueError("The arrays of X have the wrong number of dimensions.")
    shape = np.floor_divide(X.shape, X.blocksize) if X.format == "bsr" else X.shape
    n_rows, n_columns = shape[::-1] if X.format == "csc" else shape
    if X.indices.dtype.kind not in "iu" or X.indptr.dtype.kind not in "iu":
        raise ValueError("The indices and the index pointer (indptr) of X must be integers.")
    _check_as_many(X.indices, X.data)
    _check_as_many(X.indptr, range(n_rows + 1))
    if X.indptr[0] != 0 or (X.indptr[1:] < X.indptr[:-1]).any() or X.indptr[-1] > len(X.data):
        raise ValueError(
            "The index pointer (indptr) of X must begin with 0, not decrease, and end within "
            "the data."
        )
    what = "row indices" if X.format == "csc" else "column indices"
    _check_bounds(what, X.indices[: X.indptr[-1]], n_columns)


def _check_as_many(*arrays):
    if len({len(array) for array in arrays}) > 1:
        raise ValueError("The index arrays of X and its data must have the same length.")


def _check_bounds(what, index, size):
    outside = len(index) and (index.min() < 0 or index.max() >= size)
    if index.dtype.kind not in "iu" or outside:
        raise ValueError(f"The {what} of X must be integers from 0 to {size - 1}.")


def check_column(values, name, dtype=np.float64, times=False):
    """Targets or weights as an array of finite numbers; of anything if `dtype` is None."""
    check_values(values, name, times=times)
    with np.errstate(invalid="ignore"):  # scikit-learn adds up, to see whether all are finite
        return check_array(values, ensure_2d=False, dtype=dtype, input_name=name)


def check_weight(sample_weight, n_rows, name, is_part=False):
    """One weight for each row, float64. Those of a part of the rows may all be zero."""
    if sample_weight is None:
        return np.ones(n_rows)
    if isinstance(sample_weight, Real):
        sample_weight = np.repeat(sample_weight, n_rows)
    weight = check_column(sample_weight, name)
    if weight.shape != (n_rows,):
        raise ValueError(
            f"{name}.shape == {weight.shape}, expected ({n_rows},): one weight per row."
        )
    with np.errstate(over="ignore"):
        total = weight.sum()
    if weight.min() < 0 or not (is_part or total > 0) or not total < MAX_WEIGHT:
        raise ValueError(
            f"{name} must be non-negative and not all zero, with a sum below {MAX_WEIGHT:.0e}."
        )
    return weight
