"""Pictures of a fitted map and of its training, in the manner of sklearn's Displays."""

from sk_ncf.plotting.interpolation import InterpolationDisplay
from sk_ncf.plotting.quantiles import QuantileDisplay
from sk_ncf.plotting.training import TrainingDisplay
from sk_ncf.plotting.transport import TransportDisplay

__all__ = [
    "InterpolationDisplay",
    "QuantileDisplay",
    "TrainingDisplay",
    "TransportDisplay",
]
