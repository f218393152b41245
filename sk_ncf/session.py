"""One fit: from two samples to the weights that are kept."""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, GradientNormClipping, PrintLog

from sk_ncf.callbacks import (
    HeldOutRisk,
    PlateauCosine,
    ProgressBar,
    Stop,
    TaskEvents,
    WeightAverage,
)
from sk_ncf.costs import check_cost
from sk_ncf.domains import output_rows
from sk_ncf.flow import CharacteristicFlow
from sk_ncf.potential import MeanPotential
from sk_ncf.preconditioner import Preconditioner, weighted_moments
from sk_ncf.sampling import (
    PairSampler,
    Sample,
    held_out_folds,
    matched_to,
    random_rows,
    smoothing_scale,
    split_rows,
    unique_rows,
)
from sk_ncf.training import (
    MANY_ROWS,
    Objective,
    auto_members,
    auto_settings,
    build_net,
    build_potential,
    train,
)

__all__ = ["FitResult", "FitSession", "resolve_device"]

EPOCH = 100  # steps between two looks at the held-out risk
AT_MOST_HELD_OUT = 4096
AT_MOST_RESERVED = 1024
TERMS = ("hj", "momentum", "dual", "hopf_lax", "mmd")


@dataclass
class FitResult:
    """What a session hands back."""

    flow: CharacteristicFlow
    net: object
    n_iter: int
    best_iter: int
    stop_reason: str
    message: str | None = None


