"""Export of fitted models to ONNX, to be served without Python."""

import copy
from importlib.util import find_spec

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from ._batch import as_csr, entries_per_row, row_of_entries, without_stored_zeros
from ._compat import check_feature_names_in
from ._fitted import unwrap
from ._graph import IR_VERSION, OPSETS, Graph, encoded, import_onnx, raw_scores
from ._input import check_matrix
from ._targets import OUTPUTS
from ._version import __version__
from ._warnings import warn_user
from .preprocessing import FieldEncoder

__all__ = ["padded", "to_onnx"]


def to_onnx(model, *, missing_text=""):
    """Convert a fitted model to an ONNX graph.

    The graph computes in float64, as the model does, and needs neither Python nor skfm. It takes
    any number of rows and works through them in parts that fit the cache.

    Parameters
    ----------
    model : estimator, Pipeline or search
        A fitted estimator of skfm, or a pipeline of a fitted
        :class:`~skfm.preprocessing.FieldEncoder` and one. A search such as GridSearchCV stands
        for its `best_estimator_`.
    missing_text : str, default=""
        The string that means a missing value, because strings in ONNX have no other way to say
        so. Missing numbers are NaN.

    Returns
    -------
    model : onnx.ModelProto
        Save it with ``onnx.save(model, path)``, or run it from the bytes of
        ``model.SerializeToString()``.

        - Inputs for an estimator are the entries of the rows, as :func:`padded` makes them:
          `indices`, int64 of shape (n_rows, n_entries), with a negative number in place of
          entries that a row does not have, and `values`, float32 of the same shape. A row names
          each column once. Columns that never occurred in training contribute nothing.
        - Inputs for a pipeline are the variables, each of shape (n_rows, 1), by the names that
          they had in `fit` or as x0, x1, …: float64 for numbers, and strings, the texts of
          values, for categories.
        - Outputs of classifiers are `label`, of shape (n_rows,), and `probabilities`, float32 of
          shape (n_rows, n_classes); of regressors `variable`, float64 of shape (n_rows, 1).

    Raises
    ------
    ImportError
        If onnx is not installed.
    NotFittedError
        If the model is not fitted.
    TypeError
        If `to_onnx` cannot export this type of model, or `missing_text` is not a string.
    ValueError
        If ONNX cannot compute what the model does: an encoder that hashes, labels that are not
        numbers, booleans or strings, crosses of too many fields. Also if `missing_text` is a
        category of a variable.

    Notes
    -----
    The graph checks nothing: values that are NaN or infinite, which `predict` refuses, become NaN
    or count as the largest number. Its file needs a runtime that knows the operators of ONNX 1.13.

    If skl2onnx is installed, importing this module registers the estimators and a FieldEncoder
    that learned its vocabulary, so that ``skl2onnx.to_onnx`` converts pipelines of them and other
    steps. There ``options={FieldEncoder: {"missing_text": ...}}`` is what `missing_text` is here.

    Examples
    --------
    >>> from skfm import FFMClassifier
    >>> from skfm.export import padded, to_onnx
    >>> X, y = [[1, 0, 1, 0], [0, 1, 0, 1]] * 200, [0, 1] * 200
    >>> model = FFMClassifier(fields=2, random_state=0).fit(X, y)
    >>> onnx_model = to_onnx(model)  # doctest: +SKIP
    >>> padded([[0, 1, 1, 0], [1, 0, 0, 0]])
    {'indices': array([[ 1,  2],
           [ 0, -1]]), 'values': array([[1., 1.],
           [1., 0.]], dtype=float32)}
    """
    if not isinstance(missing_text, str):
        raise TypeError(
            f"missing_text must be a string that stands for missing values, got {missing_text!r}."
        )
    steps, estimator = unwrap(model)
    encoder, fitted = _encoder_of(steps), estimator._fitted
    onnx = import_onnx()
    if encoder is None:
        inputs = [("indices", np.int64, "n_entries"), ("values", np.float32, "n_entries")]
    else:
        names = check_feature_names_in(encoder, None).tolist()
        _check_names(names)
        kinds = [np.float64 if e.numeric else object for e in encoder._encodings]
        inputs = [(name, kind, 1) for name, kind in zip(names, kinds, strict=True)]
    graph = Graph(taken={*OUTPUTS, *(name for name, *_ in inputs)})
    if encoder is None:
        columns, values = "indices", graph("Cast", "values", to=float)
    else:
        columns, values = encoded(graph, encoder._encodings, names, names, missing_text)
    outputs = fitted.target.outputs
    found = fitted.target.graph(graph, raw_scores(graph, fitted, columns, values))
    for tensor, (name, *_) in zip(found, outputs, strict=True):
        graph.nodes.append(onnx.helper.make_node("Identity", [tensor], [name]))
    made = onnx.helper.make_graph(
        graph.nodes,
        type(estimator).__name__,
        graph.tensors(inputs),
        graph.tensors(outputs),
        [*graph.constants.values()],
    )
    return onnx.helper.make_model(
        made,
        producer_name="skfm",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid(*opset) for opset in OPSETS.items()],
    )


def padded(X):
    """Convert encoded rows to the inputs of an estimator's ONNX graph.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Encoded rows.

    Returns
    -------
    inputs : dict of ndarray
        `indices`, int64 of shape (n_samples, n_entries), and `values`, float32 of the same shape.
        n_entries is the number of entries in the longest row; others end in indices of -1.
    """
    check_matrix(X)
    X = without_stored_zeros(as_csr(check_array(X, accept_sparse="csr")))
    length = entries_per_row(X)
    where = row_of_entries(X), np.arange(X.nnz) - np.repeat(X.indptr[:-1], length)
    shape = X.shape[0], max(1, length.max(initial=0))
    indices, values = np.full(shape, -1, np.int64), np.zeros(shape, np.float32)
    indices[where], values[where] = X.indices, X.data
    return {"indices": indices, "values": values}


def _check_names(names):
    wrong = [name for name in names if not name or name in OUTPUTS or names.count(name) > 1]
    if wrong:
        raise ValueError(
            f"No input of the graph can be called {wrong[0]!r}: names must be distinct, not empty, "
            f"and none of {', '.join(OUTPUTS)}. Fit with other names of variables."
        )


def _encoder_of(steps):
    """A snapshot of the encoder that the steps before an estimator are; None without any."""
    steps = [] if steps is None else steps.steps
    steps = [(name, step) for name, step in steps if step not in (None, "passthrough")]
    wrong = [(name, step) for name, step in steps if not isinstance(step, FieldEncoder)]
    for name, step in wrong or steps[1:]:
        raise TypeError(
            "to_onnx takes an estimator of skfm, or a pipeline of a FieldEncoder and one, but "
            f"step {name!r} is a {type(step).__name__}. skl2onnx converts pipelines of other "
            "steps, and knows the estimators of skfm once skfm.export is imported."
        )
    if not steps:
        return None
    encoder = copy.copy(steps[0][1])  # another thread may fit it meanwhile
    check_is_fitted(encoder)
    return encoder


def _register():
    """Let skl2onnx convert what is ours; warn where it is installed but does not work."""
    try:
        if find_spec("skl2onnx"):
            from ._skl2onnx import register

            register()
    except Exception as error:  # to_onnx does without it
        warn_user(
            f"skl2onnx cannot convert the estimators of skfm ({type(error).__name__}: {error}). "
            "Upgrade it: pip install -U skl2onnx. skfm.export.to_onnx does not need it."
        )


_register()
