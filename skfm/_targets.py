"""Targets: what y is, how it is encoded for training, and which loss it has."""

from contextlib import suppress
from functools import reduce
from operator import add

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from ._input import check_column
from ._losses import LogLoss, SquaredLoss
from ._warnings import warn_user

# Of numbers. Sums of squared losses, in the unit of y, stay finite even where a fit goes wrong.
MAX_TARGET = 1e100


# The outputs of graphs of ONNX, as skl2onnx names them: of classifiers two, of regressors one.
OUTPUTS = LABEL, PROBABILITIES, VARIABLE = "label", "probabilities", "variable"


def sort_of(dtype):
    """What labels of different dtypes have in common where they can be equal."""
    kind = dtype.kind
    return "number" if kind in "biuf" else "text" if kind in "UTO" else kind


def _listed(labels):
    """The first labels, as text."""
    return f"{labels[:5]}"[:-1] + (", …]" if len(labels) > 5 else "]")


def _labels(data):
    """The labels of some data, those of the rows used, and how many each of these has."""
    return LabelEncoder().fit(data.y).classes_, *np.unique(data.y[data.used], return_counts=True)


def _largest(data):
    return np.abs(data.y[data.used]).max(initial=0.0)


def _moment(data, unit, power, centre):
    """Weighted sum of a power of the targets, and of the weights."""
    y, weight = data.y[data.used], data.weight[data.used]
    return ((y / unit - centre) ** power * weight).sum(), weight.sum()


class Labels:
    """Class labels: one output for two classes, else one for each (one-vs-rest).

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
    factor : ndarray of shape (n_classes,)
        Weight of each class.
    """

    loss = LogLoss
    mean, scale = 0.0, 1.0  # log-odds need no standardization

    def __init__(self, classes, factor, class_weight):
        if not (factor >= 0).all() or not np.isfinite(factor).all():
            raise ValueError(f"class_weight must be finite and not negative, got {class_weight}.")
        if np.count_nonzero(factor) < 2:
            raise ValueError(f"class_weight must leave at least 2 classes, got {class_weight}.")
        self.classes, self.factor = classes, factor

    @staticmethod
    def check(y, name="y"):
        y = column_or_1d(check_column(y, name, dtype=None, times=True), warn=True)
        with np.errstate(invalid="ignore"):  # it looks whether labels are integers by a cast
            check_classification_targets(y)
        return y

    @classmethod
    def of_data(cls, each, class_weight):
        """The classes in the data, of which the rows used must have two.

        ``each(function, *arguments)`` calls a function with each part of the data and the
        arguments; it gives a list.
        """
        found = each(_labels)
        # Parts without rows have no labels and no type of them.
        of_all, of_used, counts = zip(*[f for f in found if len(f[0])] or found, strict=True)
        encoder = LabelEncoder().fit(np.concatenate(of_all))
        present, which = np.unique(np.concatenate(of_used), return_inverse=True)
        counts = np.bincount(which, np.concatenate(counts))
        if len(present) < 2:
            raise ValueError(
                "A classifier needs rows of at least 2 classes with positive weight, but "
                f"there is only one class: {present.tolist()[0]!r}."
            )
        factor = np.ones(len(encoder.classes_))
        if isinstance(class_weight, str):  # "balanced"
            weights = counts.sum() / (len(present) * counts)
        else:
            weights = compute_class_weight(class_weight, classes=present, y=present)
        factor[encoder.transform(present)] = weights
        return cls(encoder.classes_, factor, class_weight)

    @classmethod
    def of_classes(cls, classes, class_weight):
        """Classes that are named beforehand."""
        if len(classes) < 2:
            raise ValueError(f"A classifier needs at least 2 classes, got {classes.tolist()}.")
        factor = compute_class_weight(class_weight, classes=classes, y=classes)
        return cls(classes, factor, class_weight)

    @property
    def n_outputs(self):
        return 1 if len(self.classes) == 2 else len(self.classes)

    def encode(self, y, weight, name="y"):
        """Numbers of the classes, and weights with those of the classes."""
        codes = np.zeros(len(y), np.intp)
        unseen = np.ones(len(y), bool)
        # NumPy would compare labels of another type as text, or cut them off to make them fit.
        if sort_of(y.dtype) == sort_of(self.classes.dtype):
            with suppress(TypeError):  # objects that do not compare
                codes = np.searchsorted(self.classes, y).clip(max=len(self.classes) - 1)
                unseen = self.classes[codes] != y
        if unseen.any():
            labels = [*dict.fromkeys(y[unseen].tolist())]
            raise ValueError(
                f"{name} contains previously unseen labels: {_listed(labels)}. The classes are "
                f"{_listed(self.classes.tolist())}."
            )
        return codes, weight * self.factor[codes]

    def of_output(self, codes, output):
        """1 for the class of an output, else 0."""
        return (codes == (1 if self.n_outputs == 1 else output)).astype(np.float64)

    def strata(self, codes, fraction):
        """What a split keeps the shares of: classes, where the rarest count as one."""
        codes, counts = np.unique(codes, return_inverse=True, return_counts=True)[1:]
        n_held_out = int(np.ceil(fraction * len(codes)))
        room = min(n_held_out, len(codes) - n_held_out)
        n_strata = min(room, np.count_nonzero(counts > 1))
        if n_strata == len(counts):
            return codes
        rank = np.empty(len(counts), np.intp)
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
        # The rarest join the rarest of the others.
        return np.minimum(rank, max(n_strata - 1, 0))[codes]

    def scale_of(self, codes):
        """None: labels have no scale."""

    def warn_of_unlearned(self, codes, held_out):
        """Say which classes only the rows held out have, or if they have one only."""
        only = self.classes[np.setdiff1d(held_out, codes)]
        if not len(only) and (held_out == held_out[0]).all() and len(held_out) >= 16:
            warn_user(
                "shuffle=False holds out the last rows, and all of them have the class "
                f"{self.classes[held_out[:1]].tolist()[0]!r}, so their loss cannot tell when to "
                "stop. Pass shuffle=True, or X_val and y_val."
            )
        if len(only):
            warn_user(
                f"shuffle=False holds out the last rows, and the classes {only.tolist()} occur "
                "only there, so the model barely learns them. Pass shuffle=True, X_val and y_val, "
                "or early_stopping=False."
            )

    def continued(self):
        return self

    def graph(self, graph, raw):
        """Write the outputs of a classifier into a graph of ONNX; return their names."""
        if self.n_outputs == 1:
            which = graph("Greater", graph("Reshape", raw, np.array([-1])), np.array(0.0))
            which = graph("Cast", which, to=np.int64)
            proba = graph("Sigmoid", graph("Mul", raw, np.array([-1.0, 1.0])))
        else:
            which = graph("ArgMax", raw, axis=1, keepdims=0)
            log_sigmoid = graph("Neg", graph("Softplus", graph("Neg", raw)))
            proba = graph("Softmax", log_sigmoid, axis=1)
        label = graph("Gather", self._classes_of_onnx(), which)
        return label, graph("Cast", proba, to=np.float32)

    @property
    def outputs(self):
        """The outputs of a graph of ONNX: name, type and, of two dimensions, the second."""
        classes = self._classes_of_onnx()
        return [(LABEL, classes.dtype), (PROBABILITIES, np.dtype(np.float32), len(classes))]

    def _classes_of_onnx(self):
        """Labels of a type that ONNX has; ValueError if they have another."""
        kind = self.classes.dtype.kind
        texts = kind in "UTO" and all(isinstance(label, str) for label in self.classes.tolist())
        large = kind == "u" and self.classes.max() > np.iinfo(np.int64).max
        if large or (kind not in "biuf" and not texts):
            raise ValueError(
                f"ONNX has no labels such as {self.classes.tolist()[0]!r}: fit with labels that "
                "are integers (int64), floats, booleans or strings."
            )
        types = {"b": bool, "i": np.int64, "u": np.int64, "f": np.float64}
        return self.classes.astype(types.get(kind, object))


