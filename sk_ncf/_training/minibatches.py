"""Paired minibatches of source and target rows."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.plane import Plane
from sk_ncf._samples.sample import Sample, is_equal

__all__ = ["PairSampler", "smoothing_scale"]


VALUES_AT_ONCE = 2_000_000  # of source or of target rows, drawn at a time

# Rows, their cumulative weights, change of variables, directions of the noise.
Source = tuple[Sample | None, np.ndarray | None, AffineMap, np.ndarray | None]


def smoothing_scale(n_samples: int, n_features: int) -> float:
    """Standard deviation of the noise on training rows, which have unit variance.

    Training overfits small samples quickly. With noise, the rows are draws from kernel
    density estimates of both samples. The bias of this is of the second order and equal
    for source and target. It decreases faster than the sampling error.
    """
    most = min(0.35, max(0.2, 4 / math.sqrt(n_samples)))
    return min(most, 50 * n_features / n_samples)


class PairSampler(IterableDataset):
    """Minibatches of source and target rows in the network's variables.

    Many minibatches are drawn at once, by inverse transform sampling from the weights.
    So the cost of a step does not depend on the number of rows.

    Parameters
    ----------
    sources, targets : sequence of Sample or None
        One of each for every potential (class or ensemble member). None if there are no
        rows in this call; the potential is then not trained.
    frames : pair of sequences of AffineMap
        Changes of variables of the source and the target of every potential.
    batch_size : int
        Rows of each sample in a minibatch.
    n_batches : int
        Minibatches per epoch.
    n_steps : int
        Minibatches in all. The last epoch may have fewer than `n_batches`.
    seed : int
    dtype : torch.dtype
    device : torch.device
    smoothing : float, default=0.0
        Standard deviation of Gaussian noise on the rows, in the network's variables.
    planes : sequence of Plane or None, default=None
        The plane of the rows of every potential. The noise stays in the plane.
    """

    def __init__(
        self,
        sources: Sequence[Sample | None],
        targets: Sequence[Sample | None],
        frames: tuple[Sequence[AffineMap], Sequence[AffineMap]],
        batch_size: int,
        n_batches: int,
        n_steps: int,
        seed: int,
        dtype: torch.dtype,
        device: str | torch.device,
        smoothing: float = 0.0,
        planes: Sequence[Plane | None] | None = None,
    ) -> None:
        planes = [None] * len(sources) if planes is None else planes
        self.sources, self.targets = (
            [
                (sample, _cumulative(sample), frame, directions)
                for sample, frame, directions in zip(
                    side, of_side, _noise_directions(of_side, planes), strict=True
                )
            ]
            for side, of_side in zip((sources, targets), frames, strict=True)
        )
        pairs = zip(sources, targets, strict=True)
        present = [not (s is None or t is None) for s, t in pairs]
        self.present = torch.tensor(present, dtype=dtype, device=device)
        self.n_features = len(frames[0][0].mean)
        self.batch_size, self.n_batches = batch_size, n_batches
        self.n_left = n_steps
        self.rng = np.random.RandomState(seed)
        self.dtype, self.device = dtype, torch.device(device)
        self.smoothing = smoothing
        values = len(self.sources) * batch_size * self.n_features
        self.at_once = max(1, VALUES_AT_ONCE // values)  # minibatches

    @property
    def n_epochs(self) -> int:
        """Number of epochs that are left."""
        return math.ceil(self.n_left / self.n_batches)

    def __len__(self) -> int:
        return self.n_batches

    def _draw(self, samples: Sequence[Source], n_batches: int) -> Tensor:
        """Rows of shape [n_batches, K, batch_size, d]."""
        drawn = []
        for sample, cumulative, side, directions in samples:
            if sample is None:
                drawn.append(np.zeros((n_batches, self.batch_size, self.n_features)))
                continue
            quantiles = self.rng.uniform(size=n_batches * self.batch_size)
            if cumulative is None:
                index = (quantiles * len(sample)).astype(np.intp)
            else:
                index = np.searchsorted(cumulative, quantiles, side="right")
            rows = side.forward(sample.X[np.minimum(index, len(sample) - 1)])
            if self.smoothing:
                noise = self.rng.standard_normal(rows.shape)
                noise = noise if directions is None else noise @ directions
                rows += self.smoothing * noise
            drawn.append(rows.reshape(n_batches, self.batch_size, -1))
        return self._to_device(np.stack(drawn, 1))

    def _to_device(self, values: np.ndarray) -> Tensor:
        """The values of many steps on the device, copied asynchronously."""
        tensor = torch.from_numpy(values).to(self.dtype)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Tensor]]:
        n = min(self.n_batches, self.n_left)
        self.n_left -= n
        for start in range(0, n, self.at_once):
            yield from self._minibatches(min(self.at_once, n - start))

    def _minibatches(self, n: int) -> Iterator[tuple[dict[str, Any], Tensor]]:
        xs, ys = self._draw(self.sources, n), self._draw(self.targets, n)
        times = self.rng.uniform(size=(n, len(self.sources), self.batch_size))
        ts = self._to_device(times)
        for x, y, t in zip(xs, ys, ts, strict=True):
            yield {"x": x, "y": y, "t": t, "present": self.present}, y.new_zeros(())


def _noise_directions(
    frames: Sequence[AffineMap], planes: Sequence[Plane | None]
) -> Iterator[np.ndarray | None]:
    """Projections onto the planes of the rows; None if they vary in all directions."""
    found: dict[tuple[int, int], np.ndarray | None] = {}  # potentials may share a frame
    for frame, plane in zip(frames, planes, strict=True):
        key = id(frame), id(plane)
        if key not in found:
            found[key] = None if plane is None else plane.directions(frame.matrix)
        yield found[key]


def _cumulative(sample: Sample | None) -> np.ndarray | None:
    """Cumulative weights; None if they are equal."""
    if sample is None or is_equal(sample.weight):
        return None
    return np.cumsum(sample.weight)
