"""The public estimators: parameters, documentation, and which model they build."""

from dataclasses import KW_ONLY, dataclass
from inspect import cleandoc
from itertools import pairwise, product
from numbers import Integral, Real
from textwrap import indent

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from ._base import PENALTY, RATE, FactorizationBase, FactorizationClassifier, FactorizationRegressor
from ._crosses import check_crosses
from ._fields import Fields, check_fields
from ._heads import ACTIVATIONS, Interactions, WideDeep
from ._solvers import SOLVERS

# What "auto" means with many rows.
_L2_FACTORS = 0.005
# Factors of machines without fields learn at this share of the learning rate.
_FACTORS_RATE = 0.2
_RATE_OF_FACTORS = """ Factors learn at a fifth of it, as each
    moves the score through all other columns of a row."""

_SHARED = {
    "fm_score": """
        s(x) = w₀ + Σ_i w_i x_i + Σ_{i<j} ⟨v_i, v_j⟩ x_i x_j
    """,
    "ffm_score": """
        s(x) = w₀ + Σ_i w_i x_i + Σ_{i<j} ⟨v_{i,f(j)}, v_{j,f(i)}⟩ x_i x_j
    """,
    "logistic": """
        Σ_n c_n [ log(1 + exp(s(x_n))) − y_n s(x_n) + R(x_n) ],   y_n in {0, 1}
        R(x) = ½ Σ_{i: x_i ≠ 0} ( l2_linear · w_i² + l2_factors · ‖v_i‖² )
    """,
    "squared": """
        Σ_n c_n [ (s(x_n) − y_n)² / 2 + R(x_n) ],   y_n standardized
        R(x) = ½ Σ_{i: x_i ≠ 0} ( l2_linear · w_i² + l2_factors · ‖v_i‖² )
    """,
    "wide_deep_score": """
        s(x) = w₀ + Σ_i w_i x_i + Σ_c u_{h(c)} x_c + net(E(x)),   E_a(x) = Σ_{i in field a} v_i x_i
    """,
    "wide_deep_penalty": """
    R(x) = ½ wide_l2 (Σ_{i: x_i ≠ 0} w_i² + Σ_{c: x_c ≠ 0} u_{h(c)}²)
           + ½ deep_l2 Σ_{i: x_i ≠ 0} ‖v_i‖² + ½ layers_l2 Σ_l ‖W_l‖²
    """,
    "penalty": """
    plus the L1 penalties, where c_n are the sample weights times the class weights. A
    parameter thus pays its L2 penalty in every row in which its column occurs, whatever the
    solver and batch size.

    The unit of a column does not matter: training sees its values as (x − m) / r. Here r is
    the root mean square of its non-zero values and m is 0, unless most rows have such a value
    and their mean is more than half of the standard deviation: then m is the mean and r the
    standard deviation. Columns of zeros and ones stay as they are. `fit` takes m and r from
    all rows, `partial_fit` from the first batch in which the column occurs. The penalties are
    those of parameters for these values; the attributes are for values as they are in X.
    """,
    "parameters": """
    k : int, default=8
        Number of factors per column{per_field}. 0 leaves the linear part only.
    solver : {"adagrad", "ftrl"}, default="adagrad"
        AdaGrad (Duchi et al. 2011) or FTRL-Proximal (McMahan et al. 2013), which gives
        sparser weights under L1.
    learning_rate : float, default=0.1
        Step size: η of AdaGrad, α of FTRL. Both divide it per parameter by the root of
        the sum of squared gradients.{rate_of_factors}
    ftrl_beta : float, default=1.0
        β of FTRL, which tempers the first steps. AdaGrad starts its sums at 1 instead.
    l1_linear : float, default=0.0
        Strength of the L1 penalty on linear weights. FTRL applies it in its closed form,
        once over the whole stream; AdaGrad soft-thresholds by
        l1 · (weighted occurrences in the batch) · η/√G in each step. The numbers of the
        two solvers are not interchangeable.
    l2_linear : float, default=0.001
        Strength of the L2 penalty on linear weights, per occurrence.
    l1_factors : float, default=0.0
        Strength of the L1 penalty on factors, as `l1_linear`.
    l2_factors : float or "auto", default="auto"
        Strength of the L2 penalty on factors, per occurrence. "auto" is 0.005 or, where that
        is more, 2 / Σ_n c_n, up to 1, over the rows of the call to `fit`: on less than 400
        rows, a column that occurs in all of them pays ‖v_i‖² in total. In `partial_fit` it
        is 0.005.
    init_scale : float, default=0.03
        Standard deviation of the initial factors.
    """,
    "wide_deep_parameters": """
    k : int, default=8
        Width of the embeddings. 0 leaves the wide part only.
    solver : (str, str) or str, default=("ftrl", "adagrad")
        Solvers of the wide and of the deep part, or one for both: "ftrl" for FTRL-Proximal
        (McMahan et al. 2013), "adagrad" for AdaGrad (Duchi et al. 2011).
    ftrl_beta : float, default=1.0
        β of FTRL, which tempers the first steps. AdaGrad starts its sums at 1 instead.
    hidden_layer_sizes : tuple of int, default=(64, 32)
        Widths of the hidden layers. () makes the deep part linear in the embeddings.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of the hidden layers.
    dropout : float, default=0.0
        Share of the hidden units left out in each training step, at least 0 and below 1.
    crosses : None, "all" or list of tuples of int, default=None
        Fields whose crosses join the wide part: pairs such as ``(0, 3)``, triples and so on,
        or all pairs. A cross counts where all its fields have an entry, with the product of
        their values; a field with several entries in a row gives every combination. See
        ``fields_`` for the numbers, and pass `fields` so that they do not change with the
        data. Only columns that occurred in training are crossed.
    n_cross_buckets : int, default=262144
        Number of weights that crosses are hashed into, from the columns that they consist
        of. Crosses that fall together share a weight.
    wide_learning_rate : float, default=0.1
        Step size of the wide part and the intercept: α of FTRL, η of AdaGrad.
    wide_l1 : float, default=0.0
        Strength of the L1 penalty on the weights of columns and crosses. FTRL applies it
        in its closed form, once over the whole stream; AdaGrad soft-thresholds by
        wide_l1 · (weighted occurrences in the batch) · η/√G in each step. The numbers of
        the two solvers are not interchangeable.
    wide_l2 : float, default=0.001
        Strength of the L2 penalty on the weights of columns and crosses, per occurrence.
    deep_learning_rate : float, default=0.05
        Step size of embeddings and layers.
    deep_l2 : float, default=0.001
        Strength of the L2 penalty on embeddings, per occurrence of the column.
    layers_l2 : float, default=0.0001
        Strength of the L2 penalty on the weights of the layers, which occur in every row.
    init_scale : float, default=0.1
        Standard deviation of the initial embeddings. Layers start as Glorot & Bengio
        (2010) propose.
    """,
    "training_parameters": """
    batch_size : int or "auto", default="auto"
        Rows per step. Gradients are summed over a batch, so that 1 is the classic
        online algorithm. "auto" is 1/64 of the rows, but from 8 to 512 and no more
        than the cache holds; in `partial_fit` it is 256.
    max_iter : int, default=100
        Maximum number of passes over the data.
    shuffle : bool, default=True
        Whether to visit the rows in a new random order in each pass. If False,
        validation rows are the last ones instead of random ones.
    tol : float or None, default=1e-4
        Stop when the mean loss (on the validation rows, if there are any) has not
        fallen by more than this for `n_iter_no_change` passes. None means never.
        Regressors apply it to standardized targets.
    early_stopping : "auto" or bool, default="auto"
        Whether to watch the loss on rows held out from training, or on `X_val`, and to
        keep the weights of the best pass. "auto" does if there are 100 rows or more.
        In the end the rows held out are learned from once. The intercept is then set such
        that the mean prediction is the mean of the targets, if that made their loss lower.
    validation_fraction : float, default=0.1
        Share of rows to hold out for early stopping, stratified by class. The rarest classes
        count as one where they have too few rows.
    n_iter_no_change : int, default=3
        Number of passes without improvement to wait for before stopping.
    warm_start : bool, default=False
        Whether `fit` continues from the model of the last call, if there is one. Seed,
        fields, class weights and the scale of y stay as they were; what shapes the model
        (k, solvers, layers, crosses) cannot change.
    engine : {"auto", "numpy", "numba"}, default="auto"
        What computes: NumPy and SciPy, or loops compiled by numba, which train the same
        model faster (to rounding in float32). "auto" takes numba where it is installed.
    n_jobs : int or None, default=None
        Number of threads. Where there are several outputs, they are fitted at the same
        time; a single one is shared out by the numba engine. None means 1, and so does
        any number in a joblib worker, as in ``GridSearchCV(n_jobs=2)``. Within
        ``joblib.parallel_config``, None means what that says, up to the cores of this
        machine. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, the order of rows, the validation rows and dropout.
    verbose : bool or int, default=False
        Whether to print a line per pass.
    """,
    "fields_parameter": """
    fields : None, int or array-like of shape (n_features,), default=None
        Which columns belong to the same field. None infers it (see
        :func:`skfm.infer_fields`); an int means that many blocks of equal width, as for
        hashed features; an array gives the field of each column, a number from 0 on.
    """,
    "class_weight_parameter": """
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, multiplied with the sample weights. Predicted
        probabilities then refer to the weighted class frequencies.
    """,
    "classes_attribute": """
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    """,
    "attributes": """
    coef_ : ndarray of shape (n_outputs, n_features)
        Linear weights, per unit of the column, in log-odds or in the unit of y. n_outputs is
        1 except with more than two classes.
    intercept_ : ndarray of shape (n_outputs,)
        Intercepts, in log-odds or in the unit of y. They are not penalized.
    """,
    "fm_attributes": """
    factors_ : ndarray of shape (n_outputs, n_features, k)
        Factors, per unit of the column. Products of two are in log-odds or in the unit of
        y. Columns that never occurred in training have zeros.
    """,
    "ffm_attributes": """
    factors_ : ndarray of shape (n_outputs, n_features, n_fields, k)
        Factors, per unit of the column: ``factors_[o, i, b]`` is what column i meets columns
        of field b with. Products of two are in log-odds or in the unit of y. Columns that
        never occurred in training have zeros. Where the numbers of `fields_` have gaps, b
        counts without them.
    fields_ : ndarray of shape (n_features,)
        Field of each column.
    """,
    "wide_deep_attributes": """
    cross_coef_ : ndarray of shape (n_outputs, n_cross_buckets)
        Weights of the buckets of crosses, in log-odds or in the unit of y; n_cross_buckets
        is 0 here without crosses. The values that are crossed are those that training sees.
    embeddings_ : ndarray of shape (n_outputs, n_features, k)
        Embeddings, per unit of the column; nothing in them depends on the unit of y. Columns
        that never occurred in training have zeros.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of the layers, the output layer last, which alone is in log-odds or in the
        unit of y. If there are several outputs, this and `intercepts_` are lists with one
        such list per output.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of the hidden layers, without a unit. That of the output layer is `intercept_`.
    fields_ : ndarray of shape (n_features,)
        Field of each column.
    """,
    "history_attributes": """
    n_iter_ : int
        Number of passes made (the largest over the outputs).
    best_iter_ : int
        The pass whose weights were kept; 0 if the initial ones were never improved on.
    loss_curve_ : list of float
        Mean training loss of each pass, every row scored before the step it is part of.
        `best_iter_`, `loss_curve_` and `validation_scores_` are lists with one element
        per output if there are several.
    validation_scores_ : list of float
        Negated mean loss on the validation rows after each pass; empty without them.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if all are strings.
    """,
    "machine_reference": """
    S. Rendle (2010), Factorization Machines, ICDM, equations 1 and 5.
    """,
    "solver_references": """
    J. Duchi, E. Hazan, Y. Singer (2011), Adaptive Subgradient Methods for Online Learning
    and Stochastic Optimization, JMLR 12.
    H. B. McMahan et al. (2013), Ad Click Prediction: a View from the Trenches, KDD,
    algorithm 1.
    """,
    "wide_deep_references": """
    H.-T. Cheng et al. (2016), Wide & Deep Learning for Recommender Systems, DLRS,
    section 3.
    X. Glorot, Y. Bengio (2010), Understanding the difficulty of training deep feedforward
    neural networks, AISTATS, equation 16.
    """,
    "ffm_reference": """
    Y. Juan, Y. Zhuang, W.-S. Chin, C.-J. Lin (2016), Field-aware Factorization Machines
    for CTR Prediction, RecSys, equation 4.
    """,
}


