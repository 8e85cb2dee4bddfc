"""The network of Wide & Deep: a term over the embeddings of columns, pooled by field."""

from functools import partial
from itertools import pairwise

import numpy as np
from scipy.special import expit

from ._hashing import hashed_normal
from ._tables import Layout
from ._terms import Term, column_vectors, filled


class Network(Term):
    """Dense layers over embeddings that are pooled by field.

    Parameters
    ----------
    k : int
        Width of the embeddings, at least 1.
    n_fields : int
    hidden : tuple of int
        Widths of the hidden layers. The output layer has no bias, as the model has one.
    activation : {"relu", "tanh", "logistic", "identity"}
    dropout : float
        Share of hidden units left out in each step of the training.
    scale : float
        Standard deviation of the initial embeddings.
    key : tuple of int
        Seed and number of the output.
    has_pairs : bool
        Whether another term sums over the pairs of these embeddings.
    """

    def __init__(self, k, n_fields, hidden, activation, dropout, scale, key, has_pairs=False):
        self.k, self.scale, self.key, self.has_pairs = k, scale, key, has_pairs
        self.activation, self.dropout = activation, dropout
        self.sizes = list(pairwise((n_fields * k, *hidden, 1)))
        self.per_row = n_fields * k + sum(hidden)
        self.structure = {
            "k": k,
            "hidden_layer_sizes": tuple(hidden),
            "activation": activation if hidden else None,
        }

    def layouts(self):
        layouts = [column_vectors("embeddings", self.k, self.scale, self.key)]
        for layer, (n_in, n_out) in enumerate(self.sizes, start=1):
            deviation = np.sqrt(2 / (n_in + n_out))  # Glorot & Bengio 2010, equation 16
            initial = partial(hashed_normal, (*self.key, layer), width=n_out, scale=deviation)
            layouts += [
                Layout(f"weights{layer}", "all", {"weights": n_out}, initial, n_in),
                Layout(f"biases{layer}", "all", {"biases": n_out}, filled(n_out), 1),
            ]
        return layouts[:-1]

    def held_per_row(self, engine):
        # Pooled rows and their gradient; of layers the outputs and their gradient, and with
        # dropout what is kept of them, and how.
        pooled, hidden = self.sizes[0][0], sum(n_out for _, n_out in self.sizes[:-1])
        return pooled + hidden, 2 * pooled + (4 if self.dropout else 2) * hidden

    def _layers(self, values):
        """Weights and biases of the hidden layers, and the weights of the last."""
        numbers = range(1, len(self.sizes))
        hidden = [(values[f"weights{i}"], values[f"biases{i}"]) for i in numbers]
        return hidden, values[f"weights{len(self.sizes)}"]

    def forward(self, evaluation):
        hidden, last = self._layers(evaluation.values)
        pooled = evaluation.pooled("embeddings")
        inputs, outputs, masks = [pooled.reshape(len(pooled), -1)], [], []
        activate = ACTIVATIONS[self.activation][0]
        drop = self.dropout and evaluation.step is not None
        # The last number separates this stream from the one that orders the rows.
        stream = [*self.key, evaluation.step, 1 + evaluation.part]
        random = np.random.default_rng(stream) if drop else None
        for weights, biases in hidden:
            sums = inputs[-1] @ weights
            sums += biases
            outputs.append(activate(sums))
            inputs.append(outputs[-1])
            if drop:
                kept = random.random(sums.shape, dtype=np.float32) >= self.dropout
                masks.append(kept * sums.dtype.type(1 / (1 - self.dropout)))
                inputs[-1] = outputs[-1] * masks[-1]
        return (inputs[-1] @ last)[:, 0], (inputs, outputs, masks)

    def backward(self, evaluation, memory, delta):
        (inputs, outputs, masks), (hidden, last) = memory, self._layers(evaluation.values)
        slope = ACTIVATIONS[self.activation][1]
        evaluation.add(f"weights{len(self.sizes)}", inputs[-1].T @ delta[:, None])
        upstream = delta[:, None] * last.T
        for number in reversed(range(len(hidden))):
            if masks:
                upstream *= masks[number]
            upstream *= slope(outputs[number])
            evaluation.add(f"biases{number + 1}", upstream.sum(axis=0, keepdims=True))
            evaluation.add(f"weights{number + 1}", inputs[number].T @ upstream)
            upstream = upstream @ hidden[number][0].T
        evaluation.add_pooled("embeddings", upstream.reshape(len(upstream), -1, self.k))

    def graph(self, symbols):
        graph, (hidden, last) = symbols.graph, self._layers(symbols.values)
        inputs = symbols.pooled("embeddings", symbols["embeddings"])
        inputs = graph("Reshape", inputs, np.array([-1, self.sizes[0][0]]))
        for weights, biases in hidden:
            sums = graph("MatMul", inputs, graph("Cast", weights, to=float))
            sums = graph("Add", sums, graph("Cast", biases, to=float))
            inputs = graph(_OPERATORS[self.activation], sums)
        return graph.sum(graph("MatMul", inputs, graph("Cast", last, to=float)), 1)

    def attributes(self, columns, values, seen):
        hidden, last = self._layers(values)
        V = seen["embeddings"] = columns.per_value(values["embeddings"])
        seen["coefs"] = [np.array(weights) for weights, _ in hidden] + [np.array(last)]
        seen["intercepts"] = [biases[0].copy() for _, biases in hidden]
        if len(columns.shifted):
            left_out = columns.pooled_shifts(V).ravel() @ seen["coefs"][0]
            if hidden:
                seen["intercepts"][0] = seen["intercepts"][0] - left_out
            else:
                seen["constant"] -= left_out[0]

    def other_parts(self, evaluation):
        return {("network", ()): self.forward(evaluation)[0]}

    def vectors(self, values, field, slots):
        return {"embeddings": values["embeddings"][slots]}


# Each activation, and its derivative as a function of its output.
ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0, out=z), lambda a: a > 0),
    "tanh": (lambda z: np.tanh(z, out=z), lambda a: 1 - a * a),
    "logistic": (lambda z: expit(z, out=z), lambda a: a * (1 - a)),
    "identity": (lambda z: z, lambda a: np.ones((), a.dtype)),
}

_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": "Identity"}
