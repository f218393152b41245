"""Maps that are discontinuous: mapped rows between the clusters, beside the exact plan.

    python benchmarks/discontinuous.py                       # half an hour on one core
    python benchmarks/discontinuous.py --n 1024 --seeds 0    # a minute
    python benchmarks/discontinuous.py --pairs swiss --cost lp
    python benchmarks/discontinuous.py --picture out.png     # network beside discrete

Energy: 100 times the squared energy distance of 4,096 mapped fresh rows to 4,096 other
fresh rows, forward / inverse. Off the support: percent of mapped rows farther from the
training rows of the other sample than 0.1 % of its own fresh rows are. CPU seconds of the
fit. POT's exact plan (if it is installed) moves new rows as their nearest training row.
"""

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from problems import N_TEST, TOYS, distance, toy
from scipy.spatial import cKDTree

from sk_ncf import NCFTransport, datasets


def one_gaussian(n, random_state):
    """Rows of a standard normal distribution."""
    return random_state.standard_normal((n, 2))


def five_gaussians(n, random_state):
    """Rows of five Gaussians on a circle."""
    angle = 2 * np.pi * random_state.integers(5, size=n) / 5
    noise = 0.3 * random_state.standard_normal((n, 2))
    return 4 * np.c_[np.cos(angle), np.sin(angle)] + noise


PAIRS = {
    "swiss roll -> moons": TOYS["swiss roll -> moons"],
    "checkerboard -> eight Gaussians": TOYS["checkerboard -> eight"],
    "five Gaussians -> eight": (five_gaussians, datasets.make_eight_gaussians),
    "one Gaussian -> eight": (one_gaussian, datasets.make_eight_gaussians),
}


class Plan:
    """POT's exact plan with the methods of a transport."""

    map_kind_ = stop_reason_ = ""

    def fit(self, X, X_target):
        """Solve the plan."""
        import ot

        self.plan = ot.da.EMDTransport(max_iter=100_000_000).fit(Xs=X, Xt=X_target)
        return self

    def transform(self, X):
        """Rows moved as their nearest training row."""
        return self.plan.transform(Xs=X)

    def inverse_transform(self, X):
        """Rows moved back likewise."""
        return self.plan.inverse_transform(Xt=X)


def methods(cost, seed):
    """Estimators to fit, by name."""
    own = partial(NCFTransport, cost=cost, random_state=seed, device="cpu")
    found = {
        "network": own(potential="network"),
        "auto": own(),
        "discrete": own(potential="discrete"),
    }
    try:
        import ot.da  # noqa: F401
    except ImportError:
        return found
    return found if cost != "sqeuclidean" else found | {"exact plan": Plan()}


def off_support(mapped, training, fresh):
    """Percent of mapped rows outside the support of the other sample."""
    near = cKDTree(training)
    limit = np.quantile(near.query(fresh)[0], 0.999)
    return 100 * (near.query(mapped)[0] > limit).mean()


def result(transport, case):
    """Fit and measure: (energies), (percent off), CPU seconds."""
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transport.fit(case.X, X_target=case.X_target)
    seconds = time.process_time() - begin
    mapped = transport.transform(case.forward[0])
    back = transport.inverse_transform(case.inverse[0])
    energy = distance(mapped, case.forward[1]), distance(back, case.inverse[1])
    off = (
        off_support(mapped, case.X_target, case.forward[1]),
        off_support(back, case.X, case.inverse[1]),
    )
    return energy, off, seconds


def draw(path, seed=0, n=1024):
    """Mapped rows of network and discrete potential, a column per pair."""
    import matplotlib.pyplot as plt

    kinds = "network", "discrete"
    figure, axes = plt.subplots(
        2, len(PAIRS), figsize=(2.4 * len(PAIRS), 5.6), layout="constrained"
    )
    for column, (name, samples) in zip(axes.T, PAIRS.items(), strict=True):
        case = toy(*samples, n, seed)
        for ax, kind in zip(column, kinds, strict=True):
            transport = methods("sqeuclidean", seed)[kind]
            _, (off, _), _ = result(transport, case)
            mapped = transport.transform(case.forward[0][:n])
            target = {"color": "#E69F00", "marker": "s", "s": 22, "alpha": 0.35}
            ax.scatter(*case.X_target.T, lw=0, label="target", **target)
            ax.scatter(*mapped.T, lw=0, s=4, color="#0072B2", label="mapped rows")
            ax.set_title(f"{kind}: {off:.1f} % off", fontsize=10)
            ax.set(aspect="equal", xticks=[], yticks=[])
        column[1].set_xlabel(name.replace(" -> ", "\nto "), fontsize=10)
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)


def main(argv=None):
    """Print one line per pair, size, seed and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", help="words in the names of the pairs")
    parser.add_argument("--n", nargs="+", type=int, default=[1024, 4096])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--cost", default="sqeuclidean")
    parser.add_argument("--picture", type=Path, help="draw this file and stop")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if options.picture:
        draw(options.picture)
        return
    head = f"{'pair, n, seed, method':<50} {'energy':>13} {'off the support, %':>19}"
    print(f"{head} CPU seconds")
    energies = {}
    for name, sides in PAIRS.items():
        if options.pairs and not any(word in name for word in options.pairs):
            continue
        for n in options.n:
            for seed in options.seeds:
                case = toy(*sides, n, seed)
                floor = distance(case.inverse[0], case.forward[1])
                back = distance(case.forward[0], case.inverse[1])
                print(
                    f"{name}, {n}, {seed}, {N_TEST} other rows: {floor:.3f}/{back:.3f}"
                )
                for method, transport in methods(options.cost, seed).items():
                    if options.methods and method not in options.methods:
                        continue
                    energy, off, seconds = result(transport, case)
                    energies.setdefault((n, method), []).extend(energy)
                    kind = f" ({transport.map_kind_})" if method == "auto" else ""
                    label = f"{name}, {n}, {seed}, {method}{kind}"
                    print(
                        f"{label:<50} {energy[0]:6.3f}/{energy[1]:<6.3f} "
                        f"{off[0]:13.1f}/{off[1]:<5.1f} {seconds:11.1f}",
                        flush=True,
                    )
    for (n, method), own in energies.items():
        plan = energies.get((n, "exact plan"))
        if plan is not None and method != "exact plan":
            ratio = np.exp(np.mean(np.log(own) - np.log(plan)))
            print(f"{n}, {method}: {ratio:.3f} x the exact plan, geometric mean")


if __name__ == "__main__":
    main()
