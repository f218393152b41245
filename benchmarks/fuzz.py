"""Random calls of everything public: only documented exceptions may leave the package.

    python benchmarks/fuzz.py                             # 110,000 calls
    python benchmarks/fuzz.py --calls 400 --check         # exit 1 on any finding
    python benchmarks/fuzz.py --start 4711 --calls 1 -v   # one call again

Call k draws its method, its estimator and its arguments (valid, odd or hostile) from a
generator of its own. A finding is an exception of a type that is not documented
(docs/guide/errors.md), a warning that is not for users, a result that is not finite, an
estimator changed by a call that fails or only looks, and a process-wide setting that is
not what it was.
"""

import argparse
import copy
import functools
import multiprocessing
import pickle
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import hostile as values
import numpy as np
import torch
from sklearn.base import clone

from sk_ncf import NCFTransport, datasets
from sk_ncf.costs._registry import COSTS
from sk_ncf.metrics import l2_uvp

N_CALLS = 110_000
CHUNK = 500
AT_THE_DOOR = (ValueError, TypeError, MemoryError)
# What torch and Python raise on tensors that do not fit each other, and on none.
INHERITED = (*AT_THE_DOOR, AttributeError, RuntimeError)  # scikit-learn's methods
OF_TENSORS = (*AT_THE_DOOR, AttributeError, IndexError, OverflowError, RuntimeError)
FOR_USERS = UserWarning  # and its subclasses
SMALL = {"hidden_layer_sizes": (8, 8), "batch_size": 16, "max_iter": 4}


class Call(NamedTuple):
    """A call that was drawn."""

    name: str
    function: object
    args: tuple
    kwargs: dict
    estimator: object = None
    changes: bool = False  # the estimator, where it succeeds
    allowed: tuple = AT_THE_DOOR


# What is drawn for an argument: (generator, rows of X, rows of X_target) to a value.
GOOD = {
    "X": lambda rng, n, m: _rows(rng, n),
    "X_target": lambda rng, n, m: _rows(rng, m),
    "y": lambda rng, n, m: values.labels(rng, n),
    "y_target": lambda rng, n, m: values.labels(rng, m, 0.4),
    "sample_domain": lambda rng, n, m: values.domain(rng, n),
    "sample_weight": lambda rng, n, m: values.weight(rng, n),
    "target_weight": lambda rng, n, m: values.weight(rng, m),
    "sample_label": lambda rng, n, m: values.labels(rng, n, 0.3),
    "t": lambda rng, n, m: values.instant(rng, n),
}
BAD = {
    name: (lambda rng, n, m: values.broken_rows(rng))
    if name.startswith("X")
    else (lambda rng, n, m: values.odd_vector(rng, n))
    for name in GOOD
}
ROWS = ("X", "X_target")
FIT = ("y", "X_target", "y_target", "sample_domain", "sample_weight", "target_weight")
# Method: arguments it must have, arguments it may have, how often it is drawn.
METHODS = {
    "fit": (("X",), FIT, 6),
    "partial_fit": (("X",), FIT, 3),
    "fit_transform": (("X",), FIT, 2),
    "transform": (("X",), ("sample_domain", "sample_label"), 20),
    "inverse_transform": (("X",), ("sample_domain", "sample_label"), 14),
    "interpolate": (("X", "t"), ("sample_domain", "sample_label"), 10),
    "score": (("X",), ("y", "X_target", "sample_domain"), 5),
    "dual_potentials": (ROWS, (), 5),
    "transport_cost": (("X",), (), 5),
    "dual_lower_bound": (ROWS, (), 4),
}
FITS = ("fit", "partial_fit", "fit_transform")


def _rows(rng, n):
    return (values.plain_rows if rng.random() < 0.5 else values.odd_rows)(rng, n)


def drawn_arguments(rng, names, good, bad):
    """A value for each name; in two calls of three some of them are hostile."""
    mood = rng.choice(3)
    n, m = (int(values.one(rng, values.SIZES)) for _ in range(2))
    wrong = {names[rng.integers(len(names))]} if mood and names else set()
    if mood == 2:
        wrong |= {name for name in names if rng.random() < 0.3}
    return {name: (bad if name in wrong else good)[name](rng, n, m) for name in names}


def call_of_method(rng):
    """A method that takes rows, on an estimator of the pool or on a new one."""
    share = np.array([often for *_, often in METHODS.values()], dtype=float)
    method = str(rng.choice(list(METHODS), p=share / share.sum()))
    needed, optional, _ = METHODS[method]
    chosen = [name for name in optional if rng.random() < 0.4]
    kind = values.one(rng, list(pool()))
    if method in FITS:
        chosen = [*chosen, *({"X_target"} - {*chosen} if rng.random() < 0.5 else ())]
    estimator = pool()[kind]
    changes = method in FITS
    if changes:
        estimator = copy.deepcopy(estimator)
    if changes or rng.random() < 0.05:
        estimator = copy.deepcopy(estimator).set_params(**drawn_parameters(rng))
    if changes and estimator.class_conditional is not False:
        chosen = list(dict.fromkeys([*chosen, "y"]))
    arguments = drawn_arguments(rng, [*needed, *chosen], GOOD, BAD)
    X = arguments.pop("X")
    function = getattr(estimator, method)
    return Call(method, function, (X,), arguments, estimator, changes)


