"""The samples of a fit, divided into training, validation and score rows."""

import copy
from collections.abc import Callable, Sequence
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sk_ncf._flow.affine_map import AffineMap
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._inputs.validation import Rows
from sk_ncf._samples.atoms import weight_to_split
from sk_ncf._samples.left_out import Outliers, without_far_rows
from sk_ncf._samples.reference import output_rows
from sk_ncf._samples.sample import Sample, unique_rows
from sk_ncf._samples.splits import (
    Splits,
    held_out_rows,
    merge_held_out,
    pad_and_stack,
    split_samples,
    training_frames,
)
from sk_ncf._training.preconditioners import SamplePair
from sk_ncf.diagnostics._support import Support

__all__ = [
    "FitData",
    "RowPair",
    "distinct_samples",
    "share_to_split",
]

MIN_TRAINING_ROWS = 4  # a class with fewer keeps its initial map

RowPair = tuple[Rows | None, Rows | None]
SupportPair = tuple[Support | None, Support | None]


def distinct_samples(
    pairs: Sequence[RowPair],
    output_distribution: Literal["normal", "uniform"] | Callable[..., ArrayLike],
    n_features: int,
    supports: Sequence[SupportPair],
    rng: np.random.RandomState,
) -> tuple[list[SamplePair], np.ndarray, float]:
    """Distinct rows of both samples of every class, without outliers.

    A side of None is drawn from the output distribution. A side without rows, which
    :meth:`~sk_ncf.NCFTransport.partial_fit` allows for some classes, becomes None.

    Returns
    -------
    samples : list of pairs of Sample or None
    n_outliers : ndarray of int of shape (2,)
        Source and target rows that were left out.
    variance_share : float
        Largest share that they would have in the variance of a feature.
    """
    drawn = None
    if any(rows is None for pair in pairs for rows in pair):
        drawn = unique_rows(output_rows(output_distribution, n_features, rng))

    outliers = [Outliers(0, 0.0)]

    def sample(rows: Rows | None, support: Support | None) -> tuple[Sample | None, int]:
        if rows is None:
            return drawn, 0
        if not len(rows.X):
            return None, 0
        rest, left_out = without_far_rows(unique_rows(rows.X, rows.weight), support)
        outliers.append(left_out)
        return rest, left_out.n

    samples: list[SamplePair] = []
    n_outliers = np.zeros(2, dtype=int)
    for (source, target), (of_source, of_target) in zip(pairs, supports, strict=True):
        (x, n_x), (y, n_y) = sample(source, of_source), sample(target, of_target)
        samples.append((x, y))
        n_outliers += n_x, n_y
    return samples, n_outliers, max(found.variance_share for found in outliers)


def share_to_split(samples: Sequence[SamplePair]) -> float:
    """Share of the source's weight that no map can transport, over all classes.

    It is in repeated values that would have to be split
    (:func:`~sk_ncf._samples.atoms.weight_to_split`).
    """
    total = to_split = 0.0
    for source, target in samples:
        if source is not None and target is not None:
            total += source.total
            to_split += source.total * weight_to_split(source, target)
    return to_split / (total or 1.0)


