"""The estimator contract: what is checked, encoded and handed to the training loop."""

import copy
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse
from scipy.special import log_softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    RegressorMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ._batch import (
    Batcher,
    Columns,
    as_csr,
    check_finite,
    check_indices,
    column_name,
    without_stored_zeros,
)
from ._callbacks import CallbackSupportMixin, FitWatch
from ._engine import load
from ._fields import warn_user
from ._losses import LogLoss, SquaredLoss
from ._solvers import Undo
from ._threads import n_threads, one_blas_thread
from ._training import (
    Model,
    Sample,
    Schedule,
    check_memory,
    raw_scores,
    rows_per_batch,
    train,
    train_online,
)

# early_stopping="auto" holds out validation rows from this many rows on.
_AUTO_ROWS = 100

# Raw scores this close to each other (log-odds, standard deviations) count as constant.
_NEGLIGIBLE = 0.01

# From this many columns on, the notebook repr leaves out what has a row for each.
_WIDE = 10_000

MAX_WEIGHT = 1e30

# Parameters and solver states are float32. These bounds keep their products finite.
RATE = [Interval(Real, 1e-10, 1e6, closed="both")]
PENALTY = [Interval(Real, 0, 1e9, closed="both")]


class Rows(NamedTuple):
    """Checked input: canonical CSR, encoded targets, weights, numbers of the rows used."""

    X: csr_array
    y: np.ndarray
    weight: np.ndarray
    used: np.ndarray


