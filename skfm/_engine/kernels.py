"""How kernels are compiled and kept."""

from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from numba import config, njit
from numba.core import event

from .._batch import MAX_VALUE

if config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")


def _ingredients():
    """A digest of all that kernels are made of: the files here, and a constant from elsewhere."""
    digest = sha256(repr(MAX_VALUE).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


_INGREDIENTS = _ingredients()


def compiled(function):
    # No fastmath: LLVM would be free to round the rows of one batch in different ways.
    options = {"nogil": True, "error_model": "numpy"}
    try:
        made = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written to, so that each process compiles anew
        return njit(**options)(function)
    # Numba takes compiled code from its cache unless the function's own file has changed,
    # though other files are in it, too. There is no public way to tell it; a numba without
    # these attributes does as ever.
    with suppress(AttributeError):
        index = made._cache._cache_file
        index._source_stamp = index._source_stamp, _INGREDIENTS
    return made


class _Listener(event.Listener):
    def __init__(self, tell):
        self.tell = tell

    def on_start(self, _):
        tell, self.tell = self.tell, None
        if tell:
            tell()

    def on_end(self, _):
        pass


@contextmanager
def announced(tell):
    """Within the context, call `tell` once before something is compiled, on whatever thread."""
    with event.install_listener("numba:compile", _Listener(tell)):
        yield
