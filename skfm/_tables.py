"""Tables: named groups of parameters in rows, each beside the state of its solver."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ._solvers import SOLVERS

# How many numbers `append` makes at a time: few enough to stay in the cache.
_CHUNK = 1 << 16


class Layout(NamedTuple):
    """The definition of a table, before it has any rows.

    Attributes
    ----------
    name : str
    of : {"columns", "crosses", "all"}
        What a row stands for: a column seen in training or a bucket of crosses. With "all",
        rows stand for nothing in the data, and every batch touches all of them.
    groups : dict
        Width of each group in a row. A table has several groups where kernels read them
        together.
    initial : callable
        ``initial(rows)`` gives the values of the rows with these numbers, float32 of shape
        (len(rows), width). Rows of columns have the numbers of their columns in the matrix.
    n_rows : int
        Number of rows. It is 0 for columns, which join one by one.
    """

    name: str
    of: str
    groups: dict
    initial: Callable
    n_rows: int = 0

    @property
    def width(self):
        return sum(self.groups.values())


class Setting(NamedTuple):
    """The hyperparameters of a group; `own` are those of the solver."""

    solver: str
    learning_rate: float
    l1: float
    l2: float
    own: dict

    @classmethod
    def of(cls, estimator, solver, learning_rate, l1=0.0, l2=0.0):
        own = {name: getattr(estimator, name) for name in SOLVERS[solver].parameters}
        return cls(solver, learning_rate, l1, l2, own)


def solver_of(layout, settings):
    """The solver of a table. Its groups share the solver, but may differ in its settings."""
    chosen, widths = [settings[group] for group in layout.groups], [*layout.groups.values()]

    def number(name):
        numbers = [getattr(setting, name) for setting in chosen]
        return numbers[0] if len(numbers) == 1 else np.repeat(numbers, widths)

    numbers = {name: number(name) for name in ("learning_rate", "l1", "l2")}
    return SOLVERS[chosen[0].solver](**numbers, **chosen[0].own)


def n_numbers(layout, settings):
    """How many numbers a row takes, including the states of its solver."""
    states = {len(SOLVERS[settings[group].solver].states) for group in layout.groups}
    return layout.width * (1 + max(states))


class Table:
    """Parameters in rows. The first of `arrays` has the values, the others the states.

    Arrays may have spare rows at the end, so that appending costs little.
    """

    def __init__(self, layout, solver):
        self.of, self.solver, self.n_rows = layout.of, solver, 0
        self.arrays = [layout.initial(np.arange(0))] * (1 + len(solver.states))
        self.append(np.arange(layout.n_rows), layout.initial)

    @property
    def value(self):
        return self.arrays[0][: self.n_rows]

    @property
    def _rows(self):
        return [array[: self.n_rows] for array in self.arrays]

    def append(self, rows, initial):
        """Add rows with the values ``initial(rows)``. They count only once all are in place."""
        end, width = self.n_rows + len(rows), self.arrays[0].shape[1]
        if end > len(self.arrays[0]):
            # The first rows get exactly the room they need, as most models never grow again.
            shape = max(end, 2 * self.n_rows), width
            larger = [np.empty(shape, array.dtype) for array in self.arrays]
            for new, old in zip(larger, self.arrays, strict=True):
                new[: self.n_rows] = old[: self.n_rows]
            self.arrays = larger
        step = 1 + _CHUNK // max(width, 1)
        for first in range(0, len(rows), step):
            values = initial(rows[first : first + step])
            to = slice(self.n_rows + first, self.n_rows + first + len(values))
            for array, new in zip(self.arrays, [values, *self.solver.start(values)], strict=True):
                array[to] = new
        self.n_rows = end

    def fork(self, copied):
        """A table that grows and changes its solver independently; it may share our rows."""
        other = object.__new__(Table)  # what is pickled has no spare rows
        other.__dict__ = self.__dict__ | ({"arrays": self.copy()} if copied else {})
        return other

    def holding(self, values):
        """A table of these values, without a solver."""
        other = object.__new__(Table)
        other.of, other.solver, other.n_rows, other.arrays = self.of, None, len(values), [values]
        return other

    def change_solver(self, solver):
        """Continue with the same kind of solver under other settings."""
        adopts = not solver.means_the_same_as(self.solver)
        # A model loaded as a read-only memory map continues on a copy.
        if adopts or not all(array.flags.writeable for array in self.arrays):
            self.arrays = self.copy()
        if adopts:
            solver.adopt(*self.arrays)
        self.solver = solver

    def set(self, values):
        """Set all values, and make the states agree with them."""
        self.value[:] = values
        self.solver.adopt(*self._rows)

    def copy(self, saved=None):
        """Copy all rows, into the arrays `saved` if there are any."""
        if saved is None:
            return [array.copy() for array in self._rows]
        for old, array in zip(saved, self._rows, strict=True):
            np.copyto(old, array)
        return saved

    def restore(self, saved):
        for array, old in zip(self._rows, saved, strict=True):
            array[:] = old

    def __getstate__(self):
        return {**self.__dict__, "arrays": self._rows}


class Undo:
    """What some steps overwrote, so that they can be taken back."""

    def __init__(self):
        self._saved, self._is_saved = [], {}

    def note(self, table, rows):
        """Save these rows (None: all) as they are now, unless they are saved already."""
        if id(table) not in self._is_saved:
            self._is_saved[id(table)] = np.zeros(table.n_rows, bool)
        kept = self._is_saved[id(table)]
        rows = np.arange(table.n_rows) if rows is None else rows
        rows = rows[~kept[rows]]
        if len(rows):
            self._saved.append((table, rows, [array.take(rows, axis=0) for array in table.arrays]))
            kept[rows] = True

    def take_back(self):
        for table, rows, saved in self._saved:
            for array, old in zip(table.arrays, saved, strict=True):
                array[rows] = old