class FactorizationBase(CallbackSupportMixin, BaseEstimator):
    """What all estimators share.

    A model says what it is in `_make_fields`, `_make_crosses`, `_make_head`,
    `_make_solvers` and `_sizes`. One of the two mixins below says what its targets are.
    """

    _parameter_constraints = {
        "k": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "engine": [StrOptions({"auto", "numpy", "numba"})],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_models")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows, best as CSR. A stored zero means the same as no entry.
        y : array-like of shape (n_samples,)
            Labels of any type (classifiers) or target values (regressors).
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss and its penalty, about 1 on average: steps are
            bounded, so that much smaller weights learn slowly. A row of weight 0 is not
            learned from. None means 1.
        X_val, y_val : like `X` and `y`, default=None
            Rows on which early stopping watches the loss, instead of a part of `X`.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the validation rows. None means 1.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If the input is malformed, not finite (the message names the column), has
            one class only, or the model needs more memory than there is. A model
            fitted before stays as it was.

        Warns
        -----
        ConvergenceWarning
            If the fit diverged or was interrupted (the best weights seen are kept), if
            `max_iter` passes were not enough, or if the model came out constant or worse
            than the average of the targets on the rows that it watches.

        Notes
        -----
        With ``warm_start=True`` and a model fitted before, training continues with up to
        `max_iter` more passes: parameters, solver states, seed, fields and the classes or
        the scale of y stay, new columns join.
        """
        with self._learner() as (learner, _), one_blas_thread:
            data = learner._fit(self, X, y, sample_weight, X_val, y_val, sample_weight_val)
        self._warn_of_outcome(data)
        return self

    def _fit(self, estimator, X, y, sample_weight, X_val, y_val, sample_weight_val):
        """Fit this copy of the estimator; return the data."""
        resume = self.warm_start and self.__sklearn_is_fitted__()
        if resume:
            self._resume_y()
        data = self._check_rows(X, y, sample_weight, None if resume else self._learn_y)
        valid = self._check_validation(X_val, y_val, sample_weight_val)
        data = self._set_up(data, resume)
        learned = data.used
        split = valid is None and self._can_split(data)
        if split:
            data, valid = self._split(data)
        batch_size = self._batch_size(len(data.used))
        total = float(data.weight[learned].sum())
        self._grow(data, [learned], data.used, resume, batch_size, total)
        schedule = Schedule(
            self.max_iter, batch_size, self.shuffle, self.tol, self.n_iter_no_change, self._seed
        )
        batcher = self._batcher(data)
        # The rows held out are of the same matrix.
        of_valid = batcher if split or valid is None else self._batcher(valid)

        def train_output(model, output):
            if watch.interrupted.is_set():
                model.history.outcome = "interrupted"
                return
            passes = watch.output(output)
            sample = self._sample(batcher, data, output)
            watched = valid and self._sample(of_valid, valid, output)
            train(model, self._loss, sample, watched, schedule, passes, learn_valid=split)
            passes.finish()
            if model.history.outcome == "interrupted":
                watch.interrupted.set()

        with FitWatch(estimator, self, data.X, y, sample_weight) as watch:
            self._for_each_output(train_output, watch.interrupted.set)
        return data

    def _partial_fit(self, X, y, sample_weight, learn):
        self._validate_params()  # scikit-learn does so in the first call only
        with self._learner() as (learner, undo), one_blas_thread:
            data = learner._fit_online(X, y, sample_weight, learn, undo)
        if any(model.history.outcome == "diverged" for model in self._models):
            self._warn_of_outcome(data)
        return self

    def _fit_online(self, X, y, sample_weight, learn, undo):
        """Train this copy of the estimator on some more rows; return the data."""
        resume = self.__sklearn_is_fitted__()
        if resume:
            self._resume_y()
        data = self._check_rows(X, y, sample_weight, None if resume else partial(learn, self))
        data = self._set_up(data, resume)
        size = self._online_batch_size
        starts = range(0, len(data.used), size)
        batches = [data.used[start : start + size] for start in starts]
        self._grow(data, batches, batches[0], resume, size)
        batcher = self._batcher(data)

        def train_output(model, output):
            sample = self._sample(batcher, data, output)
            train_online(model, self._loss, sample, size, undo)

        self._for_each_output(train_output)
        return data

    # -- input ----------------------------------------------------------------------

    def _check_X(self, X, reset=False):
        """Validate X into canonical CSR, stored zeros included."""
        if issparse(X) and X.format == "csc":
            check_indices(X)  # converting a malformed one would crash
        try:
            X = as_csr(
                validate_data(self, X, reset=reset, accept_sparse="csr", ensure_all_finite=False)
            )
        except ValueError as error:
            if "string" not in str(error):
                raise
            raise ValueError(
                f"X contains strings ({error}). Encode categories as columns first, for "
                f"example with make_pipeline(FieldEncoder(), {type(self).__name__}())."
            ) from error
        check_finite(X, getattr(self, "feature_names_in_", None))
        return X

    def _check_rows(self, X, y, sample_weight, learn=None):
        """Validate rows, targets and weights.

        ``learn(y, weight, used)`` notes the classes or the range of y; None if they, and
        the width of X, are known.
        """
        X = self._check_X(X, reset=learn is not None)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        y = self._check_y(y)
        check_consistent_length(X, y)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight.min() < 0 or not 0 < weight.sum() < MAX_WEIGHT:
            raise ValueError(
                "sample_weight must not be negative, nor all zero, nor sum up to "
                f"{MAX_WEIGHT:.0e} or more."
            )
        if learn:
            learn(y, weight, np.flatnonzero(weight))
        y, weight = self._encode_y(y, weight)
        if not 0 < weight.sum() < MAX_WEIGHT:
            raise ValueError("class_weight leaves no weight, or too much, on these rows.")
        return Rows(X, y, weight, np.flatnonzero(weight))

    def _check_validation(self, X_val, y_val, sample_weight_val):
        given = [value is not None for value in (X_val, y_val, sample_weight_val)]
        if not any(given):
            return None
        if not (given[0] and given[1]):
            raise ValueError("X_val and y_val belong together: pass both.")
        if self.early_stopping is False:
            raise ValueError("X_val and y_val are for early stopping, but early_stopping=False.")
        return self._check_rows(X_val, y_val, sample_weight_val)

    def _can_split(self, data):
        if self.early_stopping == "auto":
            return len(data.used) >= _AUTO_ROWS
        return self.early_stopping

    def _split(self, data):
        """Hold out rows to watch the loss on: at random, or without shuffling the last."""
        used, held_out = train_test_split(
            data.used,
            test_size=self.validation_fraction,
            shuffle=self.shuffle,
            stratify=self._strata(data) if self.shuffle else None,
            random_state=self._seed,
        )
        return data._replace(used=used), data._replace(used=held_out)

    # -- training -------------------------------------------------------------------

    def _set_up(self, data, resume):
        """Settle what a model keeps for life; return the data without stored zeros."""
        if not resume:
            self._seed = check_random_state(self.random_state).randint(2**31 - 1)
            self._fields = self._make_fields(data.X)
        self._crosses = self._make_crosses()
        return data._replace(X=without_stored_zeros(data.X))

    def _grow(self, data, batches, first, resume, batch_size, total=np.inf):
        """Make the models, or fork those there are, and add the columns of `batches`.

        A column joins with its first batch, whose values settle its units. The intercepts of
        new models fit the rows `first`. `total` is the weight of all rows, infinite in a
        stream.
        """
        heads = [self._make_head((self._seed, output)) for output in range(self._n_outputs)]
        columns = self._columns if resume else Columns(data.X.shape[1], self._fields)
        new, units = columns.joining(data.X, batches, data.weight)
        per_column, others = (size * self._n_outputs for size in self._sizes())
        n_rows = sum(map(len, batches))
        pooled = min(batch_size, n_rows) * heads[0].per_row
        in_stream = total == np.inf
        # The model, the best pass, and the model from before while it may come back.
        copies = 2 if in_stream or not resume else 3
        check_memory(len(columns) + len(new), per_column, others, pooled, copies)
        solvers, models = self._make_solvers(total), []
        for output, head in enumerate(heads):
            if resume:
                self._models[output].check_continues(head, solvers)
                models.append(self._models[output].fork(copied=not in_stream))
                models[output].continue_with(head, solvers)
            else:
                target = self._target(data.y[first], output)
                start = self._loss.start(target, data.weight[first])
                models.append(Model(head, solvers, start))
            models[output].add_columns(new)
        self._columns, self._models = columns.extended(new, units), models

    def _batch_size(self, n_rows):
        """Rows per step of `fit`: large batches are faster, but a pass needs steps."""
        if self.batch_size != "auto":
            return self.batch_size
        most = min(512, max(8, n_rows // 64))
        return rows_per_batch(most, self._make_head((0, 0)).per_row)

    @property
    def _online_batch_size(self):
        return 256 if self.batch_size == "auto" else self.batch_size

    def _for_each_output(self, do, on_interrupt=None):
        """Call ``do(model, output)`` for each output, on `n_jobs` threads.

        A single output has them all to itself.
        """
        n_jobs = n_threads(self.n_jobs)
        n_workers = min(n_jobs, len(self._models))
        if n_workers == 1:
            with load(self.engine).threads(n_jobs):
                for output, model in enumerate(self._models):
                    do(model, output)
            return
        # An executor, unlike joblib.Parallel, waits for its threads after Ctrl-C.
        with ThreadPoolExecutor(n_workers) as pool:
            futures = [pool.submit(do, model, output) for output, model in enumerate(self._models)]
            try:
                wait(futures)
            except KeyboardInterrupt:
                if on_interrupt is None:
                    raise
                on_interrupt()
            for future in futures:
                future.result()

    def _batcher(self, data):
        return Batcher(data.X, self._columns, self._crosses, load(self.engine))

    def _sample(self, batcher, data, output):
        """The rows and targets of an output, which may be fitted beside others."""
        return Sample(batcher.sibling(), data.used, self._target(data.y, output), data.weight)

    def _warn_of_outcome(self, data):
        histories = [model.history for model in self._models]
        outcomes = {history.outcome for history in histories}
        if "diverged" in outcomes:
            message = (
                "The fit diverged; the best weights seen are kept (in partial_fit, those "
                "before the step that failed). Lower learning_rate or the sample weights, or "
                f"clip outliers.{self._largest_value(data)}"
            )
        elif outcomes & {"stopped", "interrupted"}:
            message = (
                f"Training was stopped after {self.n_iter_} passes; the best weights so far "
                "are kept."
            )
        elif self._is_constant(data):
            message = (
                "The model came out constant: it predicts (nearly) the same for every row. "
                "No pass improved on the loss of the average prediction, or the penalties "
                "removed every parameter. Check that X is informative, lower the penalties "
                "or change learning_rate."
            )
        elif any(history.is_worse for history in histories):
            message = (
                "The model predicts worse than the average of the targets would. Lower "
                "learning_rate, raise the penalties or clip outliers."
                f"{self._largest_value(data)}"
            )
        elif "improving" in outcomes:
            message = (
                f"Stopped after max_iter={self.max_iter} passes, while the loss was still "
                "improving. Increase max_iter, or pass tol=None to always make max_iter passes."
            )
        else:
            return
        warn_user(message, ConvergenceWarning)

    def _largest_value(self, data):
        """A sentence that names the largest value, relative to the others in its column."""
        column, value, units = self._batcher(data).largest(data.used)
        if units == 0:
            return ""
        return (
            f" The largest column is {self._column_name(column)}: its value {value:.3g} is "
            f"{units:.3g} times what is usual in it."
        )

    def _is_constant(self, data):
        """Whether an output is as good as the same for all rows (of up to 1000)."""
        if any(model.history.best_pass == 0 for model in self._models):
            return True
        return np.ptp(self._raw(data.X, data.used[:1000]), axis=0).min() < _NEGLIGIBLE

    # The notebook repr shows tooltips only where there is a link to documentation.
    _doc_link_module = "skfm"
    _doc_link_template = "#"

    def _get_fitted_attr_html(self, doc_link=""):
        """Describe the fitted attributes, for the notebook repr of scikit-learn >= 1.9.

        It looks at every name in `dir`; a wide model shows it a copy that hides those
        that would be built over all columns.
        """
        brief = copy.copy(self)
        brief._hidden = self._wide_attributes if self.n_features_in_ > _WIDE else ()
        return super(FactorizationBase, brief)._get_fitted_attr_html(doc_link)

    _hidden = ()
    _wide_attributes = ("coef_", "factors_", "fields_")

    def __dir__(self):
        return [name for name in super().__dir__() if name not in self._hidden]

    def _snapshot(self):
        """A copy that shares what was learned, and keeps it if this one learns anew."""
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__.copy()
        return other

    @contextmanager
    def _learner(self):
        """A copy to learn with. What it has learned in the end becomes ours in one assignment.

        Steps on parameters that it shares with us are taken back if there is no such end.
        Another thread, and whoever catches an exception, sees the old model or the new one.
        """
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

    def _make_crosses(self):
        """Which fields the model crosses, None if it does not."""

    def _column_name(self, column):
        return column_name(column, getattr(self, "feature_names_in_", None))

    # -- prediction -----------------------------------------------------------------

    def _raw(self, X, rows=None):
        """Raw scores of checked rows, shape (n_rows, n_outputs), computed in float64.

        From float32 parameters no float64 score can overflow, however far a fit went.
        """
        engine = load(self.engine)
        batcher = Batcher(X, self._columns, self._crosses, engine, np.float64, trains=False)
        rows = np.arange(X.shape[0]) if rows is None else rows
        return raw_scores(self._models, batcher, rows, n_threads(self.n_jobs))

    def _predict_raw(self, X):
        check_is_fitted(self)
        return self._raw(self._check_X(X))

    # -- fitted attributes ----------------------------------------------------------

    @property
    def _n_outputs(self):
        return 1

    @property
    def n_iter_(self):
        """Number of passes made, the largest over the outputs."""
        return max(model.history.n_passes for model in self._models)

    @property
    def best_iter_(self):
        """The pass whose weights were kept; 0 are the initial weights."""
        return self._per_output(lambda model: model.history.best_pass)

    @property
    def loss_curve_(self):
        """Mean training loss of each pass, every row scored before its update."""
        return self._per_output(lambda model: self._in_units(model.history.loss_curve))

    @property
    def validation_scores_(self):
        """Negated mean loss on the validation rows after each pass; empty without them."""
        return self._per_output(lambda model: self._in_units(model.history.validation_scores))

    @property
    def coef_(self):
        """Linear weights, of shape (n_outputs, n_features); built on request."""
        return self._spread("coef") * self._scale

    @property
    def intercept_(self):
        """Intercepts, of shape (n_outputs,)."""
        constants = np.array([seen["constant"] for seen in self._seen()])
        bias = np.array([model.bias for model in self._models]) + constants
        return bias * self._scale + self._mean

    def _seen(self):
        """Parameters as users see them, for each output a dict."""
        columns = self._columns
        # Another thread may have given rows to columns that have not joined yet.
        return [
            model.head.attributes(columns, *model.values(len(columns))) for model in self._models
        ]

    def _spread(self, name):
        """Parameters of all columns, for each output."""
        return np.stack([self._columns.spread(seen[name]) for seen in self._seen()])

    def _per_output(self, get):
        values = [get(model) for model in self._models]
        return values[0] if len(values) == 1 else values

    def _in_units(self, losses):
        return [loss * self._scale**2 for loss in losses]


class FactorizationClassifier(ClassifierMixin, FactorizationBase):
    """Classifiers: one output for two classes, else one for each (one-vs-rest)."""

    _loss = LogLoss
    _mean, _scale = 0.0, 1.0  # log-odds need no standardization
    _parameter_constraints = {
        **FactorizationBase._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    @property
    def _n_outputs(self):
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def _check_y(self, y):
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
        check_classification_targets(y)
        return y

    def _learn_y(self, y, weight, used):
        encoder = LabelEncoder().fit(y)
        present = np.unique(y[used])
        if len(present) < 2:
            raise ValueError(
                "A classifier needs rows of at least 2 classes with positive weight, but "
                f"there is only one class: {present.tolist()[0]!r}."
            )
        self.classes_ = encoder.classes_
        codes = encoder.transform(present)
        factor = np.ones(len(self.classes_))
        factor[codes] = compute_class_weight(self.class_weight, classes=present, y=y[used])
        self._set_class_factor(factor)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train on some more rows, once, in their order.

        Calls on consecutive slices give the same bits as one call on all rows, if every
        slice but the last is a multiple of `batch_size`, `fields` (where there is such a
        parameter) is given and no weight is 0. There is no early stopping: watch a
        held-out loss.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows. Columns that are new to the model join it.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels there will ever be. Required in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; None means 1.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As `fit` does, and if `classes` is missing in the first call or differs in a
            later one, or `y` has a label that is not among them.
        """
        if not self.__sklearn_is_fitted__():
            if classes is None:
                raise ValueError("classes must be passed in the first call to partial_fit.")
            if self.class_weight == "balanced":
                raise ValueError(
                    "class_weight='balanced' needs all labels at once: pass a dict of "
                    "weights, or sample_weight, to partial_fit."
                )
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes={np.unique(classes).tolist()} differ from those of earlier calls, "
                f"{self.classes_.tolist()}."
            )
        return self._partial_fit(
            X, y, sample_weight, lambda learner, *_: learner._set_classes(np.unique(classes))
        )

    def _set_classes(self, classes):
        if len(classes) < 2:
            raise ValueError(f"A classifier needs at least 2 classes, got {classes.tolist()}.")
        self.classes_ = classes
        self._set_class_factor(compute_class_weight(self.class_weight, classes=classes, y=classes))

    def _set_class_factor(self, factor):
        if not (factor >= 0).all() or not np.isfinite(factor).all():
            raise ValueError(
                f"class_weight must be finite and not negative, got {self.class_weight}."
            )
        self._class_factor = factor

    def _encode_y(self, y, weight):
        encoder = LabelEncoder()
        encoder.classes_ = self.classes_
        codes = encoder.transform(y)
        return codes, weight * self._class_factor[codes]

    def _resume_y(self):
        """Prepare for more rows; see the regressor."""

    def _target(self, codes, output):
        return (codes == (1 if self._n_outputs == 1 else output)).astype(np.float64)

    def _strata(self, data):
        """Of the rows used, what a split keeps the shares of: classes; rare ones as one."""
        codes, counts = np.unique(data.y[data.used], return_inverse=True, return_counts=True)[1:]
        n_held_out = int(np.ceil(self.validation_fraction * len(data.used)))
        room = min(n_held_out, len(data.used) - n_held_out)
        n_strata = min(room, np.count_nonzero(counts > 1))
        if n_strata == len(counts):
            return codes
        rank = np.empty(len(counts), np.intp)
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        # The rarest join the rarest of the others.
        return np.minimum(rank, max(n_strata - 1, 0))[codes]

    def decision_function(self, X):
        """Compute raw scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows. Columns that never occurred in training contribute nothing.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of the second class if there are two; else one-vs-rest log-odds of
            each class.
        """
        raw = self._snapshot()._predict_raw(X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def predict_log_proba(self, X):
        """Compute the logarithm of class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            Log-probabilities, columns in the order of `classes_`.
        """
        raw = self._snapshot()._predict_raw(X)
        if raw.shape[1] == 1:
            return -np.logaddexp(0, np.hstack([raw, -raw]))
        log_sigmoid = -np.logaddexp(0, -raw)
        return log_softmax(log_sigmoid, axis=1)

    def predict_proba(self, X):
        """Compute class probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Probabilities, columns in the order of `classes_`. With more than two
            classes, one-vs-rest probabilities normalized to sum to 1.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            The most probable class of each row.
        """
        model = self._snapshot()
        scores = model.decision_function(X)
        return model.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]