class FitSession:
    """Everything between the checked rows and the fitted flow.

    Parameters
    ----------
    estimator : NCFTransport
        Whose parameters and `cost_` to use.
    source, target : Rows or None
        None is drawn from the estimator's `output_distribution`.
    stream : bool, default=False
        Whether more rows will follow (:meth:`feed`).
    """

    def __init__(self, estimator, source, target, stream=False):
        self.rng = check_random_state(estimator.random_state)
        self.estimator, self.stream = estimator, stream
        self.n_features = estimator.n_features_in_
        self.score_rows, self.net = None, None
        self.held_out, self.risk, self.schedule = None, None, None
        samples = self._samples(source, target)
        self.preconditioner = self._preconditioner(*samples)
        self.n_samples = max(map(len, samples))
        self.n_members = self._members(self.n_samples)
        self._split(*samples)

    def feed(self, estimator, source, target):
        """More rows, of a stream from now on; the change of variables stays."""
        self.estimator, self.stream = estimator, True
        self._split(*self._samples(source, target))

    def resumed(self):
        """A session that goes on; this one stays as it is, should the next fail."""
        session = copy.copy(self)
        own = (self.net, self.risk, self.schedule)
        session.net, session.risk, session.schedule = copy.deepcopy(own)
        return session

    def suspended(self):
        """What the next call of a stream needs: no training rows, no estimator."""
        rest = copy.copy(self)
        rest.estimator = rest.source = rest.target = None
        if not self.stream:
            rest.net = rest.held_out = rest.risk = rest.schedule = None
        return rest

    def _samples(self, source, target):
        """Distinct rows of both sides; the missing side is drawn."""
        drawn = None
        if source is None or target is None:
            drawn = output_rows(
                self.estimator.output_distribution, self.n_features, self.rng
            )
        sides = []
        for rows in (source, target):
            sides.append(unique_rows(drawn) if rows is None else unique_rows(*rows))
        return sides

    def _preconditioner(self, source, target):
        cost = self.estimator.cost_
        moments = [weighted_moments(s.X, s.weight) for s in (source, target)]
        variance = sum(np.trace(cov) for _, cov in moments) / (2 * self.n_features)
        shift = moments[1][0] - moments[0][0]
        scale = math.sqrt(variance + (shift**2).mean())
        check_cost(cost, self.n_features, scale or 1.0)
        return Preconditioner.fit(
            source.X, target.X, cost, source.weight, target.weight
        )

    def _members(self, n_samples):
        """Potentials whose mean is the map: one in a stream or for a module of one's own."""
        wanted, net = self.estimator.n_members, self.estimator.net
        own_module = net is not None and net.module is not None
        if wanted == "auto":
            alone = self.stream or own_module
            return 1 if alone else auto_members(n_samples)
        if own_module and wanted > 1:
            raise ValueError(
                "n_members must be 1 or 'auto' where net has a module of its own, got "
                f"{wanted!r}."
            )
        return wanted

    def _split(self, source, target):
        """Rows to train on, to select by and to score with."""
        reserve = np.random.RandomState(0)
        target, target_rows = _reserved(target, reserve)
        if self.n_members > 1:  # no source rows are held out by all members
            source, source_rows = _reserved(source, reserve)
        folds = [self._folds(sample) for sample in (source, target)]
        self.source, self.target = ([kept for kept, _ in side] for side in folds)
        if self.score_rows is None:
            source_rows = source_rows if self.n_members > 1 else folds[0][0][1]
            scored = (source_rows, target_rows)
            self.score_rows = tuple(map(_equally_weighted, scored))
        apart = [[rows for _, rows in side] for side in folds]
        self._remember(apart, (source, target))

    def _folds(self, sample):
        """Training rows and rows to judge by of every member, on one side."""
        estimator, rng = self.estimator, self.rng
        if not estimator.early_stopping:
            every = np.sort(random_rows(len(sample), AT_MOST_HELD_OUT, rng))
            return [(sample, sample.take(every))] * self.n_members
        share = max(estimator.validation_fraction, min(16 / len(sample), 0.25))
        return held_out_folds(sample, self.n_members, share, AT_MOST_HELD_OUT, rng)

    def _remember(self, held_out, samples):
        """Held-out rows in the network's variables, those of earlier calls included."""
        sides = (self.preconditioner.source, self.preconditioner.target)
        fresh = []
        for side, folds, full in zip(sides, held_out, samples, strict=True):
            moments = side.moments(*weighted_moments(full.X, full.weight))
            fresh.append([_in_frame(side, rows, moments) for rows in folds])
        if self.held_out is None:
            self.held_out = fresh
            return
        self.held_out = [
            [_reservoir(*rows, self.rng) for rows in zip(old, new, strict=True)]
            for old, new in zip(self.held_out, fresh, strict=True)
        ]

    def run(self, previous=None):
        """Train, and say what came of it.

        Parameters
        ----------
        previous : CharacteristicFlow, default=None
            Fitted flow whose weights to start from.
        """
        if self._n_rows() < 4:
            flow = self._flow()
            flow.potential.reset()
            return FitResult(self._mean(flow), None, 0, 0, "too_few_rows")
        if self.net is None:
            self._build(previous)
        device = resolve_device(self.estimator.device)
        flow = self.net.module_.flow
        rows = [
            torch.from_numpy(np.stack([getattr(fold, name) for fold in side]))
            for side in self.held_out
            for name in ("X", "weight")
        ]
        x, weight_x, y, weight_y = (z.to(device, torch.float32) for z in rows)
        self.risk.judge_on(flow, (x, y, weight_x, weight_y))
        if previous is not None and self.schedule.step == 0:
            self.risk.judge_initial()
        before = self.schedule.step
        train(self.net, self._sampler(device))
        return self._result(flow, self.schedule.step - before)

    def _flow(self):
        estimator = self.estimator
        sizes = _layer_sizes(self._setting("hidden_layer_sizes"))
        seed = self.rng.randint(2**31)
        potential = build_potential(
            estimator.net, self.n_features, sizes, seed, self.n_members
        )
        return CharacteristicFlow(potential, self.preconditioner.cost).float()

    def _mean(self, flow):
        """The flow of the members' mean."""
        if self.n_members > 1:
            flow.potential = MeanPotential(flow.potential, self.n_members)
        return flow

    def _setting(self, name):
        value = getattr(self.estimator, name)
        if isinstance(value, str) and value == "auto":
            sizes = self.n_samples, self.n_features, self.n_members
            return auto_settings(*sizes)[name]
        return value

    def _build(self, previous):
        """The net with its callbacks."""
        estimator, flow = self.estimator, self._flow()
        if previous is not None:
            _take_weights(flow.potential, previous.potential)
        weights = {name: getattr(estimator, f"{name}_weight") for name in TERMS}
        if weights["mmd"] == "auto":
            weights["mmd"] = 10.0 if estimator.objective == "mmd" else 0.0
        # Pairs of a cost that is no matrix product.
        quick = int(math.sqrt(3e5 / self.n_features / self.n_members))
        objective = Objective(
            flow, estimator.objective, weights, estimator.kernel, quick
        )
        self.net = build_net(
            estimator.net,
            objective,
            self._callbacks(),
            Stop(self.risk),
            lr=self._setting("learning_rate_init"),
            device=resolve_device(estimator.device),
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
            estimator.n_iter_no_change,
            estimator.tol,
            estimator.early_stopping and not self.stream,
            margin=0.5 if self._n_rows() < MANY_ROWS else 1.0,
        )
        callbacks = [
            ("schedule", self.schedule),
            ("clip", GradientNormClipping(self.n_members**-0.5)),
            ("average", average),
            ("held_out_risk", self.risk),
        ]
        if estimator.verbose:
            callbacks.append(("progress", ProgressBar(self.schedule)))
        if estimator.verbose > 1:
            callbacks.append(("log", PrintLog()))
        return callbacks + self._own_and_sklearn_callbacks(budget)

    def _n_rows(self):
        """Training rows of the smaller side."""
        return min(len(side[0]) for side in (self.source, self.target))

    def _own_and_sklearn_callbacks(self, budget):
        callbacks = _checked_callbacks(self.estimator.callbacks)
        if not self.stream and hasattr(self.estimator, "_init_callback_context"):
            n_epochs = math.ceil(budget / min(EPOCH, budget))
            context = self.estimator._init_callback_context(max_subtasks=n_epochs)
            callbacks.append(("sklearn", TaskEvents(self.estimator, context)))
        return callbacks

    def _sampler(self, device):
        batch_size = self._setting("batch_size")
        self.n_steps = self._setting("max_iter")
        if self.stream:
            longer = max(len(side[0]) for side in (self.source, self.target))
            self.n_steps = math.ceil(longer / batch_size)
        return PairSampler(
            self.source,
            self.target,
            self.preconditioner,
            batch_size,
            min(EPOCH, self.n_steps),
            self.n_steps,
            self.rng.randint(2**31),
            torch.float32,
            device,
            smoothing=smoothing_scale(self._n_rows(), self.n_features),
        )

    def _result(self, flow, n_iter):
        risk = self.risk
        reason = risk.stop_reason
        if reason is None:
            done = self.stream and n_iter >= self.n_steps
            reason = "stream" if done else "interrupted"
        weights, best_iter = risk.chosen()
        fitted = copy.deepcopy(flow)
        fitted.load_state_dict(weights)
        fitted = self._mean(fitted.cpu().requires_grad_(False))
        if not self.stream:
            flow.load_state_dict(weights)
        self._tidy()
        message = _MESSAGES.get(reason)
        if message:
            message = message.format(n_iter=n_iter, best_iter=best_iter)
        return FitResult(fitted, self.net, n_iter, best_iter, reason, message)

    def _tidy(self):
        """Keep the net small: no losses of single minibatches, no way back to here."""
        for row in self.net.history:
            row["batches"] = []
        for callbacks in (self.net.callbacks, self.net.callbacks_):
            callbacks[:] = [c for c in callbacks if not _named(c, "sklearn")]


