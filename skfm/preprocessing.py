"""From tables to fields: each variable becomes one field of columns, or two."""

import copy
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from ._batch import as_csr, ranges, without_stored_zeros
from ._compat import Interval, StrOptions, check_feature_names_in, fit_context
from ._encodings import Bins, Buckets, Knots, Value, Vocabulary
from ._parameters import constrained, parameter
from ._variables import Variables, read
from ._version import Versioned

__all__ = ["FieldEncoder"]

_NUMERIC = StrOptions({"auto", "quantile", "squared_log", "piecewise_linear", "value"})
_AT_LEAST_1 = Interval(Integral, 1, None, closed="left")
_AT_LEAST_2 = Interval(Integral, 2, None, closed="left")


class _Inverse:
    """The inverse of the encoding."""

    def inverse_transform(self, X):
        """Reconstruct the table from encoded rows, as far as they determine it.

        - A category comes back as its text, a missing value as NaN. Unknown and rare categories
          come back as None, and so do missing values if there were none in training.
        - A number between knots comes back as it was, up to rounding to float32; one beyond the
          outer knots as the outer knot. With ``numeric="value"`` all numbers come back.
        - A bin gives back its lower end. That is the number itself if the number has its own
          bin. The first bin gives back the smallest number in training.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features_out)
            Rows as :meth:`transform` gives them.

        Returns
        -------
        table : ndarray of shape (n_samples, n_variables), dtype object

        Raises
        ------
        ValueError
            If `n_buckets` is set, as hashing keeps no categories, or if :meth:`transform` could
            not have given these rows.
        """
        now = copy.copy(self)
        check_is_fitted(now)
        if now.n_buckets is not None:
            raise ValueError(
                "inverse_transform cannot undo the hashing of n_buckets: a bucket does not tell "
                "which categories fell into it. Keep the table, or encode it without n_buckets."
            )
        X = without_stored_zeros(as_csr(check_array(X, accept_sparse="csr")))
        names, ends = _names_of(now), np.cumsum([sum(e.widths) for e in now._encodings])
        if X.shape[1] != ends[-1]:
            raise ValueError(
                f"X has {X.shape[1]} columns, but {type(self).__name__} gives {ends[-1]}."
            )
        table, X = np.empty((X.shape[0], len(names)), object), X.tocsc()
        for i, (name, encoding) in enumerate(zip(names, now._encodings, strict=True)):
            columns = csr_array(X[:, ends[i] - sum(encoding.widths) : ends[i]])
            columns.sort_indices()
            try:
                table[:, i] = encoding.decode(columns)
            except ValueError as error:
                raise ValueError(
                    f"X is not what transform gives in the columns of {name!r}: {error}."
                ) from error
        return table


