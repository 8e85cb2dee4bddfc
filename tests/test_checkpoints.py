"""A checkpoint that is being replaced survives SIGKILL at any moment.

``SKFM_FUZZ_EXAMPLES=200 pytest tests/test_checkpoints.py`` tries more moments.
"""

import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import joblib
import numpy as np
import pytest

from skfm import FFMClassifier
from skfm.datasets import make_clicks

N_MOMENTS = int(os.environ.get("SKFM_FUZZ_EXAMPLES", 8))
TIMEOUT = 60 + 5 * N_MOMENTS  # seconds, many times what it takes: a hang fails

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")]


def rows():
    return make_clicks(100, n_fields=4, n_categories=12, random_state=0)


def train(path):
    """Go on from the last checkpoint, for ever; each replaces the one before it at once."""
    clicks = rows()
    state = {"chunk": 0, "model": FFMClassifier(4, fields=4, random_state=0, engine="numpy")}
    if path.exists():
        state = joblib.load(path)
    while True:
        state["model"].partial_fit(clicks.X, clicks.y, classes=[0, 1])
        state["chunk"] += 1
        joblib.dump(state, f"{path}.new")
        os.replace(f"{path}.new", path)


def saved_at(path):
    return path.stat().st_mtime_ns if path.exists() else 0


def fork(function, *args):
    """Call a function in a new process, which ends with it; return the number of the process."""
    process = os.fork()
    if not process:
        try:
            function(*args)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return process


def kill_often(path, n_moments):
    """Kill trainings one after the other; print how far each came."""
    rng, X = np.random.default_rng(0), rows().X
    for _ in range(n_moments):
        before = saved_at(path)
        process = fork(train, path)
        while saved_at(path) == before:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                raise RuntimeError(f"The training ended before it was killed: status {status}.")
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))  # one chunk and its checkpoint take less
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status), f"The training ended before it was killed: {status}."
        state = joblib.load(path)
        assert np.isfinite(state["model"].predict_proba(X)).all()
        print(state["chunk"])


def test_sigkill_never_corrupts_the_last_checkpoint(tmp_path):
    command = [sys.executable, "-m", __name__, str(tmp_path / "checkpoint"), str(N_MOMENTS)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    chunks = [int(line) for line in done.stdout.split()]
    assert len(chunks) == N_MOMENTS
    assert chunks == sorted(chunks)
    assert chunks[-1] >= N_MOMENTS


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_training_that_fails_is_no_hang(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "train", lambda path: 1 / 0)
    with pytest.raises(RuntimeError, match="The training ended before it was killed"):
        kill_often(tmp_path / "checkpoint", 1)


if __name__ == "__main__":
    kill_often(Path(sys.argv[1]), int(sys.argv[2]))
