"""Optimal transport maps as scikit-learn transformers, by neural characteristic flows."""

from sk_ncf._classes.adaptation_guard import AdaptationDiagnostics
from sk_ncf._persistence.classifiers import ModelFileError
from sk_ncf._persistence.file_format import load, save
from sk_ncf._training.net import NCFNet
from sk_ncf._version import __version__
from sk_ncf.adaptation import AdaptedClassifier
from sk_ncf.costs import (
    Cost,
    Elastic,
    Lp,
    NormPower,
    PseudoHuber,
    QuadraticForm,
    SquaredEuclidean,
)
from sk_ncf.diagnostics import MapQualityWarning, OutlierWarning
from sk_ncf.estimator import NCFTransport
from sk_ncf.objectives import MMD, Objective, SemiDual

__all__ = [
    "MMD",
    "AdaptationDiagnostics",
    "AdaptedClassifier",
    "Cost",
    "Elastic",
    "Lp",
    "MapQualityWarning",
    "ModelFileError",
    "NCFNet",
    "NCFTransport",
    "NormPower",
    "Objective",
    "OutlierWarning",
    "PseudoHuber",
    "QuadraticForm",
    "SemiDual",
    "SquaredEuclidean",
    "__version__",
    "load",
    "save",
]
