"""Factorization machines: their formulas, and the terms that they sum."""

from dataclasses import dataclass

import numpy as np

from ._base import FactorizationBase
from ._fields import Fields
from ._paragraphs import PARAGRAPHS
from ._parameters import (
    ClassWeight,
    Factorization,
    FieldWeights,
    Training,
    WithFields,
    documented,
)
from ._prediction import Classifier, Regressor
from ._tables import Setting
from ._terms import FieldWeighted, Interactions, Linear

# What "auto" means with many rows.
_L2_FACTORS = 0.005


def rate_of_factors(entries, rate=4.0, least=0.2):
    """Factors' share of the learning rate, by the entries per row."""
    # A step of a factor moves the score through all other entries of a row.
    return min(max(rate / max(entries, 1), least), 1)


@dataclass(repr=False, eq=False, kw_only=True)
class _FactorizationMachine(Training, Factorization, FactorizationBase):
    """The factorization machine: all columns in one field."""

    def _make_fields(self, X, **how):
        return Fields(np.zeros(1, np.intp), np.zeros(1, np.intp), X.shape[1])

    def _make_terms(self, fields, crosses, key):
        return [Interactions(self.k, fields.n_fields, self.init_scale, key)]

    def _settings(self, fields, weight, entries):
        """The hyperparameters of each group.

        They depend on the weight of all rows, infinite in a stream, and on the entries per row.
        """
        automatic = min(max(_L2_FACTORS, 2 / weight), 1.0)
        l2_factors = automatic if self.l2_factors == "auto" else self.l2_factors
        rate = self.learning_rate
        of_factors = rate * self._factors_rate(fields, entries)
        return {
            "bias": Setting.of(self, self.solver, rate),
            "linear": Setting.of(self, self.solver, rate, self.l1_linear, self.l2_linear),
            "factors": Setting.of(self, self.solver, of_factors, self.l1_factors, l2_factors),
        }

    def _factors_rate(self, fields, entries):
        """Factors' share of the learning rate."""
        return rate_of_factors(entries)

    @property
    def factors_(self):
        """Factors, per unit of the column, of shape (n_outputs, n_features, k).

        They are built on request. Products of two are in log-odds or in the unit of y; in a
        field-weighted machine, products of two with the weight of their fields are.
        """
        # A pair's interaction is a product of two factors: each takes half of the unit.
        fitted = self._fitted
        return fitted.spread("factors") * fitted.target.scale**0.5


@dataclass(repr=False, eq=False, kw_only=True)
class _FieldAwareMachine(WithFields, _FactorizationMachine):
    """The field-aware machine: factors for each field that a column can meet."""

    def _factors_rate(self, fields, entries):
        # A factor meets the entries of one field only, unless that is all of them. Still, the
        # factors of all pairs of a row move together.
        if fields.n_fields == 1:
            return rate_of_factors(entries)
        return rate_of_factors(entries, rate=10.0, least=0.5)

    @property
    def factors_(self):
        """Factors, per unit of the column, of shape (n_outputs, n_features, n_fields, k).

        They are built on request. ``factors_[o, i, b]`` is the vector of column i that
        multiplies those of columns of field b. Products of two are in log-odds or in the unit
        of y.
        """
        fitted = self._fitted
        flat = fitted.spread("factors") * fitted.target.scale**0.5
        return flat.reshape(*flat.shape[:2], fitted.columns.fields.n_fields, -1)