def _documented(cls):
    """Fill the shared paragraphs into the docstring of a class."""
    if cls.__doc__:
        lines = []
        for line in cleandoc(cls.__doc__).splitlines():
            name = line.strip()
            if name.startswith("@"):
                line = indent(cleandoc(_SHARED[name[1:]]), line[: line.index("@")])
            lines.append(line)
        field_aware = "fields" in cls.__dataclass_fields__
        blanks = {
            "{per_field}": " and field" if field_aware else "",
            "{rate_of_factors}": "" if field_aware else _RATE_OF_FACTORS,
        }
        cls.__doc__ = "\n".join(lines)
        for blank, text in blanks.items():
            cls.__doc__ = cls.__doc__.replace(blank, text)
    return cls


@dataclass(repr=False, eq=False, kw_only=True)
class _Training:
    """Parameters of the training loop."""

    batch_size: int | str = "auto"
    max_iter: int = 100
    shuffle: bool = True
    tol: float | None = 1e-4
    early_stopping: bool | str = "auto"
    validation_fraction: float = 0.1
    n_iter_no_change: int = 3
    warm_start: bool = False
    engine: str = "auto"
    n_jobs: int | None = None
    random_state: object = None
    verbose: bool | int = False


class _WithFields:
    """What models share that pool columns by field."""

    def _make_fields(self, X):
        return check_fields(self.fields, X)

    @property
    def fields_(self):
        """Field of each column, of shape (n_features,); built on request."""
        return self._fields.labels_of(np.arange(self.n_features_in_))


