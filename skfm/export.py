"""Export of fitted models to ONNX, to be served without Python."""

from importlib.util import find_spec

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from ._base import FactorizationBase
from ._batch import as_csr, entries_per_row, row_of_entries, without_stored_zeros
from ._compat import check_feature_names_in
from ._graph import OPSETS, Graph, encoded, import_onnx, raw_scores
from ._input import check_matrix
from ._version import __version__
from .preprocessing import FieldEncoder

__all__ = ["padded", "to_onnx"]

# What came with these operators: older runtimes refuse files that are marked as newer.
_IR_VERSION = 8
_OUTPUTS = ("label", "probabilities", "variable")


def to_onnx(model, *, missing_text=""):
    """Turn a fitted model into a graph of ONNX.

    The graph computes in float64, as the model does, and needs neither Python nor skfm. It takes
    any number of rows and works through them in parts that fit the cache.

    Parameters
    ----------
    model : estimator or Pipeline
        A fitted estimator of skfm, or a pipeline of a fitted
        :class:`~skfm.preprocessing.FieldEncoder` and one.
    missing_text : str, default=""
        What stands for a missing value in inputs of strings, which ONNX has no other way to
        tell. Missing numbers are NaN.

    Returns
    -------
    model : onnx.ModelProto
        To save by ``onnx.save(model, path)``, or to run from the bytes of
        ``model.SerializeToString()``.

        - Inputs for an estimator are the entries of the rows, as :func:`padded` makes them:
          `indices`, int64 of shape (n_rows, n_entries), with a negative number where a row has
          no more entries, and `values`, float32 of the same shape. A row names each column
          once. Columns that never occurred in training contribute nothing.
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
        If the model is none of those that can be exported.
    ValueError
        If ONNX cannot compute what the model does: hashing by the encoder, labels of other types
        than numbers, booleans and strings, crosses of too many fields. Also if `missing_text`
        is a category of a variable.

    Notes
    -----
    The graph checks nothing: values that are NaN or infinite, which `predict` refuses, become NaN
    or count as the largest number. The file has operators of ONNX 1.13 (opset 18).

    Where skl2onnx is installed, importing this module registers the estimators and a FieldEncoder
    that learned its vocabulary, so that ``skl2onnx.to_onnx`` converts pipelines of them and other
    steps.

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
    encoder, estimator = _steps(model)
    onnx = import_onnx()
    if encoder is None:
        inputs = [("indices", np.int64, "n_entries"), ("values", np.float32, "n_entries")]
    else:
        names = check_feature_names_in(encoder, None).tolist()
        _check_names(names)
        kinds = [np.float64 if e.numeric else object for e in encoder._encodings]
        inputs = [(name, kind, 1) for name, kind in zip(names, kinds, strict=True)]
    graph = Graph(taken={*_OUTPUTS, *(name for name, *_ in inputs)})
    if encoder is None:
        columns, values = "indices", graph("Cast", "values", to=float)
    else:
        columns, values = encoded(graph, encoder._encodings, names, missing_text)
    target = estimator._fitted.target
    found = target.graph(graph, raw_scores(graph, estimator._fitted, columns, values))
    for tensor, (name, *_) in zip(found, target.outputs, strict=True):
        graph.nodes.append(onnx.helper.make_node("Identity", [tensor], [name]))
    made = onnx.helper.make_graph(
        graph.nodes,
        type(estimator).__name__,
        graph.tensors(inputs),
        graph.tensors(target.outputs),
        [*graph.constants.values()],
    )
    return onnx.helper.make_model(
        made,
        producer_name="skfm",
        producer_version=__version__,
        ir_version=_IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid(*opset) for opset in OPSETS.items()],
    )


def padded(X):
    """Lay out the entries of rows as the graph of an estimator takes them.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Encoded rows.

    Returns
    -------
    inputs : dict of ndarray
        `indices`, int64 of shape (n_samples, n_entries), where n_entries is the number of entries
        in the longest row and -1 fills the others up, and `values`, float32 of the same shape.
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
    wrong = [name for name in names if not name or name in _OUTPUTS or names.count(name) > 1]
    if wrong:
        raise ValueError(
            f"No input of the graph can be called {wrong[0]!r}: names must be distinct, not empty, "
            f"and none of {', '.join(_OUTPUTS)}. Fit with other names of variables."
        )


def _steps(model):
    """The encoder, if any, and the estimator of a fitted model."""
    steps = [("", model)]
    if isinstance(model, Pipeline):
        steps = [(n, step) for n, step in model.steps if step not in (None, "passthrough")]
    kinds = [FieldEncoder, FactorizationBase][-len(steps) :]
    kinds += [()] * (len(steps) - len(kinds))  # a third step is of no kind
    for (name, step), kind in zip(steps, kinds, strict=True):
        if not isinstance(step, kind):
            what = f"step {name!r} is" if name else "the model is"
            raise TypeError(
                f"to_onnx takes an estimator of skfm, or a pipeline of a FieldEncoder and one, but "
                f"{what} a {type(step).__name__}. skl2onnx converts pipelines of other steps, and "
                "knows the estimators of skfm once skfm.export is imported. Of a search, pass "
                "best_estimator_."
            )
        check_is_fitted(step)
    *encoder, estimator = [step for _, step in steps]
    return encoder[0] if encoder else None, estimator


if find_spec("skl2onnx"):
    from ._skl2onnx import register

    register()
