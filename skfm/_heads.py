"""Heads: what a model makes of its parameters, and how these start.

A head names its parameter tables in `tables`: whether a table has a row for each column
("columns"), for each bucket of crosses ("crosses"), or takes part in every row of the data
("all"). The values that it is given are those of a batch, a list with one array per table.
"""

from itertools import pairwise

import numpy as np
from scipy.special import expit

from ._hashing import hashed_normal


class Interactions:
    """A linear weight per column, and all pairwise interactions through k factors per field.

    One field makes the factorization machine, several the field-aware one.

    Parameters
    ----------
    k : int
        Number of factors.
    n_fields : int
        Number of fields; a column has k factors for each.
    scale : float
        Standard deviation of the initial factors.
    key : tuple of int
        Seed and number of the output: same key, same initial factors.
    """

    tables = ("columns",)

    def __init__(self, k, n_fields, scale, key):
        self.width, self.scale, self.key = 1 + n_fields * k, scale, key
        self.per_row = n_fields * self.width  # numbers that a row of the data is pooled into
        self.structure = {"k": k}

    def initial(self):
        """The tables before any column is known."""
        return self.initial_rows(np.empty(0, np.intp))

    def initial_rows(self, columns):
        """Rows of `columns`, (len(columns), width): a linear weight of 0, then factors."""
        factors = hashed_normal(self.key, columns, self.width - 1, self.scale)
        return [np.hstack([np.zeros((len(columns), 1), np.float32), factors])]

    def forward(self, engine, batch, values, step=None):
        """Scores of the batch, of shape (B,), and what `backward` needs to remember.

        `step` is the number of the step in training, None for prediction.
        """
        return engine.interact(batch, *values)

    def backward(self, engine, batch, values, memory, delta):
        """Gradients of Σ delta·score in the values."""
        return [engine.interact_gradient(batch, *values, memory, delta)]

    def attributes(self, columns, table):
        """What users see: for values of the matrix, whatever their units in training.

        Where columns are shifted, products of differences are multiplied out.
        """
        n, F = len(columns), columns.fields.n_fields
        w, V = np.split(columns.per_value(table), [1], axis=1)
        w, V, m = w[:, 0], V.reshape(n, F, -1), columns.units.shift
        if not m.any():
            return {"constant": 0.0, "coef": w, "factors": V}
        of_field = np.zeros((F, *V.shape[1:]))
        np.add.at(of_field, columns.field, m[:, None, None] * V)
        partners = of_field.swapaxes(0, 1)
        met = np.einsum("nak,nak->n", V, partners[columns.field])
        with_itself = m * (V[np.arange(n), columns.field] ** 2).sum(axis=1)
        pairs = (of_field * partners).sum() - m @ with_itself
        return {"constant": pairs / 2 - m @ w, "coef": w - met + with_itself, "factors": V}


