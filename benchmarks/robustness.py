"""Many default fits on data of every kind: none may diverge, none be worse than the start.

    python benchmarks/robustness.py                      # 210 fits
    python benchmarks/robustness.py --start 37 --fits 1  # one of them again
    python benchmarks/robustness.py --max-iter 60 --check

Every fit k draws its own dimension (1-128), numbers of rows (20-10^6), family of laws,
cost, network, learning rate (a third to three times the default) and units (1e-6-1e6).
The fitted map is judged on fresh rows of the same laws, against the map that training
starts from. One thread throughout.
"""

import argparse
import copy
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from problems import TOYS
from threadpoolctl import threadpool_limits

from sk_ncf import NCFTransport
from sk_ncf._flow.potential import Potential
from sk_ncf._training.callbacks.model_selection import SURE
from sk_ncf._training.defaults import auto_settings
from sk_ncf._training.held_out_risk import held_out_risk
from sk_ncf.costs._registry import COSTS

N_FITS = 210
N_FRESH = 4096
MOST_NUMBERS = 4_000_000  # rows times features of a sample
# The same for every size.
LEARNING_RATE = auto_settings(4096, 8, 1, 1, False).learning_rate_init
WORSE = 3.0  # paired standard errors that count as worse than the start
# Two remarks that are no failures: only held-out rows can promise anything, and the gap
# is that of the inverse's first guess.
BY_HEART, GAP = "worse, training rows chose", "worse with gap"

# A law is a function of (n, rng) that returns n rows; a family makes one from (d, rng).


def gaussian(d, rng):
    """Normal rows of a random covariance."""
    root = rng.standard_normal((d, d)) * np.exp2(rng.uniform(-2, 2, d))
    return lambda n, rng: rng.standard_normal((n, d)) @ root


def clusters(centres, share=None):
    """Normal clusters of unit variance."""

    def law(n, rng):
        which = rng.choice(len(centres), n, p=share)
        return centres[which] + rng.standard_normal((n, centres.shape[1]))

    return law


def modes(d, rng):
    """Many modes, ten standard deviations apart."""
    return clusters(10 * rng.standard_normal((rng.integers(2, 30), d)))


def imbalanced(d, rng):
    """Clusters of which some are a thousand times smaller than others."""
    centres = 5 * rng.standard_normal((rng.integers(2, 6), d))
    share = 10 ** rng.uniform(-3, 0, len(centres))
    return clusters(centres, share / share.sum())


def student(d, rng):
    """Heavy tails: Student t with two degrees of freedom, without a variance."""
    scale = np.exp2(rng.uniform(-2, 2, d))
    return lambda n, rng: scale * rng.standard_t(2, (n, d))


def outliers(d, rng):
    """Normal rows, one in a hundred of them at a hundred standard deviations."""
    inner = gaussian(d, rng)
    return lambda n, rng: inner(n, rng) * np.where(rng.random((n, 1)) < 0.01, 100, 1)


def counts(d, rng):
    """Poisson counts, as floating-point numbers."""
    rate = 10 ** rng.uniform(-1, 1.5, d)
    return lambda n, rng: rng.poisson(rate, (n, d)).astype(np.float64)


def subspace(d, rng):
    """Normal rows on a subspace, without noise around it."""
    basis = rng.standard_normal((rng.integers(1, max(2, d)), d))
    return lambda n, rng: rng.standard_normal((n, len(basis))) @ basis


def lognormal(d, rng):
    """Skewed: exponentials of normal rows."""
    sigma = rng.uniform(0.5, 2, d)
    return lambda n, rng: np.exp(sigma * rng.standard_normal((n, d)))


def both(make):
    """A family of pairs from a family of laws."""
    return lambda d, rng: (make(d, rng), make(d, rng))


def constant_column(d, rng):
    """A feature that is constant in one sample or in both, there not always the same."""
    column, laws = rng.integers(d), both(gaussian)(d, rng)
    values = [1.0, rng.choice([1.0, 3.0, np.nan])]

    def held(law, value):
        keep = (np.arange(d) != column) | np.isnan(value)
        return lambda n, rng: np.where(keep, law(n, rng), value)

    return tuple(map(held, laws, values))