@dataclass(repr=False, eq=False)
class _Factorization:
    """Parameters of factorization machines."""

    k: int = 8
    _: KW_ONLY
    solver: str = "adagrad"
    learning_rate: float = 0.1
    ftrl_beta: float = 1.0
    l1_linear: float = 0.0
    l2_linear: float = 1e-3
    l1_factors: float = 0.0
    l2_factors: float | str = "auto"
    init_scale: float = 0.03


@dataclass(repr=False, eq=False)
class _FactorizationMachine(_Training, _Factorization):
    """The factorization machine: all columns in one field."""

    _parameter_constraints = {
        **FactorizationBase._parameter_constraints,
        "solver": [StrOptions(set(SOLVERS))],
        "learning_rate": RATE,
        "ftrl_beta": RATE,
        "l1_linear": PENALTY,
        "l2_linear": PENALTY,
        "l1_factors": PENALTY,
        "l2_factors": [*PENALTY, StrOptions({"auto"})],
        "init_scale": PENALTY,
    }

    def _make_fields(self, X):
        return Fields(np.zeros(1, np.intp), np.zeros(1, np.intp), X.shape[1])

    def _make_head(self, key):
        return Interactions(self.k, self._fields.n_fields, self.init_scale, key)

    def _sizes(self):
        """Numbers of the model, with solver states: of a column, and others."""
        width = 1 + self._fields.n_fields * self.k
        return width * (1 + SOLVERS[self.solver].n_states), 0

    def _make_solvers(self, total):
        """Solvers of the bias and of the table, a linear weight and factors in each row."""
        automatic = min(max(_L2_FACTORS, 2 / total), 1.0)
        l2_factors = automatic if self.l2_factors == "auto" else self.l2_factors
        linear = np.arange(1 + self._fields.n_fields * self.k) == 0
        l1 = np.where(linear, self.l1_linear, self.l1_factors)
        l2 = np.where(linear, self.l2_linear, l2_factors)
        # Without fields, a step of a factor moves the score through all columns of a row.
        whole = linear | (self._fields.n_fields > 1)
        rate = self.learning_rate * np.where(whole, 1, _FACTORS_RATE)
        solver, beta = SOLVERS[self.solver], self.ftrl_beta
        return [solver(self.learning_rate, 0, 0, beta), solver(rate, l1, l2, beta)]

    @property
    def factors_(self):
        """Factors, of shape (n_outputs, n_features, k); built on request."""
        return self._factors()[:, :, 0]

    def _factors(self):
        """Factors of all columns, (n_outputs, n_features, n_fields, k)."""
        # A pair's interaction is a product of two factors: each takes half of the unit.
        return self._spread("factors") * self._scale**0.5


