"""How skl2onnx converts estimators and encoders, within pipelines of other steps."""

import numpy as np

import skfm

from ._base import FactorizationBase
from ._compat import check_feature_names_in
from ._graph import OPSETS, Graph, encoded, raw_scores
from .preprocessing import FieldEncoder


def register():
    """Let skl2onnx know them."""
    from skl2onnx import update_registered_converter

    models = [getattr(skfm, name) for name in skfm.__all__]
    models = [cls for cls in models if isinstance(cls, type) and issubclass(cls, FactorizationBase)]
    for cls in models:
        options = {"zipmap": [True, False, "columns"], "nocl": [False]}
        options = options if hasattr(cls, "predict_proba") else None
        update_registered_converter(
            cls, f"Skfm{cls.__name__}", _shape_predictions, _convert_estimator, options=options
        )
    update_registered_converter(
        FieldEncoder,
        "SkfmFieldEncoder",
        _shape_encoded,
        _convert_encoder,
        options={"missing_text": None},  # any
    )


def _set_types(operator, described):
    """Tell the types of outputs: name, type and, of two dimensions, the second."""
    from skl2onnx.common import data_types

    of = {
        "b": data_types.BooleanTensorType,
        "i": data_types.Int64TensorType,
        "O": data_types.StringTensorType,
    }
    for output, (_, dtype, *width) in zip(operator.outputs, described, strict=True):
        dtype = np.dtype(dtype)
        floats = [data_types.FloatTensorType, data_types.DoubleTensorType][dtype.itemsize == 8]
        output.set_type(of.get(dtype.kind, floats)([None, *width]))


def _shape_predictions(operator):
    _set_types(operator, operator.raw_operator._fitted.target.outputs)


def _shape_encoded(operator):
    width = len(operator.raw_operator.fields_)
    _set_types(operator, [("encoded", np.float32, width)])


def _begin(scope, container):
    """A graph whose names are new."""
    if container.target_opset < OPSETS[""]:
        raise RuntimeError(f"skfm's models need target_opset={OPSETS['']} or more.")
    return Graph(scope.get_unique_operator_name("skfm") + "_")


def _finish(graph, operator, container, tensors):
    """Hand over nodes and constants; the tensors are the outputs."""
    for output, tensor in zip(operator.outputs, tensors, strict=True):
        node = graph.onnx.helper.make_node("Identity", [tensor], [output.full_name])
        graph.nodes.append(node)
    container.nodes.extend(graph.nodes)
    container.initializers.extend(graph.constants.values())
    container.node_domain_version_pair_sets.update(OPSETS.items())


def _convert_estimator(scope, operator, container):
    """Entries are the values of a row that are not 0; all rows have room for as many."""
    graph, fitted = _begin(scope, container), operator.raw_operator._fitted
    X = graph("Cast", operator.inputs[0].full_name, to=float)
    sizes = graph("Abs", X)
    present = graph("Cast", graph("Greater", sizes, np.array(0.0)), to=np.int64)
    most = graph("ReduceMax", graph("ReduceSum", present, np.array([1]), keepdims=0))
    most = graph("Reshape", graph("Max", most, np.array(1)), np.array([1]))
    columns = graph("TopK", sizes, most, axis=1, n_outputs=2)[1]
    values = graph("GatherElements", X, columns, axis=1)
    raw = raw_scores(graph, fitted, columns, values)
    _finish(graph, operator, container, fitted.target.graph(graph, raw))


def _convert_encoder(scope, operator, container):
    """The encoded rows with their zeros, as other steps of skl2onnx take them."""
    graph, encoder, cells = _begin(scope, container), operator.raw_operator, []
    for given in operator.inputs:
        for number in range(given.type.shape[1]):
            cells.append(graph("Gather", given.full_name, np.array([number]), axis=1))
    if len(cells) != len(encoder._encodings):
        raise RuntimeError(
            f"The FieldEncoder has {len(encoder._encodings)} variables, but the inputs have "
            f"{len(cells)}. Give initial_types an input for each variable."
        )
    cells = [
        graph("Cast", cell, to=float) if encoding.numeric else cell
        for cell, encoding in zip(cells, encoder._encodings, strict=True)
    ]
    names = check_feature_names_in(encoder, None).tolist()
    missing_text = container.get_options(encoder, {"missing_text": ""})["missing_text"]
    columns, values = encoded(graph, encoder._encodings, cells, names, missing_text)
    n_rows = graph("Shape", columns, start=0, end=1)
    shape = graph("Concat", n_rows, np.array([len(encoder.fields_)]), axis=0)
    zeros = graph("Expand", np.float32(0), shape)
    values = graph("Cast", values, to=np.float32)
    _finish(graph, operator, container, [graph("ScatterElements", zeros, columns, values, axis=1)])