def cube_and_shell(d, rng):
    """Uniform in a cube, and on a sphere."""

    def shell(n, rng):
        rows = rng.standard_normal((n, d))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return (lambda n, rng: rng.uniform(-1, 1, (n, d))), shell


def identical(d, rng):
    """The very same rows in both samples."""
    return (gaussian(d, rng),) * 2


def toy(d, rng):
    """Maps that tear or fold the plane; always two features."""
    pair = list(TOYS.values())[rng.integers(len(TOYS))]
    return tuple(lambda n, rng, make=make: make(n, random_state=rng) for make in pair)


FAMILIES = {
    "gaussians": both(gaussian),
    "modes": both(modes),
    "student": both(student),
    "outliers": both(outliers),
    "counts": both(counts),
    "subspace": both(subspace),
    "constant column": constant_column,
    "imbalanced": both(imbalanced),
    "lognormal": both(lognormal),
    "cube, shell": cube_and_shell,
    "identical": identical,
    "toy": toy,
}
PARAMS = {
    "lp": lambda d, rng: {"p": rng.uniform(1.1, 4)},
    "norm_power": lambda d, rng: {"p": rng.uniform(1.1, 4)},
    "elastic": lambda d, rng: {"gamma": 10 ** rng.uniform(-2, 0.5)},
    "pseudo_huber": lambda d, rng: {"delta": 10 ** rng.uniform(-1, 1)},
    "quadratic_form": lambda d, rng: {"matrix": positive_definite(d, rng)},
}
LENGTHS = ("gamma", "delta")  # drawn in standard deviations of the data


def positive_definite(d, rng):
    """A random matrix with eigenvalues between 1/10 and 10."""
    vectors = np.linalg.qr(rng.standard_normal((d, d)))[0]
    matrix = (vectors * 10 ** rng.uniform(-1, 1, d)) @ vectors.T
    return (matrix + matrix.T) / 2


@dataclass
class Setup:
    """What is drawn for one fit."""

    index: int
    family: str
    d: int
    sizes: tuple[int, int]
    laws: tuple[Callable, Callable]
    shift: np.ndarray  # of the target, in the laws' units
    units: np.ndarray  # (d,)
    cost: str
    cost_params: dict
    layers: tuple[int, ...] | str
    lr_factor: float
    objective: str
    early_stopping: bool

    def rows(self, sizes, rng):
        """Rows of both samples."""
        source, target = (law(n, rng) for law, n in zip(self.laws, sizes, strict=True))
        return source * self.units, (target + self.shift) * self.units

    def samples(self):
        """The rows to fit, and fresh ones."""
        X, Y = self.rows(self.sizes, rng_of(self.index, 1))
        fresh = self.rows((N_FRESH, N_FRESH), rng_of(self.index, 2))
        return (X, X if self.family == "identical" else Y), fresh

    def estimator(self, X, Y, max_iter):
        """The estimator, lengths in the units of the rows."""
        size = np.sqrt((X.var(axis=0).mean() + Y.var(axis=0).mean()) / 2)
        params = {
            name: float(value * size) if name in LENGTHS else value
            for name, value in self.cost_params.items()
        }
        return NCFTransport(
            cost=self.cost,
            cost_params=params,
            objective=self.objective,
            hidden_layer_sizes=self.layers,
            learning_rate_init=LEARNING_RATE * self.lr_factor,
            max_iter=max_iter,
            early_stopping=self.early_stopping,
            device="cpu",
            random_state=self.index,
        )


def rng_of(*key):
    """The generator of one fit and purpose."""
    return np.random.default_rng([2026, *key])


def draw(k):
    """The setup of fit k."""
    rng = rng_of(k)
    data = draw_data(list(FAMILIES)[k % len(FAMILIES)], rng)
    return Setup(index=k, **data, **draw_parameters(data["d"], rng))