@dataclass(repr=False, eq=False, kw_only=True)
class _FieldWeightedMachine(FieldWeights, WithFields, _FactorizationMachine):
    """The field-weighted machine: a weight for each pair of fields."""

    def _make_terms(self, fields, crosses, key):
        interactions = FieldWeighted(self.k, fields.n_fields, self.init_scale, key)
        return [Linear(), *([interactions] if self.k else [])]

    def _settings(self, fields, weight, entries):
        weights = Setting.of(self, self.solver, self.learning_rate, 0.0, self.l2_field_weights)
        return super()._settings(fields, weight, entries) | {"field_weights": weights}

    @property
    def field_weights_(self):
        """Weights of the pairs of fields, of shape (n_outputs, n_fields, n_fields).

        They are symmetric and start at 1.
        """
        fitted = self._fitted
        ones = np.ones((fitted.columns.fields.n_fields,) * 2, np.float32)
        return np.stack(fitted.of_outputs("field_weights", ones))


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class FMClassifier(ClassWeight, _FactorizationMachine, Classifier):
    """Factorization machine for classification.

    The raw score of a row x is ::

        @fm_score

    and the probability of the second class is 1 / (1 + exp(−s)). The fit minimizes ::

        @logistic

    @penalty
    @labels

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @classes_attribute
    @attributes
    @fm_attributes
    @history_attributes

    See Also
    --------
    FFMClassifier : Factors that depend on the field of the other column.
    FMRegressor : The same model for regression.

    References
    ----------
    @machine_reference
    @solver_references

    Examples
    --------
    @labels_example
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class FMRegressor(_FactorizationMachine, Regressor):
    """Factorization machine for regression.

    The prediction for a row x is ::

        @fm_score

    The fit minimizes ::

        @squared

    @penalty
    @numbers

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @attributes
    @fm_attributes
    @history_attributes

    See Also
    --------
    FFMRegressor : Factors that depend on the field of the other column.
    FMClassifier : The same model for classification.

    References
    ----------
    @machine_reference
    @solver_references

    Examples
    --------
    @numbers_example
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class FFMClassifier(ClassWeight, _FieldAwareMachine, Classifier):
    """Field-aware factorization machine for classification.

    Each column belongs to a field, such as that of the one-hot columns of one variable. The
    estimator infers the fields unless you pass `fields`. With f(i) the field of column i, the
    raw score of a row x is ::

        @ffm_score

    and the probability of the second class is 1 / (1 + exp(−s)). Pairs within a field
    interact, too, so a field may have several values in a row. The fit minimizes ::

        @logistic

    @penalty
    @labels

    A row costs O(n_entries · n_fields · k + n_fields² · k) operations.

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @classes_attribute
    @attributes
    @ffm_attributes
    @history_attributes

    See Also
    --------
    FMClassifier : A smaller model, with one set of factors per column; enough for many tasks.
    FFMRegressor : The same model for regression.

    References
    ----------
    @ffm_reference
    @machine_reference
    @solver_references

    Examples
    --------
    @labels_example
    >>> model[-1].fields_
    array([0, 0, 1, 1], dtype=int32)
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class FFMRegressor(_FieldAwareMachine, Regressor):
    """Field-aware factorization machine for regression.

    Each column belongs to a field, such as that of the one-hot columns of one variable. The
    estimator infers the fields unless you pass `fields`. With f(i) the field of column i, the
    prediction for a row x is ::

        @ffm_score

    Pairs within a field interact, too, so a field may have several values in a row. The fit
    minimizes ::

        @squared

    @penalty
    @numbers

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @attributes
    @ffm_attributes
    @history_attributes

    See Also
    --------
    FMRegressor : A smaller model, with one set of factors per column; enough for many tasks.
    FFMClassifier : The same model for classification.

    References
    ----------
    @ffm_reference
    @machine_reference
    @solver_references

    Examples
    --------
    @numbers_example
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class FwFMClassifier(ClassWeight, _FieldWeightedMachine, Classifier):
    """Field-weighted factorization machine for classification.

    Each column belongs to a field, such as that of the one-hot columns of one variable. The
    estimator infers the fields unless you pass `fields`. With f(i) the field of column i, the
    raw score of a row x is ::

        @fwfm_score

    and the probability of the second class is 1 / (1 + exp(−s)). Pairs within a field
    interact, too, with a weight of their own, so a field may have several values in a row.
    The fit minimizes ::

        @logistic
        @field_weights_penalty

    @penalty
    @labels

    A row costs O(n_entries · k + n_fields² · k) operations.

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @classes_attribute
    @attributes
    @fwfm_attributes
    @history_attributes

    See Also
    --------
    FFMClassifier : A larger model, with factors that depend on the field of the other column.
    FMClassifier : The model without weights of pairs of fields.
    FwFMRegressor : The same model for regression.

    References
    ----------
    @fwfm_reference
    @machine_reference
    @solver_references

    Examples
    --------
    @labels_example
    >>> model[-1].fields_
    array([0, 0, 1, 1], dtype=int32)
    """


@documented(PARAGRAPHS)
@dataclass(repr=False, eq=False, kw_only=True)
class FwFMRegressor(_FieldWeightedMachine, Regressor):
    """Field-weighted factorization machine for regression.

    Each column belongs to a field, such as that of the one-hot columns of one variable. The
    estimator infers the fields unless you pass `fields`. With f(i) the field of column i, the
    prediction for a row x is ::

        @fwfm_score

    Pairs within a field interact, too, with a weight of their own, so a field may have several
    values in a row. The fit minimizes ::

        @squared
        @field_weights_penalty

    @penalty
    @numbers

    Parameters
    ----------
    @parameters

    Attributes
    ----------
    @attributes
    @fwfm_attributes
    @history_attributes

    See Also
    --------
    FFMRegressor : A larger model, with factors that depend on the field of the other column.
    FMRegressor : The model without weights of pairs of fields.
    FwFMClassifier : The same model for classification.

    References
    ----------
    @fwfm_reference
    @machine_reference
    @solver_references

    Examples
    --------
    @numbers_example
    """
