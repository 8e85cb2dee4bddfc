"""What classifiers and regressors predict, and what their targets are."""

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin, RegressorMixin

from ._base import FactorizationBase
from ._compat import fit_context
from ._targets import Labels, Numbers


class Classifier(ClassifierMixin, FactorizationBase):
    """Classifiers: what they predict, and their classes."""

    _target_type = Labels

    @property
    def classes_(self):
        """The class labels."""
        return self._fitted.target.classes

    def _target_of(self, each):
        return Labels.of_data(each, self.class_weight)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train on more rows, once, in their order.

        Calls on consecutive slices give the same bits as one call on all rows, if every
        slice but the last is a multiple of `batch_size`, `fields` (where there is such a
        parameter) is given and no weight is 0. There is no early stopping; watch the loss on
        rows that you hold out.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows. Columns that are new to the model join it.
        y : array-like of shape (n_samples,)
            Labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever occur. Required in the first call.
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
        RuntimeError
            If another thread is fitting this object.

        Warns
        -----
        ConvergenceWarning
            If training diverged.
        UserWarning
            If it had to guess the fields, if weights are tiny, if the first call has too few
            rows to fix the units of columns, or if later values are far larger.
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
            X, y, sample_weight, lambda *_: Labels.of_classes(np.unique(classes), self.class_weight)
        )

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


class Regressor(RegressorMixin, FactorizationBase):
    """Regressors: y is standardized inside, everything public is in the unit of y."""

    _target_type = Numbers

    def _target_of(self, each):
        return Numbers.of_data(each)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, sample_weight=None):
        """Train on more rows, once, in their order.

        Calls on consecutive slices give the same bits as one call on all rows, if every
        slice but the last is a multiple of `batch_size`, `fields` (where there is such a
        parameter) is given and no weight is 0. The first `batch_size` rows fix the mean and
        the scale of y. There is no early stopping; watch the loss on rows that you hold out.

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
        RuntimeError
            If another thread is fitting this object.

        Warns
        -----
        ConvergenceWarning
            If training diverged.
        UserWarning
            If it had to guess the fields, if weights are tiny, if the first call has too few
            rows to fix the units of columns and y, or if later values are far larger.
        """
        return self._partial_fit(
            X, y, sample_weight, lambda each: self._target_of(each).continued()
        )

    def predict(self, X):
        """Predict target values.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Encoded rows. Columns that never occurred in training contribute nothing.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predictions, in the unit of y.
        """
        model = self._snapshot()
        raw = model._predict_raw(X)[:, 0]
        return raw * model._fitted.target.scale + model._fitted.target.mean
