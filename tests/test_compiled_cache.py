"""Compiled code is kept until any of the files that it is made of changes."""

import shutil
import sys
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import skfm

pytestmark = pytest.mark.skipif(not find_spec("numba"), reason="numba is not installed")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that can be imported as `copied`."""
    path = tmp_path / "copied"
    shutil.copytree(Path(skfm.__file__).parent, path, ignore=lambda *_: ["__pycache__"])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    yield path
    forget()


def forget():
    """Let the next import read the files again, as in a new process."""
    for name in [name for name in sys.modules if name.split(".")[0] == "copied"]:
        del sys.modules[name]
    invalidate_caches()


def run():
    """Whether a sum of squares is below the limit, and whether its kernel was in the cache.

    The sum comes from `vectors.py` and the limit from `numpy.py`, the kernel from `numba.py`.
    """
    forget()
    engine = import_module("copied._engine.numba")
    gradient = np.full((1, 16), 2.0)
    below = engine.add_penalty(gradient, np.zeros((1, 16)), np.ones(1), np.zeros((1, 16)))
    return below, sum(engine._add_penalty.stats.cache_hits.values()) == 1


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="caches are elsewhere")


@pytest.mark.parametrize(
    ("file", "old", "new", "read_only"),
    [
        ("vectors.py", "Constant(kind.element, 0)", "Constant(kind.element, 1e31)", False),
        pytest.param("numpy.py", "MAX_SQUARE = 1e30", "MAX_SQUARE = 60", True, marks=on_linux),
    ],
)
def test_an_edit_of_another_file_is_noticed(package, tmp_path, file, old, new, read_only):
    folder = package / "_engine" / "__pycache__"
    if read_only:
        folder.touch()  # a file, so that no folder can be made
        folder = tmp_path / "home"
    assert run() == (True, False)
    assert list(folder.rglob("*.nbc"))
    assert run() == (True, True)
    edited = package / "_engine" / file
    source = edited.read_text()
    assert source.count(old) == 1
    edited.write_text(source.replace(old, new))
    assert run() == (False, False)
    assert run() == (False, True)


def test_a_numba_that_marks_its_cache_in_another_way_compiles(monkeypatch):
    kernels = import_module("skfm._engine.kernels")
    monkeypatch.setattr(kernels, "njit", lambda **options: lambda function: function)
    assert kernels.compiled(len) is len
