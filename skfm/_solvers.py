"""Solvers, and the parameter blocks that they update. Neither knows of models."""

import numpy as np

_CHUNK_ROWS = 1 << 14


class Solver:
    """Settings of a solver; all but `beta` are numbers, or one per column of the table.

    `beta` is FTRL's.
    """

    def __init__(self, learning_rate, l1=0.0, l2=0.0, beta=1.0):
        self.learning_rate, self.beta = np.atleast_2d(learning_rate), beta
        self.l1, self.l2 = np.atleast_2d(l1), np.atleast_2d(l2)

    def reads_states_as(self, other):
        """Whether states mean the same weights under other settings; L2 does not matter."""
        names = ("learning_rate", "beta", "l1")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)


class AdaGrad(Solver):
    """AdaGrad with the composite L1 step (Duchi et al. 2011).

    State is one number per weight, the sum of squared gradients, which starts at 1.
    """

    n_states = 1

    def start(self, value):
        return [np.ones_like(value)]

    def adopt(self, value, total):
        """Go on with the state that the same solver left under other settings."""

    def update(self, engine, arrays, rows, values, grad, count):
        engine.adagrad(*arrays, rows, values, grad, count, self.learning_rate, self.l1)


class FTRL(Solver):
    """FTRL-Proximal (McMahan et al. 2013).

    State is two numbers per weight, z and n. z starts where the closed form gives the
    initial value; from zero, the first update would erase the initialization.
    """

    n_states = 2

    def start(self, value):
        state = [np.zeros_like(value), np.zeros_like(value)]
        self.adopt(value, *state)
        return state

    def adopt(self, value, z, n):
        """Set z so that the closed form under the present settings gives `value`.

        Where that is 0, every z up to ±l1 does.
        """
        exact = -value * ((self.beta + np.sqrt(n)) / self.learning_rate) - np.sign(value) * self.l1
        z[:] = np.where(value == 0, np.clip(z, -self.l1, self.l1), exact)

    def update(self, engine, arrays, rows, values, grad, count):
        engine.ftrl(*arrays, rows, values, grad, self.learning_rate, self.beta, self.l1)


SOLVERS = {"adagrad": AdaGrad, "ftrl": FTRL}


class Block:
    """A group of parameters, in rows, and beside each the state of its solver.

    The first of `arrays` is the value, the others are the solver's state. They may have
    spare rows at the end, so that appending costs little.
    """

    def __init__(self, solver, values):
        self.solver, self.n_rows = solver, 0
        self.arrays = [values[:0]] * (1 + solver.n_states)
        self.append(values)

    @property
    def value(self):
        return self.arrays[0][: self.n_rows]

    def append(self, values):
        """Add rows with the given initial values. They count once all of them are there."""
        end = self.n_rows + len(values)
        if end > len(self.arrays[0]):
            # The first rows get exact room, as most models never grow again.
            shape = max(end, 2 * self.n_rows), values.shape[1]
            larger = [np.empty(shape, values.dtype) for _ in self.arrays]
            for new, old in zip(larger, self.arrays, strict=True):
                new[: self.n_rows] = old[: self.n_rows]
            self.arrays = larger
        for first in range(0, len(values), _CHUNK_ROWS):  # the state's formula has temporaries
            chunk = values[first : first + _CHUNK_ROWS]
            to = slice(self.n_rows + first, self.n_rows + first + len(chunk))
            for array, rows in zip(self.arrays, [chunk, *self.solver.start(chunk)], strict=True):
                array[to] = rows
        self.n_rows = end

    def fork(self, copied):
        """A block that can grow and change its solver by itself; its rows are copies or ours."""
        other = object.__new__(Block)  # what is pickled has no spare rows
        other.__dict__ = self.__dict__ | ({"arrays": self.copy()} if copied else {})
        return other

    def change_solver(self, solver):
        """Go on with the same solver under other settings."""
        adopts = not solver.reads_states_as(self.solver)
        # A model that was loaded as a read-only memory map is trained on a copy.
        if adopts or not all(array.flags.writeable for array in self.arrays):
            self.arrays = self.copy()
        if adopts:
            solver.adopt(*self.arrays)
        self.solver = solver

    def set(self, value):
        """Set all parameters to `value`, and the states such that they agree."""
        self.value[:] = value
        self.solver.adopt(*(array[: self.n_rows] for array in self.arrays))

    def penalize(self, engine, values, grad, count):
        """Add the L2 penalty to a gradient; return whether `update` can use it."""
        return engine.add_penalty(grad, values, count, self.solver.l2)

    def update(self, engine, rows, values, grad, count):
        """Take one step on `rows` (None: on all), whose values are `values`."""
        self.solver.update(engine, self.arrays, rows, values, grad, count)

    def copy(self, saved=None):
        """Copy all rows, into the arrays `saved` if there are any."""
        if saved is None:
            return [array[: self.n_rows].copy() for array in self.arrays]
        for old, array in zip(saved, self.arrays, strict=True):
            np.copyto(old, array[: self.n_rows])
        return saved

    def restore(self, saved):
        for array, old in zip(self.arrays, saved, strict=True):
            array[: self.n_rows] = old

    def __getstate__(self):
        return {**self.__dict__, "arrays": [array[: self.n_rows] for array in self.arrays]}


class Undo:
    """What some steps overwrote, so that they can be taken back."""

    def __init__(self):
        self._saved, self._is_saved = [], {}

    def note(self, block, rows):
        """Keep these rows (None: all) as they are, unless they are kept already."""
        kept = self._is_saved.setdefault(id(block), np.zeros(block.n_rows, bool))
        rows = np.arange(block.n_rows) if rows is None else rows
        rows = rows[~kept[rows]]
        if len(rows):
            self._saved.append((block, rows, [array.take(rows, axis=0) for array in block.arrays]))
            kept[rows] = True

    def take_back(self):
        for block, rows, saved in self._saved:
            for array, old in zip(block.arrays, saved, strict=True):
                array[rows] = old
