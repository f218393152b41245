"""Draw the pictures of the guide into docs/images: `python docs/make_pictures.py [NAMES]`.

Takes about two minutes. Pictures of examples are made by record_examples.py, and
scaling.png by benchmarks/scaling.py.
"""

import contextlib
import re
import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from record_examples import save_diagram
from skorch.callbacks import Callback

from sk_ncf import Cost, NCFTransport, Objective
from sk_ncf.datasets import make_moons_2d
from sk_ncf.objectives import energy_distance, hj_residual
from sk_ncf.plotting import (
    InterpolationDisplay,
    QuantileDisplay,
    TrainingDisplay,
    TransportDisplay,
)

DOCS = Path(__file__).resolve().parent
BLUE, ORANGE, GREEN, DARK = "#0072B2", "#E69F00", "#009E73", "#444444"


def quickstart_samples(n=2000, m=3000):
    """The samples of the quickstart."""
    rng = np.random.default_rng(0)
    X, Z = rng.standard_normal((n, 2)), rng.standard_normal((m, 2))
    return X, np.exp(0.5 * Z @ [[1, 0.6], [0, 0.8]]) + 1


def overview():
    """Three panels that say what a map does."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((4096, 2)), make_moons_2d(4096, random_state=1)
    transport = NCFTransport(random_state=0).fit(X, X_target=Y)
    figure, axes = plt.subplots(
        1, 3, figsize=(9, 3.4), sharex=True, sharey=True, layout="constrained"
    )
    InterpolationDisplay.from_estimator(
        transport, X[:1500], X_target=Y[:1500], times=(0, 0.5, 1), axes=axes, s=5
    )
    titles = ("source sample X", "interpolate(X, 0.5)", "transform(X)")
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xlim=(-3.2, 3.2), ylim=(-3, 3))
    text = "colour: where a row comes from      grey: target sample      lines: paths"
    figure.supxlabel(text, fontsize=11)
    return figure


def quickstart():
    """The map of the quickstart."""
    X, Y = quickstart_samples()
    transport = NCFTransport(random_state=0).fit(X, X_target=Y)
    figure, ax = plt.subplots(figsize=(5.6, 4.6), layout="constrained")
    TransportDisplay.from_estimator(
        transport, X, X_target=Y, random_state=0, ax=ax, n_arrows=80
    )
    ax.set(xlim=(-4, 8), ylim=(-4, 7))
    return figure


def transport_display():
    """Both directions."""
    X, Y = quickstart_samples(800, 800)
    transport = NCFTransport(random_state=0).fit(X, X_target=Y)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.2), layout="constrained")
    for ax, kind in zip(axes, ("forward", "inverse"), strict=True):
        TransportDisplay.from_estimator(
            transport, X, X_target=Y, kind=kind, ax=ax, random_state=0, n_arrows=40
        )
        ax.set(xlim=(-4, 7), ylim=(-4, 7))
    return figure


def interpolation_display():
    """Five times."""
    X, Y = quickstart_samples(800, 800)
    transport = NCFTransport(random_state=0).fit(X, X_target=Y)
    return InterpolationDisplay.from_estimator(transport, X, X_target=Y).figure_


def checking():
    """Quantiles of a good map, and its training."""
    X, Y = quickstart_samples()
    transport = NCFTransport(random_state=0).fit(X, X_target=Y)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
    QuantileDisplay.from_estimator(transport, X, X_target=Y, axes=axes[:2])
    TrainingDisplay.from_estimator(transport, ax=axes[2])
    key = {"frameon": False, "fontsize": 8, "loc": "lower center"}
    axes[2].legend(bbox_to_anchor=(0.5, 1), ncols=2, **key)
    return figure


def fit_time():
    """The table of fit times in figures.md, on logarithmic axes."""
    text = (DOCS / "figures.md").read_text(encoding="utf-8")
    part = text.split("<!-- fit-time: begin -->")[1].split("<!-- fit-time: end -->")[0]
    lines = [
        line.strip("| ").split("|") for line in part.splitlines() if line[:1] == "|"
    ]
    number = lambda cell: float(re.match(r"[\d.,]+", cell.strip())[0].replace(",", ""))
    table = np.array([[number(cell) for cell in line] for line in lines[2:]])
    figure, ax = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
    trained = table[:, 1] > 0.1
    styles = zip(lines[0][1:], (BLUE, ORANGE, GREEN), "os^", strict=True)
    for k, (label, colour, marker) in enumerate(styles, start=1):
        x, y = table[trained, 0], table[trained, k]
        ax.plot(x, y, color=colour, marker=marker, label=label.strip())
    ax.set(xscale="log", yscale="log", xlabel="rows of each sample")
    ax.set_ylabel("CPU seconds of a fit")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
    ax.legend(frameon=False)
    return figure


class Killed(Exception):
    """Stands for the death of a process."""


class KillAt(Callback):
    """Raises after some epochs."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        """Raise after the epoch."""
        if len(net.history) == self.epoch:
            raise Killed


def checkpoint():
    """Validation risk of a fit that was killed and continued, and of one that was not."""
    import sk_ncf._training.checkpoint.callback as callback

    X, Y = quickstart_samples()
    options = {"random_state": 0, "potential": "network"}
    whole = TrainingDisplay.from_estimator(NCFTransport(**options).fit(X, X_target=Y))
    callback.MIN_INTERVAL = 0  # write after every epoch
    with tempfile.TemporaryDirectory() as folder:
        options["checkpoint_dir"] = folder
        with contextlib.suppress(Killed):
            NCFTransport(callbacks=[KillAt(5)], **options).fit(X, X_target=Y)
        continued = NCFTransport(**options).fit(X, X_target=Y)
    again = TrainingDisplay.from_estimator(continued)
    assert np.array_equal(whole.validation_risk, again.validation_risk)
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    steps, risk = whole.steps, whole.validation_risk
    ax.plot(steps, risk, color=ORANGE, lw=5, alpha=0.6, label="not killed")
    ax.plot(steps[:5], risk[:5], "o-", color=BLUE, label="until it was killed")
    ax.plot(steps[4:], again.validation_risk[4:], "s--", color=GREEN, label="continued")
    ax.axvline(steps[4], color=DARK, ls=":")
    ax.set(xlabel="gradient step", ylabel="validation risk")
    ax.legend(frameon=False)
    return figure


def saving():
    """Two kinds of files."""
    figure, ax = plt.subplots(figsize=(8.4, 2.9), layout="constrained")
    ax.set(xlim=(0, 10), ylim=(0, 4))
    ax.axis("off")
    boxes = {
        (1.3, 2): ("fitted\nNCFTransport", BLUE),
        (5, 3.1): ("map.safetensors\nweights, parameters, a few rows", GREEN),
        (5, 0.9): ("map.pickle, map.joblib\nany object, also pipelines", ORANGE),
        (8.7, 3.1): ("load executes nothing:\nsafe to open", GREEN),
        (8.7, 0.9): ("loading executes code:\nopen only what you trust", ORANGE),
    }
    for (x, y), (text, colour) in boxes.items():
        box = {"boxstyle": "round,pad=0.6", "fc": "white", "ec": colour, "lw": 2}
        ax.text(x, y, text, ha="center", va="center", fontsize=10, bbox=box)
    arrow = {"arrowstyle": "->", "color": DARK, "lw": 1.5}
    for start, end in (
        ((2.35, 2.3), (3.35, 2.85)),
        ((2.35, 1.7), (3.35, 1.15)),
        ((6.75, 3.1), (7.25, 3.1)),
        ((6.5, 0.9), (7.15, 0.9)),
    ):
        ax.annotate("", end, start, arrowprops=arrow)
    ax.text(2.3, 2.95, "sk_ncf.save", fontsize=9, family="monospace")
    ax.text(2.3, 0.95, "pickle.dump", fontsize=9, family="monospace")
    return figure


def limits():
    """Accepted sizes, on a logarithmic axis."""
    rows = {
        "values of X, X_target": (-320, 100),
        "differences of rows": (-100, 100),
        "differences to the power\nof the cost's degree": (-250, 250),
        "range of float32": (-38, 38),
        "range of float64": (-308, 308),
    }
    figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
    for k, (label, (low, high)) in enumerate(rows.items()):
        colour = "#BBBBBB" if label.startswith("range") else BLUE
        ax.barh(-k, high - low, left=low, color=colour, height=0.6)
        ax.text(high + 5, -k, f"1e{high}", va="center", fontsize=8)
        name = "0" if low == -320 else f"1e{low}"
        ax.text(low - 5, -k, name, va="center", ha="right", fontsize=8)
    ax.set_yticks([-k for k in range(len(rows))], list(rows))
    ax.set(xlabel="decimal exponent of the size", xlim=(-390, 350))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def coming_from():
    """New rows under a plan and under a map."""
    from ot.da import EMDTransport

    rng = np.random.default_rng(0)
    draw = lambda n: rng.standard_normal((n, 2)) @ [[1.4, 0.5], [0, 0.7]] + [5, 0]
    X, Y, X_new = rng.standard_normal((60, 2)), draw(60), rng.standard_normal((600, 2))
    plan = EMDTransport().fit(Xs=X, Xt=Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 60 rows are few: the Gaussian map
        transport = NCFTransport(random_state=0).fit(X, X_target=Y)
    figure, axes = plt.subplots(
        1, 2, figsize=(8.4, 3.4), sharex=True, sharey=True, layout="constrained"
    )
    mapped = {
        "POT, EMDTransport": plan.transform(Xs=X_new),
        "NCFTransport": transport.transform(X_new),
    }
    for ax, (title, Z) in zip(axes, mapped.items(), strict=True):
        ax.scatter(*Y.T, s=60, color=ORANGE, alpha=0.5, marker="s", lw=0)
        ax.scatter(*X_new.T, s=7, color=BLUE, alpha=0.5, lw=0)
        ax.scatter(*Z.T, s=7, color=GREEN, lw=0)
        ax.set(title=title, aspect="equal", xlabel="feature 0")
    axes[0].set_ylabel("feature 1")
    keys = ["target rows of the fit", "new source rows", "the same, mapped"]
    figure.legend(keys, loc="outside lower center", ncols=3, frameon=False)
    return figure


class Cosh(Cost):
    """The cost of the page on adding a cost."""

    def __init__(self, scale=3.0):
        self.scale = scale

    def lagrangian(self, v):
        """s^2 sum (cosh(v / s) - 1)."""
        return self.scale**2 * (torch.cosh(v / self.scale) - 1).sum(-1)

    def momentum(self, v):
        """Its gradient."""
        return self.scale * torch.sinh(v / self.scale)

    def velocity(self, p):
        """The inverse of the gradient."""
        return self.scale * torch.asinh(p / self.scale)


def add_a_cost():
    """A cost, and what it does to the displacements."""
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), layout="constrained")
    v = np.linspace(-4, 4, 200)
    axes[0].plot(v, v**2 / 2, color=ORANGE, label="squared Euclidean")
    cosh = Cosh(1.0).lagrangian(torch.from_numpy(v)[:, None]).numpy()
    axes[0].plot(v, cosh, "--", color=BLUE, label="hyperbolic cosine, scale 1")
    axes[0].set(xlabel="displacement v", ylabel="cost L(v)", ylim=(0, 20))
    axes[0].legend(frameon=False)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 2))
    Y = np.concatenate([X[:750] * 0.5 + [-3, 1], X[750:] * 0.5 + [3, -1]])
    for cost, colour, label, style in (
        ("sqeuclidean", ORANGE, "squared Euclidean", "-"),
        (Cosh(1.0), BLUE, "hyperbolic cosine, scale 1", "--"),
    ):
        transport = NCFTransport(cost=cost, potential="network", random_state=0)
        Z = transport.fit(X, X_target=Y).transform(X)
        sizes = np.sort(np.abs(Z - X).max(axis=1))
        share = np.linspace(0, 100, len(sizes))
        axes[1].plot(sizes, share, style, color=colour, label=label)
    axes[1].set(
        xlabel="largest change of a feature", ylabel="percent of the rows below"
    )
    return figure


class EnergyMatching(Objective):
    """The objective of the page on adding an objective."""

    def __init__(self, *, matching_weight=10.0, displacement_weight=0.1):
        self.matching_weight = matching_weight
        self.displacement_weight = displacement_weight

    def terms(self, flow, x, y, t):
        """Residual, energy distances, and mean cost of the displacements."""
        from_x, from_y = flow.characteristics(x, y)
        heads, feet = from_x.end, from_y.end
        return {
            "hj": hj_residual(from_x, from_y),
            "matching": energy_distance(heads, y) + energy_distance(feet, x),
            "displacement": from_x.action.mean(-1),
        }


def add_an_objective():
    """A map with the objective of the page, and its training."""
    X, Y = quickstart_samples()
    transport = NCFTransport(
        objective=EnergyMatching(), potential="network", random_state=0
    ).fit(X, X_target=Y)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 4), layout="constrained")
    TransportDisplay.from_estimator(
        transport, X, X_target=Y, random_state=0, ax=axes[0], n_arrows=40
    )
    axes[0].set(xlim=(-4, 7), ylim=(-4, 7))
    TrainingDisplay.from_estimator(transport, ax=axes[1])
    axes[1].legend(frameon=False)
    return figure


def characteristics():
    """Straight lines in one dimension, over the potential."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 1))
    Y = np.where(rng.uniform(size=(4000, 1)) < 0.5, -2, 2) + 0.6 * rng.standard_normal(
        (4000, 1)
    )
    transport = NCFTransport(potential="network", random_state=0).fit(X, X_target=Y)
    frame, flow = transport.preconditioners_[0], transport.flow_
    times, places = np.linspace(0, 1, 60), torch.linspace(-3, 3, 160)[None, :, None]
    with torch.no_grad():
        u = [flow.potential(places, torch.tensor(float(t))).mean(0) for t in times]
        feet = torch.from_numpy(
            frame.source.forward(np.linspace(-2.4, 2.4, 25)[:, None])
        )
        heads = flow.head(feet.float()[None])[0]
    figure, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    levels = {"levels": 14, "cmap": "cividis", "alpha": 0.4}
    shades = ax.contourf(places.ravel(), times, torch.stack(u), **levels)
    figure.colorbar(shades, label="u(x, t)")
    ax.plot(np.hstack([feet, heads]).T, [0, 1], color="black", lw=1)
    ax.set(xlabel="x (in the network's variables)", ylabel="t", yticks=[0, 0.5, 1])
    return figure


PICTURES = [
    overview,
    quickstart,
    transport_display,
    interpolation_display,
    checking,
    fit_time,
    checkpoint,
    saving,
    limits,
    coming_from,
    add_a_cost,
    add_an_objective,
    characteristics,
]


def main(*names):
    """Draw the pictures of these names, or all."""
    for picture in PICTURES:
        if not names or picture.__name__ in names:
            path = DOCS / "images" / f"{picture.__name__}.png"
            save_diagram(picture(), path)
            plt.close("all")
            print(f"{path.name}: {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
