from importlib.util import find_spec

import numpy as np
import pytest

from skfm._engine import load


@pytest.fixture(autouse=True)
def _seeded():
    """The same test does the same in every run: random_state=None draws from NumPy's state."""
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(scope="session", params=["numpy", "numba"])
def engine(request):
    if not find_spec(request.param):
        pytest.skip("numba is not installed")
    return load(request.param)
