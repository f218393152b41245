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
from sk_ncf.preconditioner import Preconditioner, weighted_moments
from sk_ncf.sampling import (
    PairSampler,
    Sample,
    matched_to,
    smoothing_scale,
    split_rows,
    unique_rows,
)
from sk_ncf.training import (
    Objective,
    auto_settings,
    build_net,
    build_potential,
    train,
)

__all__ = ["FitResult", "FitSession", "resolve_device"]

EPOCH = 100  # steps between two looks at the held-out risk
AT_MOST_HELD_OUT = 4096
AT_MOST_RESERVED = 1024
FEW_PASSES = 30  # over the rows: too few to learn them by heart, so later is better
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
        source, target = self._samples(source, target)
        self.preconditioner = self._preconditioner(source, target)
        self._split(source, target)

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

    def _split(self, source, target):
        """Rows to train on, to select by and to score with."""
        reserve = np.random.RandomState(0)
        kept, reserved = split_rows(target, 0.05, AT_MOST_RESERVED, reserve)
        target_rows = target if reserved is None else reserved
        target = kept if len(kept) >= 4 else target
        held_out = []
        for sample in (source, target):
            held_out.append(self._held_out_rows(sample))
        self.source, self.target = (kept for kept, _ in held_out)
        self._reserve(held_out[0][1], target_rows)
        self._remember([rows for _, rows in held_out], (source, target))

    def _held_out_rows(self, sample):
        """Training rows and held-out rows of one side."""
        if not self.estimator.early_stopping:
            every = np.sort(self.rng.permutation(len(sample))[:AT_MOST_HELD_OUT])
            return sample, sample.take(every)
        fraction = self.estimator.validation_fraction
        share = max(fraction, min(16 / len(sample), 0.25))
        kept, apart = split_rows(sample, share, AT_MOST_HELD_OUT, self.rng)
        return kept, sample if apart is None else apart

    def _reserve(self, source, target):
        if self.score_rows is None:
            self.score_rows = (_equally_weighted(source), _equally_weighted(target))

    def _remember(self, held_out, samples):
        """Held-out rows in the network's variables, those of earlier calls included."""
        sides = (self.preconditioner.source, self.preconditioner.target)
        fresh = []
        for side, rows, full in zip(sides, held_out, samples, strict=True):
            moments = side.moments(*weighted_moments(full.X, full.weight))
            fresh.append(
                Sample(
                    matched_to(side.forward(rows.X), rows.weight, *moments), rows.weight
                )
            )
        if self.held_out is None:
            self.held_out = fresh
            return
        self.held_out = [
            _reservoir(old, new, self.rng)
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
            return FitResult(flow, None, 0, 0, "too_few_rows")
        if self.net is None:
            self._build(previous)
        device = resolve_device(self.estimator.device)
        flow = self.net.module_.flow
        rows = [
            torch.from_numpy(z)[None] for s in self.held_out for z in (s.X, s.weight)
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
        potential = build_potential(estimator.net, self.n_features, sizes, seed)
        return CharacteristicFlow(potential, self.preconditioner.cost).float()

    def _setting(self, name):
        value = getattr(self.estimator, name)
        if isinstance(value, str) and value == "auto":
            n_samples = max(len(self.source), len(self.target))
            return auto_settings(n_samples, self.n_features)[name]
        return value

    def _build(self, previous):
        """The net with its callbacks."""
        estimator, flow = self.estimator, self._flow()
        if previous is not None and _same_shapes(flow, previous):
            flow.load_state_dict(previous.state_dict())
        weights = {name: getattr(estimator, f"{name}_weight") for name in TERMS}
        if weights["mmd"] == "auto":
            weights["mmd"] = 10.0 if estimator.objective == "mmd" else 0.0
        quick = int(math.sqrt(3e5 / self.n_features))  # pairs of a cost without matmul
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
            margin=0.5 if self._passes(budget) > FEW_PASSES else 1.0,
        )
        callbacks = [
            ("schedule", self.schedule),
            ("clip", GradientNormClipping(1.0)),
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
        return min(len(self.source), len(self.target))

    def _passes(self, budget):
        """How often the budget sees every row of the smaller side."""
        return budget * self._setting("batch_size") / self._n_rows()

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
            longer = max(len(self.source), len(self.target))
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
        fitted = fitted.cpu().requires_grad_(False)
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


def _same_shapes(flow, other):
    mine, theirs = flow.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        mine[name].shape == theirs[name].shape for name in mine
    )


def resolve_device(device):
    """The torch device of a name; "auto" is "cuda" where there is one."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be 'auto' or a torch device: {error}") from None
