"""Losses: value and gradient in the raw score, and the best constant to start from.

That constant comes from two sums over rows, which may be spread over several parts.
"""

import numpy as np
from scipy.special import expit


class LogLoss:
    """Log loss of a label in {0, 1}: log(1 + exp(s)) − y·s."""

    @staticmethod
    def value(y, raw):
        return np.logaddexp(0, raw) - y * raw

    @staticmethod
    def gradient(y, raw):
        return expit(raw) - y

    @staticmethod
    def sum(y, weight):
        """What `start` wants to know of y: the weight of the positive labels."""
        return weight @ y

    @staticmethod
    def start(positive, total):
        """Log-odds of the labels, smoothed by half a sample of each class."""
        return np.log((positive + 0.5) / (total - positive + 0.5))


class SquaredLoss:
    """Half the squared error: (s − y)² / 2."""

    @staticmethod
    def value(y, raw):
        return 0.5 * (raw - y) ** 2

    @staticmethod
    def gradient(y, raw):
        return raw - y

    @staticmethod
    def sum(y, weight):
        """What `start` wants to know of y: its weighted sum."""
        return (y * weight).sum()

    @staticmethod
    def start(weighted, total):
        """The mean."""
        return weighted / total
