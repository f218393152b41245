"""Displays of a fitted map and of its training, in the style of scikit-learn."""

from sk_ncf.plotting._interpolation import InterpolationDisplay
from sk_ncf.plotting._quantiles import QuantileDisplay
from sk_ncf.plotting._training import TrainingDisplay
from sk_ncf.plotting._transport import TransportDisplay

__all__ = [
    "InterpolationDisplay",
    "QuantileDisplay",
    "TrainingDisplay",
    "TransportDisplay",
]
