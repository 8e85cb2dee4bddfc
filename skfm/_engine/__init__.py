"""Engines: modules with the same functions on one mini-batch.

`numpy` is the reference and always there, `numba` compiles the same as loops.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec

from .._warnings import warn_user

# Loops over more factors would be compiled for minutes.
_MAX_COMPILED_K = 256

# Parameters that a pass reads (entries times parameters per column) below which NumPy ends a
# whole fit before numba has begun.
_WORTH_COMPILING = 30_000_000


def is_worth_compiling(n_parameters):
    """Whether "auto" takes numba for a fit that reads so many parameters in a pass."""
    return n_parameters >= _WORTH_COMPILING


def choose(asked, compiles, k):
    """The engine of a model.

    Parameters
    ----------
    asked : {"auto", "numpy", "numba"}
        The estimator's parameter.
    compiles : bool
        Whether "auto" takes numba for this model, where it is installed.
    k : int
        Number of factors.
    """
    if k > _MAX_COMPILED_K or (asked == "auto" and not compiles):
        return load("numpy")
    return load(asked)


@cache
def load(name):
    """The engine of a name; "auto" is numba where it is installed, else NumPy.

    Raises
    ------
    ValueError
        If there is no such engine.
    ImportError
        If `name` is "numba" and it cannot be imported.

    Warns
    -----
    UserWarning
        If `name` is "auto" and numba is installed, but cannot be imported.
    """
    if name not in ("auto", "numpy", "numba"):
        raise ValueError(f"engine must be 'auto', 'numpy' or 'numba', got {name!r}.")
    if name == "numpy" or (name == "auto" and not find_spec("numba")):
        return import_module(".numpy", __name__)
    try:
        return import_module(".numba", __name__)
    except Exception as error:  # llvmlite raises OSError where its library is missing
        if name == "numba":
            raise ImportError(
                f"engine='numba' is not available: {error}. Install it (pip install 'skfm[numba]') "
                "or choose engine='numpy'."
            ) from error
        warn_user(
            f"numba is installed, but cannot be imported ({error}). Falling back to NumPy; "
            "pass engine='numpy' to silence this."
        )
        return import_module(".numpy", __name__)
