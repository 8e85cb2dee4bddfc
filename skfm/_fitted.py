"""What a fit learned: one object, swapped in at once, and the attributes that show it."""

import copy
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._batch import Columns
from ._compat import OF_CALLBACKS
from ._tables import Undo
from ._threads import only_here
from ._version import Versioned


@dataclass(frozen=True)
class Fitted:
    """All that a fit learns.

    Attributes
    ----------
    seed : int
    target : Labels or Numbers
    columns : Columns
    entries : float
        Entries per row, on the average of the first rows.
    compiles : bool
        Whether the engine "auto" is numba for this model, where that is installed.
    crosses : Crosses or None
    models : list of Model
        One for each output.
    """

    seed: int
    target: object
    columns: Columns
    entries: float
    compiles: bool
    crosses: object
    models: list

    def of_outputs(self, name, otherwise=None):
        """A parameter as users see it, for each output; `otherwise` if the model has none."""
        return [model.attributes(self.columns).get(name, otherwise) for model in self.models]

    def spread(self, name):
        """Parameters of all columns, for each output; none for each if the model has none."""
        none = np.empty((len(self.columns), 0), np.float32)
        return np.stack([self.columns.spread(seen) for seen in self.of_outputs(name, none)])

    def of_histories(self, get):
        """What `get` takes from each history: a list if there are several outputs."""
        values = [get(model.history) for model in self.models]
        return values[0] if len(values) == 1 else values

    def in_units(self, losses):
        """Losses in the unit of the targets, squared."""
        return [loss * self.target.scale**2 for loss in losses]


class Learned(Versioned):
    """How an estimator keeps what it learned.

    All of it is `_fitted`, which is replaced as a whole: another thread sees the old model or
    the new one. Whoever needs more than one attribute takes a `_snapshot` first.
    """

    def __sklearn_is_fitted__(self):
        return "_fitted" in vars(self)

    def __getattr__(self, name):
        # Python also asks here where a property met an AttributeError. Before a fit that is of
        # `_fitted`, which must stay hidden. After a fit it is a bug of skfm: raise it again.
        if self.__sklearn_is_fitted__():
            return super().__getattribute__(name)
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        if hasattr(type(self), name):
            text += ": it is not fitted yet. Call fit first."
        raise AttributeError(text, name=name, obj=self)

    def _snapshot(self):
        """A copy that shares what was learned, and keeps it if this one learns anew.

        It must not learn while this one goes on: the two would write to the same tables.
        All work is done on such copies, where parameters are plain numbers: arithmetic with
        those of NumPy would overflow, as ``np.int8(100) * 2`` does.
        """
        other = object.__new__(type(self))
        other.__dict__ = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.__dict__.copy().items()  # another thread may add to it
        }
        return other

    def __copy__(self):
        """An independent copy: two models that go on cannot share the rows of their tables."""
        return copy.deepcopy(self)

    def __getstate__(self):
        state = super(Learned, self._snapshot()).__getstate__()
        # Another thread may be fitting: what its callbacks hold is not of the model.
        return {name: value for name, value in state.items() if name not in OF_CALLBACKS}

    @contextmanager
    def _learner(self):
        """A copy to learn with, and what its steps overwrite. One assignment publishes it.

        During `fit` another thread sees the old model. During `partial_fit` it also sees
        steps on what the two share, which are taken back if the call fails. For that reason
        only one thread may learn.
        """
        with only_here(self, "is learning"), self._published() as learner_and_undo:
            yield learner_and_undo

    @contextmanager
    def _published(self):
        learner, undo, ours = self._snapshot(), Undo(), None
        before = learner.__dict__.copy()
        try:
            yield learner, undo
            after = learner.__dict__
            gone = before.keys() - after.keys()
            kept = {name: value for name, value in self.__dict__.items() if name not in gone}
            learned = {n: value for n, value in after.items() if before.get(n, before) is not value}
            ours = kept | learned
            self.__dict__ = ours
        except BaseException:
            if self.__dict__ is not ours:
                undo.take_back()
            raise

    # -- attributes, each of which reads `_fitted` once ------------------------------

    @property
    def n_iter_(self):
        """Number of passes made, the largest over the outputs."""
        return max(model.history.n_passes for model in self._fitted.models)

    @property
    def best_iter_(self):
        """Number of the pass whose weights were kept; 0 means the initial weights."""
        return self._fitted.of_histories(lambda history: history.best_pass)

    @property
    def loss_curve_(self):
        """Mean training loss of each pass; each row is scored before the step that learns from it.

        Regressors give it in the unit of y, squared. A list of lists if there are several
        outputs.
        """
        fitted = self._fitted
        return fitted.of_histories(lambda history: fitted.in_units(history.loss_curve))

    @property
    def validation_scores_(self):
        """Negated mean loss on the validation rows after each pass; empty without them."""
        fitted = self._fitted
        return fitted.of_histories(lambda history: fitted.in_units(history.validation_scores))

    @property
    def coef_(self):
        """Linear weights, per unit of the column, of shape (n_outputs, n_features).

        They are in log-odds or in the unit of y, and built on request.
        """
        fitted = self._fitted
        return fitted.spread("coef") * fitted.target.scale

    @property
    def intercept_(self):
        """Intercepts, in log-odds or in the unit of y, of shape (n_outputs,)."""
        fitted = self._fitted
        constants = np.array(fitted.of_outputs("constant"))
        bias = np.array([model.bias for model in fitted.models]) + constants
        return bias * fitted.target.scale + fitted.target.mean


def unwrap(model):
    """The steps before an estimator, None if there are none, and a snapshot of the estimator.

    A search stands for the best estimator that it found.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is none of skfm.
    """
    steps, estimator = None, _best(model)
    if getattr(estimator, "steps", None):
        steps = estimator[:-1] if len(estimator.steps) > 1 else None
        estimator = _best(estimator.steps[-1][1])
    if not isinstance(estimator, Learned):
        if hasattr(estimator, "estimator") and not isinstance(estimator, type):
            check_is_fitted(estimator)  # a search
        is_class = isinstance(estimator, type)
        name = f"The class {estimator.__name__}" if is_class else type(estimator).__name__
        raise TypeError(
            f"{name} is no model of skfm. Pass one of its fitted estimators, or a Pipeline that "
            "ends with one."
        )
    snapshot = estimator._snapshot()
    check_is_fitted(snapshot)
    return steps, snapshot


def _best(model):
    while hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    return model