@dataclass(repr=False, eq=False, kw_only=True)
class _FieldAwareMachine(_WithFields, _FactorizationMachine):
    """The field-aware machine: columns pooled by the field that they belong to."""

    fields: object = None

    @property
    def factors_(self):
        """Factors, of shape (n_outputs, n_features, n_fields, k); built on request.

        ``factors_[o, i, b]`` is what column i meets columns of field b with.
        """
        return self._factors()


@dataclass(repr=False, eq=False)
class _WideDeepParameters:
    """Parameters of Wide & Deep models."""

    k: int = 8
    _: KW_ONLY
    solver: tuple | str = ("ftrl", "adagrad")
    ftrl_beta: float = 1.0
    hidden_layer_sizes: tuple = (64, 32)
    activation: str = "relu"
    dropout: float = 0.0
    fields: object = None
    crosses: object = None
    n_cross_buckets: int = 2**18
    wide_learning_rate: float = 0.1
    wide_l1: float = 0.0
    wide_l2: float = 1e-3
    deep_learning_rate: float = 0.05
    deep_l2: float = 1e-3
    layers_l2: float = 1e-4
    init_scale: float = 0.1


@dataclass(repr=False, eq=False)
class _WideDeep(_WithFields, _Training, _WideDeepParameters):
    """A linear model over columns and crosses, and a network over pooled embeddings."""

    _parameter_constraints = {
        **FactorizationBase._parameter_constraints,
        "solver": [StrOptions(set(SOLVERS)), Options(tuple, set(product(SOLVERS, SOLVERS)))],
        "ftrl_beta": RATE,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "crosses": [StrOptions({"all"}), "array-like", None],
        "n_cross_buckets": [Interval(Integral, 1, 2**31 - 1, closed="both")],
        "wide_learning_rate": RATE,
        "wide_l1": PENALTY,
        "wide_l2": PENALTY,
        "deep_learning_rate": RATE,
        "deep_l2": PENALTY,
        "layers_l2": PENALTY,
        "init_scale": PENALTY,
    }
    _wide_attributes = ("coef_", "cross_coef_", "embeddings_", "fields_")

    def _make_crosses(self):
        return check_crosses(self.crosses, self._fields, self.n_cross_buckets)

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

    def _make_head(self, key):
        return WideDeep(
            self.k, self._fields.n_fields, self._crosses, self._hidden_sizes, self.activation,
            self.dropout, self.init_scale, key,
        )  # fmt: skip

    @property
    def _both_solvers(self):
        pair = (self.solver,) * 2 if isinstance(self.solver, str) else self.solver
        return [SOLVERS[name] for name in pair]

    def _make_solvers(self, total):
        """Solvers of the bias and of each table of the head."""
        wide, deep = self._both_solvers
        settings = {
            "linear": (wide, self.wide_learning_rate, self.wide_l1, self.wide_l2),
            "crosses": (wide, self.wide_learning_rate, self.wide_l1, self.wide_l2),
            "embeddings": (deep, self.deep_learning_rate, 0, self.deep_l2),
            "weights": (deep, self.deep_learning_rate, 0, self.layers_l2),
            "biases": (deep, self.deep_learning_rate, 0, 0),
        }
        bias = wide(self.wide_learning_rate, 0, 0, self.ftrl_beta)
        roles = self._make_head((0, 0)).roles
        return [bias] + [settings[role][0](*settings[role][1:], self.ftrl_beta) for role in roles]

    def _sizes(self):
        """As of factorization machines."""
        wide, deep = (1 + solver.n_states for solver in self._both_solvers)
        sizes = [self._fields.n_fields * self.k, *self._hidden_sizes, 1] if self.k else []
        layers = sum(n_in * n_out + n_out for n_in, n_out in pairwise(sizes))
        buckets = self._crosses.n_buckets if self._crosses else 0
        return wide + self.k * deep, buckets * wide + layers * deep

    @property
    def cross_coef_(self):
        """Weights of the buckets of crosses, of shape (n_outputs, n_cross_buckets)."""
        return np.stack([seen["cross_coef"] for seen in self._seen()]) * self._scale

    @property
    def embeddings_(self):
        """Embeddings, of shape (n_outputs, n_features, k); built on request."""
        return self._spread("embeddings")

    @property
    def coefs_(self):
        """Weights of the layers, a list; a list of lists if there are several outputs."""
        per_output = []
        for layers in (seen["coefs"] for seen in self._seen()):
            unit = [1.0] * (len(layers) - 1) + [self._scale] * bool(layers)
            per_output.append([layer * scale for layer, scale in zip(layers, unit, strict=True)])
        return per_output[0] if len(per_output) == 1 else per_output

    @property
    def intercepts_(self):
        """Biases of the hidden layers, as `coefs_`."""
        per_output = [seen["intercepts"] for seen in self._seen()]
        return per_output[0] if len(per_output) == 1 else per_output


