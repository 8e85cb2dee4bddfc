"""What a fit begins with: checked data, terms, and models that have all columns."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ._batch import Columns, Units, entries_per_row
from ._engine import choose, is_worth_compiling
from ._fitted import Fitted
from ._memory import Work, check_memory
from ._model import Model, largest_k, parameters_per_column
from ._threads import n_threads
from ._training import Sample
from ._units import Part, units_of


class Data(NamedTuple):
    """Checked input: canonical CSR, encoded targets, weights, numbers of the rows used."""

    X: csr_array
    y: np.ndarray
    weight: np.ndarray
    used: np.ndarray


class Start(NamedTuple):
    """What a call begins with: its data (None if elsewhere), and what models are made of.

    `before` is the model that it goes on with, if any; `terms` are those of each output.
    """

    seed: int
    target: object
    columns: Columns
    crosses: object
    terms: list
    before: Fitted | None
    data: Data | None

    @classmethod
    def of(cls, estimator, seed, target, columns, before=None, data=None):
        fields, outputs = columns.fields, range(target.n_outputs)
        crosses = estimator._make_crosses(fields)
        terms = [estimator._make_terms(fields, crosses, (seed, output)) for output in outputs]
        return cls(seed, target, columns, crosses, terms, before, data)


class Facts(NamedTuple):
    """What new models depend on in the data.

    Attributes
    ----------
    weight : float
        Of all rows; infinite in a stream.
    entries : float
        Entries per row.
    new : ndarray
        Columns that join, ascending.
    units : Units
        Theirs.
    starts : list of float
        The best constant score of each output.
    nnz : int
        Entries that a pass reads.
    """

    weight: float
    entries: float
    new: np.ndarray
    units: Units
    starts: list
    nnz: int


def grown(estimator, start, batches, first, batch_size, in_stream=False):
    """New models, or forks of those before, with the columns of `batches`.

    A column joins with its first batch, whose values fix its units. The intercepts of
    new models fit the rows `first`.
    """
    target, data, before = start.target, start.data, start.before
    rows, part = np.concatenate(batches), Part(data.X, batches, data.weight)
    new = start.columns.new_in(data.X, rows)
    of_outputs = (target.of_output(data.y, output) for output in range(target.n_outputs))
    facts = Facts(
        weight=np.inf if in_stream else float(data.weight[rows].sum()),
        entries=float(before.entries if before else entries_per_row(data.X)[batches[0]].mean()),
        new=new,
        units=units_of(lambda do, *arguments: [do(part, *arguments)], new, before is None),
        starts=[Sample(None, first, y, data.weight).start(target.loss) for y in of_outputs],
        nnz=data.X.nnz,
    )
    return models_of(estimator, start, facts, min(batch_size, len(rows)), in_stream)


def models_of(estimator, start, facts, batch_size, in_stream=False):
    """New models, or forks of those before, from what is known of the data."""
    seed, target, columns, crosses, terms, before, _ = start
    terms = [[term.for_rows_of(facts.entries) for term in its_terms] for its_terms in terms]
    settings = estimator._settings(columns.fields, facts.weight, facts.entries)
    # The size of a stream cannot be known: it is taken to be large.
    n_read = len(terms) * facts.nnz * parameters_per_column(terms[0])
    compiles = before.compiles if before else in_stream or is_worth_compiling(n_read)
    # Steps of a stream are taken back in all outputs or in none.
    together = len(terms) if in_stream else min(n_threads(estimator.n_jobs), len(terms))
    work = Work(
        n_features=0 if before else len(columns.slot_of),
        has_numbers=bool((facts.units.scale != 1).any()),
        n_columns=len(columns) + len(facts.new),
        n_rows=start.data.X.shape[0] if start.data else 0,
        entries=facts.entries,
        batch_size=batch_size,
        n_outputs=len(terms),
        n_together=together,
        refits=estimator.__sklearn_is_fitted__() and not in_stream,
    )
    check_memory(terms[0], settings, choose(estimator.engine, compiles, largest_k(terms[0])), work)
    models = []
    for output, its_terms in enumerate(terms):
        if before:
            before.models[output].check_continues(its_terms, settings)
            model = before.models[output].fork(copied=not in_stream)
            model.continue_with(its_terms, settings)
        else:
            model = Model(its_terms, settings, facts.starts[output])
        model.add_columns(facts.new)
        models.append(model)
    columns = columns.extended(facts.new, facts.units)
    return Fitted(seed, target, columns, facts.entries, compiles, crosses, models)
