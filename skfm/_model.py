"""The model of one output: a bias and a sum of terms, over named tables."""

import copy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ._graph import Symbols
from ._tables import Layout, Table, solver_of
from ._terms import Evaluation, filled


@dataclass
class History:
    """What happened in training so far."""

    n_passes: int = 0
    loss_curve: list = field(default_factory=list)
    validation_scores: list = field(default_factory=list)
    best_pass: int = 0
    outcome: str = ""
    is_worse: bool = False  # than the average of the targets, on the rows watched
    follows_last: bool = False  # as is_worse, on the rows before those held out

    def copy(self):
        curves = {name: [*getattr(self, name)] for name in ("loss_curve", "validation_scores")}
        return replace(self, **curves)


class Gradient(NamedTuple):
    """What a batch says of the parameters: the first half of a step.

    Attributes
    ----------
    loss : float
        Summed, weighted loss of the rows.
    of : dict of ndarray
        For each table the gradient of that sum in the rows that the batch touches.
    counts : dict of ndarray
        How often these rows occur, weighted, by what they stand for.
    """

    loss: float
    of: dict
    counts: dict


def layouts_of(terms, start=0.0):
    """The layouts of all tables by name. Terms that name the same table share it."""
    found = {}
    for layout in (layout for term in terms for layout in term.layouts()):
        first = found.setdefault(layout.name, layout)
        if (first.of, first.groups, first.n_rows) != (layout.of, layout.groups, layout.n_rows):
            raise ValueError(f"Two terms mean different tables by the name {layout.name!r}.")
    return found | {"bias": Layout("bias", "all", {"bias": 1}, filled(1, start), 1)}


def parameters_per_column(terms):
    """How many parameters a column has, without the states of solvers."""
    return sum(x.width for x in layouts_of(terms).values() if x.of == "columns")


def numbers_per_row(terms):
    """How many numbers a row of the data is turned into."""
    return sum(term.per_row for term in terms)


def largest_k(terms):
    """The largest number of factors, 0 of a linear model."""
    return max(term.k for term in terms)