class Numbers:
    """Numbers, standardized for training.

    Parameters
    ----------
    mean, scale : float
        What 0 and 1 are in training.
    """

    loss = SquaredLoss
    n_outputs = 1

    def __init__(self, mean, scale):
        self.mean, self.scale = mean, scale

    @staticmethod
    def check(y, name="y"):
        y = check_column(y, name)
        if np.abs(y).max() > MAX_TARGET:
            raise ValueError(
                f"{name} has a value of {y.flat[np.abs(y).argmax()]:.3g}, too large to square. "
                f"Keep targets within ±{MAX_TARGET:.0e}."
            )
        return column_or_1d(y, warn=True)

    @classmethod
    def of_data(cls, each):
        """Mean and standard deviation of the rows used; `each` as for labels."""

        def average(power, centre):
            sums, totals = zip(*each(_moment, unit, power, centre), strict=True)
            return reduce(add, sums) / reduce(add, totals)

        unit = max(each(_largest)) or 1.0  # the squares of y itself could overflow
        mean = average(1, 0.0)
        deviation = np.sqrt(average(2, mean))
        return cls(mean * unit, deviation * unit)

    def encode(self, y, weight, name="y"):
        with np.errstate(over="ignore"):  # what is too far off to learn from makes a fit diverge
            return (y - self.mean) / (self.scale or 1.0), weight

    def of_output(self, y, output):
        return y

    def strata(self, y, fraction):
        return None

    def scale_of(self, y):
        """How far encoded targets are from what they should be like, 1: the largest, or how they
        differ."""
        largest, spread = max(float(np.abs(y).max()), 1.0), min(float(np.ptp(y)) or 1.0, 1.0)
        return largest if largest * spread > 1 else spread

    def warn_of_unlearned(self, y, held_out):
        pass

    def continued(self):
        """The same for more data: what was constant need not stay so."""
        return Numbers(self.mean, self.scale or abs(self.mean) or 1.0)

    outputs = [(VARIABLE, np.dtype(np.float64), 1)]

    def graph(self, graph, raw):
        """Write the output of a regressor into a graph of ONNX, as `Labels` does."""
        in_units = graph("Mul", raw, np.array(float(self.scale)))
        return [graph("Add", in_units, np.array(float(self.mean)))]
