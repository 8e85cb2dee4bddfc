"""What columns and fields are called where a fitted model is looked at."""

import re
from numbers import Integral

import numpy as np
from sklearn.exceptions import NotFittedError

from ._encodings import SEPARATORS
from ._fitted import unwrap as unwrap
from ._variables import is_missing

# What encoders, those of scikit-learn too, put between the name of a variable and that of a column.
_SEPARATORS = "_" + SEPARATORS
_ENDS = re.compile(f"[{re.escape(_SEPARATORS)}]")


class Names:
    """The names of columns, and which field each belongs to, as a reader would say.

    Parameters
    ----------
    steps : Pipeline or None
        What encodes the rows.
    estimator : FactorizationBase
    variables : Variables or None
        What a FieldEncoder noted on a matrix.
    fields, feature_names : array-like or None
        What the user calls them.
    """

    def __init__(self, steps, estimator, variables=None, fields=None, feature_names=None):
        self._columns, self._n_features = estimator._fitted.columns, estimator.n_features_in_
        self._variables = variables
        self._known, self._inputs = None, set()
        if feature_names is not None:
            self._known = self._one_each(feature_names, "feature_names").astype(str)
        elif variables is None:
            self._known = _names_out(steps)
            if self._known is None:
                self._known = getattr(estimator, "feature_names_in_", None)
        if steps is not None:
            self._inputs = set(_names_in(steps))
        if self._known is not None:
            self._known = _without_prefixes(self._known, self._inputs)
        self._given = None if fields is None else self._one_each(fields, "fields")

    def _one_each(self, values, name):
        values = np.asarray(values, object)
        if values.shape != (self._n_features,):
            raise ValueError(
                f"{name} must have one value for each of the {self._n_features} columns, got "
                f"shape {values.shape}."
            )
        for column, value in enumerate(values):
            if is_missing(value):
                raise ValueError(
                    f"{name} must have one value for each of the {self._n_features} columns, got "
                    f"{value!r} for column {column}."
                )
        return values

    def of(self, columns):
        """The name of each of some columns, a list of str."""
        if self._known is not None:
            return [str(name) for name in self._known[columns]]
        if self._variables is not None:
            return self._variables.column_names(columns)
        return [f"column {column}" for column in columns]

    def find(self, column):
        """The number of a column that is given by its name or its number."""
        if not isinstance(column, str):
            is_number = isinstance(column, Integral) and not isinstance(column, bool)
            if not is_number or not 0 <= column < self._n_features:
                raise ValueError(
                    f"There is no column {column!r}: they are numbered from 0 to "
                    f"{self._n_features - 1}."
                )
            return int(column)
        if self._known is None:
            raise ValueError(
                f"There is no column {column!r}, as the columns have no names here. Pass its "
                "number, or feature_names=encoder.get_feature_names_out()."
            )
        found = np.flatnonzero(self._known == column)
        if len(found) > 1:
            numbers = ", ".join(map(str, found[:5])) + (" …" if len(found) > 5 else "")
            raise ValueError(
                f"{len(found)} columns are called {column!r}: those numbered {numbers}. Pass the "
                "number of one of them."
            )
        if not len(found):
            like = [name for name in self._known if column in name][:5]
            hint = " Did you mean " + " or ".join(map(repr, like)) + "?" if like else ""
            raise ValueError(f"No columns are called {column!r}.{hint}")
        return int(found[0])

    def reported_fields(self):
        """The field that each column seen in training is reported under, and the names of these.

        These are, in this order: what the user calls them, the variables of a FieldEncoder, those
        that names of columns begin with, and the fields of the model. A model without fields has
        one for each column then.

        Returns
        -------
        reported : ndarray of shape (len(columns),), intp
        names : list of str
        """
        seen = self._columns.seen
        if self._given is not None:
            labels = [x if isinstance(x, str) else f"field {x}" for x in self._given.tolist()]
            return _numbered([labels[column] for column in seen], dict.fromkeys(labels))
        variables = self._variables or self._columns.fields.first_columns
        if variables:
            starts = [(first, name) for name, firsts in variables.items() for first in firsts]
            first, names = zip(*sorted(starts), strict=True)
            names, run = list(names), np.searchsorted(first, seen, side="right") - 1
            number = {name: i for i, name in enumerate(dict.fromkeys(names))}
            return np.array([number[name] for name in names])[run], list(number)
        if self._columns.fields.n_fields > 1:
            field = self._columns.field
            called = self._names_of_fields(field)
            number = {name: i for i, name in enumerate(dict.fromkeys(called))}
            return np.array([number[name] for name in called])[field], list(number)
        order = np.argsort(seen)
        if self._known is None:
            names = self.of(seen[order])
        else:
            names = [_variable_of(name, self._inputs) or name for name in self._known[seen[order]]]
        reported, names = _numbered(names, dict.fromkeys(names))
        return reported[np.argsort(order)], names

    def _names_of_fields(self, field):
        """What the fields of the model are called, by the names of their columns."""
        fields = self._columns.fields
        labels = [f"field {label}" for label in fields.labels]
        if self._known is None:
            return labels
        order = np.argsort(field, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(field, minlength=len(labels)))[:-1])
        for number, slots in enumerate(parts):
            names = [str(name) for name in self._known[self._columns.seen[slots]]]
            if names:
                labels[number] = _common(names, self._inputs) or labels[number]
        return labels


def _numbered(labels, order):
    """The number of each label in some order, and the labels in this order."""
    number = {name: i for i, name in enumerate(order)}
    return np.array([number[label] for label in labels], np.intp), list(number)


def _common(names, inputs):
    """The variable that all of these names of columns may be of, the longest; None if none."""
    for variable in _variables_of(names[0], inputs):
        ends = tuple(variable + end for end in _SEPARATORS)
        if all(name == variable or name.startswith(ends) for name in names):
            return variable
    if len(names) == 1:
        return names[0]
    first, last = min(names), max(names)
    ends = [match.start() for match in _ENDS.finditer(first)]
    shared = [first[:end] for end in ends if last.startswith(first[: end + 1])]
    return shared[-1] if shared else None


def _variables_of(name, inputs):
    """The variables that a column may be of, the longest first."""
    ends = [match.start() for match in _ENDS.finditer(name)]
    return [name[:end] for end in [len(name), *reversed(ends)] if name[:end] in inputs]


def _variable_of(name, inputs):
    return next(iter(_variables_of(name, inputs)), None)


def _without_prefixes(names, inputs):
    """Names without what a ColumnTransformer puts before them, unless some would be the same."""
    names = np.asarray(names, object)
    if not inputs or not any("__" in name for name in names):
        return names
    short = names.copy()
    for i, name in enumerate(names):
        while _variable_of(name, inputs) is None and "__" in name:
            name = name.split("__", 1)[1]
        if _variable_of(name, inputs) is not None:
            short[i] = name
    return short if len(set(short)) == len(names) else names


def _names_in(steps):
    """The names of the variables that go into some steps."""
    names = getattr(steps, "feature_names_in_", None)
    if names is None:
        names = [f"x{i}" for i in range(getattr(steps, "n_features_in_", 0))]
    return [str(name) for name in names]


def _names_out(steps):
    """The names of the columns that come out of some steps, None where these do not say."""
    if steps is None:
        return None
    try:
        return steps.get_feature_names_out()
    except (AttributeError, ValueError, NotFittedError):
        return None
