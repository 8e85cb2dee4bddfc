"""The example that trains from files, killed and resumed."""

import re
import runpy
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "out_of_core.py"
CHUNK_ROWS = 512

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or not EXAMPLE.exists(), reason="needs a checkout, and Unix"
)


def command(folder):
    sizes = ["--rows", str(8 * CHUNK_ROWS + 1), "--chunk-rows", str(CHUNK_ROWS)]
    return [sys.executable, EXAMPLE, "--folder", folder, *sizes]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder, and the last checkpoint, of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("parquet")
    subprocess.run(command(folder), check=True, stdout=subprocess.PIPE)
    state = joblib.load(folder / "checkpoint.joblib")
    assert state["chunk"] == 9
    assert np.mean(state["losses"][-2:]) < state["losses"][0] - 0.01
    return folder, state


def assert_same(state, expected):
    assert state["losses"] == expected["losses"]
    for attribute in ("coef_", "intercept_", "factors_"):
        np.testing.assert_array_equal(
            getattr(state["model"], attribute), getattr(expected["model"], attribute)
        )


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(uninterrupted):
    folder, expected = uninterrupted
    checkpoint = folder / "checkpoint.joblib"
    checkpoint.unlink()
    with subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if re.match(r" *5 ", line):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert joblib.load(checkpoint)["chunk"] == 4
    again = subprocess.run(command(folder), check=True, stdout=subprocess.PIPE, text=True)
    assert re.findall(r"^ *(\d+) ", again.stdout, re.MULTILINE)[:2] == ["4", "5"]
    assert_same(joblib.load(checkpoint), expected)


@pytest.mark.parametrize("source", ["ffm", "csr"])
def test_every_source_trains_the_same_model_and_can_start_anywhere(tmp_path, uninterrupted, source):
    example, path = runpy.run_path(str(EXAMPLE)), tmp_path / f"clicks.{source}"
    chunks = example["CHUNKS"][source]
    example["generate"](path, source, 8 * CHUNK_ROWS + 1, CHUNK_ROWS)
    example["train"](partial(chunks, path, CHUNK_ROWS), tmp_path / "checkpoint.joblib")
    assert_same(joblib.load(tmp_path / "checkpoint.joblib"), uninterrupted[1])
    every, later = (list(chunks(path, CHUNK_ROWS, start)) for start in (0, 6))
    assert len(every) == 9
    for (X, y), (X_later, y_later) in zip(every[6:], later, strict=True):
        np.testing.assert_array_equal(X_later.indices, X.indices)
        np.testing.assert_array_equal(y_later, y)
