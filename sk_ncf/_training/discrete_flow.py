"""The flow of a discrete potential, from the rows of a fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.discrete_potential import DiscretePotential
from sk_ncf._flow.dual_ascent import fit_discrete_potential
from sk_ncf._flow.potential import BasePotential
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.sample import Sample
from sk_ncf._training.forked import forked_map
from sk_ncf.costs import Cost

__all__ = ["discrete_flow"]


def discrete_flow(
    samples: Sequence[tuple[Sample, Sample]],
    preconditioners: Sequence[Preconditioner],
    cost: Cost,
    max_rows: int,
    device: torch.device,
    network: BasePotential | None = None,
    n_jobs: int = 1,
) -> CharacteristicFlow:
    """The flow of the optimal discrete potentials, on the CPU in float32.

    Parameters
    ----------
    samples : sequence of pairs of Sample
        Source and target rows of every potential.
    preconditioners : sequence of Preconditioner
        One for every potential.
    cost : Cost
        Of the flow, for all potentials.
    max_rows : int
        Most rows of each sample that a potential keeps.
    device : torch.device
        Where the dual values are computed.
    network : BasePotential, default=None
        Trained potentials, which the flow keeps for later training.
    n_jobs : int, default=1
        Processes that compute the potentials.
    """
    dtype = torch.float32 if device.type == "mps" else torch.float64

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(device, dtype)

    def fitted(member: tuple[tuple[Sample, Sample], Preconditioner]) -> Any:
        (source, target), frame = member
        x, y = source.representative(max_rows), target.representative(max_rows)
        found = fit_discrete_potential(
            tensor(frame.source.forward(x.X)),
            tensor(frame.target.forward(y.X)),
            tensor(x.weight),
            tensor(y.weight),
            frame.cost,
        )
        return found.cpu().float()

    members = list(zip(samples, preconditioners, strict=True))
    found = forked_map(fitted, members, n_jobs)
    return CharacteristicFlow(DiscretePotential.stack(found, cost, network), cost)