@_documented
@dataclass(repr=False, eq=False, kw_only=True)
class FMClassifier(_FactorizationMachine, FactorizationClassifier):
    """Factorization machine for classification.

    The raw score of a row x is ::

        @fm_score

    and the probability of the second class is 1 / (1 + exp(−s)). The fit minimizes ::

        @logistic

    @penalty
    The intercept w₀ is not penalized and starts at the log-odds of the labels. More
    than two classes are fitted one-vs-rest.

    Parameters
    ----------
    @parameters
    @training_parameters
    @class_weight_parameter

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
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FMClassifier
    >>> rows = [["ad1", "mon"], ["ad2", "tue"], ["ad1", "tue"], ["ad2", "mon"]] * 50
    >>> clicks = ["yes", "yes", "no", "no"] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"),
    ...     FMClassifier(l2_factors=1e-3, random_state=0),
    ... )
    >>> model.fit(rows, clicks).predict([["ad1", "mon"], ["ad1", "tue"]])
    array(['yes', 'no'], dtype='<U3')
    """

    class_weight: dict | str | None = None


@_documented
@dataclass(repr=False, eq=False, kw_only=True)
class FMRegressor(_FactorizationMachine, FactorizationRegressor):
    """Factorization machine for regression.

    The prediction for a row x is ::

        @fm_score

    The fit minimizes ::

        @squared

    @penalty
    Targets are standardized for training (a step is bounded by `learning_rate`, whatever
    the unit of y); predictions are in the unit of y, losses in its square.
    The intercept w₀ is not penalized and starts at the mean.

    Parameters
    ----------
    @parameters
    @training_parameters

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
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FMRegressor
    >>> rows = [["ann", "up"], ["bob", "jaws"], ["ann", "jaws"], ["bob", "up"]] * 50
    >>> stars = [5, 4, 1, 2] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"),
    ...     FMRegressor(l2_factors=1e-3, random_state=0),
    ... )
    >>> model.fit(rows, stars).predict([["ann", "up"], ["ann", "jaws"]]).round()
    array([5., 1.])
    """


