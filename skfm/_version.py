"""The version, and what becomes of objects that another one has saved."""

import re

from ._warnings import warn_user

__version__ = "0.1.0"

# The oldest version whose saved objects this one reads.
OLDEST = "0.1.0"

_KEY = "_skfm_version"


class Versioned:
    """Objects whose saved state names the version that saved it."""

    def __getstate__(self):
        return super().__getstate__() | {_KEY: __version__}

    def __setstate__(self, state):
        """Take over a saved state.

        Raises
        ------
        ValueError
            If the version that saved it is too old for this one to read.

        Warns
        -----
        UserWarning
            If another version saved it.
        """
        saved, name = state.get(_KEY), type(self).__name__
        if saved is None or _number(saved) < _number(OLDEST):
            raise ValueError(
                f"This {name} was saved by skfm {saved or 'before 0.1.0'}, which skfm "
                f"{__version__} cannot read: it reads what {OLDEST} and later versions saved. Fit "
                "it anew, or install the version that saved it."
            )
        if saved != __version__:
            what = "predict slightly differently: compare predictions, or fit and save it anew"
            if _number(saved) > _number(__version__):
                what = f"fail, or predict something else: install skfm {saved} or later"
            warn_user(
                f"This {name} was saved by skfm {saved} and is loaded by {__version__}. It may "
                f"{what}."
            )
        super().__setstate__({key: value for key, value in state.items() if key != _KEY})


def _number(version):
    """The release that a version is of or before: (0, 1, 0) of "0.1.0.dev0"."""
    return tuple(map(int, re.findall(r"\d+", str(version))[:3]))
