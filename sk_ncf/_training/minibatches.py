"""Paired minibatches of source and target rows."""

import math

import numpy as np
import torch
from torch.utils.data import IterableDataset

from sk_ncf._samples.sample import is_equal

__all__ = ["PairSampler", "smoothing_scale"]


DRAWN = 2_000_000  # values of either side drawn at a time


def smoothing_scale(n_samples, n_features):
    """Standard deviation of the noise on training rows, in standard deviations of theirs.

    Few rows are learnt by heart within seconds; a kernel density estimate of either
    side, which this noise draws from, cannot be. Its bias is of the second order and
    the same on both sides; it vanishes faster than the sampling error as n grows.
    """
    most = min(0.35, max(0.2, 4 / math.sqrt(n_samples)))
    return min(most, 50 * n_features / n_samples)


class PairSampler(IterableDataset):
    """Minibatches of rows of both sides, already in the network's variables.

    Iterating draws many minibatches at once, by inverse transform sampling from the
    weights: the cost of a step does not depend on the number of rows.

    Parameters
    ----------
    sources, targets : sequence of Sample or None
        One of each for every potential (class or member); None where there are no rows
        now: its potential rests.
    frames : pair of sequences of AffineMap
        Changes of variables of the source and the target of every potential.
    batch_size : int
        Rows of each side in a minibatch.
    n_batches : int
        Minibatches per epoch.
    n_steps : int
        Minibatches in all; the last epoch may be shorter for it.
    seed : int
    dtype : torch.dtype
    device : torch.device
    smoothing : float, default=0.0
        Standard deviation of Gaussian noise on the rows, in the network's variables.
    planes : sequence of Plane or None, default=None
        The plane of the rows of every potential, which the noise does not leave.
    """

    def __init__(
        self,
        sources,
        targets,
        frames,
        batch_size,
        n_batches,
        n_steps,
        seed,
        dtype,
        device,
        smoothing=0.0,
        planes=None,
    ):
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
        self.at_once = max(1, DRAWN // values)  # minibatches

    @property
    def n_epochs(self):
        """Epochs to come."""
        return math.ceil(self.n_left / self.n_batches)

    def __len__(self):
        return self.n_batches

    def _draw(self, samples, n_batches):
        """Rows of shape [n_batches, K, batch_size, d]."""
        drawn = []
        for sample, cumulative, side, directions in samples:
            if sample is None:
                drawn.append(np.zeros((n_batches, self.batch_size, self.n_features)))
                continue
            places = self.rng.uniform(size=n_batches * self.batch_size)
            if cumulative is None:
                index = (places * len(sample)).astype(np.intp)
            else:
                index = np.searchsorted(cumulative, places, side="right")
            rows = side.forward(sample.X[np.minimum(index, len(sample) - 1)])
            if self.smoothing:
                noise = self.rng.standard_normal(rows.shape)
                noise = noise if directions is None else noise @ directions
                rows += self.smoothing * noise
            drawn.append(rows.reshape(n_batches, self.batch_size, -1))
        return self._placed(np.stack(drawn, 1))

    def _placed(self, values):
        """On the device, in one go for many steps, which need not wait for it."""
        values = torch.from_numpy(values).to(self.dtype)
        if self.device.type == "cuda":
            values = values.pin_memory()
        return values.to(self.device, non_blocking=True)

    def __iter__(self):
        n = min(self.n_batches, self.n_left)
        self.n_left -= n
        for start in range(0, n, self.at_once):
            yield from self._minibatches(min(self.at_once, n - start))

    def _minibatches(self, n):
        xs, ys = self._draw(self.sources, n), self._draw(self.targets, n)
        times = self.rng.uniform(size=(n, len(self.sources), self.batch_size))
        ts = self._placed(times)
        for x, y, t in zip(xs, ys, ts, strict=True):
            yield {"x": x, "y": y, "t": t, "present": self.present}, y.new_zeros(())


def _noise_directions(frames, planes):
    """Projections onto the planes of the rows; None if they vary in all directions."""
    found = {}  # by frame and plane, which several potentials may share
    for frame, plane in zip(frames, planes, strict=True):
        key = id(frame), id(plane)
        if key not in found:
            found[key] = None if plane is None else plane.directions(frame.matrix)
        yield found[key]


def _cumulative(sample):
    """Cumulative weights; None where they are equal."""
    equal = sample is None or is_equal(sample.weight)
    return None if equal else np.cumsum(sample.weight)
