"""The change of variables of every class, from the samples of a fit."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from sk_ncf._flow.moments import Moments
from sk_ncf._flow.plane import Plane, common_plane
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.initial_map import initial_map
from sk_ncf._samples.sample import Sample, unique_rows
from sk_ncf.costs import Cost
from sk_ncf.costs._checks import check_cost

__all__ = ["SamplePair", "fit_preconditioners", "with_extents"]

SamplePair = tuple[Sample | None, Sample | None]


def fit_preconditioners(
    samples: Sequence[SamplePair], cost: Cost, pooled: dict[int, Any], shared: bool
) -> tuple[list[Preconditioner], np.ndarray]:
    """The change of variables of every class; one for all if they share the map.

    Returns
    -------
    preconditioners : list of Preconditioner
    quantile_is_better : ndarray of bool, shape (K,)
        Classes for which the quantile mapping of each column is better than the initial
        map; none if they share the map.

    Raises
    ------
    ValueError
        If the cost is not valid for displacements of the size of these.
    """
    # Only later calls of a stream may lack rows of a class.
    complete = cast("list[tuple[Sample, Sample]]", list(samples))
    if shared:
        source, target = (_concatenate(side) for side in zip(*complete, strict=True))
        complete = [(source, target)]
    sizes = [_displacement_size(s.moments, t.moments) for s, t in complete]
    check_cost(cost, complete[0][0].X.shape[1], max(sizes) or 1.0)
    careful = len(complete) > 1
    maps = [
        None if k in pooled else initial_map(*pair, cost, careful)
        for k, pair in enumerate(complete)
    ]
    kinds = [None if found is None else found.kind for found in maps]
    better = [found is not None and found.quantile_is_better for found in maps]
    fitted: list[Preconditioner] = [
        replace(preconditioner, plane=plane)
        for preconditioner, plane in zip(
            Preconditioner.fit_classes(complete, cost, pooled, kinds),
            _planes(complete, pooled),
            strict=True,
        )
    ]
    if shared:
        return fitted * len(samples), np.zeros(len(samples), dtype=bool)
    return fitted, np.array(better)


def _planes(
    samples: Sequence[tuple[Sample, Sample]], pooled: dict[int, Any]
) -> list[Plane | None]:
    """The plane of every class; classes with pooled moments have a common plane."""
    common = None
    if pooled:
        sides = zip(*(samples[k] for k in pooled), strict=True)
        common = common_plane(*(_concatenate(side) for side in sides))
    return [
        common if k in pooled else common_plane(source, target)
        for k, (source, target) in enumerate(samples)
    ]


def _concatenate(samples: Sequence[Sample]) -> Sample:
    """The rows of all classes as one sample."""
    weight = np.concatenate([s.weight * s.total for s in samples])
    return unique_rows(np.concatenate([s.X for s in samples]), weight)


def with_extents(
    preconditioners: Sequence[Preconditioner],
    samples: Sequence[SamplePair],
    shared: bool,
) -> list[Preconditioner]:
    """The changes of variables with the extents of all training rows until now."""
    groups = [samples] if shared else [[pair] for pair in samples]
    updated: list[Preconditioner] = []
    for preconditioner, pairs in zip(preconditioners, groups, strict=False):
        sources = [source for source, _ in pairs if source is not None]
        targets = [target for _, target in pairs if target is not None]
        old = preconditioner.source, preconditioner.target
        source = old[0].with_extent_of(sources)
        target = old[1].with_extent_of(targets)
        if source is not old[0] or target is not old[1]:
            preconditioner = replace(preconditioner, source=source, target=target)
        updated.append(preconditioner)
    return updated * len(samples) if shared else updated


def _displacement_size(source: Moments, target: Moments) -> float:
    """Root mean square of the displacements of a class: spread and mean shift."""
    (mean_x, cov_x), (mean_y, cov_y) = source, target
    variance = (np.trace(cov_x) + np.trace(cov_y)) / (2 * len(mean_x))
    return math.sqrt(variance + np.square(mean_y - mean_x).mean())
