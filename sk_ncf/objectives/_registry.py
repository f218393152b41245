"""Objectives by name, and the validation of their parameters."""

from typing import Any

from sk_ncf._inputs.errors import LARGEST_SETTING, is_number
from sk_ncf.objectives._base import Objective
from sk_ncf.objectives._kernels import KERNELS
from sk_ncf.objectives._mmd import MMD
from sk_ncf.objectives._semi_dual import SemiDual

__all__ = ["OBJECTIVES", "check_objective", "make_objective"]

OBJECTIVES: dict[str, type[Objective]] = {"semi_dual": SemiDual, "mmd": MMD}


def make_objective(objective: str | Objective) -> Objective:
    """The Objective object for a name of `OBJECTIVES`, or the object itself."""
    if isinstance(objective, Objective):
        return objective
    if not (isinstance(objective, str) and objective in OBJECTIVES):
        raise ValueError(
            f"objective must be one of {sorted(OBJECTIVES)} or an instance of "
            f"sk_ncf.Objective, got {objective!r}."
        )
    return OBJECTIVES[objective]()


def check_objective(objective: Objective) -> None:
    """Raise ValueError if a parameter of an objective is out of range.

    A parameter whose name ends in ``_weight`` must be a number >= 0, or "auto" if it is
    one of the `auto_weights` of the class. The kernel of an objective of this package
    must be one of `KERNELS`.
    """
    cls = type(objective)
    if cls.terms is Objective.terms:
        raise ValueError(
            f"objective={objective!r}: {cls.__name__} must define terms(flow, x, y, t)."
        )
    for name, value in objective.get_params(deep=False).items():
        if name == "kernel" and cls in OBJECTIVES.values():
            _check_kernel(cls.__name__, value)
        elif name.endswith("_weight"):
            _check_weight(cls.__name__, name, value, name in objective.auto_weights)


def _check_kernel(owner: str, kernel: Any) -> None:
    if not (isinstance(kernel, str) and kernel in KERNELS):
        raise ValueError(
            f"kernel of {owner} must be one of {sorted(KERNELS)}, got {kernel!r}."
        )


def _check_weight(owner: str, name: str, weight: Any, may_be_auto: bool) -> None:
    if may_be_auto and isinstance(weight, str) and weight == "auto":
        return
    if not is_number(weight, 0, LARGEST_SETTING):
        wanted = "'auto' or " if may_be_auto else ""
        raise ValueError(
            f"{name} of {owner} must be {wanted}a number in [0, {LARGEST_SETTING:g}], "
            f"got {weight!r}."
        )
