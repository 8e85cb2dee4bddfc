"""What is said of a fit in the end, and what the notebook shows of it."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ._batch import FEW_ROWS
from ._input import column_name
from ._warnings import warn_user

# Raw scores this close to each other (log-odds, standard deviations) count as constant.
_NEGLIGIBLE = 0.01

# From so many times the root mean square of a column on, a value is named as an outlier: the
# largest of a million normal numbers is five times theirs. No value of a column of few entries can
# be so far out; there it is one from twice on, if it makes up nearly all of the sum of squares.
_EXTREME, _LEAST_EXTREME, _NEARLY_ALL = 6, 2, 0.99

# Values of so many times the unit of a column show that the unit was not typical of it.
_OUT_OF_UNIT = 1000

# From this many columns on, the notebook repr leaves out what has a row for each.
_WIDE = 10_000


def warn_of_outcome(model, data):
    """Warn of how a fit ended, unless it ended well.

    Parameters
    ----------
    model : FactorizationBase
        The fitted estimator.
    data : Data
        What it was fitted to.
    """
    histories = [output.history for output in model._fitted.models]
    outcomes = {history.outcome for history in histories}
    if "diverged" in outcomes:
        message = (
            "The fit diverged; the best weights seen are kept (in partial_fit, those "
            "before the step that failed). Lower learning_rate or the sample weights."
            + _extreme_value(model, data)
        )
    elif outcomes & {"stopped", "interrupted"}:
        message = (
            f"Training was stopped after {model.n_iter_} passes; the best weights so far are kept."
        )
    elif all(history.best_pass == 0 for history in histories):
        message = (
            "The model has learned nothing: no pass improved on the initial weights. Check that X "
            "says something about y, or lower learning_rate, the penalties or, if rows have "
            "hundreds of entries, init_scale." + _extreme_value(model, data)
        )
    elif _is_constant(model, data):
        message = (
            "The model is constant: it predicts nearly the same for every row. Check that X says "
            "something about y, lower the penalties, or change learning_rate."
            + _extreme_value(model, data)
        )
    elif all(history.is_worse for history in histories):
        message = (
            "The model predicts worse than the constant average of the targets. Lower "
            "learning_rate or raise the penalties." + _extreme_value(model, data)
        )
    elif all(history.follows_last for history in histories):
        message = (
            "The model follows the last rows: on those before them it predicts worse than the "
            "constant average of the targets. Pass shuffle=True, unless only the last rows count."
        )
    elif "improving" in outcomes:
        message = (
            f"The loss was still falling after max_iter={model.max_iter} passes. Increase "
            "max_iter, or pass tol=None to make max_iter passes without this warning."
        )
    else:
        return
    warn_user(message, ConvergenceWarning)


def warn_of_units(model, before, data):
    """Warn where a stream began with rows that do not tell the unit of its numbers.

    Parameters
    ----------
    model : FactorizationBase
        The estimator after a call to `partial_fit`.
    before : Fitted or None
        What it had learned before that.
    data : Data
        The rows of the call.
    """
    fitted, begins = model._fitted, before is None and len(data.used) < FEW_ROWS
    scale, plain = fitted.target.scale_of(data.y[data.used]), fitted.columns.plain
    fixed = [] if scale is None else ["the scale of y"]
    fixed += [] if plain else ["the units of columns that hold numbers"]
    if begins and fixed:
        warn_user(
            f"The first call to partial_fit fixes {' and '.join(fixed)}, and it has only "
            f"{len(data.used)} rows. Begin with at least {FEW_ROWS} typical rows."
        )
    elif scale is not None and not 1 / _OUT_OF_UNIT < scale < _OUT_OF_UNIT:
        warn_user(
            f"The first rows fixed the scale of y, but the targets of this call are {scale:.3g} "
            "times as large. Begin with typical rows, or divide y by its standard deviation."
        )
    if plain and np.abs(data.X.data).max(initial=0) <= _OUT_OF_UNIT:
        return
    column, _, units = _largest(model, data)
    if units > _OUT_OF_UNIT:
        name = _name(model, column)
        warn_user(
            f"The first batch in which {name} occurred fixed its unit, and this call has values "
            f"more than {_OUT_OF_UNIT} times as large. Begin the stream with typical rows, or "
            "clip outliers."
        )


def _extreme_value(model, data):
    """A sentence that names the value furthest out in its column, if it is an outlier."""
    column, value, units = _largest(model, data)
    limit = np.sqrt(_NEARLY_ALL * np.count_nonzero(data.X.indices == column))
    # A number on a knot of a FieldEncoder is 1, however rare that is.
    on_knot = model._fitted.columns.fields.variables and abs(value) <= 1
    if units < np.clip(limit, _LEAST_EXTREME, _EXTREME) or on_knot:
        return ""
    name = _name(model, column)
    return (
        f" Or clip outliers: the value {value:.3g} of {name} is {units:.3g} times the typical "
        "magnitude of this column."
    )


def _largest(model, data):
    """The value that is largest in units of its column: see `Batcher.largest`."""
    return model._batcher(data.X).largest(data.used)


def _name(model, column):
    return column_name(column, getattr(model, "feature_names_in_", None))


def _is_constant(model, data):
    """Whether all outputs are as good as the same for all rows (of up to 1000)."""
    return np.ptp(model._raw(data.X, data.used[:1000]), axis=0).max() < _NEGLIGIBLE


class NotebookRepr:
    """What scikit-learn >= 1.9 shows of the fitted attributes in a notebook."""

    # Tooltips are shown only where there is a link to documentation.
    _doc_link_module = "skfm"
    _doc_link_template = "#"

    # Attributes with a row for each column, which are built on request.
    _wide_attributes = "coef_", "factors_", "embeddings_", "fields_"
    _hidden = ()

    def _get_fitted_attr_html(self, doc_link=""):
        # It looks at every name in `dir`; a wide model shows it a copy that hides some.
        brief = self._snapshot()
        wide = self._wide_attributes if self.n_features_in_ > _WIDE else ()
        brief._hidden = (*wide, "cross_coef_")  # there are many buckets, however few columns
        return super(NotebookRepr, brief)._get_fitted_attr_html(doc_link)

    def __dir__(self):
        return [name for name in super().__dir__() if name not in self._hidden]
