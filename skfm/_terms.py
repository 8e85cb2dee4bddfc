"""Terms: the parts that a model adds up to a score.

A model is a bias and a sum of terms. A term names the tables that it reads. It turns the
values of the rows that a batch touches into scores, and into gradients with respect to these
values. If two terms read one table, their gradients add up.

To add a model, write a term and a public class that lists it in `_make_terms`.
"""

import copy

import numpy as np

from ._hashing import hashed_normal
from ._tables import Layout

# Entries per row up to which initial factors are as large as asked for.
_MANY_ENTRIES = 100


class Evaluation:
    """A batch, the values of the rows that it touches, and the gradients that terms add.

    Parameters
    ----------
    engine : module
    batch : Batch
    values : dict of ndarray
        For each table, the rows that the batch touches, of shape (U, width).
    step : int or None
        The number of the step in training; None in prediction.
    part : int
        The number of the batch among those that make the step.
    """

    def __init__(self, engine, batch, values, step=None, part=0):
        self.engine, self.batch, self.values = engine, batch, values
        self.step, self.part = step, part
        self._pooled, self._gradients, self._pooled_gradients = {}, {}, {}

    def __getitem__(self, table):
        return self.values[table]

    def pooled(self, table):
        """The rows of a table of columns, pooled by field: (B, F, width).

        They are computed once, however many terms ask for them.
        """
        if table not in self._pooled:
            self._pooled[table] = self.engine.pool(self.batch, self.values[table])
        return self._pooled[table].reshape(self.batch.n_rows, self.batch.n_fields, -1)

    def add(self, table, gradient):
        """Add to the gradient with respect to the values of a table."""
        _add(self._gradients, table, gradient)

    def add_pooled(self, table, gradient):
        """Add to the gradient with respect to the pooled rows of a table."""
        _add(self._pooled_gradients, table, gradient)

    def gradients(self):
        """The sum of the added gradients, for each table."""
        for table, gradient in self._pooled_gradients.items():
            rows = gradient.reshape(-1, gradient.shape[-1])
            self.add(table, self.engine.pool_gradient(self.batch, rows))
        return self._gradients


def _add(gradients, table, gradient):
    gradients[table] = gradients[table] + gradient if table in gradients else gradient


class Term:
    """A part of the score.

    Attributes
    ----------
    k : int
        Number of factors for which the compiled engine makes kernels of their own; 0 if none.
    per_row : int
        How many numbers the term computes for a row of the data, in its largest arrays. The
        number of rows in a batch follows from this.
    structure : dict
        Hyperparameters that decide what the parameters mean, with their values. They cannot
        change when training continues.
    has_pairs : bool
        Whether the factors count in a sum over the pairs of a row's entries.
    needs_rows : bool
        Whether prediction, too, needs the rows of exactly the columns in the batch. A term that
        computes something for each of these columns needs them.
    """

    k = 0
    per_row = 0
    structure = {}
    has_pairs = False
    needs_rows = False

    def layouts(self):
        """The tables that the term reads, a list of `Layout`.

        `forward` gets the values of the rows that the batch touches, and `backward` adds a
        gradient of the same shape.
        """
        raise NotImplementedError

    def for_rows_of(self, entries):
        """The term as it begins in rows with so many entries on average.

        Where these are many, initial factors are smaller: a sum over the pairs of entries would
        outgrow the targets.
        """
        if not self.has_pairs or entries <= _MANY_ENTRIES:
            return self
        other = copy.copy(self)
        other.scale = self.scale * (_MANY_ENTRIES / entries)
        return other

    def held_per_row(self, engine):
        """How many numbers a row of the data takes at most at a time.

        In scores and in a step, those of all rows of a batch together: what decides how much
        memory a batch needs beside the rows of tables.
        """
        return 0, 0

    def forward(self, evaluation):
        """Score the rows of a batch.

        ``evaluation[table]`` has the values of a table, ``evaluation.pooled(table)`` those of
        columns pooled by field. ``evaluation.batch.field`` has the field of each column that
        the batch touches. The engine sums over rows and columns.

        Returns
        -------
        scores : ndarray of shape (B,)
        memory : object
            What `backward` needs again.
        """
        raise NotImplementedError

    def backward(self, evaluation, memory, delta):
        """Add the gradients of Σ delta·score to the evaluation; delta has shape (B,)."""
        raise NotImplementedError

    def graph(self, symbols):
        """Write the scores of `forward` into a graph of ONNX; return their name.

        ``symbols[table]`` is a whole table, ``symbols.graph`` adds nodes.
        """
        raise NotImplementedError

    def attributes(self, columns, values, seen):
        """Add to `seen`, the parameters that users see.

        ``seen["coef"]`` and ``seen["constant"]`` belong to the model of the values in the
        matrix, whatever their units in training. Where columns are shifted, terms multiply out
        the shifts.

        Parameters
        ----------
        columns : Columns
            ``per_value`` divides by their scales. ``units.shift`` has the numbers that are
            subtracted from their values, ``shifted`` the columns where this is not 0, and
            ``field`` their fields.
        values : dict of ndarray
            The whole tables.
        seen : dict
        """
        raise NotImplementedError

    # -- what the score of a row is made of: `column_weights`, `pair_weights` and the rest ----

    def column_weights(self, values, slots):
        """What one unit of each column adds to the score by itself.

        ``values[table]`` has all rows of a table, by slots. Returns float64 of shape (n,), or
        None where columns add nothing by themselves.
        """

    def pair_weights(self, values, field, i, j):
        """What pairs of columns, in slots i and j, add to the score where both have one unit.

        ``field[slot]`` is the field of a column. Returns float64 of the shape of i, or None
        where pairs add nothing.
        """

    def other_parts(self, evaluation):
        """The rest of the scores of a batch: arrays of shape (B,) by their kind and fields."""
        return {}

    def vectors(self, values, field, slots):
        """A vector of each column, by table. Columns with like vectors interact alike."""
        return {}


