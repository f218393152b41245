"""Costs by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from sk_ncf.costs._base import Cost
from sk_ncf.costs._elastic import Elastic
from sk_ncf.costs._powers import Lp, NormPower
from sk_ncf.costs._pseudo_huber import PseudoHuber
from sk_ncf.costs._quadratic import QuadraticForm, SquaredEuclidean

__all__ = ["COSTS", "make_cost"]

COSTS: dict[str, type[Cost]] = {
    "sqeuclidean": SquaredEuclidean,
    "lp": Lp,
    "norm_power": NormPower,
    "elastic": Elastic,
    "pseudo_huber": PseudoHuber,
    "quadratic_form": QuadraticForm,
}


def make_cost(cost: str | Cost, cost_params: Mapping[str, Any] | None = None) -> Cost:
    """The Cost object for a name of `COSTS` with its parameters, or the object itself."""
    if isinstance(cost, Cost):
        if cost_params:
            raise ValueError(
                f"cost_params={cost_params!r} is for a cost given by name, but cost is "
                f"the object {cost!r}: set its parameters on it."
            )
        return cost
    if not (isinstance(cost, str) and cost in COSTS):
        raise ValueError(
            f"cost must be one of {sorted(COSTS)} or a Cost object, got {cost!r}."
        )
    params = dict(cost_params or {})
    allowed = inspect.signature(COSTS[cost]).parameters
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        raise ValueError(
            f"cost_params of cost={cost!r} must be among {list(allowed)}, got {unknown}."
        )
    if cost == "quadratic_form" and "matrix" not in params:
        raise ValueError("cost='quadratic_form' needs cost_params={'matrix': A}.")
    return COSTS[cost](**params)
