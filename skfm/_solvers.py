"""Solvers: how parameters follow their gradients. They know nothing of models."""

import numpy as np


class Solver:
    """Base class of solvers.

    A table of parameters (see `_tables`) asks its solver for the states beside its values,
    and hands it the rows that a batch touches with their gradient. To add a solver, write a
    subclass and enter it in `SOLVERS`; estimators then accept its name.

    Parameters
    ----------
    learning_rate, l1, l2 : float or ndarray of shape (width,)
        Hyperparameters that all solvers have: one number, or one for each number in a row.
        The gradient already contains L2; the solver ignores it.
    **own : float
        Hyperparameters of the solver, by their names in `parameters`.

    Attributes
    ----------
    states : tuple of str
        Names of the states. Each is an array like the values, of float32.
    parameters : tuple of str
        Names of the solver's own hyperparameters, which are parameters of the estimators.
    """

    states = ()
    parameters = ()

    def __init__(self, learning_rate, l1=0.0, l2=0.0, **own):
        self.learning_rate = np.atleast_2d(learning_rate)
        self.l1, self.l2 = np.atleast_2d(l1), np.atleast_2d(l2)
        self.own = own

    def start(self, values):
        """States of new rows with these values, a list; none of them may be `values` itself."""
        raise NotImplementedError

    def adopt(self, values, *states):
        """Set the states, in place, to what stands for `values` under the present settings.

        Called where training goes on under other settings, and where values were set by
        something else than a step.
        """

    def update(self, engine, arrays, rows, values, grad, count, step):
        """Take one step, in place.

        Parameters
        ----------
        engine : module
            Whose arithmetic to use.
        arrays : list of ndarray of shape (n_rows, width)
            All values of the table, then its states.
        rows : ndarray of shape (U,) or None
            The rows that the batch touches, each once; None for all.
        values, grad : ndarray of shape (U, width)
            Their values, and the gradient of the batch's summed loss with its L2 penalty.
            `grad` may be overwritten; `values` may be those of the table itself.
        count : ndarray of shape (U,) or (1,)
            How often each row occurs in the batch, weighted.
        step : int
            Number of steps that the model made before, over all fits.
        """
        raise NotImplementedError

    def means_the_same_as(self, other):
        """Whether states mean the same values under the settings of `other`; L2 does not matter."""
        return self.own == other.own and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("learning_rate", "l1")
        )


class AdaGrad(Solver):
    """AdaGrad with the composite L1 step (Duchi et al. 2011).

    The state is one number per parameter, the sum of squared gradients. It starts at 1.
    """

    states = ("accumulator",)

    def start(self, values):
        return [np.ones_like(values)]

    def means_the_same_as(self, other):
        return True  # sums of squares, whatever the settings

    def update(self, engine, arrays, rows, values, grad, count, step):
        engine.adagrad(*arrays, rows, values, grad, count, self.learning_rate, self.l1)


class FTRL(Solver):
    """FTRL-Proximal (McMahan et al. 2013).

    The states are two numbers per parameter. z starts where the closed form gives the
    initial value; from zero, the first update would erase the initialization.
    """

    states = ("z", "n")
    parameters = ("ftrl_beta",)

    @property
    def beta(self):
        return self.own.get("ftrl_beta", 1.0)

    def start(self, values):
        states = [np.zeros_like(values), np.zeros_like(values)]
        self.adopt(values, *states)
        return states

    def adopt(self, values, z, n):
        # Where a value is 0, every z up to ±l1 stands for it.
        root = (self.beta + np.sqrt(n)) / self.learning_rate
        exact = -values * root - np.sign(values) * self.l1
        z[:] = np.where(values == 0, np.clip(z, -self.l1, self.l1), exact)

    def update(self, engine, arrays, rows, values, grad, count, step):
        engine.ftrl(*arrays, rows, values, grad, self.learning_rate, self.beta, self.l1)


SOLVERS = {"adagrad": AdaGrad, "ftrl": FTRL}
