import os
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import settings

from skfm._engine import load

# The same test does the same in every run; longer fuzzing looks further.
settings.register_profile("repeatable", derandomize="SKFM_FUZZ_EXAMPLES" not in os.environ)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _seeded():
    """Fix what random_state=None draws from."""
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture(scope="session", params=["numpy", "numba"])
def engine_name(request):
    if not find_spec(request.param):
        pytest.skip("numba is not installed")
    return request.param


@pytest.fixture(scope="session")
def engine(engine_name):
    return load(engine_name)