def filled(width, number=0.0):
    """Initial values of a table: the same number everywhere."""
    return lambda rows: np.full((len(rows), width), number, np.float32)


def column_vectors(name, k, scale, key):
    """A table of k random numbers for each column."""
    return Layout(name, "columns", {name: k}, lambda rows: hashed_normal(key, rows, k, scale))


class Linear(Term):
    """Σ_i w_i x_i, over the columns or over buckets of crosses."""

    def __init__(self, crosses=None):
        self.table, self.of = ("crosses", "crosses") if crosses else ("linear", "columns")
        self.n_rows = crosses.n_buckets if crosses else 0
        self.per_row = len(crosses.tuples) if crosses else 0
        if crosses:
            self.structure = {"crosses": crosses.tuples, "n_cross_buckets": crosses.n_buckets}

    def layouts(self):
        return [Layout(self.table, self.of, {self.table: 1}, filled(1), self.n_rows)]

    def held_per_row(self, engine):
        # A dozen arrays of int64 find and hash the crosses, beside their counts and values.
        return 28 * self.per_row, 28 * self.per_row

    def forward(self, evaluation):
        batch = evaluation.batch.part(self.of)
        return evaluation.engine.row_sums(batch, evaluation[self.table]), None

    def backward(self, evaluation, memory, delta):
        batch = evaluation.batch.part(self.of)
        evaluation.add(self.table, evaluation.engine.column_sums(batch, delta)[:, None])

    def graph(self, symbols):
        weights = symbols[self.table][:, 0]
        if self.of == "columns":
            return symbols.row_sums(weights)
        return symbols.entries.fitted.crosses.graph(symbols.entries, weights)

    def attributes(self, columns, values, seen):
        if self.of == "crosses":
            seen["cross_coef"] = values[self.table][:, 0]
            return
        _see_linear(columns.per_value(values[self.table])[:, 0], columns, seen)

    def column_weights(self, values, slots):
        if self.of == "columns":
            return values[self.table][slots, 0].astype(np.float64)

    def other_parts(self, evaluation):
        if self.of == "columns":
            return {}
        weights, parts = evaluation[self.table], evaluation.batch.crosses_apart()
        return {
            ("cross", fields): evaluation.engine.row_sums(batch, weights)
            for fields, batch in parts.items()
        }