@_documented
@dataclass(repr=False, eq=False, kw_only=True)
class FFMClassifier(_FieldAwareMachine, FactorizationClassifier):
    """Field-aware factorization machine for classification.

    Columns belong to fields (the one-hot columns of one variable), inferred unless
    given. The raw score of a row x, with f(i) the field of column i, is ::

        @ffm_score

    and the probability of the second class is 1 / (1 + exp(−s)). Pairs within a field
    count too, so that a field may be multi-valued. The fit minimizes ::

        @logistic

    @penalty
    The intercept w₀ is not penalized and starts at the log-odds of the labels. More
    than two classes are fitted one-vs-rest.

    A row costs O(n_entries · n_fields · k + n_fields² · k) operations.

    Parameters
    ----------
    @parameters
    @training_parameters
    @fields_parameter
    @class_weight_parameter

    Attributes
    ----------
    @classes_attribute
    @attributes
    @ffm_attributes
    @history_attributes

    See Also
    --------
    FMClassifier : One set of factors per column: smaller, and enough for many tasks.
    FFMRegressor : The same model for regression.

    References
    ----------
    @ffm_reference
    @machine_reference
    @solver_references

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FFMClassifier
    >>> rows = [["ad1", "mon"], ["ad2", "tue"], ["ad1", "tue"], ["ad2", "mon"]] * 50
    >>> clicks = ["yes", "yes", "no", "no"] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"),
    ...     FFMClassifier(l2_factors=1e-3, random_state=0),
    ... )
    >>> model.fit(rows, clicks).predict([["ad1", "mon"], ["ad1", "tue"]])
    array(['yes', 'no'], dtype='<U3')
    >>> model[-1].fields_
    array([0, 0, 1, 1], dtype=int32)
    """

    class_weight: dict | str | None = None


