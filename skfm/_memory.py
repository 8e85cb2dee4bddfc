"""How much memory a fit needs, and whether there is as much."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ._model import layouts_of, numbers_per_row
from ._tables import n_numbers
from ._training import rows_scored_together

# Numbers of a row that are kept: that of the row among those used, before and after the split, its
# weight as given and as counted, its target as encoded, for training and for validation. Where the
# intercept is set, all scores, targets and weights are laid together, and turned into gradients.
_OF_ROW = 8 * (7 + 6)

# Bytes of a column with parameters: its number in the matrix, shift and scale of its values, its
# field; and of each column or bucket of crosses: its mark in the scratch space of three batchers.
_OF_COLUMN = 8 + 2 * 8 + 4
_OF_MARKS = 3 * 4

# Numbers that an entry of a batch takes: its value, where its column is among the distinct ones,
# and the slot of that, which counts as two.
_OF_ENTRY = 4


class Work(NamedTuple):
    """What a fit works on.

    Attributes
    ----------
    n_features : int
        Columns of the matrix, if the model has yet to number them.
    has_numbers : bool
        Whether new columns have other values than 1, so that they get units.
    n_columns : int
        Columns with parameters.
    n_rows : int
        Rows that are here.
    entries : float
        Entries per row.
    batch_size : int
    n_outputs, n_together : int
        All outputs, and how many of them are trained at a time.
    refits : bool
        Whether a model from before stays until the new one is complete.
    """

    n_features: int
    has_numbers: bool
    n_columns: int
    n_rows: int
    entries: float
    batch_size: int
    n_outputs: int
    n_together: int
    refits: bool


def memory_needed(terms, settings, engine, work):
    """Bytes that training needs, how many numbers a column takes, and other parameters.

    Parameters
    ----------
    terms, settings
        See `Model`.
    engine : module
    work : Work
    """
    layouts = layouts_of(terms).values()
    numbers = {layout.name: n_numbers(layout, settings) for layout in layouts}
    per_column = sum(numbers[x.name] for x in layouts if x.of == "columns")
    others = sum(x.n_rows * numbers[x.name] for x in layouts if x.of != "columns")
    # Beside each output in training there is a copy of its best pass.
    copies = (2 if work.refits else 1) * work.n_outputs + work.n_together
    model = copies * (work.n_columns * per_column + others)
    batches = work.n_together * _of_batches(terms, numbers, engine, work)
    n_buckets = max((x.n_rows for x in layouts if x.of == "crosses"), default=0)
    kept = _OF_COLUMN * work.n_columns + _OF_ROW * work.n_rows
    kept += _OF_MARKS * max(work.n_columns, n_buckets)
    # Each column of the matrix has the number of its slot and, before there are any, a mark,
    # then its number among those that get units.
    before = (4 if work.has_numbers else 1) * work.n_features
    needed = 4 * work.n_features + max(before, 4 * (model + batches) + kept)
    return int(needed), work.n_outputs * per_column, work.n_outputs * others


def _of_batches(terms, numbers, engine, work):
    """How many numbers an output takes beside its tables, at most at a time."""
    layouts = layouts_of(terms).values()
    held_per_row = zip(*(term.held_per_row(engine) for term in terms), strict=True)
    in_scores, in_step = map(sum, held_per_row)
    n_crosses = sum(len(term.structure.get("crosses", ())) for term in terms)

    def touched(layout, n_rows):
        each = {"columns": work.entries, "crosses": n_crosses}.get(layout.of)
        n = work.n_columns if layout.of == "columns" else layout.n_rows
        return n if each is None else min(n, n_rows * each)

    def rows_of_tables(n_rows, of_all):
        """The values of what a batch touches; of tables that all batches touch `of_all`."""
        often = [of_all if x.of == "all" else 1 for x in layouts]
        return sum(n * touched(x, n_rows) * x.width for n, x in zip(often, layouts, strict=True))

    n_scored = rows_scored_together(numbers_per_row(terms), engine)
    n_scored, n_learned = min(n_scored, work.n_rows), work.batch_size
    values, scored = rows_of_tables(n_learned, 0), rows_of_tables(n_scored, 0)
    gradients, anew = rows_of_tables(n_learned, 1), 0
    if not engine.IN_PLACE or any(term.needs_rows for term in terms):
        # Parameters and states of a table, or gradients of several terms that are added up.
        anew = max(touched(x, n_learned) * numbers[x.name] for x in layouts)
    # When solvers begin, what rows of the data were turned into is gone.
    of_step = max(anew, n_learned * (in_step + _OF_ENTRY * work.entries))
    of_scores = n_scored * (in_scores + _OF_ENTRY * work.entries)
    if engine.IN_PLACE:  # rows of tables stay in scratch arrays, of training and of validation rows
        return values + gradients + 2 * scored + max(of_step, of_scores)
    return max(values + gradients + of_step, scored + of_scores)


def check_memory(terms, settings, engine, work):
    """Raise ValueError if training needs more memory than there is; see `memory_needed`."""
    needed, per_column, others = memory_needed(terms, settings, engine, work)
    available = _memory_of_machine()
    if available and needed > available:
        raise ValueError(
            f"The model needs {needed / 2**30:.1f} GiB, but there are "
            f"{available / 2**30:.1f} GiB of memory. {work.n_columns} columns occur, and each "
            f"takes {per_column} numbers, the solver's state included"
            + (f"; other parameters take {others} numbers" if others else "")
            + ". Lower k, batch_size or the sizes of layers, merge fields (fields=), or drop "
            "rare columns."
        )


def check_columns(n_columns, what):
    """Raise ValueError, which begins with `what`, if there is no memory for so many columns.

    Each of them takes up to 16 bytes, whether it occurs or not.
    """
    available, needed = _memory_of_machine(), 16 * n_columns
    if available and needed > available:
        raise ValueError(
            f"{what}, which take {needed / 2**30:.1f} GiB, but there are "
            f"{available / 2**30:.1f} GiB of memory. Hash them into fewer, or number them anew."
        )


def _memory_of_machine():
    """Bytes of memory of this machine or container; None where it does not say."""
    limits = []
    with suppress(AttributeError, ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(ValueError, OSError):
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits, default=None)
