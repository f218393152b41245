"""Objectives by name, and the validation of their parameters."""

from sk_ncf._inputs.errors import LARGEST_SETTING, is_number
from sk_ncf.objectives._base import Objective
from sk_ncf.objectives._kernels import KERNELS
from sk_ncf.objectives._mmd import MMD
from sk_ncf.objectives._semi_dual import SemiDual

__all__ = ["OBJECTIVES", "check_objective", "make_objective"]

OBJECTIVES = {"semi_dual": SemiDual, "mmd": MMD}
MAY_BE_AUTO = {"momentum_weight", "mmd_weight"}


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
    """Raise ValueError unless a parameter of an objective is in its range.

    Parameters that end in ``_weight`` must be numbers >= 0, those of an objective of
    this package possibly "auto"; a kernel must be one of `KERNELS`.
    """
    kind = type(objective)
    if kind.terms is Objective.terms:
        raise ValueError(
            f"objective={objective!r}: {kind.__name__} must define terms(flow, x, y, t)."
        )
    own = kind in OBJECTIVES.values()
    for name, value in objective.get_params(deep=False).items():
        if own and name == "kernel":
            _check_kernel(kind.__name__, value)
        elif name.endswith("_weight"):
            _check_weight(kind.__name__, name, value, own and name in MAY_BE_AUTO)


def _check_kernel(kind, kernel):
    if not (isinstance(kernel, str) and kernel in KERNELS):
        raise ValueError(
            f"kernel of {kind} must be one of {sorted(KERNELS)}, got {kernel!r}."
        )


def _check_weight(kind, name, weight, may_be_auto):
    auto = may_be_auto and isinstance(weight, str) and weight == "auto"
    if not auto and not is_number(weight, 0, LARGEST_SETTING):
        wanted = "'auto' or " if may_be_auto else ""
        raise ValueError(
            f"{name} of {kind} must be {wanted}a number in [0, {LARGEST_SETTING:g}], got "
            f"{weight!r}."
        )
