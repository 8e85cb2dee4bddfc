"""Rounds: steps whose gradients are sums over shards, in the order of the shards.

The parameters are here, the rows elsewhere. In a round each shard gets the values of those rows
of the tables that its part of the batch touches, and gives the gradient in them. What carries
both is a `run` with two methods:

``run.start(function, *lists, urgent=False)``
    Call a function with the first of each list, with the second of each, and so on. It gives a
    list of handles, which later calls take for what they stand for. Functions are pure.
``run.results(handles)``
    What the handles stand for, in their order.
"""

from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from ._batch import Batcher, positions
from ._engine import load
from ._model import Gradient
from ._shards import Piece
from ._threads import one_blas_thread
from ._training import interruptible, raw_scores

# Rounds whose rows are cut out at a time, while those before them are computed.
_AHEAD = 16


class InProcess:
    """A `run` that computes at once, in this process."""

    def start(self, function, *lists, urgent=False):
        return [function(*arguments) for arguments in zip(*lists, strict=True)]

    def results(self, handles):
        return handles


def each_of(run, handles):
    """A function that calls another with each of some handles: see `Labels.of_data`."""

    def each(function, *arguments):
        lists = [[argument] * len(handles) for argument in arguments]
        return run.results(run.start(function, handles, *lists))

    return each


class Output(NamedTuple):
    """What shards need to know of the output that is trained, beside its parameters."""

    number: int
    target: object
    engine: str
    crosses: object


# -- what runs where the rows are -------------------------------------------------------


def order_of(piece, part, schedule, n_passes, shard):
    """The order in which a shard visits its rows in a pass."""
    rows = piece.parts[part]
    if not schedule.shuffle:
        return rows
    stream = [schedule.seed, n_passes, *([shard] if shard else [])]
    return np.random.default_rng(stream).permutation(rows)


def cut_batches(piece, order, first, n_rounds, size, crosses):
    """The shard's parts of some rounds; None where it has no rows left."""
    starts = range(first * size, (first + n_rounds) * size, size)
    return [
        cut_rows(piece, order[at : at + size], crosses) if at < len(order) else None
        for at in starts
    ]


def cut_rows(piece, rows, crosses=None):
    """Some rows of a piece, over the columns that they touch."""
    where, length = positions(piece.X.indptr, rows)
    columns, indices = np.unique(piece.X.indices.take(where), return_inverse=True)
    indptr = np.concatenate([[0], np.cumsum(length)])
    X = type(piece.X)(
        (piece.X.data.take(where), indices.astype(np.int32), indptr),
        shape=(len(rows), len(columns)),
    )
    y, weight, parts = piece.y[rows], piece.weight[rows], {"all": np.arange(len(rows))}
    some = Piece(X, piece.columns.part(columns), piece.slots[columns], None, y, weight, parts)
    if crosses:
        batch = Batcher(X, some.columns, crosses, load("numpy"))(parts["all"])
        some = some._replace(buckets=np.sort(batch.crosses.touched))
    return some


def cut_part(piece, part):
    """All rows of a part."""
    return cut_rows(piece, piece.parts[part])


def touched_by(pieces):
    """The rows of tables that each piece touches: slots and buckets of crosses."""
    return [piece and {"columns": piece.slots, "crosses": piece.buckets} for piece in pieces]


