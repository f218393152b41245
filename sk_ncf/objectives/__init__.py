"""Training objectives: the two of this package, their terms, and the base class.

The terms are functions of a :class:`CharacteristicFlow` and its characteristics.
"""

from sk_ncf._flow.characteristics import Characteristic, CharacteristicFlow
from sk_ncf.objectives._base import Objective
from sk_ncf.objectives._kernels import energy_distance, mmd
from sk_ncf.objectives._losses import (
    hj_residual,
    hopf_lax_violation,
    implicit_residual,
    momentum_residual,
    semi_dual,
)
from sk_ncf.objectives._mmd import MMD
from sk_ncf.objectives._semi_dual import SemiDual

__all__ = [
    "MMD",
    "Characteristic",
    "CharacteristicFlow",
    "Objective",
    "SemiDual",
    "energy_distance",
    "hj_residual",
    "hopf_lax_violation",
    "implicit_residual",
    "mmd",
    "momentum_residual",
    "semi_dual",
]
