"""Optimal transport maps as scikit-learn transformers, by neural characteristic flows."""

from sk_ncf.classifier_bytes import ModelFileError
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
from sk_ncf.persistence import load, save

__all__ = [
    "Cost",
    "DistrustWarning",
    "Elastic",
    "Lp",
    "ModelFileError",
    "NCFTransport",
    "NormPower",
    "PseudoHuber",
    "QuadraticForm",
    "SquaredEuclidean",
    "__version__",
    "load",
    "save",
]

__version__ = "0.1.0"