class Interactions(Term):
    """A linear weight per column, and all pairwise interactions through k factors per field.

    With one field this is the factorization machine (Rendle 2010), with several the field-aware
    one (Juan et al. 2016). Both parts share a table, as kernels read them together.

    Parameters
    ----------
    k : int
        Number of factors.
    n_fields : int
        Number of fields; a column has k factors for each.
    scale : float
        Standard deviation of the initial factors.
    key : tuple of int
        Seed and number of the output. The same key gives the same initial factors.
    """

    has_pairs = True
    table = "interactions"

    def __init__(self, k, n_fields, scale, key):
        self.k, self.n_fields, self.scale, self.key = k, n_fields, scale, key
        self.per_row = n_fields * (1 + self._width)
        self.structure = {"k": k}

    @property
    def _width(self):
        return self.n_fields * self.k

    def layouts(self):
        groups = {"linear": 1, "factors": self._width}
        return [Layout(self.table, "columns", groups, self._initial)]

    def held_per_row(self, engine):
        return engine.POOLED_ARRAYS * self.per_row, engine.POOLED_ARRAYS * self.per_row

    def _initial(self, columns):
        factors = hashed_normal(self.key, columns, self._width, self.scale)
        return np.hstack([np.zeros((len(columns), 1), np.float32), factors])

    def forward(self, evaluation):
        return evaluation.engine.interact(evaluation.batch, evaluation[self.table])

    def backward(self, evaluation, memory, delta):
        V = evaluation[self.table]
        gradient = evaluation.engine.interact_gradient(evaluation.batch, V, memory, delta)
        evaluation.add(self.table, gradient)

    def graph(self, symbols):
        graph, F = symbols.graph, self.n_fields
        w, V = np.split(symbols[self.table], [1], axis=1)
        linear = symbols.row_sums(w[:, 0])
        if not self.k:
            return linear
        own = V.reshape(len(V), F, -1)[np.arange(len(V)), symbols.field_of_columns(F)]
        E = graph("Reshape", symbols.pooled(self.table, V), np.array([-1, F, F, own.shape[1]]))
        met = graph("Mul", E, graph("Transpose", E, perm=[0, 2, 1, 3]))
        squares = symbols.row_sums(_squares(own), power=2)
        return graph("Add", linear, symbols.half(graph.sum(met, 1, 2, 3), squares))

    def attributes(self, columns, values, seen):
        w, V = np.split(columns.per_value(values[self.table]), [1], axis=1)
        _see_linear(w[:, 0], columns, seen)
        seen["factors"] = V
        if len(columns.shifted):
            V, m = V.reshape(len(V), self.n_fields, -1), columns.units.shift
            pooled = columns.pooled_shifts(V).swapaxes(0, 1)
            met = np.einsum("nak,nak->n", V, pooled[columns.field])
            own = V[np.arange(len(V)), columns.field]
            _multiply_out(m, met, (own * own).sum(axis=1), seen)

    def column_weights(self, values, slots):
        return values[self.table][slots, 0].astype(np.float64)

    def pair_weights(self, values, field, i, j):
        if self.k:
            V = self._by_field(values)
            return _products(V[i, field[j]], V[j, field[i]])

    def vectors(self, values, field, slots):
        if not self.k:
            return {}
        V = self._by_field(values)[slots]
        if self.n_fields > 1:  # those for their own field learn only if it has several values
            V[np.arange(len(slots)), field[slots]] = 0
        return {self.table: V.reshape(len(slots), -1)}

    def _by_field(self, values):
        V = values[self.table][:, 1:]
        return V.reshape(len(V), self.n_fields, -1)


def _products(left, right):
    return np.einsum("nk,nk->n", left, right, dtype=np.float64)


def _squares(V):
    V = V.astype(float)
    return np.vecdot(V, V)


def _see_linear(w, columns, seen):
    seen["coef"] = seen["coef"] + w if "coef" in seen else w
    seen["constant"] -= columns.units.shift @ w


def _multiply_out(shift, met, squares, seen):
    """Turn interactions of (x − shift) into those of x, linear weights and a constant.

    `met` says how much each column interacts with the shifts of all columns, itself included,
    and `squares` how much with itself.
    """
    seen["coef"] = seen.get("coef", 0) - met + shift * squares
    seen["constant"] += shift @ (met - shift * squares) / 2


class PooledInteractions(Term):
    """Pairwise interactions of embeddings that another term pools by field, too.

    The formula is that of a factorization machine: ½(‖Σ_a E_a‖² − Σ_i x_i² ‖v_i‖²).
    """

    has_pairs = needs_rows = True
    table = "embeddings"
    structure = {"interactions": True}

    def __init__(self, k, scale, key):
        self.k, self.scale, self.key = k, scale, key

    def layouts(self):
        return [column_vectors(self.table, self.k, self.scale, self.key)]

    def forward(self, evaluation):
        V, total = evaluation[self.table], evaluation.pooled(self.table).sum(axis=1)
        squares = evaluation.engine.row_sums(evaluation.batch, np.vecdot(V, V)[:, None], power=2)
        return 0.5 * (np.vecdot(total, total) - squares), total

    def backward(self, evaluation, total, delta):
        pooled = evaluation.pooled(self.table)
        gradient = np.broadcast_to((delta[:, None] * total)[:, None], pooled.shape)
        evaluation.add_pooled(self.table, gradient)
        own = evaluation.engine.column_sums(evaluation.batch, delta, power=2)
        evaluation.add(self.table, -own[:, None] * evaluation[self.table])

    def graph(self, symbols):
        graph, V = symbols.graph, symbols[self.table]
        total = graph.sum(symbols.pooled(self.table, V), 1)
        squares = symbols.row_sums(_squares(V), power=2)
        return symbols.half(graph.sum(graph("Mul", total, total), 1), squares)

    def attributes(self, columns, values, seen):
        V, m = columns.per_value(values[self.table]), columns.units.shift
        seen["embeddings_interact"] = True
        if len(columns.shifted):
            _multiply_out(m, V @ (m @ V), np.vecdot(V, V), seen)

    def pair_weights(self, values, field, i, j):
        return _products(values[self.table][i], values[self.table][j])

    def vectors(self, values, field, slots):
        return {self.table: values[self.table][slots]}