class WideDeep:
    """A linear part over columns and crosses, and a network over pooled embeddings.

    The tables are the linear weights; the weights of the crosses, if there are any; and
    if k > 0, the embeddings and the layers, each weights and biases but for the last,
    whose bias is the model's.

    Parameters
    ----------
    k : int
        Width of the embeddings. 0 leaves the wide part only.
    n_fields : int
        Number of fields, by which embeddings are pooled.
    crosses : Crosses or None
        What is crossed, if anything.
    hidden : tuple of int
        Widths of the hidden layers.
    activation : {"relu", "tanh", "logistic", "identity"}
    dropout : float
        Share of hidden units left out in each step of the training.
    scale : float
        Standard deviation of the initial embeddings.
    key : tuple of int
        Seed and number of the output.
    """

    def __init__(self, k, n_fields, crosses, hidden, activation, dropout, scale, key):
        self.k, self.scale, self.key = k, scale, key
        self.n_buckets = crosses.n_buckets if crosses else 0
        self.per_row = n_fields * max(k, 1) + sum(hidden) + (len(crosses.tuples) if crosses else 0)
        self.activation, self.dropout = activation, dropout
        sizes = (n_fields * k, *hidden, 1) if k else ()
        self.sizes = list(pairwise(sizes))
        self.roles = ["linear"] + ["crosses"] * bool(crosses) + ["embeddings"] * bool(k)
        self.n_sparse = len(self.roles)
        self.roles += (["weights", "biases"] * len(self.sizes))[:-1]
        self.tables = [TABLES[role] for role in self.roles]
        self.structure = {
            "k": k,
            "hidden_layer_sizes": tuple(hidden) if k else (),
            "activation": activation if k and hidden else None,
            "crosses": crosses.tuples if crosses else None,
            "n_cross_buckets": self.n_buckets,
        }

    def initial(self):
        """The tables before any column is known."""
        tables = self.initial_rows(np.empty(0, np.intp))
        if self.n_buckets:
            tables.insert(1, np.zeros((self.n_buckets, 1), np.float32))
        for layer, (n_in, n_out) in enumerate(self.sizes, start=1):
            deviation = np.sqrt(2 / (n_in + n_out))  # Glorot & Bengio 2010, equation 16
            tables.append(hashed_normal((*self.key, layer), np.arange(n_in), n_out, deviation))
            tables.append(np.zeros((1, n_out), np.float32))
        return tables[: len(self.roles)]

    def initial_rows(self, columns):
        """Rows of `columns` in the tables that have them."""
        tables = [np.zeros((len(columns), 1), np.float32)]
        if self.k:
            tables.append(hashed_normal(self.key, columns, self.k, self.scale))
        return tables

    def forward(self, engine, batch, values, step=None):
        """As for the interactions."""
        score = engine.linear(batch, values[0])
        if self.n_buckets:
            score = score + engine.linear(batch.crosses, values[1])
        if not self.k:
            return score, None
        embeddings, *layers = values[self.n_sparse - 1 :]
        inputs, outputs, masks = [engine.pool(batch, embeddings)], [], []
        inputs[0] = inputs[0].reshape(batch.n_rows, -1)
        activate = ACTIVATIONS[self.activation][0]
        drop = self.dropout and step is not None
        # The last number keeps the stream apart from that of the order of rows.
        random = np.random.default_rng([*self.key, step, 1]) if drop else None
        for weights, biases in zip(layers[0:-1:2], layers[1::2], strict=True):
            hidden = inputs[-1] @ weights
            hidden += biases
            outputs.append(activate(hidden))
            inputs.append(outputs[-1])
            if drop:
                kept = random.random(hidden.shape, dtype=np.float32) >= self.dropout
                masks.append(kept * hidden.dtype.type(1 / (1 - self.dropout)))
                inputs[-1] = outputs[-1] * masks[-1]
        return score + (inputs[-1] @ layers[-1])[:, 0], (inputs, outputs, masks)

    def backward(self, engine, batch, values, memory, delta):
        """As for the interactions."""
        grads = [engine.linear_gradient(batch, delta)]
        if self.n_buckets:
            grads.append(engine.linear_gradient(batch.crosses, delta))
        if not self.k:
            return grads
        (inputs, outputs, masks), layers = memory, values[self.n_sparse :]
        slope = ACTIVATIONS[self.activation][1]
        of_layers = [inputs[-1].T @ delta[:, None]]
        upstream = delta[:, None] * layers[-1].T
        for number in reversed(range(len(outputs))):
            if masks:
                upstream *= masks[number]
            upstream *= slope(outputs[number])
            of_layers += [upstream.sum(axis=0, keepdims=True), inputs[number].T @ upstream]
            upstream = upstream @ layers[2 * number].T
        pooled = upstream.reshape(batch.n_rows * batch.n_fields, self.k)
        return [*grads, engine.pool_gradient(batch, pooled), *reversed(of_layers)]

    def attributes(self, columns, *tables):
        """As for the interactions. Layers take up what shifted columns leave out."""
        w, m = columns.per_value(tables[0])[:, 0], columns.units.shift
        layers = [np.array(table) for table in tables[self.n_sparse :]]
        seen = {
            "constant": -(m @ w),
            "coef": w,
            "cross_coef": tables[1][:, 0] if self.n_buckets else np.empty(0, np.float32),
            "embeddings": np.empty((len(columns), 0), np.float32),
            "coefs": layers[::2],
            "intercepts": [biases[0] for biases in layers[1::2]],
        }
        if self.k:
            V = seen["embeddings"] = columns.per_value(tables[self.n_sparse - 1])
            if m.any():
                pooled = np.zeros((columns.fields.n_fields, self.k))
                np.add.at(pooled, columns.field, m[:, None] * V)
                left_out = pooled.ravel() @ layers[0]
                if len(layers) > 1:
                    seen["intercepts"][0] = layers[1][0] - left_out
                else:
                    seen["constant"] -= left_out[0]
        return seen


# What the tables of Wide & Deep have rows for.
TABLES = {
    "linear": "columns",
    "crosses": "crosses",
    "embeddings": "columns",
    "weights": "all",
    "biases": "all",
}

# Each activation, and its derivative given its output.
ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0, out=z), lambda a: a > 0),
    "tanh": (lambda z: np.tanh(z, out=z), lambda a: 1 - a * a),
    "logistic": (lambda z: expit(z, out=z), lambda a: a * (1 - a)),
    "identity": (lambda z: z, lambda a: np.ones((), a.dtype)),
}