class FitData:
    """Rows to train on, to validate on and to score with, of every class.

    Parameters
    ----------
    n_classes : int

    Attributes
    ----------
    splits : list of Splits
        The rows of this call; None between two calls.
    held_out : pair of lists of Sample
        Validation rows of all calls, in the network's variables: source and target of
        every potential. None before the first call.
    score_rows : list of pairs of ndarray
        Rows that :meth:`~sk_ncf.NCFTransport.score` uses.
    supports : list of pairs of Support or None
        A subsample of all rows, to recognise later rows far from them.
    """

    splits: list[Splits] | None = None
    held_out: tuple[list[Sample], list[Sample]] | None = None
    score_rows: list[tuple[np.ndarray, np.ndarray]] | None = None

    def __init__(self, n_classes: int) -> None:
        self.supports: list[SupportPair]
        self.supports = [(None, None)] * n_classes

    def add(
        self,
        samples: Sequence[SamplePair],
        preconditioners: Sequence[Preconditioner],
        ensemble_size: int,
        validation_fraction: float | None,
        rng: np.random.RandomState,
    ) -> None:
        """Divide new samples; the validation rows are added to the earlier ones.

        Parameters
        ----------
        samples : list of pairs of Sample or None
        preconditioners : list of Preconditioner
        ensemble_size : int
        validation_fraction : float or None
            None: the training rows are the validation rows.
        rng : RandomState
        """
        self.supports = [
            (Support.of(source, old[0]), Support.of(target, old[1]))
            for (source, target), old in zip(samples, self.supports, strict=True)
        ]
        self.splits = [
            split_samples(*pair, ensemble_size, validation_fraction, rng)
            for pair in samples
        ]
        if self.score_rows is None:
            scores = [splits.score for splits in self.splits]
            # The first call has rows of all classes.
            self.score_rows = cast("list[tuple[np.ndarray, np.ndarray]]", scores)
        new = _validation_rows(self.splits, preconditioners)
        if self.held_out is None:
            self.held_out = cast("tuple[list[Sample], list[Sample]]", new)
            return
        source, target = (
            [merge_held_out(*rows, rng) for rows in zip(*sides, strict=True)]
            for sides in zip(self.held_out, new, strict=True)
        )
        self.held_out = source, target

    def change_variables(self, preconditioners: Sequence[Preconditioner]) -> None:
        """Take the validation rows of this call in other variables."""
        assert self.splits is not None
        new = _validation_rows(self.splits, preconditioners)
        self.held_out = cast("tuple[list[Sample], list[Sample]]", new)

    def n_training(self) -> np.ndarray:
        """Training rows of the smaller side of every class, shape (K,)."""
        assert self.splits is not None
        sizes = [
            [_n_training_rows(folds[0]) for folds in splits.train]
            for splits in self.splits
        ]
        return np.min(sizes, axis=1)

    def n_training_of_largest_class(self) -> int:
        """Training rows of the smaller side of the class that has most."""
        return max(1, int(self.n_training().max()))

    def too_small(self, shared: bool) -> np.ndarray:
        """Mask of the classes with too few training rows, shape (K,) or (1,)."""
        small: np.ndarray = self.n_training() < MIN_TRAINING_ROWS
        return np.array([small.all()]) if shared else small

    def training_folds(self, side: int) -> list[Sample | None]:
        """Training rows of every potential: of source (side 0) or target (side 1)."""
        assert self.splits is not None
        return [fold for splits in self.splits for fold in splits.train[side]]

    def training_frames(
        self, preconditioners: Sequence[Preconditioner]
    ) -> tuple[list[AffineMap], list[AffineMap]]:
        """Changes of variables of the training rows of every potential."""
        assert self.splits is not None
        sources: list[AffineMap] = []
        targets: list[AffineMap] = []
        for splits, preconditioner in zip(self.splits, preconditioners, strict=True):
            of_source, of_target = training_frames(splits, preconditioner)
            sources += of_source
            targets += of_target
        return sources, targets

    def all_rows(self) -> list[SamplePair]:
        """Source and target rows of every class, held-out rows included."""
        return [] if self.splits is None else [s.all_rows for s in self.splits]

    def longest_side(self, is_given: Sequence[bool]) -> int:
        """Training rows of the potential and side with most.

        A side that is drawn from a distribution does not count: it has no end.
        """
        sides = (self.training_folds(0), self.training_folds(1))
        folds = [
            f for fs, given in zip(sides, is_given, strict=True) if given for f in fs
        ]
        return max(fold.n_rows for fold in folds if fold is not None)

    def held_out_tensors(
        self, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Validation rows and their weights: x, y, weight_x, weight_y in float32."""
        assert self.held_out is not None
        (x, weight_x), (y, weight_y) = (pad_and_stack(side) for side in self.held_out)

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device, torch.float32)

        return tensor(x), tensor(y), tensor(weight_x), tensor(weight_y)

    def without_training_rows(self, keep_validation: bool) -> "FitData":
        """A copy without the training rows and, if wanted, without validation rows."""
        kept = copy.copy(self)
        kept.splits = None
        if not keep_validation:
            kept.held_out = None
        return kept


def _n_training_rows(sample: Sample | None) -> int:
    """Number of training rows; 0 if all are equal, since there is nothing to learn."""
    return 0 if sample is None or len(sample) < 2 else sample.n_rows


def _validation_rows(
    splits: Sequence[Splits], preconditioners: Sequence[Preconditioner]
) -> tuple[list[Sample | None], list[Sample | None]]:
    """Held-out rows of every potential in the network's variables, source and target."""
    source: list[Sample | None] = []
    target: list[Sample | None] = []
    for part, preconditioner in zip(splits, preconditioners, strict=True):
        of_source, of_target = held_out_rows(part, preconditioner)
        source += of_source
        target += of_target
    return source, target