@interruptible()
def gradient(pieces, number, model, output, shard):
    """The first half of a step on one of the pieces, in the rows that it touches."""
    piece, engine = pieces[number], load(output.engine)
    batcher = Batcher(piece.X, piece.columns, output.crosses, engine)
    batch = batcher(piece.parts["all"])
    at = {"all": None, "columns": batch.touched}
    if output.crosses:
        at["crosses"] = np.searchsorted(piece.buckets, batch.crosses.touched)
    kinds = {name: table.of for name, table in model.tables.items()}
    values = {
        name: engine.gather(batch, table.value, at[table.of])
        for name, table in model.tables.items()
    }
    y, loss = output.target.of_output(piece.y, output.number), output.target.loss
    with one_blas_thread, np.errstate(over="ignore", invalid="ignore"):
        found = model.gradient(engine, batch, values, y, piece.weight, loss, shard)

    def spread(numbers, of):
        """In the order of what is touched, in memory that is not the engine's."""
        if at[of] is None:
            return np.array(numbers)
        full = np.empty(numbers.shape, numbers.dtype)
        full[at[of]] = numbers
        return full

    return Gradient(
        float(found.loss),
        {name: spread(numbers, kinds[name]) for name, numbers in found.of.items()},
        {of: spread(numbers, of) for of, numbers in found.counts.items()},
    )


def scores_of(piece, part, model, output):
    """Raw scores of the rows of a part."""
    batcher = Batcher(piece.X, piece.columns, output.crosses, load(output.engine))
    with one_blas_thread, np.errstate(over="ignore", invalid="ignore"):
        return raw_scores([model], batcher, piece.parts[part])[:, 0]


def loss_of(piece, part, output, scores):
    """Summed loss of scores, one for each row or one for all."""
    y, weight = _targets(piece, part, output)
    with np.errstate(over="ignore", invalid="ignore"):
        return float((output.target.loss.value(y, scores) * weight).sum())


def slope_of(piece, part, output, scores, shift):
    """The sum of the loss's gradients, where all scores are shifted."""
    y, weight = _targets(piece, part, output)
    return float(weight @ output.target.loss.gradient(y, scores + shift))


def _targets(piece, part, output):
    rows = piece.parts[part]
    return output.target.of_output(piece.y[rows], output.number), piece.weight[rows]


# -- what runs where the parameters are ---------------------------------------------------


class Union:
    """The rows of tables that the parts of a batch touch together; a batch to `Model.apply`.

    Parameters
    ----------
    parts : list of dict
        What `touched_by` says of each.
    engine : module
    stamps : dict of ndarray
        Scratch space for "columns" and "crosses": see `distinct` in the engine.
    """

    def __init__(self, parts, engine, stamps):
        self._rows, self._places = {"all": None}, {}
        for of, stamp in stamps.items():
            touched = [part[of] for part in parts]
            self._rows[of], places = engine.distinct(np.concatenate(touched), stamp)
            self._places[of] = np.split(places, np.cumsum([*map(len, touched)])[:-1])

    def rows(self, of):
        return self._rows[of]

    def _sum(self, parts, of):
        """Sum what the parts say of the rows that each of them touches, in their order."""
        if self._rows[of] is None:
            return reduce(add, parts)
        total = np.zeros((len(self._rows[of]), *parts[0].shape[1:]), parts[0].dtype)
        for place, part in zip(self._places[of], parts, strict=True):
            total[place] += part
        return total

    def sum(self, gradients, kinds):
        """The gradient of the whole batch; `kinds` says what the rows of each table are."""
        return Gradient(
            sum(g.loss for g in gradients),
            {name: self._sum([g.of[name] for g in gradients], of) for name, of in kinds.items()},
            {of: self._sum([g.counts[of] for g in gradients], of) for of in gradients[0].counts},
        )


def values_at(model, rows):
    """The model with nothing but some rows of its tables, by what these are rows of."""
    values = {}
    for name, table in model.tables.items():
        here = rows.get(table.of)
        values[name] = table.value.copy() if here is None else table.value.take(here, axis=0)
    return model.holding(values)