def drawn_parameters(rng):
    """A few parameters of the constructor; in half of the calls some are hostile."""
    hostile, out = rng.random() < 0.5, {}
    names = list(NCFTransport().get_params(deep=False))
    for name in rng.permutation(names)[: rng.integers(0, 4)]:
        if hostile and rng.random() < 0.5:
            out[name] = values.odd_parameter(rng, name)
        elif name in values.PARAMETERS:
            out[name] = values.one(rng, values.PARAMETERS[name])
    return out


def call_of_estimator(rng):
    """What scikit-learn gives every estimator."""
    estimator = copy.deepcopy(pool()[values.one(rng, list(pool()))])
    if rng.random() < 0.5:
        estimator.set_params(**drawn_parameters(rng))
    name = str(rng.choice(["set_params", "get_params", "clone", "pickle", "repr"]
                          + ["set_output", "get_feature_names_out", "tags"]))  # fmt: skip
    whole = {
        "clone": clone,
        "pickle": _pickled,
        "repr": repr,
        "tags": lambda estimator: estimator.__sklearn_tags__(),
    }
    if name in whole:
        return Call(name, whole[name], (estimator,), {}, estimator)
    # scikit-learn sets one parameter after the other: those before a wrong one are set.
    kwargs = {}
    if name == "set_params":
        known = [
            *estimator.get_params(deep=False),
            "cost__p",
            "skorch_net__lr",
            "p",
            "a__b",
        ]
        names = rng.choice(known, rng.integers(0, 3))
        kwargs = {str(n): values.odd_parameter(rng, str(n)) for n in names}
    elif rng.random() < 0.8:
        key = {"get_params": "deep", "set_output": "transform"}.get(
            name, "input_features"
        )
        kwargs = {key: values.junk(rng)}
    function = getattr(estimator, name)
    changed = None if name.startswith("set") else estimator
    return Call(name, function, (), kwargs, changed, allowed=INHERITED)


def _pickled(estimator):
    try:
        return pickle.loads(pickle.dumps(estimator))
    except (pickle.PicklingError, AttributeError):  # a lambda among the parameters
        return None


def call_of_cost(rng):
    """A method of a cost, on tensors and on what is none."""
    kind = COSTS[values.one(rng, list(COSTS))]
    known = [c for c in values.PARAMETERS["cost"] if isinstance(c, kind)]
    cost = clone(values.one(rng, known))
    if rng.random() < 0.3:
        given = list(cost.get_params())
        cost.set_params(**{name: values.junk(rng) for name in given})
    one_argument = (
        "lagrangian",
        "momentum",
        "velocity",
        "hamiltonian",
        "with_max_displacement",
    )
    name = str(rng.choice([*one_argument, "__call__", "pairwise"]))
    n = 1 if name in one_argument else 2
    scale = 10 ** rng.uniform(-30, 30) if rng.random() < 0.3 else 1.0
    args = [
        values.junk(rng)
        if rng.random() < 0.3
        else torch.from_numpy(
            scale * rng.standard_normal((5, values.one(rng, (2, 2, 3))))
        )
        for _ in range(n)
    ]
    return Call(
        f"Cost.{name}", getattr(cost, name), tuple(args), {}, allowed=OF_TENSORS
    )


# Functions of `datasets`, with values that are right for their arguments.
MAKERS = {
    "make_gaussians": {"n_samples": (1, 50), "n_features": (1, 2, 5)},
    "make_convex_map": {
        "cost": values.PARAMETERS["cost"],
        "n_samples": (1, 50),
        "n_features": (2,),
        "size": (0.1, 1.0, 3.0),
    },
    **{
        f"make_{name}": {"n_samples": (1, 50), "noise": (0.0, 0.1, 1e30)}
        for name in ("moons_2d", "swiss_roll_2d", "checkerboard", "eight_gaussians")
    },
}
RIGHT_SEEDS = (0, 1, None)