_MESSAGES = {
    "diverged": (
        "Training diverged after {n_iter} steps; the weights of step {best_iter} are "
        "kept (step 0 is the start, the Gaussian or mean-shift map). Try a smaller "
        "learning_rate_init."
    ),
    "interrupted": (
        "Training was interrupted after {n_iter} steps; the best weights so far, those "
        "of step {best_iter}, are kept."
    ),
}


def _checked_callbacks(callbacks):
    callbacks = list(callbacks or [])
    for callback in callbacks:
        bare = callback[-1] if isinstance(callback, tuple) else callback
        kind = bare if isinstance(bare, type) else type(bare)
        if not issubclass(kind, Callback):
            raise ValueError(
                "callbacks must be skorch callbacks or pairs of a name and one, got "
                f"{callback!r}."
            )
    return callbacks


def _named(callback, name):
    return isinstance(callback, tuple) and callback[0] == name


def _reserved(sample, rng):
    """Rows to go on with, and rows to score with: all, where they are too few."""
    kept, apart = split_rows(sample, 0.05, AT_MOST_RESERVED, rng)
    return kept if len(kept) >= 4 else sample, sample if apart is None else apart


def _in_frame(side, rows, moments):
    """Rows in the network's variables, with the moments of the whole sample."""
    moved = matched_to(side.forward(rows.X), rows.weight, *moments)
    return Sample(moved, rows.weight)


def _equally_weighted(sample, n=AT_MOST_RESERVED):
    """Rows drawn in proportion to their weights where these differ."""
    if np.ptp(sample.weight) <= 1e-12:
        return sample.X[:n]
    places = (np.arange(n) + 0.5) / n
    index = np.searchsorted(np.cumsum(sample.weight), places)
    return sample.X[np.minimum(index, len(sample) - 1)]


def _reservoir(old, new, rng):
    """At most AT_MOST_HELD_OUT of the rows of two samples."""
    rows = np.concatenate([old.X, new.X])
    weight = np.concatenate([old.weight * len(old), new.weight * len(new)])
    keep = rng.permutation(len(rows))[:AT_MOST_HELD_OUT]
    return Sample(rows[keep], weight[keep] / weight[keep].sum())


def _layer_sizes(sizes):
    sizes = tuple(sizes)
    valid = sizes and all(isinstance(w, (int, np.integer)) and w > 0 for w in sizes)
    if not valid or len(set(sizes)) > 1:
        raise ValueError(
            "hidden_layer_sizes must be 'auto' or equal positive integers (the layers "
            f"are residual), got {sizes!r}."
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


def resolve_device(device):
    """The torch device of a name; "auto" is "cuda" where there is one."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be 'auto' or a torch device: {error}") from None
