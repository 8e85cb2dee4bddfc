"""The estimators on Dask: rows that are spread over the workers of a cluster.

Needs Dask and distributed: ``pip install "skfm[dask]"``.
"""

import copy
import os
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from . import __version__
from ._checkpoints import Checkpoint
from ._cluster import Run, array_of, distributed, is_list, mapped, parts_of
from ._compat import HasMethods, Interval, fit_context
from ._machines import (
    FFMClassifier,
    FFMRegressor,
    FMClassifier,
    FMRegressor,
    FwFMClassifier,
    FwFMRegressor,
)
from ._paragraphs import PARAGRAPHS
from ._parameters import documented, parameter
from ._reports import warn_of_outcome
from ._sharded import Collection, fit_sharded
from ._threads import one_blas_thread
from ._wide_deep import WideDeepClassifier, WideDeepRegressor
from .preprocessing import FieldEncoder

__all__ = [
    "DaskFFMClassifier",
    "DaskFFMRegressor",
    "DaskFMClassifier",
    "DaskFMRegressor",
    "DaskFwFMClassifier",
    "DaskFwFMRegressor",
    "DaskWideDeepClassifier",
    "DaskWideDeepRegressor",
    "encode",
]

# What a fit does not depend on.
_NOT_SETTINGS = ("client", "checkpoint", "verbose", "n_jobs")


def encode(encoder, frame):
    """Encode a Dask data frame lazily, each partition by itself.

    Parameters
    ----------
    encoder : FieldEncoder
        One that hashes (`n_buckets`), which needs no data to be fitted to, or one that was
        fitted, for example to a sample of the rows. It is not changed.
    frame : dask.dataframe.DataFrame
        The table. Its partitions have the same columns in the same order.

    Returns
    -------
    X : dask.array.Array of shape (n_rows, n_columns)
        One block for each partition, a csr_array. The number of rows is not known before it is
        computed.

    Raises
    ------
    ValueError
        If the encoder is not fitted and does not hash.
    TypeError
        If `encoder` is not a FieldEncoder or `frame` is not a Dask data frame.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> import pandas as pd
    >>> from skfm.dask import encode
    >>> from skfm.preprocessing import FieldEncoder
    >>> frame = dd.from_pandas(pd.DataFrame({"ad": ["x", "y"], "day": [1, 2]}), npartitions=2)
    >>> encode(FieldEncoder(n_buckets=8), frame).compute().shape
    (2, 16)
    """
    if not isinstance(encoder, FieldEncoder) or not hasattr(frame, "_meta_nonempty"):
        raise TypeError(
            "encode takes a FieldEncoder and a Dask data frame, got "
            f"{type(encoder).__name__} and {type(frame).__name__}."
        )
    if encoder.n_buckets is not None and not hasattr(encoder, "n_features_in_"):
        encoder = clone(encoder).fit(frame._meta_nonempty)
    elif not hasattr(encoder, "n_features_in_"):
        raise ValueError(
            "A FieldEncoder that learns categories has to be fitted first, for example to "
            "frame.head(100_000). One with n_buckets hashes and needs no fit."
        )
    width = len(encoder.fields_)
    parts = mapped(_encode, frame.to_delayed(), encoder)
    return array_of(parts, [np.nan] * len(parts), (width,), csr_array((0, width), dtype=np.float32))


def _encode(part, encoder):
    if len(part):
        return encoder.transform(part)
    return csr_array((0, len(encoder.fields_)), dtype=np.float32)


def _learned(estimator):
    """What an estimator has learned."""
    names = "_fitted", "n_features_in_", "feature_names_in_"
    return {name: value for name, value in vars(estimator).items() if name in names}


def _call(block, model, method, like):
    """A prediction for one block; `like` has no rows."""
    return getattr(model, method)(block) if block.shape[0] else like


