import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _seeded():
    """The same test does the same in every run: random_state=None draws from NumPy's state."""
    np.random.seed(0)  # noqa: NPY002