class ShardedSample:
    """Rows that are spread over shards: to the training loop what `Sample` is.

    Parameters
    ----------
    run : object
        See above.
    pieces : list
        Handles of the shards.
    slots : list of ndarray
        The slots of the columns of each.
    part : str
        Which of their rows these are.
    sizes : list of int
        How many each shard has.
    weight : float
        Of all rows.
    weighted : float
        What the loss sums up for its best constant score.
    output : Output
    """

    def __init__(self, run, pieces, slots, part, sizes, weight, weighted, output):
        self.run, self.pieces, self.slots, self.part = run, pieces, slots, part
        self.sizes, self.weight, self.weighted, self.output = sizes, weight, weighted, output
        self.engine, self.stamps = load(output.engine), {}

    def _each(self, function, *lists, urgent=False):
        parts = [self.part] * len(self.pieces)
        return self.run.start(function, self.pieces, parts, *lists, urgent=urgent)

    def _all(self, value):
        return [value] * len(self.pieces)

    # -- what the loop asks for -------------------------------------------------------

    def start(self, loss):
        return loss.start(self.weighted, self.weight)

    def scores(self, model):
        """Handles of the scores of each shard."""
        models = [values_at(model, {"columns": slots}) for slots in self.slots]
        return self._each(scores_of, models, self._all(self.output))

    def mean_loss(self, loss, scores):
        scores = scores if isinstance(scores, list) else self._all(scores)
        losses = self._each(loss_of, self._all(self.output), scores)
        return reduce(add, self.run.results(losses)) / self.weight

    def thinned(self, most):
        return self  # a few rows of each shard would cost as many messages

    def slope(self, model, loss, others):
        samples = [self, *others]
        scores = [sample.scores(model) for sample in samples]

        def slope(shift):
            handles = []
            for sample, its in zip(samples, scores, strict=True):
                output, shifts = sample._all(sample.output), sample._all(shift)
                handles += sample._each(slope_of, output, its, shifts)
            return reduce(add, self.run.results(handles))

        return slope

    @interruptible()
    def learn(self, model, loss, schedule):
        """Let a model learn from the rows once; return their mean loss."""
        sizes = {table.of: table.n_rows for table in model.tables.values() if table.of != "all"}
        self.stamps = {of: np.zeros(size + 1, np.int32) for of, size in sizes.items()}
        n, size = len(self.pieces), schedule.batch_size
        shares = [size * (s + 1) // n - size * s // n for s in range(n)]
        n_rounds = max(-(-rows // share) for rows, share in zip(self.sizes, shares, strict=True))
        numbers = [*range(n)]
        of_pass = self._all(schedule), self._all(model.history.n_passes)
        orders = self._each(order_of, *of_pass, numbers)

        def cut(first):
            rounds = self._all(first), self._all(min(_AHEAD, n_rounds - first))
            which = orders, *rounds, shares, self._all(self.output.crosses)
            pieces = self.run.start(cut_batches, self.pieces, *which)
            return pieces, self.run.start(touched_by, pieces)

        total, ahead = 0.0, cut(0)
        for first in range(0, n_rounds, _AHEAD):
            pieces, touched = ahead[0], self.run.results(ahead[1])
            if first + _AHEAD < n_rounds:
                ahead = cut(first + _AHEAD)
            for number in range(len(touched[0])):
                total += self._step(model, pieces, [of[number] for of in touched], number)
        return total / self.weight

    def _step(self, model, pieces, touched, number):
        """One step on the batches with this number; return their summed loss from before it."""
        active = [shard for shard, part in enumerate(touched) if part]
        parts = [touched[shard] for shard in active]
        some = [pieces[shard] for shard in active]
        models = [values_at(model, part) for part in parts]
        numbers, outputs = [number] * len(some), [self.output] * len(some)
        handles = self.run.start(gradient, some, numbers, models, outputs, active, urgent=True)
        # While they compute:
        union = Union(parts, self.engine, self.stamps)
        kinds = {name: table.of for name, table in model.tables.items()}
        of_union = {of: union.rows(of) for of in kinds.values()}
        held = values_at(model, of_union)
        values = {name: table.value for name, table in held.tables.items()}
        gradient_sum = union.sum(self.run.results(handles), kinds)
        model.apply(self.engine, union, values, gradient_sum)
        return gradient_sum.loss
