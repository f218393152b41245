"""Optimal transport maps as scikit-learn transformers, by neural characteristic flows."""

from sk_ncf.costs import (
    Cost,
    Elastic,
    Lp,
    NormPower,
    PseudoHuber,
    QuadraticForm,
    SquaredEuclidean,
)
from sk_ncf.diagnostics import DistrustWarning
from sk_ncf.estimator import NCFTransport

__all__ = [
    "Cost",
    "DistrustWarning",
    "Elastic",
    "Lp",
    "NCFTransport",
    "NormPower",
    "PseudoHuber",
    "QuadraticForm",
    "SquaredEuclidean",
    "__version__",
]

__version__ = "0.1.0"