def draw_data(family, rng):
    """Distributions of both samples, numbers of rows, units."""
    d = 2 if family == "toy" else round(2 ** rng.uniform(0, 7))
    most = np.log10(min(1e6, MOST_NUMBERS / d))
    sizes = tuple(int(10 ** rng.uniform(np.log10(20), most)) for _ in range(2))
    laws = FAMILIES[family](d, rng)
    shift = rng.choice([0, 1, 10, 300]) * rng.standard_normal(d)
    if family == "identical":
        shift, sizes = np.zeros(d), sizes[:1] * 2
    # One unit for all features, or, in a quarter of the setups, one for each.
    units = 10 ** rng.uniform(-6, 6, d if rng.random() < 0.25 else 1)
    return {
        "family": family,
        "d": d,
        "sizes": sizes,
        "laws": laws,
        "shift": shift,
        "units": np.broadcast_to(units, d),
    }


def draw_parameters(d, rng):
    """Parameters of the estimator."""
    cost = str(rng.choice(["sqeuclidean", *COSTS]))
    layers = (int(rng.integers(32, 193)),) * int(rng.integers(2, 6))
    return {
        "cost": cost,
        "cost_params": PARAMS[cost](d, rng) if cost in PARAMS else {},
        "layers": layers if rng.random() < 0.5 else "auto",
        "lr_factor": float(3 ** rng.uniform(-1, 1)),
        "objective": "mmd" if rng.random() < 0.1 else "semi_dual",
        "early_stopping": bool(rng.random() < 0.9),
    }


@dataclass
class Outcome:
    """What became of one fit; `flags` name what went wrong."""

    setup: Setup
    seconds: float = np.nan
    steps: int = 0
    kept: int = 0
    reason: str = "-"
    behind: tuple[float, float] = (0.0, 0.0)  # of the start, in standard errors
    last_is_worse: bool = False
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run(setup, max_iter):
    """Fit once, and check."""
    (X, Y), fresh = setup.samples()
    estimator, outcome = setup.estimator(X, Y, max_iter), Outcome(setup)
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator.fit(X, X_target=Y)
            outcome.seconds = time.perf_counter() - start
            check(estimator, fresh, outcome)
        except Exception as error:
            outcome.seconds = time.perf_counter() - start
            outcome.flags.append("exception")
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            outcome.notes.append(f"{where}: {type(error).__name__}: {error}")
    outcome.notes += sorted({f"{w.category.__name__}: {w.message}" for w in caught})
    return outcome


def check(estimator, fresh, outcome):
    """Set the results of a fit, and the flags of what is wrong."""
    outcome.steps, outcome.kept = estimator.n_iter_, estimator.best_iter_
    outcome.reason = estimator.stop_reason_
    mapped = estimator.transform(fresh[0]), estimator.inverse_transform(fresh[1])
    outcome.behind = behind_start(estimator, *fresh)
    beats, outcome.last_is_worse = own_verdict(estimator)
    finite = all(np.isfinite(values).all() for values in (*mapped, outcome.behind))
    worse, gap = (z > WORSE for z in outcome.behind)
    found = {
        "diverged": outcome.reason == "diverged",
        "not finite": not finite,
        "worse" if estimator.early_stopping else BY_HEART: worse,
        GAP: gap and not worse,
        "worse by its own risk": not beats,
    }
    outcome.flags += [name for name, wrong in found.items() if wrong]


def behind_start(estimator, X, Y):
    """How far the map is behind the start (u = 0), in paired standard errors.

    By the held-out risk J, and by J plus the gap of the feet, which selection goes by.
    """
    frame, flow = estimator.preconditioners_[0], copy.deepcopy(estimator.flow_).double()
    sides = [
        torch.from_numpy(s.forward(Z)[None])
        for s, Z in ((frame.source, X), (frame.target, Y))
    ]
    weights = [torch.full(z.shape[:2], 1 / z.shape[1]).double() for z in sides]
    fitted = held_out_risk(flow, *sides, *weights)
    flow.potential = Potential(X.shape[1], (8,), 1).double()
    flow.potential.reset()
    start = held_out_risk(flow, *sides, *weights)
    pairs = tuple(replace(r, gap=0 * r.gap) for r in (fitted, start)), (fitted, start)
    gains = (risk.gain(other) for risk, other in pairs)
    return tuple(gain.item() / (error.item() or 1.0) for gain, error in gains)


