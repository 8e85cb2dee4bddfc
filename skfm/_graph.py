"""Graphs of ONNX: how they are written, and what a batch is in them.

Terms, targets and encodings write their own parts. A part takes names of tensors, or arrays,
which become constants, and returns the name of what it computes.
"""

import copy
from functools import cached_property
from itertools import count

import numpy as np

from ._batch import MAX_VALUE

# Versions of the operators that are used, by their domain.
OPSETS = {"": 18, "ai.onnx.ml": 3}

# What came with these: older runtimes refuse files that are marked as newer.
IR_VERSION = 8

# Numbers that rows are turned into at a time.
_NUMBERS = 1 << 18


def import_onnx():
    """The package onnx; ImportError says how to install it."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            "Export needs the package onnx. Install it: pip install 'skfm[onnx]'."
        ) from error
    return onnx


class Graph:
    """Nodes in the order in which they are computed, and constants.

    Constants that are equal are one.

    Parameters
    ----------
    prefix : str
        What all names begin with.
    taken : set of str
        Names that tensors have already.
    """

    def __init__(self, prefix="", taken=()):
        self.onnx, self.prefix, self.taken = import_onnx(), prefix, set(taken)
        self.nodes, self.constants = [], {}

    def inner(self):
        """A graph for the body of a loop, whose constants are those of this one."""
        inner = copy.copy(self)
        inner.nodes = []
        return inner

    def choose(self, condition, *write):
        """What the first function writes where a condition holds, else the second.

        Both take a graph, and return the name of a tensor of float64.
        """
        branches, double = {}, self.onnx.TensorProto.DOUBLE
        for name, function in zip(("then_branch", "else_branch"), write, strict=True):
            inner = self.inner()
            found = self.onnx.helper.make_tensor_value_info(function(inner), double, None)
            branches[name] = self.onnx.helper.make_graph(inner.nodes, name, [], [found])
        return self("If", condition, **branches)

    def new_name(self, stem):
        """A name that nothing has yet."""
        names = (f"{self.prefix}{stem}{number}" for number in count(len(self.taken)))
        name = next(name for name in names if name not in self.taken)
        self.taken.add(name)
        return name

    def constant(self, array):
        """The name of a constant."""
        array = np.asarray(array)
        content = tuple(array.tolist()) if array.dtype == object else array.tobytes()
        key = array.dtype.str, array.shape, content
        if key not in self.constants:
            name = self.new_name("constant")
            self.constants[key] = self.onnx.numpy_helper.from_array(array, name)
        return self.constants[key].name

    def __call__(self, operator, *inputs, n_outputs=1, to=None, **attributes):
        """Add a node; return the name of its output, or of all outputs if there are several.

        Strings are names, all else is a constant. `to` is the type that "Cast" makes.
        """
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        outputs = [self.new_name(operator.lower()) for _ in range(n_outputs)]
        if to is not None:
            attributes["to"] = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to))
        domain = "ai.onnx.ml" if operator == "LabelEncoder" else ""
        node = self.onnx.helper.make_node(operator, names, outputs, domain=domain, **attributes)
        self.nodes.append(node)
        return outputs[0] if n_outputs == 1 else outputs

    def tensors(self, described):
        """What a graph says of its inputs or outputs.

        Parameters
        ----------
        described : list of tuple
            Name, type and, of two dimensions, the second; the first is that of rows.
        """
        helper = self.onnx.helper
        return [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["n_rows", *width]
            )
            for name, dtype, *width in described
        ]

    def sum(self, tensor, *axes):
        """The sum over axes, which go away."""
        return self("ReduceSum", tensor, np.array(axes), keepdims=0)

    def total(self, tensors):
        """The sum of tensors."""
        first, *others = tensors
        for tensor in others:
            first = self("Add", first, tensor)
        return first

    def mix(self, hashes):
        """`skfm._hashing.mix` of int64, whose arithmetic is that of uint64 but for shifts."""

        def folded(z, shift):
            bits = self("Cast", z, to=np.uint64)
            shifted = self("BitShift", bits, np.array(shift, np.uint64), direction="RIGHT")
            return self("Cast", self("BitwiseXor", bits, shifted), to=np.int64)

        z = self("Add", hashes, as_signed(0x9E3779B97F4A7C15))
        z = self("Mul", folded(z, 30), as_signed(0xBF58476D1CE4E5B9))
        z = self("Mul", folded(z, 27), as_signed(0x94D049BB133111EB))
        return folded(z, 31)


def as_signed(number):
    """The int64 of the same bits as a number of uint64."""
    return np.uint64(number).astype(np.int64)


def encoded(graph, encodings, cells, names, missing_text):
    """Write what encodings make of cells: columns, and values as float64, (n_rows, n_fields).

    Parameters
    ----------
    graph : Graph
    encodings : list
        See `skfm._encodings`.
    cells : iterable of str
        The variables, of shape (n_rows, 1): float64, or strings.
    names : iterable of str
        What messages call the variables.
    missing_text : str
        What stands for missing strings.
    """
    columns, values, first = [], [], 0
    for cell, name, encoding in zip(cells, names, encodings, strict=True):
        column, value = encoding.graph(graph, cell, name, missing_text)
        columns.append(graph("Add", column, np.array(first)))
        values.append(value)
        first += sum(encoding.widths)
    columns, values = (graph("Concat", *parts, axis=1) for parts in (columns, values))
    return columns, graph("Cast", values, to=float)


class Entries:
    """The entries of some rows: slots of columns, and values in their units.

    A slot more than there are stands for what counts as nothing: padding, and columns that
    were never seen. Parameters are all 0 there.

    Parameters
    ----------
    graph : Graph
    columns : str
        Numbers of columns, int64 of shape (B, M). Negative ones are padding.
    values : str
        Their values, float64 of shape (B, M).
    fitted : Fitted
    """

    def __init__(self, graph, columns, values, fitted):
        self.graph, self.fitted = graph, fitted
        known, nothing = fitted.columns, len(fitted.columns)
        self.n_fields, self.field = known.fields.n_fields, known.field
        # Padding counts as the column before the first.
        number = graph("Add", graph("Max", columns, np.array(-1)), np.array(1))
        slot_of = np.full(len(known.slot_of) + 1, nothing, np.int32)
        slot_of[1 + known.seen] = np.arange(nothing)
        shifted, places = known.shifted, len(known.shifted)
        if places:
            # They count in each row: their values, or 0, come after all others.
            place_of = np.full(len(slot_of), places, np.int32)
            place_of[1 + shifted] = np.arange(places)
            slot_of[1 + shifted] = nothing
            place = graph("Cast", graph("Gather", place_of, number), to=np.int64)
            n_rows = graph("Shape", columns, start=0, end=1)
            shape = graph("Concat", n_rows, np.array([places + 1]), axis=0)
            zeros = graph("Expand", np.array(0.0), shape)
            of_each = graph("ScatterElements", zeros, place, values, axis=1, reduction="add")
            of_each = graph("Slice", of_each, np.array([0]), np.array([places]), np.array([1]))
            shape = graph("Concat", n_rows, np.array([places]), axis=0)
            those = graph("Expand", known.slot_of[shifted].astype(np.int32)[None], shape)
            self.slots = graph("Concat", graph("Gather", slot_of, number), those, axis=1)
            values = graph("Concat", values, of_each, axis=1)
        else:
            self.slots = graph("Gather", slot_of, number)
        if not known.plain:
            shift, scale = np.append(known.units.shift, 0), np.append(known.units.scale, 1)
            values = graph("Sub", values, graph("Gather", shift, self.slots))
            values = graph("Div", values, graph("Gather", scale, self.slots))
            values = graph("Clip", values, np.array(-MAX_VALUE), np.array(MAX_VALUE))
        self.values, self._pool = values, None

    def within(self, graph):
        """The same entries for an inner graph."""
        other = copy.copy(self)
        other.graph = graph
        return other

    def take(self, per_column):
        """Numbers of the columns that the entries are in: (B, M) or (B, M, width).

        They are 0 where nothing counts.
        """
        nothing = np.zeros((1, *per_column.shape[1:]), per_column.dtype)
        taken = self.graph("Gather", np.concatenate([per_column, nothing]), self.slots)
        return taken if per_column.dtype != np.float32 else self.graph("Cast", taken, to=float)

    def pool(self, table):
        """Rows of a table summed by field, each times its value: (B, F, width)."""
        graph = self.graph
        if self._pool is None:
            self._pool = graph("Unsqueeze", self.values, np.array([1]))
            if self.n_fields > 1:
                self._pool = graph("Mul", graph("Cast", self.is_in, to=float), self._pool)
        return graph("MatMul", self._pool, self.take(table))

    @cached_property
    def is_in(self):
        """Whether each entry is in each field, booleans of shape (B, F, M)."""
        number = self.graph("Unsqueeze", self.take(1 + self.field), np.array([1]))
        return self.graph("Equal", number, np.arange(1, 1 + self.n_fields, dtype=np.int32)[:, None])


class Symbols:
    """What terms write their scores with; to graphs what an `Evaluation` is to arrays.

    Parameters
    ----------
    entries : Entries
    values : dict of ndarray
        The whole tables, with the rows of the columns that are known.
    """

    def __init__(self, entries, values):
        self.graph, self.entries, self.values, self._pooled = entries.graph, entries, values, {}

    def __getitem__(self, table):
        return self.values[table]

    def field_of_columns(self, n_fields):
        """The field of each column; 0 for a model that has only one."""
        return self.entries.field if n_fields > 1 else 0

    def pooled(self, name, table):
        """Rows of a table summed by field, written once for each name."""
        if name not in self._pooled:
            self._pooled[name] = self.entries.pool(table)
        return self._pooled[name]

    def row_sums(self, per_column, power=1):
        """Σ of numbers of columns, each times a power of its value: (B,)."""
        products = self.entries.take(per_column)
        for _ in range(power):
            products = self.graph("Mul", products, self.entries.values)
        return self.graph.sum(products, 1)

    def half(self, pairs, squares):
        """½ (pairs − squares)."""
        return self.graph("Mul", self.graph("Sub", pairs, squares), np.array(0.5))


def raw_scores(graph, fitted, columns, values):
    """Write raw scores, float64 of shape (N, n_outputs), computed for some rows at a time.

    Parameters
    ----------
    graph : Graph
    fitted : Fitted
    columns, values : str
        See `Entries`.
    """
    helper, types, n_outputs = graph.onnx.helper, graph.onnx.TensorProto, len(fitted.models)
    n_rows, n_entries = (graph("Shape", columns, start=i, end=i + 1) for i in (0, 1))
    per_row = [graph("Mul", n_entries, np.array(fitted.models[0].per_column))]
    per_row += [np.array(1 + fitted.models[0].per_row)]
    if fitted.crosses:
        longest = max(map(len, fitted.crosses.tuples))
        combinations = graph("Pow", graph("Cast", n_entries, to=float), np.array(longest))
        per_row += [graph("Cast", graph("Mul", combinations, np.array(1 / 16)), to=np.int64)]
    size = graph("Div", np.array([_NUMBERS]), graph.total(per_row))
    size = graph("Max", size, np.array(1))
    n_parts = graph("Div", graph("Sub", graph("Add", n_rows, size), np.array(1)), size)
    n_parts = graph("Reshape", n_parts, np.empty(0, np.int64))

    body = graph.inner()
    number, going, done = (body.new_name(stem) for stem in ("part", "going", "done"))
    first = body("Mul", number, size)
    rows = first, body("Add", first, size), np.array([0])
    entries = Entries(body, body("Slice", columns, *rows), body("Slice", values, *rows), fitted)
    scores = [body("Unsqueeze", model.graph(entries), np.array([1])) for model in fitted.models]
    found = body("Concat", *scores, axis=1)
    inputs = [(number, types.INT64, []), (going, types.BOOL, []), (done, types.DOUBLE, None)]
    outputs = [
        (body("Identity", going), types.BOOL, []),
        (body("Concat", done, found, axis=0), types.DOUBLE, None),
    ]
    tensors = [[helper.make_tensor_value_info(*of) for of in some] for some in (inputs, outputs)]
    part = helper.make_graph(body.nodes, "part", *tensors)
    return graph("Loop", n_parts, np.array(True), np.empty((0, n_outputs)), body=part)
