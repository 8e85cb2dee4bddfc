"""The parameters of the estimators, by groups.

Each group owns the documentation, the default values and the constraints of its parameters.
`documented` hands them on to a public class, in the order of its signature.
"""

import inspect
import sys
from dataclasses import KW_ONLY, dataclass, field, fields
from itertools import product
from numbers import Integral, Real
from textwrap import dedent, indent

import numpy as np

from ._compat import Interval, Options, StrOptions
from ._fields import check_fields
from ._network import ACTIVATIONS
from ._solvers import SOLVERS

# Parameters and solver states are float32. These bounds keep their products finite.
_RATE = Interval(Real, 1e-10, 1e6, closed="both")
_PENALTY = Interval(Real, 0, 1e9, closed="both")
_COUNT = Interval(Integral, 0, None, closed="left")
_NUMBER = Interval(Integral, 1, None, closed="left")

# Live: a solver that is added to the table later is accepted, if not in a pair.
_SOLVER = StrOptions(SOLVERS.keys())


def parameter(default, *constraints):
    """A parameter: its default value, and what scikit-learn checks it against, any of these."""
    return field(default=default, metadata={"constraints": [*constraints]})


@dataclass(repr=False, eq=False)
class Factorization:
    """
    k : int, default=8
        Number of factors per column. 0 means a linear model.
    solver : {"adagrad", "ftrl"}, default="adagrad"
        AdaGrad (Duchi et al. 2011) or FTRL-Proximal (McMahan et al. 2013). FTRL gives
        sparser weights under L1.
    learning_rate : float, default=0.1
        Step size: η of AdaGrad, α of FTRL. For each parameter, both divide it by the root of
        the sum of squared gradients. Factors learn at a share of it, because a step of a
        factor moves the score through all other entries of the row. The share is
        4 / (entries per row), from 0.2 to 1; for field-aware factors it is
        10 / (entries per row), from 0.5 to 1.
    ftrl_beta : float, default=1.0
        β of FTRL. It shortens the first steps. AdaGrad ignores it: its sums start at 1.
    l1_linear : float, default=0.0
        Strength of the L1 penalty on linear weights. FTRL applies it in its closed form,
        once over the whole stream; AdaGrad soft-thresholds by
        l1 · (weighted occurrences in the batch) · η/√G in each step. The numbers of the
        two solvers are not interchangeable.
    l2_linear : float, default=0.001
        Strength of the L2 penalty on linear weights, per occurrence.
    l1_factors : float, default=0.0
        Strength of the L1 penalty on factors; see `l1_linear`.
    l2_factors : float or "auto", default="auto"
        Strength of the L2 penalty on factors, per occurrence. "auto" is 0.005. In `fit` on
        fewer than 400 rows (of weight 1) it is larger, 2 / Σ_n c_n and at most 1, so that a
        column that occurs in every row pays ‖v_i‖² in total.
    init_scale : float, default=0.03
        Standard deviation of the initial factors, in rows of up to 100 entries on average. With
        more entries n it falls, times 100 / n, as a score sums over their pairs.
    """

    k: int = parameter(8, _COUNT)
    _: KW_ONLY
    solver: str = parameter("adagrad", _SOLVER)
    learning_rate: float = parameter(0.1, _RATE)
    ftrl_beta: float = parameter(1.0, _RATE)
    l1_linear: float = parameter(0.0, _PENALTY)
    l2_linear: float = parameter(1e-3, _PENALTY)
    l1_factors: float = parameter(0.0, _PENALTY)
    l2_factors: float | str = parameter("auto", _PENALTY, StrOptions({"auto"}))
    init_scale: float = parameter(0.03, _PENALTY)


@dataclass(repr=False, eq=False, kw_only=True)
class FieldWeights:
    """
    l2_field_weights : float, default=0.0
        Strength of the L2 penalty on the weights of pairs of fields. They occur, and pay, in
        every row.
    """

    l2_field_weights: float = parameter(0.0, _PENALTY)


