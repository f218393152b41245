"""One fit: from two samples to the weights that are kept."""

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, PrintLog

from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.potential import MeanPotential
from sk_ncf._flow.preconditioner import AffineMap, Preconditioner, common_cost
from sk_ncf._samples.initial_map import initial_map
from sk_ncf._samples.outliers import without_far_rows
from sk_ncf._samples.reference import output_rows
from sk_ncf._samples.sample import unique_rows
from sk_ncf._samples.splits import (
    held_out_rows,
    joined,
    parted,
    stacked,
    training_frames,
)
from sk_ncf._training.callbacks.gradient_clipping import ClipPerPotential
from sk_ncf._training.callbacks.learning_rate import PlateauCosine
from sk_ncf._training.callbacks.model_selection import HeldOutRisk, Stop
from sk_ncf._training.callbacks.progress import ProgressBar, TaskEvents
from sk_ncf._training.callbacks.weight_average import WeightAverage
from sk_ncf._training.checkpoints import checkpoint_of
from sk_ncf._training.defaults import (
    FEW_ROWS,
    MANY_ROWS,
    auto_ensemble_size,
    auto_settings,
    longest_patience,
)
from sk_ncf._training.devices import (
    check_accelerator,
    objective_of,
    place,
    rank_and_size,
    training_device,
)
from sk_ncf._training.held_out_risk import (
    held_out_risk,
    matching_risk,
    of_first_process,
)
from sk_ncf._training.minibatches import PairSampler, smoothing_scale
from sk_ncf._training.net import build_net, build_potential, train
from sk_ncf._training.objective import MinibatchLoss
from sk_ncf.costs._checks import check_cost
from sk_ncf.diagnostics._support import Support
from sk_ncf.objectives._registry import make_objective

__all__ = ["FitResult", "FitSession"]

WIDEST = 2**16  # layer
EPOCH = 100  # steps between two looks at the held-out risk
TOO_FEW = 4  # training rows, below which a class keeps its start
OF_ONE_FIT = ("sklearn", "checkpoint")  # callbacks


@dataclass
class FitResult:
    """What a session hands back."""

    flow: CharacteristicFlow
    net: object
    n_iter: int
    best_iter: np.ndarray  # of every potential that is not a member
    stop_reason: str
    small: np.ndarray  # of bool: classes with too few rows to train on
    kind: np.ndarray  # of str, of every potential that is not a member


