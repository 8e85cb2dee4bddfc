"""What is said of a fit in the end, and what the notebook shows of it."""

import copy

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ._batch import column_name
from ._fields import warn_user

# Raw scores this close to each other (log-odds, standard deviations) count as constant.
_NEGLIGIBLE = 0.01

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
            "before the step that failed). Lower learning_rate or the sample weights, or "
            f"clip outliers.{_largest_value(model, data)}"
        )
    elif outcomes & {"stopped", "interrupted"}:
        message = (
            f"Training was stopped after {model.n_iter_} passes; the best weights so far are kept."
        )
    elif _is_constant(model, data):
        message = (
            "The model came out constant: it predicts (nearly) the same for every row. "
            "No pass improved on the loss of the average prediction, or the penalties "
            "removed every parameter. Check that X is informative, lower the penalties "
            "or change learning_rate."
        )
    elif all(history.is_worse for history in histories):
        message = (
            "The model predicts worse than the average of the targets would. Lower "
            f"learning_rate, raise the penalties or clip outliers.{_largest_value(model, data)}"
        )
    elif "improving" in outcomes:
        message = (
            f"Stopped after max_iter={model.max_iter} passes, while the loss was still "
            "improving. Increase max_iter, or pass tol=None to always make max_iter passes."
        )
    else:
        return
    warn_user(message, ConvergenceWarning)


def _largest_value(model, data):
    """A sentence that names the largest value, relative to the others in its column, if any is."""
    column, value, units = model._batcher(model._fitted, data.X).largest(data.used)
    if units <= 1:
        return ""
    name = column_name(column, getattr(model, "feature_names_in_", None))
    return (
        f" The largest column is {name}: its value {value:.3g} is {units:.3g} times what is "
        "usual in it."
    )


def _is_constant(model, data):
    """Whether all outputs are as good as the same for all rows (of up to 1000)."""
    if all(output.history.best_pass == 0 for output in model._fitted.models):
        return True
    return np.ptp(model._raw(data.X, data.used[:1000]), axis=0).max() < _NEGLIGIBLE


class NotebookRepr:
    """What scikit-learn >= 1.9 shows of the fitted attributes in a notebook."""

    # Tooltips are shown only where there is a link to documentation.
    _doc_link_module = "skfm"
    _doc_link_template = "#"

    # Attributes with a row for each column, which are built on request.
    _wide_attributes = ("coef_", "factors_", "embeddings_", "fields_", "cross_coef_")
    _hidden = ()

    def _get_fitted_attr_html(self, doc_link=""):
        # It looks at every name in `dir`; a wide model shows it a copy that hides some.
        brief = copy.copy(self)
        brief._hidden = self._wide_attributes if self.n_features_in_ > _WIDE else ()
        return super(NotebookRepr, brief)._get_fitted_attr_html(doc_link)

    def __dir__(self):
        return [name for name in super().__dir__() if name not in self._hidden]