def own_verdict(estimator):
    """By the rows held out of the fit: is the map no worse, and were the last weights?"""
    if estimator.net_ is None:  # too few rows: the start
        return True, False
    risk = dict(estimator.net_.callbacks_)["held_out_risk"]
    start = risk.start.criterion().mean().item()
    gain, error = (part.mean().item() for part in risk.start.gain(risk.kept))
    no_worse = estimator.best_iter_ == 0 or gain > -SURE * error
    return no_worse, not estimator.history_[-1]["valid_loss"] <= start


HEADER = (
    f"{'fit':>4} {'family':<16}{'cost':<19}{'d':>4}{'rows':>15} {'layers':<9}"
    f"{'rate':>5} {'units':<16}{'seconds':>8}{'steps':>6}{'kept':>6} {'reason':<13}"
    f"{'behind':>7}{'+ gap':>7}  flags"
)


def line(outcome):
    """One row of the table."""
    s = outcome.setup
    number = [f" {v:.2g}" for v in s.cost_params.values() if np.ndim(v) == 0]
    layers = s.layers if s.layers == "auto" else f"{len(s.layers)} x {s.layers[0]}"
    low, high = (f"{f(s.units):.0e}" for f in (np.min, np.max))
    options = {"mmd": s.objective == "mmd", "no early stopping": not s.early_stopping}
    options = [name for name, on in options.items() if on]
    return (
        f"{s.index:>4} {s.family:<16}{s.cost + ''.join(number):<19}{s.d:>4}"
        f"{'/'.join(map(str, s.sizes)):>15} {layers:<9}{s.lr_factor:>5.2f} "
        f"{low if low == high else low + '..' + high:<16}{outcome.seconds:>8.1f}"
        f"{outcome.steps:>6}{outcome.kept:>6} {outcome.reason:<13}"
        f"{outcome.behind[0]:>7.1f}{outcome.behind[1]:>7.1f}  "
        f"{', '.join([*outcome.flags, *options])}"
    )


def summary(outcomes):
    """The counts, in words."""
    n, fitted = len(outcomes), [o for o in outcomes if o.reason != "-"]
    flagged = lambda name: sum(name in o.flags for o in outcomes)
    share = lambda hit: f"{sum(map(hit, fitted)) / max(1, len(fitted)):.0%}"
    seconds = [o.seconds for o in outcomes]
    return "\n".join(
        [
            f"{n} fits: {flagged('diverged')} divergences, {flagged('exception')} "
            f"exceptions, {flagged('not finite')} not finite",
            f"worse than the start by {WORSE:g} paired standard errors on fresh rows: "
            f"{flagged('worse')}, {flagged(BY_HEART)} more where training rows chose, "
            f"{flagged(GAP)} more with the gap; by its own risk: "
            f"{flagged('worse by its own risk')}",
            f"weights kept from before the last step: "
            f"{share(lambda o: 0 < o.kept < o.steps)}; the start kept: "
            f"{share(lambda o: o.kept == 0)}; last weights worse than the start: "
            f"{share(lambda o: o.last_is_worse)}",
            f"seconds: median {np.median(seconds):.1f}, worst {max(seconds):.1f}",
        ]
    )


def main(argv=None):
    """Print the table row by row, then the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=int, default=0, help="number of the first fit")
    parser.add_argument("--fits", type=int, help=f"how many; default: up to {N_FITS}")
    parser.add_argument("--max-iter", type=int, help="steps; the default is 'auto'")
    parser.add_argument("--check", action="store_true", help="exit 1 on any failure")
    options = parser.parse_args(argv)
    n_fits = N_FITS - options.start if options.fits is None else options.fits
    torch.set_num_threads(1)
    print(HEADER, flush=True)
    outcomes = []
    for k in range(options.start, options.start + n_fits):
        with threadpool_limits(1):
            outcomes.append(run(draw(k), options.max_iter or "auto"))
        print(line(outcomes[-1]), *outcomes[-1].notes, sep="\n     ", flush=True)
    print("\n" + summary(outcomes))
    return int(options.check and any(set(o.flags) - {BY_HEART, GAP} for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