class FitSession:
    """Everything between the checked rows and the fitted flow.

    Parameters
    ----------
    estimator : NCFTransport
        Whose parameters and `cost_` to use.
    pairs : list of pairs of Rows or None
        Source and target rows of every class, a single pair without classes. A target
        of None is drawn from the estimator's `output_distribution`.
    pooled : dict
        Moments of classes that start from others than those of their rows.
    stream : bool, default=False
        Whether more rows will follow (:meth:`feed`).
    """

    def __init__(self, estimator, pairs, pooled, stream=False):
        check_accelerator(estimator.skorch_net, estimator.random_state)
        self.rng = check_random_state(estimator.random_state)
        self.estimator, self.stream = estimator, stream
        self.n_features, self.n_classes = estimator.n_features_in_, len(pairs)
        self.shared = estimator.class_conditional == "shared"
        self.supports = [(None, None)] * self.n_classes  # of both sides
        self.n_potentials = 1 if self.shared else self.n_classes
        self.n_outliers = np.zeros(2, dtype=int)  # source and target, all calls
        self.score_rows, self.net = None, None
        self.held_out, self.risk, self.schedule = None, None, None
        samples = self._samples(pairs)
        self.checkpoint = None if stream else checkpoint_of(estimator, samples, pooled)
        self.preconditioners = self._preconditioners(samples, pooled)
        self.n_samples = max(sum(map(len, side)) for side in zip(*samples, strict=True))
        self.ensemble_size = self._members(self.n_samples)
        self._split(samples)

    def feed(self, estimator, pairs):
        """More rows, of a stream from now on; the change of variables stays.

        A class without rows on a side, None there, rests.
        """
        self.estimator, self.stream = estimator, True
        self._split(self._samples(pairs))

    def resumed(self):
        """A session that goes on; this one stays as it is, should the next fail."""
        session = copy.copy(self)
        own = (self.net, self.risk, self.schedule)
        session.net, session.risk, session.schedule = copy.deepcopy(own)
        return session

    def suspended(self):
        """What the next call of a stream needs: no training rows, no estimator."""
        rest = copy.copy(self)
        rest.estimator = rest.parts = rest.checkpoint = None
        if not self.stream:
            rest.net = rest.held_out = rest.risk = rest.schedule = None
        return rest

    @classmethod
    def restored(cls, estimator, rng, n_samples, ensemble_size, shared, supports):
        """What :meth:`suspended` leaves of a fit, for one that is read from a file."""
        session = cls.__new__(cls)
        session.rng, session.stream, session.shared = rng, False, shared
        session.n_features = estimator.n_features_in_
        session.preconditioners = estimator.preconditioners_
        session.n_classes = len(session.preconditioners)
        session.n_potentials = 1 if shared else session.n_classes
        session.n_samples, session.ensemble_size = n_samples, ensemble_size
        session.score_rows, session.checkpoint = estimator._score_rows, None
        session.supports, session.n_outliers = supports, estimator.n_outliers_
        session.estimator = session.parts = session.net = None
        session.held_out = session.risk = session.schedule = None
        return session

    def _samples(self, pairs):
        """Distinct rows of both sides of every class; the missing side is drawn.

        Without those that lie far outside the rest, which are counted.
        """
        drawn, samples = None, []
        if any(rows is None for pair in pairs for rows in pair):
            drawn = output_rows(
                self.estimator.output_distribution, self.n_features, self.rng
            )
            drawn = unique_rows(drawn)
        n_outliers = np.zeros(2, dtype=int)
        for pair, supports in zip(pairs, self.supports, strict=True):
            found = [
                (drawn, 0) if rows is None else without_far_rows(_distinct(rows), seen)
                for rows, seen in zip(pair, supports, strict=True)
            ]
            sides, counts = zip(*found, strict=True)
            samples.append(sides)
            n_outliers += counts
        self.n_outliers, self.n_new = self.n_outliers + n_outliers, n_outliers
        given = (
            [rows is not None for rows in side] for side in zip(*pairs, strict=True)
        )
        self.given = [any(side) for side in given]
        return samples

    def _preconditioners(self, samples, pooled):
        """One of every class; the same one, where the classes share the map."""
        if self.shared:
            whole = [
                np.concatenate([s.X for s in side])
                for side in zip(*samples, strict=True)
            ]
            samples = [tuple(map(unique_rows, whole))]
        moments = [(source.moments, target.moments) for source, target in samples]
        cost = self.estimator.cost_
        check_cost(cost, self.n_features, max(map(_scale, moments)) or 1.0)
        careful = len(samples) > 1
        kinds = [
            None if k in pooled else initial_map(*sides, cost, careful)
            for k, sides in enumerate(samples)
        ]
        fitted = Preconditioner.fit_classes(samples, cost, pooled, kinds)
        return fitted * self.n_classes if self.shared else fitted

    def _members(self, n_samples):
        """Potentials whose mean is the map: one in a stream or for a module of one's own."""
        wanted, net = self.estimator.ensemble_size, self.estimator.skorch_net
        own_module = net is not None and net.module is not None
        if own_module and self.n_potentials > 1:
            raise ValueError(
                "class_conditional='per_class' needs a potential of every class, but net has "
                f"a module of its own: {net.module!r}."
            )
        if wanted == "auto":
            alone = self.stream or own_module or self.estimator.class_conditional
            return 1 if alone else auto_ensemble_size(n_samples, self.n_features)
        if own_module and wanted > 1:
            raise ValueError(
                "ensemble_size must be 1 or 'auto' where net has a module of its own, got "
                f"{wanted!r}."
            )
        if self.shared and wanted > 1:
            raise ValueError(
                "ensemble_size must be 1 or 'auto' for class_conditional='shared', got "
                f"{wanted!r}."
            )
        return wanted

    def _split(self, samples):
        """Rows to train on, to select by and to score with."""
        estimator = self.estimator
        self.supports = [
            tuple(map(Support.of, *pairs))
            for pairs in zip(samples, self.supports, strict=True)
        ]
        self.preconditioners = self._with_radii(samples)
        share = estimator.validation_fraction if estimator.early_stopping else None
        self.parts = [parted(*s, self.ensemble_size, share, self.rng) for s in samples]
        if self.score_rows is None:
            self.score_rows = [parts.score for parts in self.parts]
        fresh = [[], []]  # source and target, every potential
        for parts, frame in zip(self.parts, self.preconditioners, strict=True):
            for side, rows in zip(fresh, held_out_rows(parts, frame), strict=True):
                side += rows
        if self.held_out is None:
            self.held_out = fresh
            return
        self.held_out = [
            [joined(*rows, self.rng) for rows in zip(old, new, strict=True)]
            for old, new in zip(self.held_out, fresh, strict=True)
        ]

    def _with_radii(self, samples):
        """The changes of variables, which know how far out the rows lie."""
        groups = [samples] if self.shared else [[pair] for pair in samples]
        frames = []
        for frame, pairs in zip(self.preconditioners, groups, strict=False):
            sides = (
                [rows for rows in side if rows is not None]
                for side in zip(*pairs, strict=True)
            )
            own = frame.source, frame.target
            source, target = map(AffineMap.of_radius, own, sides)
            if source is not own[0] or target is not own[1]:
                frame = replace(frame, source=source, target=target)
            frames.append(frame)
        return frames * self.n_classes if self.shared else frames

    def run(self, previous=None):
        """Train, and say what came of it.

        Parameters
        ----------
        previous : CharacteristicFlow, default=None
            Fitted flow whose weights to start from.
        """
        if self.net is None and self._too_few().all():
            flow = self._flow()
            flow.potential.reset()
            none, few = np.zeros(self.n_potentials, dtype=int), self._too_few()
            kind = self._kinds(np.ones_like(few))
            return FitResult(self._mean(flow), None, 0, none, "too_few_rows", few, kind)
        if self.net is None:
            self._build(previous)
        device = training_device(self.estimator.skorch_net, self.estimator.device)
        place(self.net, device)
        flow = objective_of(self.net).flow
        # Rows have unit variance: u = 0 scores 0 and costs about n_features / 2.
        resting = False if self.shared else self._n_training() == 0
        measure = self._measure(flow, device)
        self.risk.judge_on(flow, measure, self.n_features, resting)
        if previous is not None and self.schedule.step == 0:
            self.risk.judge_initial()
        before, sampler = self.schedule.step, self._sampler(device)
        if self.checkpoint is not None:
            self.checkpoint.begin(self.net, sampler, self.risk, self.rng)
        train(self.net, sampler)
        result = self._result(flow, self.schedule.step - before)
        if self.checkpoint is not None:
            self.checkpoint.end(result.stop_reason)
        return result

    def _measure(self, flow, device):
        """The risk on the held-out rows, a function without arguments."""
        (x, weight_x), (y, weight_y) = (stacked(side) for side in self.held_out)
        rows = (torch.from_numpy(z) for z in (x, y, weight_x, weight_y))
        rows = [z.to(device, torch.float32) for z in rows]
        if not self.shared:
            measure = partial(held_out_risk, flow, *rows, self.ensemble_size)
        else:
            objective = self._objective()
            hj, mmd = objective.weight("hj"), objective.weight("mmd")
            share = hj / mmd if mmd else 1.0
            measure = partial(matching_risk, flow, *rows, share)
        _, n_processes = rank_and_size(self.net)
        return measure if n_processes == 1 else of_first_process(measure)

    def _n_training(self):
        """Rows to train on of the smaller side of every class, shape (K,)."""
        sizes = [
            [0 if fold[0] is None else len(fold[0]) for fold in parts.train]
            for parts in self.parts
        ]
        return np.min(sizes, axis=1)

    def _too_few(self):
        """Classes with too few rows on a side to train on, shape (K,)."""
        few = self._n_training() < TOO_FEW
        return few.all(keepdims=True) if self.shared else few

    def _flow(self):
        estimator = self.estimator
        sizes = _layer_sizes(self._setting("hidden_layer_sizes"))
        seed = self.rng.randint(2**31)
        n_potentials = self.n_potentials * self.ensemble_size
        potential = build_potential(
            estimator.skorch_net, self.n_features, sizes, seed, n_potentials
        )
        frames = self.preconditioners[: self.n_potentials]
        return CharacteristicFlow(
            potential, common_cost(frames, self.ensemble_size)
        ).float()

    def _mean(self, flow):
        """The flow of the members' mean."""
        if self.ensemble_size > 1:
            flow.potential = MeanPotential(flow.potential, self.ensemble_size)
            frames = self.preconditioners[: self.n_potentials]
            flow.cost = common_cost(frames)
        return flow

    def _setting(self, name):
        value = getattr(self.estimator, name)
        if isinstance(value, str) and value == "auto":
            sizes = self.n_samples, self.n_features, self.ensemble_size, self.n_classes
            return auto_settings(*sizes, self.shared)[name]
        return value

    def _objective(self):
        """The objective, with numbers for weights."""
        objective = make_objective(self.estimator.objective)
        return objective.resolved(bool(self.estimator.class_conditional))

    def _build(self, previous):
        """The net with its callbacks."""
        estimator, flow = self.estimator, self._flow()
        if previous is not None:
            _take_weights(flow.potential, previous.potential)
        self.net = build_net(
            estimator.skorch_net,
            MinibatchLoss(flow, self._objective()),
            self._callbacks(),
            self._last_callbacks(),
            lr=self._setting("learning_rate_init"),
            device=training_device(estimator.skorch_net, estimator.device),
            seed=self.rng.randint(2**31),
            verbose=max(0, estimator.verbose - 1),
        )

    def _callbacks(self):
        estimator = self.estimator
        budget = self._setting("max_iter")
        self.schedule = PlateauCosine(None if self.stream else budget)
        average = WeightAverage()
        self.risk = HeldOutRisk(
            self.schedule,
            average,
            min(estimator.n_iter_no_change, longest_patience(self._n_rows())),
            estimator.tol,
            estimator.early_stopping and not self.stream,
            margin=0.5 if self._n_rows() < MANY_ROWS else 1.0,
            doubt=0.5 if self._n_rows() < FEW_ROWS else 1.0,
        )
        callbacks = [
            ("schedule", self.schedule),
            ("clip", ClipPerPotential()),
            ("average", average),
            ("held_out_risk", self.risk),
        ]
        if estimator.verbose:
            callbacks.append(("progress", ProgressBar(self.schedule)))
        if estimator.verbose > 1:
            callbacks.append(("log", PrintLog()))
        return callbacks + self._own_and_sklearn_callbacks(budget)

    def _last_callbacks(self):
        """What comes when all others, the user's too, have seen an epoch."""
        last = [("stop", Stop(self.risk))]
        if self.checkpoint is not None:
            last.insert(0, ("checkpoint", self.checkpoint))
        return last

    def _n_rows(self):
        """Training rows of the smaller side, of the class that has most."""
        return max(1, int(self._n_training().max()))

    def _own_and_sklearn_callbacks(self, budget):
        callbacks = _checked_callbacks(self.estimator.callbacks)
        if not self.stream and hasattr(self.estimator, "_init_callback_context"):
            n_epochs = math.ceil(budget / min(EPOCH, budget))
            context = self.estimator._init_callback_context(max_subtasks=n_epochs)
            callbacks.append(("sklearn", TaskEvents(self.estimator, context)))
        return callbacks

    def _sampler(self, device):
        batch_size = self._setting("batch_size")
        rank, n_processes = rank_and_size(self.net)
        self.n_steps = self._setting("max_iter")
        sources, targets = (
            [fold for parts in self.parts for fold in parts.train[side]]
            for side in (0, 1)
        )
        frames = [[], []]
        for parts, frame in zip(self.parts, self.preconditioners, strict=True):
            for side, found in zip(frames, training_frames(parts, frame), strict=True):
                side += found
        if self.stream:
            # Of what is drawn there is no end to pass over.
            sides = zip((sources, targets), self.given, strict=True)
            folds = [fold for side, given in sides if given for fold in side]
            longer = max(len(fold) for fold in folds if fold is not None)
            self.n_steps = math.ceil(longer / (n_processes * batch_size))
        return PairSampler(
            sources,
            targets,
            frames,
            batch_size,
            min(EPOCH, self.n_steps),
            self.n_steps,
            self.rng.randint(2**31) + rank,
            torch.float32,
            device,
            smoothing=smoothing_scale(self._n_rows(), self.n_features),
        )

    def _result(self, flow, n_iter):
        risk = self.risk
        reason = risk.stop_reason
        if reason is None:
            done = self.stream and n_iter >= self.n_steps
            reason = "partial_fit" if done else "interrupted"
        small = self._too_few() & (not self.stream)
        weights, best_iter, at_start = risk.chosen(torch.from_numpy(small))
        best_iter = best_iter.numpy()
        fitted = copy.deepcopy(flow)
        fitted.load_state_dict(weights)
        fitted = self._mean(fitted.cpu().requires_grad_(False))
        if not self.stream:
            flow.load_state_dict(weights)
        self._tidy()
        kind = self._kinds(at_start.numpy())
        return FitResult(fitted, self.net, n_iter, best_iter, reason, small, kind)

    def _kinds(self, at_start):
        """What the map of every class is, shape (K,)."""
        starts = [frame.kind for frame in self.preconditioners[: self.n_potentials]]
        return np.where(at_start, starts, "network")

    def _tidy(self):
        """Keep the net small: no losses of single minibatches, no way back to here."""
        place(self.net, torch.device("cpu"))
        for row in self.net.history:
            row["batches"] = []
        for callbacks in (self.net.callbacks, self.net.callbacks_):
            callbacks[:] = [c for c in callbacks if not _named(c, OF_ONE_FIT)]


