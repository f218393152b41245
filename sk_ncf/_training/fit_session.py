"""One fit: from two samples to the selected weights."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.preconditioner import Preconditioner
from sk_ncf._training.budget import balanced_size, epoch_length, too_few_rows
from sk_ncf._training.checkpoint.callback import Checkpoint, make_checkpoint
from sk_ncf._training.defaults import (
    FitSettings,
    resolve_ensemble_size,
    resolve_settings,
)
from sk_ncf._training.devices import (
    check_accelerator,
    move_to_device,
    rank_and_size,
    training_device,
)
from sk_ncf._training.fit_callbacks import (
    early_callbacks,
    late_callbacks,
    make_model_selection,
)
from sk_ncf._training.fit_data import (
    FitData,
    RowPair,
    distinct_samples,
    share_to_split,
)
from sk_ncf._training.fit_result import FitResult
from sk_ncf._training.forked import usable_jobs
from sk_ncf._training.initialization import (
    copy_weights,
    ensemble_mean,
    initial_flow,
    with_separable,
)
from sk_ncf._training.minibatches import PairSampler, smoothing_scale
from sk_ncf._training.net import build_net
from sk_ncf._training.objective import MinibatchLoss
from sk_ncf._training.parameters import TransportParameters
from sk_ncf._training.potential_choice import Comparison
from sk_ncf._training.preconditioners import (
    SamplePair,
    fit_preconditioners,
    with_extents,
)
from sk_ncf._training.results import (
    discrete_result,
    early_choice,
    result_without_training,
    trained_result,
)
from sk_ncf._training.trainer import Trainer
from sk_ncf.diagnostics._support import Support
from sk_ncf.objectives import Objective
from sk_ncf.objectives._registry import make_objective

__all__ = ["FitSession"]


class FitSession:
    """Everything between the validated rows and the fitted flow.

    Parameters
    ----------
    estimator : NCFTransport
        Its parameters and `cost_` are used.
    pairs : list of pairs of Rows or None
        Source and target rows of every class, a single pair without classes. A side of
        None is drawn from the estimator's `output_distribution`.
    pooled : dict
        Pooled moments, for small classes, that replace those of their own rows.
    stream : bool, default=False
        Whether this is a :meth:`~sk_ncf.NCFTransport.partial_fit`.

    Attributes
    ----------
    weight_to_split : float or None
        Share of the source's weight that would have to be split; None after the first
        call of a stream.
    n_outliers, n_new_outliers : ndarray of int of shape (2,)
        Source and target rows left out, in all calls and in the last one.
    """

    estimator: TransportParameters | None
    weight_to_split: float | None = None
    checkpoint: Checkpoint | None = None
    trainer: Trainer | None = None
    comparison: Comparison | None = None  # that ended the training

    def __init__(
        self,
        estimator: TransportParameters,
        pairs: Sequence[RowPair],
        pooled: dict[int, Any],
        stream: bool = False,
    ) -> None:
        check_accelerator(estimator.skorch_net, estimator.random_state)
        self.rng = check_random_state(estimator.random_state)
        self.estimator, self.stream = estimator, stream
        self.n_features, self.n_classes = estimator.n_features_in_, len(pairs)
        self.shared = estimator.class_conditional == "shared"
        self.n_outliers = np.zeros(2, dtype=int)
        self.data = FitData(self.n_classes)
        samples = self._samples(pairs)
        if not stream:
            self.checkpoint = make_checkpoint(estimator, samples, pooled)
        self.preconditioners: list[Preconditioner]
        self.preconditioners, self.quantile_is_better = fit_preconditioners(
            samples, estimator.cost_, pooled, self.shared
        )
        sides = zip(*samples, strict=True)
        sizes = [sum(s.n_rows for s in side if s is not None) for side in sides]
        self.n_samples, self.n_balanced = max(sizes), balanced_size(*sizes)
        self.weight_to_split = share_to_split(samples)
        self.ensemble_size = resolve_ensemble_size(
            estimator, self.n_samples, self.n_potentials, stream
        )
        self._add_data(samples)

    @property
    def n_potentials(self) -> int:
        """Number of maps: that of the classes, or 1 if they share a map."""
        return 1 if self.shared else self.n_classes

    @property
    def score_rows(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows that the estimator's `score` uses."""
        assert self.data.score_rows is not None  # since the first call
        return self.data.score_rows

    @property
    def supports(self) -> list[tuple[Support | None, Support | None]]:
        """Subsamples of the rows of both samples of every class."""
        return self.data.supports

    # Between two calls of partial_fit.

    def add_samples(
        self, estimator: TransportParameters, pairs: Sequence[RowPair]
    ) -> None:
        """Take the rows of another :meth:`~sk_ncf.NCFTransport.partial_fit`.

        The change of variables is that of the first call. A class may have no rows on a
        side; its potential is then not trained.
        """
        self.estimator, self.stream = estimator, True
        self.weight_to_split = None
        self._add_data(self._samples(pairs))

    def copy_for_training(self) -> "FitSession":
        """A copy that can be trained without changing this session."""
        session = copy.copy(self)
        session.data = copy.copy(self.data)
        session.trainer = copy.deepcopy(self.trainer)
        return session

    def state_for_partial_fit(self) -> "FitSession":
        """A copy with what the next call of `partial_fit` needs.

        It has no training rows and no reference to the estimator. After a fit it has no
        trainer either: `partial_fit` then starts from the weights of the fitted flow.
        """
        state = copy.copy(self)
        state.estimator = state.checkpoint = state.comparison = None
        state.data = self.data.without_training_rows(keep_validation=self.stream)
        if not self.stream:
            state.trainer = None
        return state

    @classmethod
    def from_saved_state(
        cls,
        estimator: Any,
        rng: np.random.RandomState,
        n_samples: int,
        ensemble_size: int,
        shared: bool,
        supports: list[tuple[Support | None, Support | None]],
    ) -> "FitSession":
        """The result of :meth:`state_for_partial_fit` for an estimator from a file."""
        session = cls.__new__(cls)
        session.estimator = None
        session.rng, session.stream, session.shared = rng, False, shared
        session.n_features = estimator.n_features_in_
        session.preconditioners = estimator.preconditioners_
        session.n_classes = len(session.preconditioners)
        session.n_samples = session.n_balanced = n_samples  # streams have no budget
        session.ensemble_size, session.data = ensemble_size, FitData(session.n_classes)
        session.data.score_rows = estimator._score_rows
        session.data.supports = supports
        session.n_outliers = estimator.n_outliers_
        session.n_new_outliers, session.outlier_variance = np.zeros(2, dtype=int), 0.0
        return session

    # Training.

    def run(self, previous: CharacteristicFlow | None = None) -> FitResult:
        """Train and select the weights; the initial ones may be those of a fitted flow."""
        if self.parameters.potential == "discrete":
            return discrete_result(self)
        if self.trainer is None:
            if self._too_few_rows(previous):
                return result_without_training(self)
            self.trainer = self._new_trainer(previous)
        trainer, device = self.trainer, self.device()
        move_to_device(trainer.net, device)
        risk = trainer.risk_function(
            self.data.held_out_tensors(device),
            self.ensemble_size,
            self._objective() if self.shared else None,
        )
        untrained = np.array(False) if self.shared else self.data.n_training() == 0
        trainer.begin_selection(risk, self.n_features, untrained, previous is not None)
        batches = self._sampler(trainer, device)
        n_iter = trainer.train(batches, self.checkpoint, self.rng, self.n_jobs)
        result = trained_result(self, trainer, n_iter)
        if self.checkpoint is not None:
            self.checkpoint.finish(result.stop_reason)
        return result

    def _too_few_rows(self, previous: CharacteristicFlow | None) -> bool:
        """Whether the initialization is kept: no validation split could show more."""
        selects = self.parameters.early_stopping and not self.stream
        few = selects and previous is None and too_few_rows(self.n_balanced)
        return few or bool(self.data.too_small(self.shared).all())

    def _samples(self, pairs: Sequence[RowPair]) -> list[SamplePair]:
        """Distinct rows; notes which sides have rows of their own."""
        distribution = self.parameters.output_distribution
        self.is_given = [
            any(rows is not None for rows in side) for side in zip(*pairs, strict=True)
        ]
        samples, self.n_new_outliers, self.outlier_variance = distinct_samples(
            pairs, distribution, self.n_features, self.data.supports, self.rng
        )
        self.n_outliers = self.n_outliers + self.n_new_outliers
        return samples

    def _add_data(self, samples: Sequence[SamplePair]) -> None:
        estimator = self.parameters
        fraction = estimator.validation_fraction if estimator.early_stopping else None
        self.preconditioners = with_extents(self.preconditioners, samples, self.shared)
        self.data.add(
            samples, self.preconditioners, self.ensemble_size, fraction, self.rng
        )

    @property
    def parameters(self) -> TransportParameters:
        """Those of the estimator."""
        assert self.estimator is not None  # between two calls it is
        return self.estimator

    @property
    def _settings(self) -> FitSettings:
        return resolve_settings(
            self.parameters, self.n_balanced, self.ensemble_size, self.n_classes
        )

    @property
    def n_jobs(self) -> int:  # of processes; one in a stream
        return 1 if self.stream else usable_jobs(self.parameters.n_jobs)

    def device(self) -> torch.device:
        """The device of the training."""
        return training_device(self.parameters.skorch_net, self.parameters.device)

    def _objective(self) -> Objective:
        """The objective with all weights as numbers."""
        objective = make_objective(self.parameters.objective)
        return objective.resolved(bool(self.parameters.class_conditional))

    def initial_flow(self) -> CharacteristicFlow:
        """The flow of new potentials, those of all ensemble members."""
        return initial_flow(
            self.parameters.skorch_net,
            self._settings.hidden_layer_sizes,
            self.preconditioners[: self.n_potentials],
            self.ensemble_size,
            self.rng,
        )

    def ensemble_mean(self, flow: CharacteristicFlow) -> CharacteristicFlow:
        """The flow of the mean potential of every ensemble; changes `flow`."""
        maps = self.preconditioners[: self.n_potentials]
        return ensemble_mean(flow, maps, self.ensemble_size)

    def _new_trainer(self, previous: CharacteristicFlow | None) -> Trainer:
        """A net with its callbacks; its weights are those of `previous` if they fit."""
        estimator, settings = self.parameters, self._settings
        flow = self.initial_flow()
        if previous is not None:
            if self.stream:
                flow.potential = with_separable(flow.potential, previous.potential)
            copy_weights(flow.potential, previous.potential)
        n_rows = self.data.n_training()
        risk = make_model_selection(estimator, settings, n_rows, self.stream)
        n_steps = settings.max_iter
        n_epochs = math.ceil(n_steps / epoch_length(n_steps))
        net = build_net(
            estimator.skorch_net,
            MinibatchLoss(flow, self._objective()),
            early_callbacks(estimator, risk, None if self.stream else n_epochs),
            late_callbacks(risk, early_choice(self, risk), self.checkpoint),
            lr=settings.learning_rate_init,
            device=self.device(),
            seed=self.rng.randint(2**31),
            verbose=max(0, estimator.verbose - 1),
        )
        return Trainer(net, risk)

    def _sampler(self, trainer: Trainer, device: torch.device) -> PairSampler:
        settings = self._settings
        rank, n_processes = rank_and_size(trainer.net)
        self.n_steps = settings.max_iter
        if self.stream:  # one pass over the rows
            longest = self.data.longest_side(self.is_given)
            self.n_steps = math.ceil(longest / (n_processes * settings.batch_size))
        n_rows = self.data.n_training_of_largest_class()
        return PairSampler(
            self.data.training_folds(0),
            self.data.training_folds(1),
            self.data.training_frames(self.preconditioners),
            settings.batch_size,
            epoch_length(self.n_steps),
            self.n_steps,
            self.rng.randint(2**31) + rank,
            torch.float32,
            device,
            smoothing=smoothing_scale(n_rows, self.n_features),
            planes=[
                p.plane for p in self.preconditioners for _ in range(self.ensemble_size)
            ],
        )
