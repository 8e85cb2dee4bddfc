"""Warnings that name the line of the user."""

import sys
import warnings


def warn_user(message, category=UserWarning):
    """Warn at the line outside of this package and scikit-learn that led here."""
    level, frame = 1, sys._getframe(1)
    # Code that `exec` runs may have no name.
    while frame and frame.f_globals.get("__name__", "").split(".")[0] in ("skfm", "sklearn"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