class Model:
    """One output.

    Parameters
    ----------
    terms : list of Term
    settings : dict of Setting
        The hyperparameters of each group.
    start : float
        Initial bias.
    """

    def __init__(self, terms, settings, start):
        self.terms, self.n_steps, self.history = terms, 0, History()
        layouts = layouts_of(terms, start)
        self.tables = {name: Table(x, solver_of(x, settings)) for name, x in layouts.items()}

    @property
    def bias(self):
        return self.tables["bias"].value[0, 0]

    @property
    def per_row(self):
        return numbers_per_row(self.terms)

    @property
    def per_column(self):
        """How many parameters a column has."""
        return parameters_per_column(self.terms)

    @property
    def needs_rows(self):
        return any(term.needs_rows for term in self.terms)

    # -- the two halves of a step, and prediction -------------------------------------

    def gather(self, engine, batch):
        """The values of the rows that a batch touches, for each table."""
        batch.renew_scratch()
        return {
            name: engine.gather(batch, table.value, batch.rows(table.of))
            for name, table in self.tables.items()
        }

    def scores(self, engine, batch, values, step=None, part=0):
        """Raw scores as float64, and what `gradient` needs again."""
        evaluation, memories = Evaluation(engine, batch, values, step, part), []
        total = None
        for term in self.terms:
            score, memory = term.forward(evaluation)
            total = score if total is None else total + score
            memories.append(memory)
        return total + values["bias"][0, 0].astype(np.float64), (evaluation, memories)

    def gradient(self, engine, batch, values, y, weight, loss, part=0):
        """The first half of a step: a function of the batch, these values and the step's number.

        The gradients of several batches, each a `part` of one step by its number, add up.
        """
        score, (evaluation, memories) = self.scores(engine, batch, values, self.n_steps, part)
        total = weight @ loss.value(y, score)
        dtype = values["bias"].dtype
        delta, weight = (weight * loss.gradient(y, score)).astype(dtype), weight.astype(dtype)
        for term, memory in zip(self.terms, memories, strict=True):
            term.backward(evaluation, memory, delta)
        evaluation.add("bias", delta.sum(keepdims=True)[:, None])
        kinds = dict.fromkeys(table.of for table in self.tables.values())
        counts = {of: batch.count(engine, of, weight) for of in kinds}
        return Gradient(total, evaluation.gradients(), counts)

    def step(self, engine, batch, y, weight, loss, undo=None):
        """Both halves of a step; return the summed loss from before it."""
        values = self.gather(engine, batch)
        gradient = self.gradient(engine, batch, values, y, weight, loss)
        self.apply(engine, batch, values, gradient, undo)
        return gradient.loss

    def apply(self, engine, batch, values, gradient, undo=None):
        """The second half of a step: the solvers follow a gradient in the rows of a batch.

        An `undo` is told beforehand what the step overwrites.

        Raises
        ------
        FloatingPointError
            If the gradient is not finite, before any table is changed.
        """
        work = [
            (
                table,
                batch.rows(table.of),
                values[name],
                gradient.of[name],
                gradient.counts[table.of],
            )
            for name, table in self.tables.items()
        ]
        usable = [
            engine.add_penalty(grad, value, count, table.solver.l2)
            for table, _, value, grad, count in work
        ]
        if not np.isfinite(gradient.loss) or not all(usable):
            raise FloatingPointError("the loss or its gradient is no longer finite")
        if undo:
            for table, rows, *_ in work:
                undo.note(table, rows)
        for table, rows, *arrays in work:
            table.solver.update(engine, table.arrays, rows, *arrays, self.n_steps)
        self.n_steps += 1

    # -- growing, going on, going back ------------------------------------------------

    def add_columns(self, columns):
        """Give rows to new columns, numbered as in the matrix."""
        for name, layout in layouts_of(self.terms).items():
            if layout.of == "columns":
                self.tables[name].append(columns, layout.initial)

    def fork(self, copied):
        """A model that goes on from here and leaves this one as it is.

        Only steps change the rows of this one, unless they are `copied`; an `Undo` takes
        those back.
        """
        other = copy.copy(self)
        other.tables = {name: table.fork(copied) for name, table in self.tables.items()}
        other.history = self.history.copy()
        return other

    def check_continues(self, terms, settings):
        """Raise ValueError if the parameters or states would not fit other settings."""
        before, after = (
            {name: value for term in of for name, value in term.structure.items()}
            for of in (self.terms, terms)
        )
        names = before | after
        changed = [name for name in names if before.get(name) != after.get(name)]
        for name, layout in layouts_of(terms).items():
            kind = type(solver_of(layout, settings))
            if name in self.tables and type(self.tables[name].solver) is not kind:
                changed.append("solver")
                break
        if changed:
            raise ValueError(
                f"{' and '.join(changed)} cannot change where training continues; fit without "
                "warm_start begins anew."
            )

    def continue_with(self, terms, settings):
        """Take on new settings that `check_continues` has let pass."""
        self.terms = terms
        for name, layout in layouts_of(terms).items():
            self.tables[name].change_solver(solver_of(layout, settings))

    def holding(self, values):
        """The same model with these values of its tables instead, and no states of solvers.

        It gives scores and gradients; it takes no steps.
        """
        other = copy.copy(self)
        other.tables = {name: self.tables[name].holding(these) for name, these in values.items()}
        other.history = None
        return other

    def copy(self, saved=None):
        """Copy all parameters and states, into `saved` if it is given."""
        saved = saved or {}
        return {name: table.copy(saved.get(name)) for name, table in self.tables.items()}

    def restore(self, saved):
        for name, table in self.tables.items():
            table.restore(saved[name])

    # -- looking at it ----------------------------------------------------------------

    def check_covers(self, batcher):
        """Raise RuntimeError if the tables have fewer rows than the batches may name.

        Compiled kernels would read and write past their ends.
        """
        n_buckets = batcher.crosses.n_buckets if batcher.crosses else 0
        least = {"columns": batcher.n_slots, "crosses": n_buckets, "all": 0}
        if any(table.n_rows < least[table.of] for table in self.tables.values()):
            raise RuntimeError(
                "The model is damaged: it has fewer parameters than columns. Fit it anew, or "
                "load it again."
            )

    def attributes(self, columns):
        """The parameters as users see them, by name."""
        values, seen = self._values(columns), {"constant": 0.0}
        for term in self.terms:
            term.attributes(columns, values, seen)
        return seen

    def _values(self, columns):
        """The whole tables."""
        # Another thread may have given rows to columns that have not joined yet.
        return {
            name: table.value[: len(columns)] if table.of == "columns" else table.value
            for name, table in self.tables.items()
        }

    def graph(self, entries):
        """Write the raw scores of some rows into a graph of ONNX; return their name."""
        symbols = Symbols(entries, self._values(entries.fitted.columns))
        scores = [term.graph(symbols) for term in self.terms]
        return entries.graph.total([*scores, symbols["bias"][0].astype(float)])
