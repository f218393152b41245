"""The state of the changes of variables, and back."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.plane import Plane
from sk_ncf._flow.preconditioner import QUADRATIC, Preconditioner
from sk_ncf._persistence.classifiers import ModelFileError
from sk_ncf._persistence.value_checks import checked_array, checked_float
from sk_ncf.costs import Cost

__all__ = ["KINDS", "preconditioner_states", "restored_preconditioners"]

KINDS = ("gaussian", "quantile", "mean_shift", "identity")  # of initial maps
SIDES = ("source", "target")

State = dict[str, Any]


def preconditioner_states(all_classes: Sequence[Preconditioner]) -> list[State]:
    """One for every class, or a single one if all classes share it."""
    shared = all(p is all_classes[0] for p in all_classes)
    return [_preconditioner_state(p) for p in all_classes[: 1 if shared else None]]


def _preconditioner_state(preconditioner: Preconditioner) -> State:
    sides = {side: dict(vars(getattr(preconditioner, side))) for side in SIDES}
    extent = getattr(preconditioner.original_cost, "_max_displacement", None)
    plane = None if preconditioner.plane is None else dict(vars(preconditioner.plane))
    return {
        **sides,
        "unit": preconditioner.unit,
        "extent": extent,
        "kind": preconditioner.kind,
        "plane": plane,
    }


def restored_preconditioners(
    states: Sequence[State], cost: Cost, d: int, one_map: bool, n_classes: int
) -> list[Preconditioner]:
    """The change of variables of every class."""
    if len(states) != (1 if one_map else n_classes):
        raise ModelFileError(f"it has {len(states)} maps for {n_classes} classes")
    found = [_preconditioner(cost=cost, d=d, **state) for state in states]
    return found * n_classes if one_map else found


def _preconditioner(
    source: State,
    target: State,
    unit: Any,
    extent: Any,
    kind: Any,
    cost: Cost,
    d: int,
    plane: State | None = None,
) -> Preconditioner:
    if kind not in KINDS:
        raise ModelFileError(f"its initial map is {kind!r}, which is not known")
    unit = checked_float("the unit of a cost", unit, positive=True)
    if extent is not None:
        cost = cost.with_max_displacement(
            checked_float("the extent of the rows", extent, positive=True)
        )
    of_source, of_target = _affine_map(**source, d=d), _affine_map(**target, d=d)
    if not isinstance(cost, QUADRATIC):
        _check_scale(of_source, of_target, np.eye(d))
    found = Preconditioner.of_maps(of_source, of_target, unit, cost)
    return replace(
        found,
        kind=kind,
        plane=None if plane is None else _plane(**plane, d=d),
    )


def _plane(source: Any, target: Any, projector: Any, d: int) -> Plane:
    for point in (source, target):
        checked_array("a point of a plane", point, (d,), "f")
    checked_array("the projector of a plane", projector, (d, d), "f")
    if not np.allclose(projector @ projector, projector, atol=1e-6):
        raise ModelFileError("the projector of a plane is not a projection")
    return Plane(source, target, projector)


def _check_scale(source: AffineMap, target: AffineMap, eye: np.ndarray) -> None:
    """Without a quadratic cost, all features of both sides have the same scale."""
    scale = checked_float(
        "the scale of the rows", source.inverse_matrix[0, 0], positive=True
    )
    for side in (source, target):
        valid = np.array_equal(side.inverse_matrix, eye * scale)
        if not valid or not np.array_equal(side.matrix, eye / scale):
            raise ModelFileError("its changes of variables do not fit its cost")


def _affine_map(
    mean: Any, matrix: Any, inverse_matrix: Any, radius: Any, d: int, box: Any = None
) -> AffineMap:
    if not (isinstance(radius, float) and radius > 0):
        raise ModelFileError(f"the radius of the rows must be > 0, got {radius!r}")
    checked_array("the mean of a change of variables", mean, (d,), "f")
    for part in (matrix, inverse_matrix):
        checked_array("the matrix of a change of variables", part, (d, d), "f")
    if box is not None:
        low, high = checked_array("the range of the rows", box, (2, d), "f")
        if not (low <= high).all():
            raise ModelFileError("the range of the rows ends before it starts")
    return AffineMap(mean, matrix, inverse_matrix, radius, box)