@dataclass(repr=False, eq=False, kw_only=True)
class _OnDask:
    """
    client : distributed.Client or None, default=None
        Connection to the cluster. None takes the current one. It is never pickled: what is
        loaded again has None.
    n_shards : int, default=8
        Number of parts that the rows are cut into, whatever the blocks of the collection and
        the number of workers. At most so many workers compute at a time, and each step waits
        for all of them. The result depends on it. At most `batch_size`.
    checkpoint : str, os.PathLike or None, default=None
        File that holds where the fit stands, replaced after each pass and deleted in the end.
        A fit with the same settings and data that finds it goes on from there, to the same
        bits. None keeps nothing.
    """

    client: object = parameter(None, HasMethods(["map", "gather"]), None)
    n_shards: int = parameter(8, Interval(Integral, 1, None, closed="left"))
    checkpoint: object = parameter(None, str, os.PathLike, None)

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None):
        """Fit the model to rows on the workers of a cluster.

        Parameters
        ----------
        X : dask.array.Array, dask.dataframe.DataFrame or list of Delayed
            Encoded rows. Blocks are csr_array, csr_matrix, dense or data frames of numbers, and
            have whole rows; they may differ in size, dtype and type of index.
        y : dask.array.Array, dask.dataframe.Series or list of Delayed
            Labels (classifiers) or target values (regressors). It may be cut into other blocks
            than `X`.
        sample_weight : like `y`, default=None
            Weight of each row. None means 1.
        X_val, y_val, sample_weight_val : like `X`, `y` and `sample_weight`, default=None
            Rows on which early stopping watches the loss, instead of a part of each shard.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            As the local estimator does; the message names the block. Also if blocks have other
            columns than the rest, or in another order, or if the checkpoint is of another fit.
        TypeError
            If the data are not in collections.
        RuntimeError
            If there is no client, it is closed, or the workers cannot go on, for want of memory
            or because there are none.

        Warns
        -----
        ConvergenceWarning
            As the local estimator does.
        """
        if self.warm_start:
            raise ValueError(
                "warm_start=True does not work on a cluster. to_local() gives an estimator that "
                "goes on with partial_fit or warm_start."
            )
        run = Run(self._client())
        run.check_client()
        validates = self._has_validation(X_val, y_val, sample_weight_val)
        checkpoint = None
        if self.checkpoint is not None:
            settings = {n: v for n, v in self.get_params().items() if n not in _NOT_SETTINGS}
            name = type(self).__name__
            checkpoint = Checkpoint(self.checkpoint, (name, __version__, settings))
        with self._learner() as (learner, _), one_blas_thread, run.fitting():
            local = learner._unfitted()
            data = self._collection(run, X, y, sample_weight, "")
            valid = validates and self._collection(run, X_val, y_val, sample_weight_val, "_val")
            about_fit = self, X, y, sample_weight
            few = fit_sharded(
                local, about_fit, run, data, valid or None, learner.n_shards, checkpoint
            )
            vars(learner).pop("feature_names_in_", None)
            vars(learner).update(_learned(local))
        warn_of_outcome(local, few)
        return self

    def _client(self):
        if self.client is not None:
            return self.client
        try:
            return distributed.get_client()
        except ValueError:
            raise RuntimeError(
                "There is no Dask client: create one (client = distributed.Client(…)) or pass it "
                "as client=."
            ) from None

    def _collection(self, run, X, y, weight, suffix):
        """Handles of the blocks of collections."""
        named = {"X": X, "y": y, "sample_weight": weight}
        handles = []
        for name, collection in named.items():
            parts = None
            if collection is not None:
                parts = run.client.compute(parts_of(collection, name + suffix)[0])
            elif name != "sample_weight":
                raise ValueError(
                    f"{type(self).__name__} requires {name}{suffix} to be passed, but it is None."
                )
            handles.append(parts)
        return Collection(*handles, suffix)

    def partial_fit(self, X, y, *args, **kwargs):
        """Not available on a cluster: ``to_local().partial_fit`` continues with the model."""
        raise NotImplementedError(
            "partial_fit takes rows in their order, one batch after the other, which is nothing "
            "for a cluster. to_local() gives an estimator that has it."
        )

    # -- local estimators ---------------------------------------------------------------

    def _unfitted(self):
        """The local estimator with the same parameters."""
        ours = self.get_params(deep=False)
        local_class = next(c for c in type(self).__mro__ if not issubclass(c, _OnDask))
        known = local_class().get_params(deep=False)
        return local_class(**{name: ours[name] for name in known})

    def _local(self):
        """The local estimator with the same parameters, which shares what was learned."""
        check_is_fitted(self)
        ours = self._snapshot()
        local = ours._unfitted()
        vars(local).update(_learned(ours))
        return local

    def to_local(self):
        """Return a fitted estimator that needs no Dask, such as FMClassifier.

        Returns
        -------
        estimator : object
            A copy: it can be pickled, predicts in memory, and may be trained on.
        """
        return copy.deepcopy(self._local())

    def __getstate__(self):
        return super().__getstate__() | {"client": None}

    def __sklearn_clone__(self):
        bare = self._snapshot()
        bare.client = None
        other = super(_OnDask, bare).__sklearn_clone__()
        other.client = self.client
        return other

    # -- prediction ---------------------------------------------------------------------

    def _lazily(self, method, X, dtype, shape=()):
        """A method of the local estimator on each block of a collection; at once on others."""
        local = self._local()
        if not (is_list(X) or hasattr(X, "to_delayed")):
            return getattr(local, method)(X)
        blocks, rows = parts_of(X, "X")
        meta = np.empty((0, *shape), dtype)
        parts = mapped(_call, blocks, local, method, meta)
        return array_of(parts, rows, shape, meta)


