"""Whether the quantile mapping of each column is the map of a fit.

It is the optimal map if both samples have the same copula. A network needs many rows to
learn it where columns are skewed, heavy-tailed or mostly equal.

Whether it is better than the initial map is known before the training
(:mod:`~sk_ncf._samples.initial_map`). If it is, it and the network are both fitted to the
training rows of every ensemble member and compared on the rows that it holds out. The
network, which has more parameters, is used only if it is better there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import torch

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._flow.separable_potential import (
    Knots,
    PotentialSum,
    SeparablePotential,
)
from sk_ncf._flow.transport_map import TransportMap
from sk_ncf._samples.map_comparison import (
    Criteria,
    FeatureUnits,
    Images,
    criteria,
    criteria_of_initial_map,
    is_worse,
    quantile_knots,
)
from sk_ncf._samples.sample import Sample
from sk_ncf._samples.splits import Splits, training_frames
from sk_ncf._training.preconditioners import with_extents

if TYPE_CHECKING:
    from sk_ncf._training.fit_session import FitSession

__all__ = ["QuantileMaps", "with_quantile_maps"]

N_ERRORS = 1.0  # by which the network must be better
MAX_ROWS_KNOTS = 65536  # of a sample, from which its quantiles are computed

SamplePair = tuple[Sample, Sample]


class QuantileMaps(NamedTuple):
    """The classes whose map is the quantile mapping.

    Attributes
    ----------
    chosen : ndarray of bool, shape (K,)
    potential : SeparablePotential
        Of all ensemble members, from all rows; 0 for the other classes.
    """

    chosen: np.ndarray
    potential: SeparablePotential


def with_quantile_maps(
    session: "FitSession", flow: CharacteristicFlow
) -> QuantileMaps | None:
    """Replace the maps of the classes for which the quantile mapping is better.

    Parameters
    ----------
    session : FitSession
        Its changes of variables of these classes are replaced.
    flow : CharacteristicFlow
        Of all ensemble members. The quantile mappings of their training rows are added,
        and the networks of these classes are 0.

    Returns
    -------
    maps : QuantileMaps or None
        None if there is no such class.
    """
    size, n_classes = session.ensemble_size, session.n_potentials
    splits = session.data.splits
    assert splits is not None
    of_members: list[Knots | None] = [None] * (n_classes * size)
    of_all_rows: list[Knots | None] = [None] * (n_classes * size)
    chosen = np.zeros(n_classes, dtype=bool)
    for k in map(int, np.flatnonzero(session.quantile_is_better)):
        members = slice(k * size, (k + 1) * size)
        networks = [flow.select_class(i) for i in range(members.start, members.stop)]
        frame, samples = (
            session.preconditioners[k],
            cast(SamplePair, splits[k].all_rows),
        )
        # The Gaussian map of each column.
        own = Preconditioner.of_samples(
            frame.original_cost, samples, n_classes > 1, "quantile"
        )
        own = replace(own, plane=frame.plane)
        knots = _member_knots(splits[k], own)
        if _network_is_better(networks, frame, knots, own, splits[k]):
            continue
        chosen[k] = True
        of_members[members] = knots
        of_all_rows[members] = [_knots((own.source, own.target), samples)] * size
        session.preconditioners[k] = with_extents([own], [samples], shared=False)[0]
    if not chosen.any():
        return None
    session.data.change_variables(session.preconditioners)
    factor = torch.from_numpy(np.repeat(~chosen, size)).float()
    flow.potential.multiply_by(factor)
    own_rows, all_rows = (
        SeparablePotential.of_knots(knots, session.n_features).float()
        for knots in (of_members, of_all_rows)
    )
    flow.potential = PotentialSum(flow.potential, own_rows)
    return QuantileMaps(chosen, all_rows)


def _member_knots(splits: Splits, frame: Preconditioner) -> list[Knots]:
    """The quantile mapping of the training rows of every member.

    They have the moments of all rows, as those have that the network is trained on.
    """
    sides = zip(*training_frames(splits, frame), strict=True)
    rows = zip(*splits.train, strict=True)
    return [
        _knots(own, cast(SamplePair, pair))
        for own, pair in zip(sides, rows, strict=True)
    ]


def _knots(sides: tuple[AffineMap, AffineMap], samples: SamplePair) -> Knots:
    """The quantile mapping of two samples, in new variables."""
    rows = [_rows(s.repeated().representative(MAX_ROWS_KNOTS)) for s in samples]
    return quantile_knots(sides, *rows)


def _network_is_better(
    networks: Sequence[CharacteristicFlow],
    frame: Preconditioner,
    knots: Sequence[Knots],
    own: Preconditioner,
    splits: Splits,
) -> bool:
    """Whether the trained map of one class is better than the quantile mapping.

    Parameters
    ----------
    networks : sequence of CharacteristicFlow
        The ensemble members of the class.
    frame : Preconditioner
        Of the networks.
    knots : sequence of Knots
        The quantile mapping of every member.
    own : Preconditioner
        Of the quantile mappings.
    splits : Splits
        Held-out rows of every member.
    """
    of_quantile, of_network = [], []
    samples = cast(SamplePair, splits.all_rows)
    units = FeatureUnits.standard(*(sample.moments for sample in samples))
    held_out = zip(*splits.held_out, strict=True)
    for network, of_member, rows in zip(networks, knots, held_out, strict=True):
        x, y = (_rows(sample) for sample in cast(SamplePair, rows))
        of_quantile.append(criteria_of_initial_map(own, of_member, x, y, units))
        images = _images(network, frame, x[0], y[0])
        of_network.append(criteria(images, x, y, units))
    joined = Criteria.joined(of_quantile), Criteria.joined(of_network)
    return is_worse(*joined, N_ERRORS)


def _rows(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(sample.X[:], dtype=np.float64), np.asarray(sample.weight)


@torch.no_grad()
def _images(
    flow: CharacteristicFlow, frame: Preconditioner, X: np.ndarray, Y: np.ndarray
) -> Images:
    """Two samples under the map of one potential."""
    transport = TransportMap(flow, [frame])
    y = torch.from_numpy(frame.target.forward(Y))[None].float()
    minimum = flow.hopf_lax_minimum(y).minimum[0].double().numpy()
    return Images(
        transport.forward(X),
        transport.inverse(Y),
        transport.source_potential(X),
        frame.target_potential(Y, minimum),
    )
