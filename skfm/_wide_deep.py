"""Wide & Deep models: their formulas, and the terms that they sum."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from ._base import FactorizationBase
from ._crosses import check_crosses
from ._machines import rate_of_factors
from ._network import Network
from ._paragraphs import PARAGRAPHS
from ._parameters import ClassWeight, Training, WideAndDeep, WithFields, documented
from ._prediction import Classifier, Regressor
from ._tables import Setting
from ._terms import Linear, PooledInteractions

# What "auto" means: without interactions, and with them.
_INIT_SCALE = {False: 0.1, True: 0.03}
# How many times faster than the layers embeddings learn, at most.
_EMBEDDINGS_RATE = 2.0


@dataclass(repr=False, eq=False, kw_only=True)
class _WideDeep(Training, WithFields, WideAndDeep, FactorizationBase):
    """A linear model over columns and crosses, and a network over pooled embeddings."""

    def _make_crosses(self, fields):
        names = getattr(self, "feature_names_in_", None)
        return check_crosses(self.crosses, fields, self.n_cross_buckets, names)

    @property
    def _hidden_sizes(self):
        """Widths of the hidden layers."""
        sizes = self.hidden_layer_sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not all(isinstance(n, Integral) and not isinstance(n, bool) and n > 0 for n in sizes):
            raise ValueError(
                "hidden_layer_sizes must be positive integers, one per layer; got "
                f"{self.hidden_layer_sizes!r}."
            )
        return tuple(map(int, sizes))

    def _make_terms(self, fields, crosses, key):
        terms, hidden = [Linear()], self._hidden_sizes
        automatic = _INIT_SCALE[bool(self.interactions)]
        scale = automatic if self.init_scale == "auto" else self.init_scale
        if crosses:
            terms.append(Linear(crosses))
        if self.k and self.interactions:
            terms.append(PooledInteractions(self.k, scale, key))
        if self.k:
            layers = hidden, self.activation, self.dropout
            start = scale, key, bool(self.interactions)
            terms.append(Network(self.k, fields.n_fields, *layers, *start))
        return terms

    def _settings(self, fields, weight, entries):
        """The hyperparameters of each group; those of embeddings depend on the entries per row."""
        wide, deep = (self.solver,) * 2 if isinstance(self.solver, str) else self.solver
        wide_rate, deep_rate = self.wide_learning_rate, self.deep_learning_rate
        linear = Setting.of(self, wide, wide_rate, self.wide_l1, self.wide_l2)
        times = _EMBEDDINGS_RATE
        if self.interactions:  # they are factors, too
            times *= rate_of_factors(entries)
        return {
            "bias": Setting.of(self, wide, wide_rate),
            "linear": linear,
            "crosses": linear,
            "embeddings": Setting.of(self, deep, times * deep_rate, 0.0, self.deep_l2),
            "weights": Setting.of(self, deep, deep_rate, 0.0, self.layers_l2),
            "biases": Setting.of(self, deep, deep_rate),
        }

    @property
    def cross_coef_(self):
        """Weights of the buckets of crosses, of shape (n_outputs, n_cross_buckets).

        They are in log-odds or in the unit of y. Without crosses n_cross_buckets is 0 here.
        """
        fitted, none = self._fitted, np.empty(0, np.float32)
        return np.stack(fitted.of_outputs("cross_coef", none)) * fitted.target.scale

    @property
    def embeddings_(self):
        """Embeddings, per unit of the column, of shape (n_outputs, n_features, k).

        They are built on request. With `interactions`, products of two are in log-odds or in
        the unit of y. Without, they do not depend on that unit.
        """
        fitted = self._fitted
        return fitted.spread("embeddings") * _unit_of_embeddings(fitted)

    @property
    def coefs_(self):
        """Weights of the layers, a list; a list of lists if there are several outputs.

        The output layer is the last, and it alone is in log-odds or in the unit of y.
        """
        fitted = self._fitted

        def scaled(layers):
            units = [1.0] * len(layers)
            if layers:
                units[0] /= _unit_of_embeddings(fitted)
                units[-1] *= fitted.target.scale
            return [layer * unit for layer, unit in zip(layers, units, strict=True)]

        per_output = [scaled(layers) for layers in fitted.of_outputs("coefs", [])]
        return per_output[0] if len(per_output) == 1 else per_output

    @property
    def intercepts_(self):
        """Biases of the hidden layers, without a unit, in lists as those of `coefs_`."""
        per_output = self._fitted.of_outputs("intercepts", [])
        return per_output[0] if len(per_output) == 1 else per_output


def _unit_of_embeddings(fitted):
    """With interactions, products of two embeddings are in the unit of y."""
    interact = fitted.of_outputs("embeddings_interact")[0]
    return (fitted.target.scale or 1.0) ** 0.5 if interact else 1.0


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class WideDeepClassifier(ClassWeight, _WideDeep, Classifier):
    """Wide & Deep model for classification (Cheng et al. 2016).

    The wide part is linear in the columns and in hashed crosses of fields; it memorizes them.
    The deep part is a network over embeddings that are summed by field; it generalizes. The two
    train together, each with its own solver, learning rate and penalties. The raw score
    of a row x is ::

        @wide_deep_score

    where c runs over the crosses in the row and h(c) is the bucket of cross c. The probability
    of the second class is 1 / (1 + exp(−s)). The fit minimizes ::

        Σ_n c_n [ log(1 + exp(s(x_n))) − y_n s(x_n) + R(x_n) ],   y_n in {0, 1}
        @wide_deep_penalty

    @penalty
    @labels

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @classes_attribute
    @attributes
    @wide_deep_attributes
    @history_attributes

    See Also
    --------
    FFMClassifier : All pairwise interactions, without a network.
    WideDeepRegressor : The same model for regression.

    References
    ----------
    @wide_deep_references
    @solver_references

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import WideDeepClassifier
    >>> rows = [["ad1", "mon"], ["ad2", "tue"], ["ad1", "tue"], ["ad2", "mon"]] * 50
    >>> clicks = ["yes", "yes", "no", "no"] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"),
    ...     WideDeepClassifier(crosses=[(0, 1)], random_state=0),
    ... )
    >>> model.fit(rows, clicks).predict([["ad1", "mon"], ["ad1", "tue"]])
    array(['yes', 'no'], dtype='<U3')
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class WideDeepRegressor(_WideDeep, Regressor):
    """Wide & Deep model for regression.

    The wide part is linear in the columns and in hashed crosses of fields; it memorizes them.
    The deep part is a network over embeddings that are summed by field; it generalizes. The two
    train together, each with its own solver, learning rate and penalties. The prediction
    for a row x is ::

        @wide_deep_score

    where c runs over the crosses in the row and h(c) is the bucket of cross c. The fit
    minimizes ::

        Σ_n c_n [ (s(x_n) − y_n)² / 2 + R(x_n) ],   y_n standardized
        @wide_deep_penalty

    @penalty
    @numbers

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @attributes
    @wide_deep_attributes
    @history_attributes

    See Also
    --------
    FFMRegressor : All pairwise interactions, without a network.
    WideDeepClassifier : The same model for classification.

    References
    ----------
    @wide_deep_references
    @solver_references

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import WideDeepRegressor
    >>> rows = [["ann", "up"], ["bob", "jaws"], ["ann", "jaws"], ["bob", "up"]] * 50
    >>> stars = [5, 4, 1, 2] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"), WideDeepRegressor(random_state=0)
    ... )
    >>> model.fit(rows, stars).predict([["ann", "up"], ["ann", "jaws"]]).round()
    array([5., 1.])
    """