class _Classifier(_OnDask):
    """What classifiers predict, lazily."""

    def decision_function(self, X):
        """Compute raw scores.

        Parameters
        ----------
        X : dask.array.Array, dask.dataframe.DataFrame or list of Delayed
            Encoded rows. Data in memory are scored at once, as by the local estimator.

        Returns
        -------
        scores : dask.array.Array of shape (n_rows,) or (n_rows, n_classes)
            Log-odds of the second class if there are two; else one-vs-rest log-odds of each
            class. One block for each block of `X`.
        """
        return self._lazily("decision_function", X, float, self._per_class(several_only=True))

    def predict_proba(self, X):
        """Compute class probabilities.

        Parameters
        ----------
        X : dask.array.Array, dask.dataframe.DataFrame or list of Delayed
            Encoded rows. Data in memory are scored at once, as by the local estimator.

        Returns
        -------
        proba : dask.array.Array of shape (n_rows, n_classes)
            Probabilities, columns in the order of `classes_`; one block for each block of `X`.
        """
        return self._lazily("predict_proba", X, float, self._per_class())

    def predict_log_proba(self, X):
        """Compute the logarithm of class probabilities.

        Parameters
        ----------
        X : dask.array.Array, dask.dataframe.DataFrame or list of Delayed
            Encoded rows. Data in memory are scored at once, as by the local estimator.

        Returns
        -------
        log_proba : dask.array.Array of shape (n_rows, n_classes)
            As `predict_proba`.
        """
        return self._lazily("predict_log_proba", X, float, self._per_class())

    def predict(self, X):
        """Predict labels.

        Parameters
        ----------
        X : dask.array.Array, dask.dataframe.DataFrame or list of Delayed
            Encoded rows. Data in memory are scored at once, as by the local estimator.

        Returns
        -------
        labels : dask.array.Array of shape (n_rows,)
            The most probable class of each row; one block for each block of `X`.
        """
        check_is_fitted(self)
        return self._lazily("predict", X, self.classes_.dtype)

    def _per_class(self, several_only=False):
        check_is_fitted(self)
        n = len(self.classes_)
        return () if several_only and n == 2 else (n,)


class _Regressor(_OnDask):
    """What regressors predict, lazily."""

    def predict(self, X):
        """Predict target values.

        Parameters
        ----------
        X : dask.array.Array, dask.dataframe.DataFrame or list of Delayed
            Encoded rows. Data in memory are predicted at once, as by the local estimator.

        Returns
        -------
        y : dask.array.Array of shape (n_rows,)
            Predictions, in the unit of y; one block for each block of `X`.
        """
        return self._lazily("predict", X, float)


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskFMClassifier(_Classifier, FMClassifier):
    """Factorization machine for classification on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.FMClassifier : The same on one machine.
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskFMRegressor(_Regressor, FMRegressor):
    """Factorization machine for regression on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.FMRegressor : The same on one machine.
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskFFMClassifier(_Classifier, FFMClassifier):
    """Field-aware factorization machine for classification on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.FFMClassifier : The same on one machine.
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskFFMRegressor(_Regressor, FFMRegressor):
    """Field-aware factorization machine for regression on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.FFMRegressor : The same on one machine.
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskFwFMClassifier(_Classifier, FwFMClassifier):
    """Field-weighted factorization machine for classification on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.FwFMClassifier : The same on one machine.
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskFwFMRegressor(_Regressor, FwFMRegressor):
    """Field-weighted factorization machine for regression on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.FwFMRegressor : The same on one machine.
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskWideDeepClassifier(_Classifier, WideDeepClassifier):
    """Wide & Deep model for classification on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.WideDeepClassifier : The same on one machine.
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class DaskWideDeepRegressor(_Regressor, WideDeepRegressor):
    """Wide & Deep model for regression on a Dask cluster.

    @cluster

    Parameters
    ----------
    @parameters

    See Also
    --------
    skfm.WideDeepRegressor : The same on one machine.
    """