@dataclass(repr=False, eq=False)
class WideAndDeep:
    """
    k : int, default=8
        Width of the embeddings. 0 leaves the wide part only.
    solver : (str, str) or str, default=("ftrl", "adagrad")
        Solvers of the wide and of the deep part, or one for both: "ftrl" for FTRL-Proximal
        (McMahan et al. 2013), "adagrad" for AdaGrad (Duchi et al. 2011).
    ftrl_beta : float, default=1.0
        β of FTRL. It shortens the first steps. AdaGrad ignores it: its sums start at 1.
    hidden_layer_sizes : tuple of int, default=(64, 32)
        Widths of the hidden layers. () makes the deep part linear in the embeddings.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Activation of the hidden layers.
    dropout : float, default=0.0
        Share of the hidden units left out in each training step, at least 0 and below 1.
    interactions : bool, default=False
        Whether to add the pairwise interactions of the embeddings to the score, as a
        factorization machine does. This makes it DeepFM (Guo et al. 2017).
    crosses : None, "all" or list of tuples of str or int, default=None
        Which fields to cross in the wide part: a list of pairs such as
        ``("carrier", "dest")`` or ``(0, 3)``, triples and so on, or "all" for all pairs. A name
        is that of a variable of a :class:`~skfm.preprocessing.FieldEncoder` or, for the columns
        of a data frame, the part before the "_" in their names. Numbers are those in
        ``fields_``: pass `fields` so that they do not change with the data. A cross has a value
        in a row where all its fields have an entry: the product of their values. A field with
        several entries in a row takes part in every combination. Only columns that occurred in
        training are crossed.
    n_cross_buckets : int, default=262144
        Number of weights for crosses. A cross is hashed from its columns to one of them;
        crosses that meet there share the weight.
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
        Step size of the layers. That of embeddings is twice as large; with `interactions` it
        is 8 / (entries per row) times as large, from 0.4 to 2 times.
    deep_l2 : float, default=0.001
        Strength of the L2 penalty on embeddings, per occurrence of the column.
    layers_l2 : float, default=0.0001
        Strength of the L2 penalty on the weights of the layers, which occur in every row.
    init_scale : float or "auto", default="auto"
        Standard deviation of the initial embeddings. "auto" is 0.1, or 0.03 with
        `interactions`. With these, and more than 100 entries n per row on average, it falls,
        times 100 / n, as a score sums over their pairs. Layers are initialized as in Glorot &
        Bengio (2010).
    """

    k: int = parameter(8, _COUNT)
    _: KW_ONLY
    solver: tuple | str = parameter(
        ("ftrl", "adagrad"), _SOLVER, Options(tuple, set(product(SOLVERS, SOLVERS)))
    )
    ftrl_beta: float = parameter(1.0, _RATE)
    hidden_layer_sizes: tuple = parameter((64, 32), "array-like", _NUMBER)
    activation: str = parameter("relu", StrOptions(set(ACTIVATIONS)))
    dropout: float = parameter(0.0, Interval(Real, 0, 1, closed="left"))
    interactions: bool = parameter(False, "boolean")
    crosses: object = parameter(None, StrOptions({"all"}), "array-like", None)
    n_cross_buckets: int = parameter(2**18, Interval(Integral, 1, 2**31 - 1, closed="both"))
    wide_learning_rate: float = parameter(0.1, _RATE)
    wide_l1: float = parameter(0.0, _PENALTY)
    wide_l2: float = parameter(1e-3, _PENALTY)
    deep_learning_rate: float = parameter(0.05, _RATE)
    deep_l2: float = parameter(1e-3, _PENALTY)
    layers_l2: float = parameter(1e-4, _PENALTY)
    init_scale: float | str = parameter("auto", _PENALTY, StrOptions({"auto"}))


@dataclass(repr=False, eq=False, kw_only=True)
class WithFields:
    """
    fields : None, int or array-like of shape (n_features,), default=None
        Which columns belong to the same field. None infers the fields (see
        :func:`skfm.infer_fields`). An int is the number of blocks of equal width, as feature
        hashing gives. An array holds the field of each column, an integer of at least 0.
    """

    fields: object = None

    def _make_fields(self, X, **how):
        return check_fields(self.fields, X, **how)

    @property
    def fields_(self):
        """Field of each column, of shape (n_features,); built on request."""
        fields = self._fitted.columns.fields
        return fields.labels_of(np.arange(fields.n_features))


