"""Checkpoints: what a fit needs to go on after its process was killed, in one file."""

import os
import pickle
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from joblib import hash as digest_of

_DIGEST = sha256().digest_size


class _Hashed:
    """A file to write to, and the digest of what was written."""

    def __init__(self, file):
        self._file, self.digest = file, sha256()

    def write(self, content):
        self.digest.update(content)
        return self._file.write(content)


class Checkpoint:
    """A file that holds where a fit stands after its last pass.

    It is replaced as a whole, so that there is a complete one at any time.

    Parameters
    ----------
    path : str or os.PathLike
    settings : object
        What another fit would differ in.

    Raises
    ------
    ValueError
        If the file is of a fit with other settings, damaged or no checkpoint, or cannot be written.
    """

    def __init__(self, path, settings):
        self.path = Path(path).expanduser()
        self._new = self.path.with_name(f"{self.path.name}.new") if self.path.name else self.path
        self._state = {"settings": digest_of(settings), "seed": None, "data": None, "outputs": {}}
        try:
            self._new.touch()
            self._new.unlink()
        except OSError as error:
            raise ValueError(f"checkpoint={str(path)!r} cannot be written: {error}.") from error
        if not self.path.exists():
            return
        try:
            content = self.path.read_bytes()
            if sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
                raise ValueError("it is damaged")
            found = pickle.loads(content)
            same = found["settings"] == self._state["settings"]
        except Exception as error:  # whatever the bytes make of pickle
            raise ValueError(
                f"{self.path} is not a checkpoint of this version of skfm ({error!r}). Delete it, "
                "or pass another path."
            ) from error
        if not same:
            self._raise_other("settings")
        self._state = found

    def _raise_other(self, what):
        raise ValueError(
            f"{self.path} is the checkpoint of a fit with other {what}. Delete it to begin anew, "
            "or pass another path."
        )

    def seed(self, draw):
        """The seed of the fit that is gone on with, else a new one."""
        if self._state["seed"] is None:
            self._state["seed"] = draw()
        return self._state["seed"]

    def check_data(self, digest):
        """Raise ValueError if the fit saw other data."""
        if self._state["data"] not in (None, digest):
            self._raise_other("data")
        self._state["data"] = digest

    def keeper(self, output):
        """What the training loop of an output tells of its passes."""
        return _Keeper(self, output)

    def remove(self):
        """Delete the file: the fit has ended."""
        with suppress(FileNotFoundError):
            self.path.unlink()

    def write(self, output, state):
        # As bytes, since what the state consists of changes in the next pass.
        self._state["outputs"][output] = pickle.dumps(state, protocol=5)
        try:
            with self._new.open("wb") as file:
                hashed = _Hashed(file)
                pickle.dump(self._state, hashed, protocol=5)
                file.write(hashed.digest.digest())
                file.flush()
                os.fsync(file.fileno())
            os.replace(self._new, self.path)
        except BaseException:
            self._new.unlink(missing_ok=True)
            raise

    def read(self, output):
        state = self._state["outputs"].get(output)
        return state and pickle.loads(state)


class _Keeper:
    """See `train`."""

    def __init__(self, checkpoint, output):
        self._checkpoint, self._output = checkpoint, output

    def keep(self, model, progress):
        state = model.copy(), model.n_steps, model.history, progress
        self._checkpoint.write(self._output, state)

    def resume(self, model):
        state = self._checkpoint.read(self._output)
        if state is None:
            return None
        tables, model.n_steps, history, progress = state
        model.restore(tables)
        vars(model.history).update(vars(history))
        return progress