@constrained
@dataclass(repr=False, eq=False, kw_only=True)
class FieldEncoder(_Inverse, Versioned, TransformerMixin, BaseEstimator):
    """Encode each variable of a table as one field of columns, or two.

    Every row gets exactly one entry per field. :func:`skfm.infer_fields` and the estimators can
    therefore infer the fields from the encoded matrix. Missing and unknown values get entries,
    too.

    Parameters
    ----------
    numeric : {"auto", "piecewise_linear", "quantile", "squared_log", "value"}, default="auto"
        How numbers are encoded.

        - "piecewise_linear": hat functions at knots. About equally many training rows lie between
          neighboring knots (Gorishniy et al. 2022, section 3.1). A number between two knots has
          an entry for each, 1 − t and t, so that numbers keep their order. Even and odd knots
          form two fields, and each row has one entry in each of them. A number gets its own column
          if it is more frequent than all numbers between two knots together. A number beyond the
          outer knots is encoded like the nearest one of them.
        - "quantile": bins that hold about equally many training rows. A number that is more
          frequent than that gets its own bin, or shares one with few others.
        - "squared_log": bins for counts that do not depend on the data. 0, 1 and 2 have their own
          bins, and from n = 3 on the bin is ⌊ln²(n)⌋, the squared logarithm. Negative numbers are
          treated likewise. The winners of the Criteo challenge used these bins (Juan et al.
          2014). With a vocabulary, a bin not seen in training counts as the next one below.
        - "value": one column that holds the number itself, standardized.
        - "auto": "piecewise_linear" with a vocabulary, "squared_log" with `n_buckets`.
    n_bins : int or "auto", default="auto"
        Maximum number of knots or quantile bins, at least 2. "auto" allows 32 bins, or one knot
        per 100 rows but never fewer than 2 or more than 24. A variable with no more distinct
        numbers than that has a column for each.
    min_frequency : int or float, default=None
        Categories that occur in fewer rows (int), or in a smaller share of them (float),
        share the column of unknown values. None keeps all.
    max_categories : int, default=None
        Keep only the `max_categories` most frequent categories of each variable. Missing and
        unknown values do not count. None keeps all.
    n_buckets : int, default=None
        Hash the categories of each variable into this many columns, at least 2, instead of
        learning a vocabulary. The first column is for missing values. A hashing encoder needs no
        fitting, and models take ``fields=<number of variables>`` for its output. It treats all
        variables as categories, unless `categorical_features` says otherwise.
    categorical_features : "all" or array-like of {int, str, bool}, default=None
        Variables to treat as categories, by name or position, or as a mask over all variables.

        - With a vocabulary: name the variables whose numbers are ids. Strings, booleans and
          categorical data types are always categories. "all" treats every variable as
          categories.
        - With `n_buckets`: exactly the named variables are categories, and all others are
          numbers. An empty list makes all variables numbers. None and "all" treat every variable
          as categories. The data type does not matter, as it may change from one chunk of a file
          to the next.
    separators : dict, default=None
        The separator of each variable that holds several values in one string, by name or
        position: ``{"genres": "|"}``. Cells that are lists, tuples, arrays, sets or frozen sets
        need no separator. Several values in a cell always need `n_buckets`, as models cannot
        infer fields with several entries per row.
    pooling : {"sum", "mean"}, default="sum"
        Whether each of several values in a cell counts 1 ("sum") or 1 / number of values
        ("mean").

    Attributes
    ----------
    fields_ : ndarray of shape (n_features_out,), dtype int32
        Field of each output column. A variable is one field; numbers between knots are two.
    n_features_in_ : int
        Number of variables.
    feature_names_in_ : ndarray of shape (n_variables,)
        Their names, if `X` had names, all of them strings.

    See Also
    --------
    skfm.infer_fields : The fields of an encoded matrix.

    Notes
    -----
    The columns of a field of categories are, in this order: the categories, the most frequent
    first; missing values, if training had any; unknown and rare values, which include missing
    ones if training had none. The columns of numbers are the bins (or the value) and missing
    values. With knots, the first field has the even knots, the frequent numbers and missing
    values, and the second field has the odd knots.

    A category is its text: the numbers 3 and 3.0 and the string "3" are one category, and so are
    True and "True". Bytes are decoded from UTF-8. NumPy, pandas, polars and Arrow give the same
    matrix for the same values. A variable in an object array holds numbers if all its values
    are numbers, decimals included. Masked cells are missing. Other types have these texts:

    - A member of an enum has the text of its value.
    - Dates and times are categories, too, to the microsecond: 2026-01-31, 07:30:00 and
      2026-01-31 07:30:00.5. Midnight has the text of its date. A moment with a time zone is
      converted to UTC, and its text ends in +00:00. Where the order of dates matters, convert
      them to numbers or to parts, such as the month, first.
    - The encoder refuses durations. Divide them by a unit to get numbers.
    - Any other object has the text that ``str`` gives. The encoder refuses the object if this
      text shows its address in memory, which differs from process to process, or if the object
      cannot be hashed.

    In the names of columns, a backslash precedes a category whose text is <missing> or
    <unknown>.

    A vocabulary does not read strings as numbers: "03" and "3" are two categories. Pass
    ``dtype=str`` to :func:`pandas.read_csv` for codes with leading zeros; otherwise it turns them
    into numbers. If a variable held numbers in `fit`, :meth:`transform` reads strings as numbers.

    Hashing takes the MurmurHash3 of a category's text. The entry of a cell does not depend on the
    other rows, even where those decide whether a file reader turns the cell into a number: "03",
    " 3", "3.0", "3e0" and 3 are one category, and so are "true" and True. The encoder cannot
    restore what the reader has lost: pandas rounds integers beyond 2**53 if others in the chunk
    are missing or have fractions, and turns numbers too large for float64 into infinity. Whole
    numbers in float32 have the text of the integer, others that of the shortest decimal.

    References
    ----------
    - Y. Gorishniy, I. Rubachev, A. Babenko (2022), On Embeddings for Numerical Features in
      Tabular Deep Learning, NeurIPS.
    - Y. Juan, Y. Zhuang, W.-S. Chin (2014), 3 Idiots' Approach for Display Advertising
      Challenge.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skfm import FFMClassifier
    >>> from skfm.preprocessing import FieldEncoder
    >>> X = [["ad1", "mon", 3], ["ad2", "tue", None], ["ad1", "mon", 8]]
    >>> encoder = FieldEncoder().fit(X)
    >>> encoder.get_feature_names_out(["ad", "day", "views"])
    array(['ad=ad1', 'ad=ad2', 'ad=<unknown>', 'day=mon', 'day=tue',
           'day=<unknown>', 'views<8', 'views>=8', 'views=<missing>'],
          dtype=object)
    >>> encoder.transform([["ad2", "sun", 5]]).toarray()
    array([[0., 1., 0., 0., 0., 1., 1., 0., 0.]], dtype=float32)
    >>> model = make_pipeline(FieldEncoder(), FFMClassifier())
    """

    numeric: str = parameter("auto", _NUMERIC)
    n_bins: int | str = parameter("auto", _AT_LEAST_2, StrOptions({"auto"}))
    min_frequency: float | None = parameter(
        None, _AT_LEAST_1, Interval(Real, 0, 1, closed="neither"), None
    )
    max_categories: int | None = parameter(None, _AT_LEAST_1, None)
    n_buckets: int | None = parameter(None, _AT_LEAST_2, None)
    categorical_features: object = parameter(None, StrOptions({"all"}), "array-like", None)
    separators: object = parameter(None, dict, None)
    pooling: str = parameter("sum", StrOptions({"sum", "mean"}))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        tags.requires_fit = self.n_buckets is None
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the categories and bins.

        With `n_buckets` there are none to learn: `fit` only records the names of the variables.

        Parameters
        ----------
        X : {DataFrame, array-like} of shape (n_samples, n_variables)
            A pandas or polars data frame, an Arrow table (which pandas reads), or an array of
            objects or numbers.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted encoder.

        Raises
        ------
        ValueError
            If parameters contradict each other, or a variable cannot be encoded; the
            message names it.
        """
        self._fit(X)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """Fit to X and encode it, reading it only once.

        Parameters
        ----------
        X : {DataFrame, array-like} of shape (n_samples, n_variables)
            See :meth:`fit`.
        y : None
            Ignored.

        Returns
        -------
        encoded : csr_array of shape (n_samples, n_features_out), float32
            See :meth:`transform`.
        """
        fitted, variables = self._fit(X)
        return _encode(variables, fitted._encodings)

    def transform(self, X):
        """Encode rows.

        Parameters
        ----------
        X : {DataFrame, array-like} of shape (n_samples, n_variables)
            See :meth:`fit`.

        Returns
        -------
        encoded : csr_array of shape (n_samples, n_features_out), float32
            One entry per row and field, or several where a cell holds several values. The
            attribute `variables` is a dict from the name of each variable to the first columns of
            its fields. Models take the names of fields from it, and :mod:`skfm.inspection` those
            of columns. Where names of the table are no strings, variables are x0, x1, …

        Raises
        ------
        ValueError
            If the variables are not those of `fit`, or hold values of another kind.
        """
        now = copy.copy(self)  # another thread may fit the encoder meanwhile
        if now.n_buckets is None:
            check_is_fitted(now)
        if now.__sklearn_is_fitted__():
            return _encode(_read(now, X, reset=False), now._encodings)
        now._validate_params()
        variables = _read(now, X)
        return _encode(variables, _make_encodings(now, variables))

    def get_feature_names_out(self, input_features=None):
        """Names of the output columns, such as ``site=1fbe01fe``.

        Parameters
        ----------
        input_features : array-like of str of shape (n_variables,), default=None
            Names of the variables. None takes those seen in `fit`, or x0, x1, …

        Returns
        -------
        names : ndarray of str objects of shape (n_features_out,)

        Raises
        ------
        ValueError
            If two columns would have the same name, as with variables "a" and "a=b".
        """
        now = copy.copy(self)
        now._check_has_columns()
        names = check_feature_names_in(now, input_features)
        pairs = zip(names, now._encodings, strict=True)
        names = np.array([name + end for name, e in pairs for end in e.labels()], object)
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise ValueError(f"Two columns would be called {twice!r}. Rename their variables.")
        return names

    @property
    def fields_(self):
        """The field of each output column."""
        self._check_has_columns()
        widths = [width for encoder in self._encodings for width in encoder.widths]
        return np.repeat(np.arange(len(widths), dtype=np.int32), widths)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_encodings")

    def _check_has_columns(self):
        check_is_fitted(self)
        if not self.__sklearn_is_fitted__():  # with n_buckets nothing has to be
            raise NotFittedError(
                f"This {type(self).__name__} does not know its variables before fit, which with "
                "n_buckets reads no more than these. Call fit first."
            )

    # -- the work ---------------------------------------------------------------------

    def _fit(self, X):
        """Fit; return a copy of the fitted encoder and the variables of X.

        The copy learns everything, and this encoder then takes it over at once. A thread that
        transforms meanwhile, or code that continues after an interrupt, sees the encoder either
        as it was before or as it is afterwards.
        """
        fitted = copy.copy(self)
        variables = _read(fitted, X, reset=True)
        fitted._encodings = _make_encodings(fitted, variables)
        self.__dict__ = fitted.__dict__.copy()
        return fitted, variables


_NEED_BUCKETS = (
    "need n_buckets: the fields of several entries per row cannot be inferred. With it, pass "
    "fields=<number of variables> to the model."
)


def _names_of(encoder):
    """The names of the variables of a fitted encoder."""
    return check_feature_names_in(encoder, None).tolist()


def _read(encoder, X, reset=None):
    """The names of the variables of a table and, for each, what its cells are.

    ``reset=None`` compares nothing with what `fit` saw.
    """
    X = _as_table(X)
    if hasattr(X, "columns") and hasattr(X, "shape"):  # pandas, polars
        if reset is not None:
            validate_data(encoder, X, reset=reset, skip_check_array=True)
        names = [str(name) for name in X.columns]
        if not all(isinstance(name, str) for name in X.columns):  # they have none, as in outputs
            names = [f"x{i}" for i in range(len(names))]
        series = X.get_columns() if hasattr(X, "get_columns") else [s for _, s in X.items()]
    else:
        how = {"ensure_all_finite": False, "dtype": None if hasattr(X, "dtype") else object}
        X = (
            check_array(X, **how)
            if reset is None
            else validate_data(encoder, X, reset=reset, **how)
        )
        names, series = [f"x{i}" for i in range(X.shape[1])], list(X.T)
    if 0 in X.shape:
        raise ValueError(
            f"Found array with {X.shape[0]} sample(s) and {X.shape[1]} feature(s) while a "
            f"minimum of 1 is required by {type(encoder).__name__}."
        )
    if reset is False:
        numeric = [encoding.numeric for encoding in encoder._encodings]
    else:
        numeric = _are_numeric(encoder, names)
    refitted = reset is False and encoder.n_buckets is None
    verb = "held numbers in fit, but now" if refitted else "holds"
    cells = [read(*of, verb) for of in zip(series, names, numeric, strict=True)]
    for name, column in zip(names, cells, strict=True):
        if encoder.n_buckets is None and not isinstance(column, np.ndarray) and column.has_lists:
            raise ValueError(f"Variable {name!r} holds lists, which {_NEED_BUCKETS}")
    return names, cells


def _as_table(X):
    """Convert Arrow tables and masked arrays, which the readers of cells do not know."""
    if hasattr(X, "to_pandas") and hasattr(X, "column_names"):
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "An Arrow table is read by pandas, which is not installed. Install it, or pass "
                "polars.from_arrow(table)."
            ) from error
        return X.to_pandas(types_mapper=pandas.ArrowDtype)
    if isinstance(X, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in X):
        X = np.ma.array(X)
    if not isinstance(X, np.ma.MaskedArray):
        return X
    if X.dtype.kind in "fmM":
        return X.filled(np.nan if X.dtype.kind == "f" else X.dtype.type("NaT"))
    return X.astype(object).filled(np.nan)


def _are_numeric(encoder, names):
    """Whether each variable holds numbers; None leaves that to its data type."""
    named = encoder.categorical_features
    if isinstance(named, str) or (named is None and encoder.n_buckets is not None):
        return [False] * len(names)
    named = [] if named is None else named
    if len(named) and all(isinstance(choice, bool | np.bool_) for choice in named):
        if len(named) != len(names):
            raise ValueError(
                f"categorical_features is a mask of {len(named)} for {len(names)} variables."
            )
        named = np.flatnonzero(named).tolist()
    chosen = _positions(named, names, "categorical_features")
    otherwise = None if encoder.n_buckets is None else True
    return [False if i in chosen else otherwise for i in range(len(names))]


def _make_encodings(encoder, variables):
    """An encoding for each variable, fitted to its cells."""
    names, cells = variables
    numeric, hashed = encoder.numeric, encoder.n_buckets is not None
    if numeric == "auto":
        numeric = "squared_log" if hashed else "piecewise_linear"
    if hashed and numeric != "squared_log":
        raise ValueError(
            f"numeric={numeric!r} would have to be fitted, and n_buckets needs no fitting: use "
            "numeric='squared_log'."
        )
    if hashed and (encoder.min_frequency is not None or encoder.max_categories is not None):
        raise ValueError(
            "min_frequency and max_categories cannot be combined with n_buckets, which does not "
            "count categories."
        )
    if hashed and len(names) * int(encoder.n_buckets) >= 2**31:  # NumPy's could overflow
        raise ValueError(
            f"n_buckets={encoder.n_buckets} for {len(names)} variables are over 2³¹ columns."
        )
    if encoder.separators and not hashed:
        raise ValueError(f"separators {_NEED_BUCKETS}")
    if not all(isinstance(s, str) and s for s in (encoder.separators or {}).values()):
        raise ValueError("separators must be strings of one character or more.")
    separators = {
        position: separator
        for choice, separator in (encoder.separators or {}).items()
        for position in _positions([choice], names, "separators")
    }
    if len(separators) < len(encoder.separators or {}):
        raise ValueError("separators names a variable twice, by its name and by its position.")
    return [
        _make_encoding(encoder, name, column, numeric, separators.get(i))
        for i, (name, column) in enumerate(zip(names, cells, strict=True))
    ]


def _make_encoding(encoder, name, cells, numeric, separator):
    numeric_cells = isinstance(cells, np.ndarray)
    if encoder.n_buckets is not None:
        if numeric_cells and separator:
            raise ValueError(
                f"separators names {name!r}, which holds numbers; name it in "
                "categorical_features, too."
            )
        return Buckets(numeric_cells, int(encoder.n_buckets), separator, encoder.pooling)
    if not numeric_cells:
        return Vocabulary(cells, encoder.min_frequency or 0, encoder.max_categories)
    if numeric == "value" and not np.isnan(cells).all():
        return Value(cells, name)
    if numeric == "squared_log":
        return Bins.of_logarithms(cells)
    if numeric == "quantile":
        return Bins.of_quantiles(cells, 32 if encoder.n_bins == "auto" else int(encoder.n_bins))
    automatic = min(max(len(cells) // 100, 2), 24)
    return Knots.of_quantiles(cells, automatic if encoder.n_bins == "auto" else int(encoder.n_bins))


def _positions(choices, names, parameter):
    """Positions of variables that are chosen by name or position."""
    position_of = {name: i for i, name in enumerate(names)} | {i: i for i in range(len(names))}
    for choice in choices:
        is_flag = isinstance(choice, bool | np.bool_)  # equal to the positions 0 and 1
        if is_flag or not isinstance(choice, Hashable) or choice not in position_of:
            raise ValueError(
                f"{parameter} names {choice!r}, which is none of the variables: "
                + ", ".join(names[:20])
                + (" …" if len(names) > 20 else "")
            )
    return {position_of[choice] for choice in choices}


def _encode(variables, encodings):
    """One CSR array of the entries of all fields."""
    fields = [e.encode(cells) for e, cells in zip(encodings, variables[1], strict=True)]
    counts = sum(1 if slots.counts is None else slots.counts for slots in fields)
    n_rows = len(fields[0].counts if fields[0].counts is not None else fields[0].column)
    indptr = np.zeros(n_rows + 1, np.int64)
    np.cumsum(np.broadcast_to(counts, n_rows), out=indptr[1:])
    indices, data = np.empty(indptr[-1], np.int32), np.ones(indptr[-1], np.float32)
    at, first = indptr[:-1].copy(), 0
    for encoding, (column, value, counts) in zip(encodings, fields, strict=True):
        where = at if counts is None else ranges(at, counts)
        column += first
        indices[where] = column
        if value is not None:
            data[where] = value
        at += 1 if counts is None else counts
        first += sum(encoding.widths)
    if indptr[-1] < 2**31:
        indptr = indptr.astype(np.int32)
    X = csr_array((data, indices, indptr), shape=(n_rows, first))
    if any(slots.counts is not None for slots in fields):
        X.sum_duplicates()  # values of a cell that share a bucket
    X.variables = Variables(variables[0], encodings)
    return X
