"""What is taken from inside scikit-learn and joblib, or differs between their versions.

Everything else uses what they document. Each entry says why there is no other way.
"""

from joblib.parallel import get_active_backend

# Estimators of scikit-learn validate their parameters by this and what comes from
# `_param_validation`, which turn a wrong one into the same message as everywhere; `fit` and
# `partial_fit` run within the context, which also looks after callbacks.
from sklearn.base import _fit_context as fit_context

# The error of displays where matplotlib is missing, which names the command to install it.
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    Options,
    StrOptions,
    validate_params,
)

# The rules of `get_feature_names_out`, with their messages.
from sklearn.utils.validation import _check_feature_names_in as check_feature_names_in

# What callbacks leave on an estimator for the time of a fit.
OF_CALLBACKS = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9 has no callbacks

    class CallbackSupportMixin:
        """Stands in for callbacks."""

        def _init_callback_context(self, **kwargs):
            return _Silence()


class _Silence:
    """A callback context that no callback listens to."""

    def subcontext(self, **kwargs):
        return self

    def call_on_fit_task_begin(self, **kwargs):
        pass

    def call_on_fit_task_end(self, **kwargs):
        return False


def within_joblib_worker():
    """Whether this code runs in a task of joblib, as of a search. Only the backend says so."""
    return get_active_backend()[0].nesting_level > 0


__all__ = [
    "OF_CALLBACKS",
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "Options",
    "StrOptions",
    "check_feature_names_in",
    "check_matplotlib_support",
    "fit_context",
    "validate_params",
    "within_joblib_worker",
]