@dataclass(repr=False, eq=False, kw_only=True)
class Training:
    """
    batch_size : int or "auto", default="auto"
        Rows per step. Gradients are summed over a batch, so 1 is the classic online
        algorithm. "auto" is 1/64 of the rows, at least 2 and at most 512, and less if the
        cache does not hold as many; in `partial_fit` it is 256.
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
        keep the weights of the best pass. "auto" does so from 100 rows on.
        In the end the model learns once from the rows held out. The intercept is then set so
        that the mean prediction is the mean of the targets, if the same step on the other
        rows alone lowers the loss on the rows held out.
    validation_fraction : float, default=0.1
        Share of rows to hold out for early stopping, stratified by class. The rarest classes
        are merged for the split if they have too few rows.
    n_iter_no_change : int, default=3
        Number of passes without improvement to wait for before stopping.
    warm_start : bool, default=False
        Whether `fit` continues from the model of the last call, if there is one. Seed,
        fields, class weights and the scale of y stay as they were; what shapes the model
        (k, solvers, layers, crosses) cannot change.
    engine : {"auto", "numpy", "numba"}, default="auto"
        What does the arithmetic: NumPy and SciPy, or loops compiled by numba. Both train the
        same model up to float32 rounding; numba is faster. "auto" takes numba, if it is
        installed, in two cases: if the model begins with `partial_fit`, and if
        (non-zeros of X) × (parameters per column) × (outputs) is at least 30 million in `fit`
        (FM has 1 + k parameters per column, FFM 1 + n_fields · k). Continued training
        (`warm_start`, `partial_fit`) and predictions keep the choice of the first call. For k
        above 256, NumPy computes in any case.
    n_jobs : int or None, default=None
        Number of threads. Several outputs are fitted in parallel; the numba engine splits the
        work on a single one. None means 1. Inside a joblib worker, as in
        ``GridSearchCV(n_jobs=2)``, every number means 1. Within ``joblib.parallel_config``,
        None takes its n_jobs. There are never more threads than cores. The result does not
        depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters, the order of rows, the validation rows and dropout.
    verbose : bool or int, default=False
        Whether `fit` prints a line per pass, and a line when numba compiles.
    """

    batch_size: int | str = parameter("auto", _NUMBER, StrOptions({"auto"}))
    max_iter: int = parameter(100, _NUMBER)
    shuffle: bool = parameter(True, "boolean")
    tol: float | None = parameter(1e-4, Interval(Real, 0, None, closed="left"), None)
    early_stopping: bool | str = parameter("auto", StrOptions({"auto"}), "boolean")
    validation_fraction: float = parameter(0.1, Interval(Real, 0, 1, closed="neither"))
    n_iter_no_change: int = parameter(3, _NUMBER)
    warm_start: bool = parameter(False, "boolean")
    engine: str = parameter("auto", StrOptions({"auto", "numpy", "numba"}))
    n_jobs: int | None = parameter(
        None, _NUMBER, Interval(Integral, None, -1, closed="right"), None
    )
    random_state: object = parameter(None, "random_state")
    verbose: bool | int = parameter(False, "verbose")


@dataclass(repr=False, eq=False, kw_only=True)
class ClassWeight:
    """
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, multiplied with the sample weights. Predicted
        probabilities then refer to the weighted class frequencies.
    """

    class_weight: dict | str | None = parameter(  # noqa: RUF009
        None, dict, StrOptions({"balanced"}), None
    )


def _paragraphs(group):
    """The documentation of each parameter of a group."""
    found = {}
    for line in dedent(group.__doc__ or "").strip().splitlines():
        if line and not line[0].isspace():
            name = line.split(" : ")[0]
        found.setdefault(name, []).append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def constrained(cls):
    """Give a public class the constraints of its parameters."""
    cls._parameter_constraints = {
        each.name: each.metadata["constraints"] for each in fields(cls) if each.metadata
    }
    return cls


def documented(paragraphs):
    """Give a public class its constraints, and fill in its docstring.

    A line ``@name`` stands for the paragraph of that name, ``@parameters`` for the parameters.
    """

    def decorate(cls):
        if sys.flags.optimize > 1:  # python -OO leaves no docstrings
            return constrained(cls)
        known = {}
        for group in filter(inspect.get_annotations, cls.__mro__):
            known |= _paragraphs(group)
        parameters = "\n".join(known[name] for name in inspect.signature(cls).parameters)
        lines = []
        for line in inspect.cleandoc(cls.__doc__).splitlines():
            name = line.strip()
            if name.startswith("@"):
                text = {**paragraphs, "parameters": parameters}
                text = inspect.cleandoc(text[name[1:]]).replace("CLASS", cls.__name__)
                line = indent(text, line[: line.index("@")])
            lines.append(line)
        cls.__doc__ = "\n".join(lines)
        return constrained(cls)

    return decorate
