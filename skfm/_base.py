"""The estimator contract: what is checked, encoded and handed to the training loop."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from ._batch import Batcher, Columns, checked, without_stored_zeros
from ._callbacks import FitWatch
from ._compat import CallbackSupportMixin, fit_context
from ._engine import choose
from ._fitted import Learned
from ._input import BAD_CLASS_WEIGHT, MAX_WEIGHT, check_weight
from ._memory import check_columns
from ._model import largest_k, numbers_per_row
from ._reports import NotebookRepr, warn_of_outcome, warn_of_units
from ._start import Data, Start, grown
from ._threads import for_each, n_threads, one_blas_thread
from ._training import Sample, Schedule, raw_scores, rows_per_batch, train_online
from ._warnings import warn_user

# early_stopping="auto" holds out validation rows from this many rows on.
_AUTO_ROWS = 100

# Rows per step of "auto" where there are few.
_SMALLEST_BATCH = 2

# Average weights below which models were seen to stop before they had learned.
_SMALL_WEIGHT = 0.02


class FactorizationBase(Learned, NotebookRepr, CallbackSupportMixin, BaseEstimator):
    """What all estimators share.

    A public class says what its model is in `_make_fields`, `_make_crosses`, `_make_terms` and
    `_settings`. One of the two mixins below says what its targets are.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows, best as CSR, such as FieldEncoder or OneHotEncoder returns. A stored zero
            means the same as no entry.
        y : array-like of shape (n_samples,)
            Labels of any type (classifiers) or target values (regressors).
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss and the penalty. They should be about 1 on average:
            steps are bounded, so the model learns slowly from much smaller weights. It ignores
            rows of weight 0. None means 1 for every row.
        X_val, y_val : like `X` and `y`, default=None
            Rows on which early stopping watches the loss. Without them it holds out a part of
            `X`.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the validation rows. None means 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input is malformed, is not finite (the message names the column) or has a
            single class, or if the model needs more memory than there is. A model that was
            fitted before stays as it was.
        RuntimeError
            If another thread is fitting this object.

        Warns
        -----
        ConvergenceWarning
            If the fit diverged or was interrupted (the best weights seen are kept), if
            `max_iter` passes were not enough, if the model has learned nothing or is constant,
            or if it is worse than the average of the targets: on the rows that it watches or,
            with ``shuffle=False``, on those before.
        UserWarning
            If it had to guess the fields, if weights are tiny, or if with ``shuffle=False`` the
            rows held out have other classes than the rest.

        Notes
        -----
        With ``warm_start=True`` and a model fitted before, training continues with up to
        `max_iter` more passes. Parameters, solver states, seed, fields, and the classes or the
        scale of y are kept, and new columns join.
        """
        with self._learner() as (learner, _), one_blas_thread:
            data = learner._fit(self, X, y, sample_weight, X_val, y_val, sample_weight_val)
        warn_of_outcome(learner, data)
        return self

    def _fit(self, estimator, X, y, sample_weight, X_val, y_val, sample_weight_val):
        """Fit this copy of the estimator; return the data."""
        before = self._fitted if self.warm_start and self.__sklearn_is_fitted__() else None
        start = self._begin(X, y, sample_weight, before, self._target_of)
        target, data = start.target, start.data
        valid = self._check_validation(X_val, y_val, sample_weight_val, start)
        split = valid is None and self._can_split(len(data.used))
        if split:
            data, valid = _split(self, data, target, start.seed)
        batch_size = self._batch_size(len(data.used), start.terms[0])
        self._fitted = grown(self, start, [start.data.used], data.used, batch_size)
        schedule = Schedule.of(self, batch_size, start.seed)
        batcher = self._batcher(data.X)
        # The rows held out are of the same matrix.
        of_valid = batcher if split or valid is None else self._batcher(valid.X)

        def train_output(model, output):
            sample = _sample(batcher, data, target, output)
            watched = valid and _sample(of_valid, valid, target, output)
            watch.train(model, output, sample, watched, schedule, split)

        watch = FitWatch(estimator, self, X, y, sample_weight)
        with watch, batcher.engine.announced(watch.tell_of_compiling):
            self._for_each_output(train_output, watch.interrupted.set)
        return data

    def _partial_fit(self, X, y, sample_weight, target_of):
        self._validate_params()  # scikit-learn does so in the first call only
        before = vars(self).get("_fitted")
        with self._learner() as (learner, undo), one_blas_thread:
            data = learner._fit_online(X, y, sample_weight, target_of, undo)
        warn_of_units(learner, before, data)
        if any(model.history.outcome == "diverged" for model in learner._fitted.models):
            warn_of_outcome(learner, data)
        return self

    def _fit_online(self, X, y, sample_weight, target_of, undo):
        """Train this copy of the estimator on some more rows; return the data."""
        before = self._fitted if self.__sklearn_is_fitted__() else None
        size = 256 if self.batch_size == "auto" else self.batch_size
        start = self._begin(X, y, sample_weight, before, target_of, n_first=size)
        target, data = start.target, start.data
        batches = [data.used[at : at + size] for at in range(0, len(data.used), size)]
        self._fitted = grown(self, start, batches, batches[0], size, in_stream=True)
        batcher = self._batcher(data.X)

        def train_output(model, output):
            sample = _sample(batcher, data, target, output)
            train_online(model, target.loss, sample, size, undo)

        self._for_each_output(train_output)
        return data

    # -- input ----------------------------------------------------------------------

    def _begin(self, X, y, sample_weight, before, target_of, n_first=None):
        """What a call begins with, given the model `before`, if any; see `_check_data`."""
        X = checked(self, X, before and before.columns.fields)
        check_columns(X.shape[1], f"X has {X.shape[1]} columns")
        if before:

            def target_of(_):
                return before.target.continued()

        data, target = self._check_data(X, y, sample_weight, target_of, n_first=n_first)
        warn_of_small_weights(data.weight[data.used].mean())
        if before:
            seed, columns = before.seed, before.columns
        else:
            # Fields are inferred with stored zeros counted, and nothing else counts them.
            columns = self._make_columns(X, X.variables)
            seed = self._draw_seed()
        data = data._replace(X=without_stored_zeros(X))
        return Start.of(self, seed, target, columns, before, data)

    def _make_columns(self, X, variables, **how):
        fields = self._make_fields(X, **how)
        fields.name_after(variables)
        return Columns(X.shape[1], fields)

    def _check_data(self, X, y, sample_weight, target_of, suffix="", n_first=None):
        """Validate the targets and weights of checked rows.

        Messages call them by their names and `suffix`.

        Returns
        -------
        data : Data
        target : Labels or Numbers
            ``target_of(each)``, see `Labels.of_data`, of the first `n_first` rows that are used.
        """
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        y = self._target_type.check(y, f"y{suffix}")
        check_consistent_length(X, y)
        weight = check_weight(sample_weight, X.shape[0], f"sample_weight{suffix}")
        raw = Data(X, y, weight, np.flatnonzero(weight)[:n_first])
        target = target_of(lambda function, *arguments: [function(raw, *arguments)])
        y, weight = target.encode(y, weight, f"y{suffix}")
        if not 0 < weight.sum() < MAX_WEIGHT:
            raise ValueError(BAD_CLASS_WEIGHT)
        return Data(X, y, weight, np.flatnonzero(weight)), target

    def _has_validation(self, X_val, y_val, sample_weight_val):
        """Whether validation rows were passed, which is an error where they come in part."""
        given = [value is not None for value in (X_val, y_val, sample_weight_val)]
        if not any(given):
            return False
        if not (given[0] and given[1]):
            raise ValueError("X_val and y_val belong together: pass both.")
        if self.early_stopping is False:
            raise ValueError("X_val and y_val are for early stopping, but early_stopping=False.")
        return True

    def _check_validation(self, X_val, y_val, sample_weight_val, start):
        if not self._has_validation(X_val, y_val, sample_weight_val):
            return None
        try:
            X_val = checked(self, X_val, start.columns.fields, "X_val")
        except ValueError as error:
            raise ValueError(
                f"{error}\nEncode X_val like X. A Pipeline passes it to its last step unchanged; "
                "with Pipeline(transform_input=['X_val']) its steps encode it."
            ) from error
        return self._check_data(X_val, y_val, sample_weight_val, lambda _: start.target, "_val")[0]

    def _can_split(self, n_rows):
        if self.early_stopping == "auto":
            return n_rows >= _AUTO_ROWS
        return self.early_stopping

    # -- training -------------------------------------------------------------------

    def _draw_seed(self):
        return check_random_state(self.random_state).randint(2**31 - 1)

    def _batch_size(self, n_rows, terms):
        """Rows per step of `fit`: large batches are faster, but a pass needs steps."""
        if self.batch_size != "auto":
            return self.batch_size
        most = min(512, max(_SMALLEST_BATCH, n_rows // 64))
        return rows_per_batch(most, numbers_per_row(terms))

    def _for_each_output(self, do, on_interrupt=None):
        """Call ``do(model, output)`` for each output, on `n_jobs` threads.

        A single output has them all to itself.
        """
        models, n_jobs = self._fitted.models, n_threads(self.n_jobs)
        n_workers = min(n_jobs, len(models))
        if n_workers == 1:
            with self._engine.threads(n_jobs):
                for output, model in enumerate(models):
                    do(model, output)
        else:
            for_each(models, do, n_workers, on_interrupt)

    def _batcher(self, X, **how):
        return Batcher(X, self._fitted.columns, self._fitted.crosses, self._engine, **how)

    @property
    def _engine(self):
        k = largest_k(self._fitted.models[0].terms)
        return choose(self.engine, self._fitted.compiles, k)

    def _make_crosses(self, fields):
        """Which fields the model crosses, None if it does not."""

    # -- prediction -----------------------------------------------------------------

    def _raw(self, X, rows=None):
        """Raw scores of checked rows, shape (n_rows, n_outputs), computed in float64.

        From float32 parameters no float64 score of a machine can overflow, however far a fit went.
        """
        models = self._fitted.models
        renumbers = any(model.needs_rows for model in models)
        batcher = self._batcher(X, dtype=np.float64, renumbers=renumbers)
        rows = np.arange(X.shape[0]) if rows is None else rows
        return raw_scores(models, batcher, rows, n_threads(self.n_jobs))

    def _predict_raw(self, X):
        check_is_fitted(self)
        return self._raw(checked(self, X, self._fitted.columns.fields))


def _split(estimator, data, target, seed):
    """Hold out rows to watch the loss on."""
    rows, y = held_out(estimator, data, target, seed), data.y[data.used]
    if rows is None:
        raise_nothing_left(estimator, len(y))
    if not estimator.shuffle:
        target.warn_of_unlearned(y[: len(rows[0])], y[len(rows[0]) :])
    return tuple(data._replace(used=used) for used in rows)


def held_out(estimator, data, target, seed):
    """Rows to learn from, and rows to watch the loss on: at random, or without shuffling the last.

    None if nothing would be left to learn from.
    """
    fraction, y = estimator.validation_fraction, data.y[data.used]
    if np.ceil(fraction * len(y)) >= len(y):  # as train_test_split counts
        return None
    return train_test_split(
        data.used,
        test_size=fraction,
        shuffle=estimator.shuffle,
        stratify=target.strata(y, fraction) if estimator.shuffle else None,
        random_state=seed,
    )


def warn_of_small_weights(mean):
    if mean < _SMALL_WEIGHT:
        warn_user(
            f"The row weights are {mean:.3g} on average. Steps are bounded, so the model learns "
            "little from weights this small. Divide them by their mean."
        )


def raise_nothing_left(estimator, n_rows):
    raise ValueError(
        f"validation_fraction={estimator.validation_fraction} of {n_rows} rows leaves no row to "
        "learn from. Lower it, pass X_val and y_val, or set early_stopping=False."
    )


def _sample(batcher, data, target, output):
    """The rows and targets of an output, which may be fitted beside others."""
    y = target.of_output(data.y, output)
    return Sample(batcher.sibling(), data.used, y, data.weight)