def _checked_callbacks(callbacks):
    callbacks = list(callbacks or [])
    for callback in callbacks:
        bare = callback[-1] if isinstance(callback, tuple) and callback else callback
        kind = bare if isinstance(bare, type) else type(bare)
        if not issubclass(kind, Callback):
            raise ValueError(
                "callbacks must be skorch callbacks or pairs of a name and one, got "
                f"{callback!r}."
            )
    return callbacks


def _named(callback, names):
    return isinstance(callback, tuple) and callback[0] in names


def _distinct(rows):
    """The sample of a side; None where a stream brought nothing of a class."""
    return unique_rows(rows.X, rows.weight) if len(rows.X) else None


def _scale(moments):
    """Size of the displacements of a class: spread and mean shift together."""
    (mean_x, cov_x), (mean_y, cov_y) = moments
    variance = (np.trace(cov_x) + np.trace(cov_y)) / (2 * len(mean_x))
    return math.sqrt(variance + np.square(mean_y - mean_x).mean())


def _layer_sizes(sizes):
    sizes = tuple(sizes)
    valid = sizes and all(isinstance(w, Integral) and 0 < w <= WIDEST for w in sizes)
    if not valid or len(set(sizes)) > 1:
        raise ValueError(
            "hidden_layer_sizes must be 'auto' or equal positive integers (the layers "
            f"are residual), at most {WIDEST}, got {sizes!r}."
        )
    return sizes


def _take_weights(potential, other):
    """Copy the weights of another potential, if all are of the same shape."""
    if isinstance(other, MeanPotential):
        other = other.members
    mine, theirs = potential.state_dict(), other.state_dict()
    if mine.keys() == theirs.keys() and all(
        mine[name].shape == theirs[name].shape for name in mine
    ):
        potential.load_state_dict(theirs)
