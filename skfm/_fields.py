"""Which columns belong together: inferring, checking and storing fields."""

import numbers

import numpy as np
from sklearn.utils import check_array

from ._batch import as_csr, entries_per_row, next_columns
from ._input import check_matrix
from ._warnings import warn_user

MANY_FIELDS = 256


def infer_fields(X):
    """Infer which columns of a matrix encode the same variable.

    The function scans columns from left to right and extends a field as long as no row has two
    stored entries in it. This is exact for the output of any one-hot encoder
    on its own training data, where every row has one entry per variable; every column
    of a dense numeric matrix without zeros is its own field. If some rows
    have no entry for a variable (``drop="first"``), or several (multi-hot columns), the result
    is a guess.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The encoded matrix. A stored zero counts as an entry.

    Returns
    -------
    fields : ndarray of shape (n_features,), dtype int32
        The field of each column, numbered from 0 and ascending.

    Raises
    ------
    ValueError
        If `X` is not a two-dimensional numeric matrix.

    Notes
    -----
    It takes O(n_entries + n_features) time and four bytes per column.

    Examples
    --------
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import infer_fields
    >>> X = OneHotEncoder().fit_transform([["ad1", "mon"], ["ad2", "tue"], ["ad3", "mon"]])
    >>> infer_fields(X)
    array([0, 0, 0, 1, 1], dtype=int32)
    """
    check_matrix(X)
    X = check_array(X, accept_sparse="csr", ensure_all_finite=False)
    return infer(*scan(as_csr(X)))[0].of(np.arange(X.shape[1]))


def scan(X):
    """What fields are inferred from: `next_columns`, and the least number of entries in a row."""
    return next_columns(X), entries_per_row(X).min(initial=X.shape[1])


def infer(following, least):
    """Infer the `Fields` from a `scan`; say also why they may be wrong.

    Returns
    -------
    fields : Fields
    doubt : str or None
        The reason to doubt the result, None if there is none.
    """
    # A field that starts at column s must end before the nearest follower of any
    # column from s on, that is, before the suffix minimum.
    n_features, limit = len(following), following
    np.minimum.accumulate(limit[::-1], out=limit[::-1])
    starts = [0]
    while limit[starts[-1]] < n_features:
        starts.append(int(limit[starts[-1]]))
    fields = Fields(np.array(starts), np.arange(len(starts)), n_features)
    doubt = None
    if len(starts) > MANY_FIELDS:
        doubt = f"more than {MANY_FIELDS}, as for text, where every column becomes a field"
    elif least < len(starts):
        doubt = "some rows have no entry in one of them"
    return fields, doubt


def check_fields(fields, X, scan=scan):
    """Turn the `fields` parameter of an estimator into `Fields` for the matrix X.

    It looks only at the shape of X and at what ``scan(X)`` finds, and warns if it had to guess
    the fields.
    """
    n_features = X.shape[1]
    if fields is None:
        found, doubt = infer(*scan(X))
        if doubt:
            warn_user(
                f"The fields inferred from X ({found.n_fields}) are a guess: {doubt}. Pass "
                "fields= (the number of blocks of equal width, or the field of each column) to be "
                "sure."
            )
        return found
    if isinstance(fields, numbers.Integral) and not isinstance(fields, bool):
        if fields < 1 or n_features % fields:
            raise ValueError(
                f"fields={fields} must be a number of blocks that divides the "
                f"{n_features} columns of X evenly."
            )
        width = n_features // fields
        return Fields(np.arange(0, n_features, width), np.arange(fields), n_features)
    ids = np.asarray(fields)
    wrong = ids.shape != (n_features,) or ids.dtype.kind not in "iu"
    if wrong or ids.min() < 0 or ids.max() >= 2**31:
        raise ValueError(
            "fields must be None, a number of blocks, or an array of shape "
            f"(n_features,) = ({n_features},) with one non-negative integer per column; "
            f"got {_describe(ids)}."
        )
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    labels, ids = np.unique(ids[starts], return_inverse=True)
    return Fields(starts, ids, n_features, labels)


def _describe(ids):
    text = f"shape {ids.shape} and dtype {ids.dtype}"
    return text + (
        f" from {ids.min()} to {ids.max()}" if ids.dtype.kind in "iu" and ids.size else ""
    )


class Fields:
    """The field of every column, stored as runs of equal ids.

    Runs keep the description of 2²⁴ columns in 8 blocks to eight numbers. `ids` count from 0
    without gaps, as parameters have room for each; `labels` are the numbers that the user gave
    them, None for the same ones. Where the matrix said so, `variables` are the variables that
    its columns encode, `first_columns` says where those of each begin, and `names` are those of
    the variables that the fields encode.
    """

    variables = names = first_columns = None

    def __init__(self, starts, ids, n_features, labels=None):
        self.starts, self.ids, self.n_features = starts, ids, n_features
        self.n_fields = int(ids.max()) + 1
        self.ascending = bool(np.all(np.diff(ids) >= 0))
        self.labels = np.arange(self.n_fields) if labels is None else labels

    def of(self, columns):
        """Field of each of `columns`, as int32."""
        run = np.searchsorted(self.starts, columns, side="right") - 1
        return self.ids[run].astype(np.int32)

    def labels_of(self, columns):
        """What the user calls the field of each of `columns`, as int32."""
        return self.labels.astype(np.int32).take(self.of(columns))

    def name_after(self, variables):
        """Take the names of `Variables`, None if there are none, if they fit."""
        self.variables, self.first_columns = list(variables or []), dict(variables or {})
        starts = [start for starts in (variables or {}).values() for start in starts]
        fit = self.ascending and len(starts) and np.array_equal(self.starts, starts)
        if fit and len(variables) == len(variables.names):  # or it is unclear what is whose
            self.names = [name for name, starts in variables.items() for _ in starts]

    def check_order(self, variables):
        """Raise ValueError if a matrix has the same variables in another order."""
        given, known = list(variables or []), self.variables or []
        if given != known and set(given) == set(known):
            raise ValueError(
                f"X has its variables in another order: {_some(given)} instead of {_some(known)}."
            )

    def positions(self, name, feature_names=None):
        """The numbers, counted from 0, of the fields of a variable.

        Without names of its own it looks for the columns of a one-hot encoder.
        """
        if self.names is not None:
            if name in self.names:
                return [i for i, known in enumerate(self.names) if known == name]
            raise ValueError(f"There is no field {name!r}: the fields are {_some(self.variables)}.")
        if feature_names is None:
            raise ValueError(
                f"There is no field {name!r}: X does not name its fields. Names come with "
                "the matrix of a FieldEncoder, if its variables are the fields of the model "
                "(fields=encoder.fields_), and with data frames; otherwise pass the field's number."
            )
        starts = (f"{name}_", f"{name}=")
        of = self.of(np.arange(self.n_features))
        its = np.array([n == name or n.startswith(starts) for n in feature_names])
        found = np.setdiff1d(of[its], of[~its])
        if len(found) != 1:
            raise ValueError(
                f"{len(found) or 'No'} fields consist of columns that are called {name!r} or begin "
                f"with '{name}_' or '{name}=': pass the field's number (see fields_)."
            )
        return found.tolist()


def _some(names):
    return ", ".join(map(repr, names[:20])) + (" …" if len(names) > 20 else "")
