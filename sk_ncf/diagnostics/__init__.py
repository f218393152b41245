"""Diagnostics of fitted maps: numbers, a verdict, and its warning."""

from sk_ncf._samples.outliers import OutlierWarning
from sk_ncf.diagnostics._report import (
    Diagnostics,
    DirectionDiagnostics,
    MapQualityWarning,
)

__all__ = [
    "Diagnostics",
    "DirectionDiagnostics",
    "MapQualityWarning",
    "OutlierWarning",
]
