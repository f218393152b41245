"""Pairs of samples with a known optimal map, and two-dimensional samples."""

from sk_ncf.datasets._planar import (
    make_checkerboard,
    make_eight_gaussians,
    make_moons_2d,
    make_swiss_roll_2d,
)
from sk_ncf.datasets._problems import (
    TransportProblem,
    make_convex_map,
    make_gaussians,
)

__all__ = [
    "TransportProblem",
    "make_checkerboard",
    "make_convex_map",
    "make_eight_gaussians",
    "make_gaussians",
    "make_moons_2d",
    "make_swiss_roll_2d",
]
