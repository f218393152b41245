"""The flow of a discrete potential, from the rows of a fit."""

from collections.abc import Sequence

import numpy as np
import torch

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.discrete_potential import DiscretePotential
from sk_ncf._flow.dual_ascent import fit_discrete_potential
from sk_ncf._flow.potential import BasePotential
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._samples.sample import Sample
from sk_ncf.costs import Cost

__all__ = ["discrete_flow", "representative_rows"]


def discrete_flow(
    samples: Sequence[tuple[Sample, Sample]],
    preconditioners: Sequence[Preconditioner],
    cost: Cost,
    max_rows: int,
    device: torch.device,
    network: BasePotential | None = None,
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
        Most rows of either side that a potential keeps.
    device : torch.device
        Where the dual values are computed.
    network : BasePotential, default=None
        Trained potentials, which the flow keeps for later training.
    """
    dtype = torch.float32 if device.type == "mps" else torch.float64

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(array)).to(device, dtype)

    fitted = []
    for (source, target), frame in zip(samples, preconditioners, strict=True):
        x, y = (representative_rows(s, max_rows) for s in (source, target))
        found = fit_discrete_potential(
            tensor(frame.source.forward(x.X)),
            tensor(frame.target.forward(y.X)),
            tensor(x.weight),
            tensor(y.weight),
            frame.cost,
        )
        fitted.append(found.cpu().float())
    return CharacteristicFlow(DiscretePotential.stack(fitted, cost, network), cost)


def representative_rows(sample: Sample, at_most: int) -> Sample:
    """All rows, or `at_most` quantiles of the rows in lexicographic order.

    A row that is heavier than a quantile keeps its weight, up to rounding.
    """
    if len(sample) <= at_most:
        return sample
    quantiles = (np.arange(at_most) + 0.5) / at_most
    index = np.searchsorted(np.cumsum(sample.weight), quantiles)
    index, counts = np.unique(np.minimum(index, len(sample) - 1), return_counts=True)
    return Sample(np.asarray(sample.X[index]), counts / at_most, float(at_most))