@_documented
@dataclass(repr=False, eq=False, kw_only=True)
class FFMRegressor(_FieldAwareMachine, FactorizationRegressor):
    """Field-aware factorization machine for regression.

    Columns belong to fields (the one-hot columns of one variable), inferred unless
    given. The prediction for a row x, with f(i) the field of column i, is ::

        @ffm_score

    Pairs within a field count too, so that a field may be multi-valued. The fit
    minimizes ::

        @squared

    @penalty
    Targets are standardized for training (a step is bounded by `learning_rate`, whatever
    the unit of y); predictions are in the unit of y, losses in its square.
    The intercept w₀ is not penalized and starts at the mean.

    Parameters
    ----------
    @parameters
    @training_parameters
    @fields_parameter

    Attributes
    ----------
    @attributes
    @ffm_attributes
    @history_attributes

    See Also
    --------
    FMRegressor : One set of factors per column: smaller, and enough for many tasks.
    FFMClassifier : The same model for classification.

    References
    ----------
    @ffm_reference
    @machine_reference
    @solver_references

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder
    >>> from skfm import FFMRegressor
    >>> rows = [["ann", "up"], ["bob", "jaws"], ["ann", "jaws"], ["bob", "up"]] * 50
    >>> stars = [5, 4, 1, 2] * 50
    >>> model = make_pipeline(
    ...     OneHotEncoder(handle_unknown="ignore"),
    ...     FFMRegressor(l2_factors=1e-3, random_state=0),
    ... )
    >>> model.fit(rows, stars).predict([["ann", "up"], ["ann", "jaws"]]).round()
    array([5., 1.])
    """


@_documented
@dataclass(repr=False, eq=False, kw_only=True)
class WideDeepClassifier(_WideDeep, FactorizationClassifier):
    """Wide & Deep model for classification (Cheng et al. 2016).

    The wide part is linear in the columns and in hashed crosses of fields: it memorizes.
    The deep part is a network over embeddings, summed by field: it generalizes. They are
    trained together, each with its own solver, learning rate and penalties. The raw score
    of a row x is ::

        @wide_deep_score

    where c runs over the crosses in the row and h(c) is the bucket of one. The probability
    of the second class is 1 / (1 + exp(−s)). The fit minimizes ::

        Σ_n c_n [ log(1 + exp(s(x_n))) − y_n s(x_n) + R(x_n) ],   y_n in {0, 1}
        @wide_deep_penalty

    @penalty
    The intercept w₀ is not penalized and starts at the log-odds of the labels. More
    than two classes are fitted one-vs-rest. A numeric column without zeros
    is a field of its own.

    Parameters
    ----------
    @wide_deep_parameters
    @fields_parameter
    @training_parameters
    @class_weight_parameter

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

    class_weight: dict | str | None = None


@_documented
@dataclass(repr=False, eq=False, kw_only=True)
class WideDeepRegressor(_WideDeep, FactorizationRegressor):
    """Wide & Deep model for regression.

    The wide part is linear in the columns and in hashed crosses of fields: it memorizes.
    The deep part is a network over embeddings, summed by field: it generalizes. They are
    trained together, each with its own solver, learning rate and penalties. The prediction
    for a row x is ::

        @wide_deep_score

    where c runs over the crosses in the row and h(c) is the bucket of one. The fit
    minimizes ::

        Σ_n c_n [ (s(x_n) − y_n)² / 2 + R(x_n) ],   y_n standardized
        @wide_deep_penalty

    @penalty
    Targets are standardized for training (a step is bounded by the learning rates, whatever
    the unit of y); predictions are in the unit of y, losses in its square.
    The intercept w₀ is not penalized and starts at the mean.

    Parameters
    ----------
    @wide_deep_parameters
    @fields_parameter
    @training_parameters

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