class FieldWeighted(Term):
    """Pairwise interactions with a weight for each pair of fields (Pan et al. 2018).

    ½ Σ_{a,b} r_ab ⟨E_a, E_b⟩ − ½ Σ_i r_{f(i)f(i)} x_i² ‖v_i‖², with r symmetric. Several
    entries of a row in field a interact with the weight r_aa.
    """

    has_pairs = needs_rows = True

    def __init__(self, k, n_fields, scale, key):
        self.k, self.n_fields, self.scale, self.key = k, n_fields, scale, key
        self.per_row = 3 * n_fields * k
        self.structure = {"k": k}

    def layouts(self):
        name, F = "field_weights", self.n_fields
        ones = Layout(name, "all", {name: F}, filled(F, 1.0), F)
        return [column_vectors("factors", self.k, self.scale, self.key), ones]

    def held_per_row(self, engine):
        # Pooled rows and what they meet; the gradient, and two copies in another order.
        pooled = self.n_fields * self.k
        return 2 * pooled, 5 * pooled

    def forward(self, evaluation):
        V, r, batch = evaluation["factors"], evaluation["field_weights"], evaluation.batch
        E = evaluation.pooled("factors")
        met = r @ E
        own = r.diagonal()[batch.field] * np.vecdot(V, V)
        squares = evaluation.engine.row_sums(batch, own[:, None], power=2)
        pairs = np.vecdot(E.reshape(len(E), -1), met.reshape(len(E), -1))
        return 0.5 * (pairs - squares), met

    def backward(self, evaluation, met, delta):
        V, r, batch = evaluation["factors"], evaluation["field_weights"], evaluation.batch
        E = evaluation.pooled("factors")
        evaluation.add_pooled("factors", delta[:, None, None] * met)
        own = evaluation.engine.column_sums(batch, delta, power=2)
        evaluation.add("factors", -(r.diagonal()[batch.field] * own)[:, None] * V)
        # r_ab and r_ba are one weight, so each of them gets the whole gradient of that weight.
        by_field = np.moveaxis(E, 1, 0)
        scaled = (by_field * delta[:, None]).reshape(self.n_fields, -1)
        gradient = scaled @ by_field.reshape(self.n_fields, -1).T
        within = np.bincount(batch.field, own * np.vecdot(V, V), self.n_fields)
        diagonal = np.arange(self.n_fields)
        gradient[diagonal, diagonal] = 0.5 * (gradient[diagonal, diagonal] - within)
        evaluation.add("field_weights", 0.5 * (gradient + gradient.T))  # the same to the bit

    def graph(self, symbols):
        graph, V, r = symbols.graph, symbols["factors"], symbols["field_weights"].astype(float)
        E = symbols.pooled("factors", V)
        pairs = graph.sum(graph("Mul", E, graph("MatMul", r, E)), 1, 2)
        own = r.diagonal()[symbols.field_of_columns(self.n_fields)] * _squares(V)
        return symbols.half(pairs, symbols.row_sums(own, power=2))

    def attributes(self, columns, values, seen):
        V, r, m = columns.per_value(values["factors"]), values["field_weights"], columns.units.shift
        seen["factors"], seen["field_weights"] = V, r.copy()
        if len(columns.shifted):
            met = np.vecdot(V, (r @ columns.pooled_shifts(V))[columns.field])
            _multiply_out(m, met, r.diagonal()[columns.field] * np.vecdot(V, V), seen)

    def pair_weights(self, values, field, i, j):
        V, r = values["factors"], values["field_weights"]
        return r[field[i], field[j]] * _products(V[i], V[j])

    def vectors(self, values, field, slots):
        return {"factors": values["factors"][slots]}