def call_of_datasets(rng):
    """A function of :mod:`sk_ncf.datasets`."""
    name = str(rng.choice([*MAKERS, "l2_uvp", "sample_pairs"]))
    if name == "l2_uvp":
        rows = lambda: (_rows if rng.random() < 0.5 else _no_rows)(rng, 8)
        variance = values.junk(rng) if rng.random() < 0.3 else 2.0
        return Call(name, l2_uvp, (rows(), rows(), variance), {})
    right = {"n_samples": (1, 50)} if name == "sample_pairs" else dict(MAKERS[name])
    right["random_state"] = RIGHT_SEEDS
    kwargs = {
        key: values.junk(rng) if rng.random() < 0.3 else values.one(rng, good)
        for key, good in right.items()
        if rng.random() < 0.8
    }
    kwargs.setdefault("n_samples", 20)
    function = (
        problem().sample_pairs if name == "sample_pairs" else getattr(datasets, name)
    )
    return Call(name, function, (), kwargs)


def _no_rows(rng, n):
    return values.broken_rows(rng)


def call_of_displays(rng):
    """A picture."""
    import matplotlib.pyplot as plt

    from sk_ncf import plotting

    name = str(rng.choice(plotting.__all__))
    kind = values.one(rng, list(pool()))
    options = {
        "TransportDisplay": ("kind", "n_arrows", "contours", "sample_label"),
        "InterpolationDisplay": ("kind", "times", "sample_label"),
        "QuantileDisplay": ("features", "n_quantiles", "sample_label"),
    }.get(name, ())
    kwargs = {key: values.junk(rng) for key in options if rng.random() < 0.25}
    args = ()
    if name != "TrainingDisplay":
        given = _rows(rng, 20), _rows(rng, 30)
        X, Y = (_no_rows(rng, 8) if rng.random() < 0.1 else rows for rows in given)
        args, kwargs["X_target"] = (X,), Y
    display = getattr(plotting, name)

    def draw(estimator, *args, **kwargs):
        try:
            display.from_estimator(estimator, *args, **kwargs)
        finally:
            plt.close("all")

    return Call(name, draw, (pool()[kind], *args), kwargs, pool()[kind])


SOURCES = (
    (call_of_method, 0.70),
    (call_of_estimator, 0.08),
    (call_of_cost, 0.15),
    (call_of_datasets, 0.0675),
    (call_of_displays, 0.0025),
)


@functools.cache
def problem():
    """A problem to draw fresh pairs of."""
    return datasets.make_convex_map("lp", 50, 2, random_state=0)