class FactorizationRegressor(RegressorMixin, FactorizationBase):
    """Regressors: y is standardized inside, everything public is in the units of y."""

    _loss = SquaredLoss

    def _check_y(self, y):
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return column_or_1d(y, warn=True)

    def _learn_y(self, y, weight, used):
        unit = np.abs(y[used]).max() or 1.0  # the squares of y itself could overflow
        mean = np.average(y[used] / unit, weights=weight[used])
        deviation = np.sqrt(np.average((y[used] / unit - mean) ** 2, weights=weight[used]))
        self._mean = mean * unit
        self._scale = deviation * unit

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train on some more rows, once, in their order.

        Calls on consecutive slices give the same bits as one call on all rows, if every
        slice but the last is a multiple of `batch_size`, `fields` (where there is such a
        parameter) is given and no weight is 0. The first `batch_size` rows settle mean
        and scale of y. There is no early stopping: watch a held-out loss.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows. Columns that are new to the model join it.
        y : array-like of shape (n_samples,)
            Target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; None means 1.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            As `fit` does.
        """
        return self._partial_fit(X, y, sample_weight, type(self)._learn_y_online)

    def _learn_y_online(self, y, weight, used):
        self._learn_y(y, weight, used[: self._online_batch_size])
        self._resume_y()

    def _encode_y(self, y, weight):
        return (y - self._mean) / (self._scale or 1.0), weight

    def _target(self, y, output):
        return y

    def _strata(self, data):
        return None

    def _resume_y(self):
        self._scale = self._scale or abs(self._mean) or 1.0

    def predict(self, X):
        """Predict target values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows. Columns that never occurred in training contribute nothing.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions, in the units of y.
        """
        model = self._snapshot()
        return model._predict_raw(X)[:, 0] * model._scale + model._mean
