import gc
import os
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import settings

from skfm._engine import load

from .common import ESTIMATORS, scores, small_clicks, targets

# The same test does the same in every run; longer fuzzing looks further.
settings.register_profile("repeatable", derandomize="SKFM_FUZZ_EXAMPLES" not in os.environ)
settings.load_profile("repeatable")


def pytest_collection_finish():
    """Thousands of tests are collected: let the garbage collector not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="package")
def fast_and_compiled():
    """Let small models take few steps, and "auto" be numba for them, too.

    So it is for the code of pages. That of docstrings, which is no part of this package, runs as
    users have it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skfm._base._SMALLEST_BATCH", 8)
        patch.setattr("skfm._engine._WORTH_COMPILING", 0)
        yield


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


@pytest.fixture(params=ESTIMATORS, ids=lambda cls: cls.__name__)
def fitted(request):
    """A fitted estimator, its data, and a check that it is still as it was."""
    clicks = small_clicks(60)
    y = targets(request.param(), clicks)
    model = request.param(max_iter=2, random_state=0).fit(clicks.X, y)
    before = scores(model, clicks.X)
    yield model, clicks.X, y
    model.set_params(**request.param(max_iter=2, random_state=0).get_params())
    np.testing.assert_array_equal(scores(model, clicks.X), before)