@functools.cache
def pool():
    """Estimators, most of them fitted, by what is special about them."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 2)), rng.standard_normal((70, 2)) ** 2 + 1
    y, y_target = np.arange(60) % 3, np.where(np.arange(70) % 2, np.arange(70) % 3, -1)
    sides, classes = {"X_target": Y}, {"X_target": Y, "y": y, "y_target": y_target}
    costs = {
        name: ({"cost": name, "ensemble_size": 2}, sides)
        for name in ("lp", "norm_power", "elastic", "pseudo_huber")
    }
    shared = {"class_conditional": "shared", "objective": "mmd"}
    kinds = {
        "plain": ({}, sides),
        **costs,
        "float64 cost": ({"cost": values.PARAMETERS["cost"][-1]}, sides),
        "passes": ({"default_domain": "target"}, sides),
        "to normal": ({}, {}),
        "classes": ({"class_conditional": "per_class"}, classes),
        "classes to normal": ({"class_conditional": True}, {"y": y}),
        "shared": (shared, classes),
    }
    fitted = {}
    for kind, (params, rows) in kinds.items():
        estimator = NCFTransport(**SMALL, random_state=0, **params)
        fitted[kind] = estimator.fit(X, **rows)
    stream = NCFTransport(**SMALL, random_state=0)
    fitted["stream"] = stream.partial_fit(X.astype(np.float32), X_target=Y)
    fitted["few rows"] = clone(stream).fit(X[:3], X_target=Y[:2])
    fitted["not fitted"] = clone(stream)
    return fitted


def settings(estimator):
    """What no call may change but for the estimator: settings of the whole process."""
    own_seed = estimator is not None and estimator.random_state is None
    seeds = () if own_seed else np.random.get_state()[1:3]
    return (
        *(np.asarray(s).tobytes() for s in seeds),
        torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        str(np.geterr()),
    )


def not_finite(result):
    """Whether an array or number among the results is not finite."""
    if isinstance(result, tuple):
        return any(map(not_finite, result))
    if isinstance(result, np.ndarray) and result.dtype.kind == "f":
        return not np.isfinite(result).all()
    return isinstance(result, float) and not np.isfinite(result)


class Report:
    """Counts of calls and what was found."""

    def __init__(self):
        self.outcomes = defaultdict(Counter)  # of every method
        self.findings = {}  # (method, what, where): [calls, first call, message]

    def found(self, k, call, what, message, where=""):
        """Note a finding of call k."""
        entry = self.findings.setdefault((call.name, what, where), [0, k, message])
        entry[0] += 1

    def add(self, other):
        """Take in the report of other calls."""
        for name, outcome in other.outcomes.items():
            self.outcomes[name] += outcome
        for key, (n, k, message) in other.findings.items():
            entry = self.findings.setdefault(key, [0, k, message])
            entry[0] += n
        return self

    def lines(self):
        """The tables, in words."""
        total = sum(sum(c.values()) for c in self.outcomes.values())
        groups = defaultdict(Counter)
        for name, outcome in self.outcomes.items():
            for kind, n in outcome.items():
                groups[_group(name)][DOCUMENTED.get(kind, kind)] += n
        yield from _table("method", self.outcomes)
        yield from _table("calls of", groups)
        yield f"{total} calls"
        yield f"{len(self.findings)} findings"
        for (name, what, where), (n, k, message) in self.findings.items():
            yield f"  {name}: {what} {where} ({n} calls, first {k}): {message[:300]}"


DOCUMENTED = {  # what these are, for the table of the documentation
    "InvalidParameterError": "ValueError",
    "NotFittedError": "ValueError",
    "UFuncTypeError": "TypeError",
}


def _table(title, outcomes):
    yield f"{title:<24}{'calls':>8}{'returned':>10}  exceptions"
    for name, outcome in sorted(outcomes.items()):
        kinds = [(k, n) for k, n in outcome.most_common() if k != "returned"]
        raised = ", ".join(f"{kind} {n}" for kind, n in kinds)
        yield f"{name:<24}{sum(outcome.values()):>8}{outcome['returned']:>10}  {raised}"
    yield ""


def _group(name):
    """What a method or function belongs to."""
    if name in METHODS:
        moving = ("transform", "inverse_transform", "interpolate")
        return "fits" if name in FITS else "maps" if name in moving else "values"
    if name.startswith("Cost."):
        return "costs"
    if name.endswith("Display"):
        return "displays"
    data = name.startswith("make_") or name in ("l2_uvp", "sample_pairs")
    return "datasets" if data else "scikit-learn's"


def draw(k):
    """Call number k."""
    rng = np.random.default_rng([2027, k])
    makers, share = zip(*SOURCES, strict=True)
    return makers[rng.choice(len(makers), p=share)](rng)


def run(k, report, verbose=False):
    """Make call k and look at what it left behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call = draw(k)
    if verbose:
        print(k, call, flush=True)
    before, was = settings(call.estimator), dict(vars(call.estimator or object))
    succeeded, result = False, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call.function(*call.args, **call.kwargs)
            succeeded = True
            report.outcomes[call.name]["returned"] += 1
        except Exception as error:
            report.outcomes[call.name][type(error).__name__] += 1
            if verbose:
                traceback.print_exc()
            if not isinstance(error, call.allowed):
                note = f"{type(error).__name__}: {error}"
                report.found(k, call, type(error).__name__, note, _where(error))
    for warning in caught if call.allowed != OF_TENSORS else ():
        if not issubclass(warning.category, FOR_USERS):
            where = f"{Path(warning.filename).name}:{warning.lineno}"
            kind = warning.category.__name__
            report.found(k, call, kind, str(warning.message), where)
    if succeeded and call.allowed != OF_TENSORS and not_finite(result):
        report.found(k, call, "not finite", "")
    if settings(call.estimator) != before:
        report.found(k, call, "settings changed", "")
    if not (call.changes and succeeded) and call.estimator is not None:
        now = vars(call.estimator)
        if now.keys() != was.keys() or any(now[key] is not was[key] for key in was):
            report.found(k, call, "estimator changed", "")


def _where(error):
    """The last line of the package that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "sk_ncf" in Path(f.filename).parts] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def chunk(calls, verbose=False):
    """The report of some calls."""
    torch.set_num_threads(1)
    report = Report()
    for k in calls:
        run(k, report, verbose)
    return report


def reports(calls, jobs, verbose):
    """The reports of all calls, in one process or in several."""
    chunks = [calls[i : i + CHUNK] for i in range(0, len(calls), CHUNK)]
    if jobs == 1:
        yield from (chunk(part, verbose) for part in chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context) as workers:
        yield from workers.map(chunk, chunks)


def main(argv=None):
    """Print the counts and the findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=int, default=0, help="number of the first call")
    parser.add_argument("--calls", type=int, default=N_CALLS)
    parser.add_argument("--check", action="store_true", help="exit 1 on any finding")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every call")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(argv)
    report, begin = Report(), time.perf_counter()
    calls = range(options.start, options.start + options.calls)
    try:
        for part in reports(calls, options.jobs, options.verbose):
            report.add(part)
    except (BrokenProcessPool, KeyboardInterrupt) as error:
        print(f"ended by {type(error).__name__}; so far:")
    print("\n".join(report.lines()))
    print(f"{time.perf_counter() - begin:.0f} seconds")
    return int(options.check and bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
