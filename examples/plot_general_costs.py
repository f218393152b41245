"""
Six costs for the same two samples
==================================

The cost decides which of the many maps between two distributions is the optimal one. Eight
Gaussians are mapped to two moons under six costs: every map reaches the moons, but
different rows go to different places. At the end, a problem with a known map shows what
the wrong cost does to the error.
"""

# %%
# One pair of samples, six maps
# -----------------------------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment

from sk_ncf import (
    Elastic,
    Lp,
    NCFTransport,
    NormPower,
    PseudoHuber,
    QuadraticForm,
    SquaredEuclidean,
)
from sk_ncf.datasets import make_convex_map, make_eight_gaussians, make_moons_2d
from sk_ncf.metrics import energy_distance, l2_uvp
from sk_ncf.plotting import TransportDisplay

n, n_new = 4096, 2048
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, n_new = 60, 60
# sphinx_gallery_end_ignore
costs = {
    "squared Euclidean": SquaredEuclidean(),
    "l_p, p = 1.2": Lp(p=1.2),
    "norm power 1.2": NormPower(p=1.2),
    "elastic, gamma = 1": Elastic(gamma=1.0),
    "pseudo-Huber, delta = 0.2": PseudoHuber(delta=0.2),
    "quadratic form, diag(9, 1)": QuadraticForm(matrix=[[9.0, 0.0], [0.0, 1.0]]),
}
rng = np.random.default_rng(0)
X, X_new = (make_eight_gaussians(size, random_state=rng) for size in (n, n_new))
Y, Y_new, Y_other = (
    make_moons_2d(size, random_state=rng) for size in (n, n_new, n_new)
)
maps = {
    name: NCFTransport(cost=cost, random_state=0).fit(X, X_target=Y)
    for name, cost in costs.items()
}

# %%
# What the cost changes
# ---------------------
# "Energy": 100 times the squared energy distance of mapped rows to new moons. "One axis":
# percentage of rows that move along one axis only. The elastic cost charges for every
# feature that changes, so more of its rows keep a feature exactly as it is. They are few
# all the same: these maps are read from discrete potentials, which average over several
# target rows. "dx" and "dy": mean change of the two features. The quadratic form makes
# changes of the first one expensive.

mapped = {name: transport.transform(X_new) for name, transport in maps.items()}
moves = {name: np.abs(Z - X_new) for name, Z in mapped.items()}
table = pd.DataFrame(
    {
        "energy": {k: 100 * energy_distance(Z, Y_new) for k, Z in mapped.items()},
        "one axis, %": {k: 100 * (m < 1e-4).any(1).mean() for k, m in moves.items()},
        "dx": {k: m[:, 0].mean() for k, m in moves.items()},
        "dy": {k: m[:, 1].mean() for k, m in moves.items()},
    }
)
print(table.round(3))
print(f"two new samples of moons: {100 * energy_distance(Y_new, Y_other):.3f}")

# %%
# Every map under every cost
# --------------------------
# Mean cost of every map (rows) under every cost (columns), divided by that of the exact
# plan between the new samples. The smallest value of a column is on the diagonal or close
# to it: a map that stops a little short of the target is cheap, too (values below 1).

x, y = torch.from_numpy(X_new), torch.from_numpy(Y_new)


def cost_of_exact_plan(cost):
    pairs = cost.pairwise(x, y).numpy()
    return pairs[linear_sum_assignment(pairs)].mean()


ratios = pd.DataFrame(
    {
        name.split(",")[0]: [
            cost(x, torch.from_numpy(Z)).mean().item() / cost_of_exact_plan(cost)
            for Z in mapped.values()
        ]
        for name, cost in costs.items()
    },
    index=[name.split(",")[0] for name in mapped],
)
short = ["Euclid", "l_p", "norm", "elastic", "Huber", "form"]
print(ratios.round(3).to_string(header=short))

# %%
# A known map
# -----------
# :math:`T(x) = x + \nabla H(\nabla \phi(x))` with convex :math:`\phi` is optimal for the
# l_p cost with p = 1.2. The map for the squared Euclidean cost reaches the same
# distribution, but maps other rows to each place. L2-UVP of new rows: the percentage of
# the variance that the map gets wrong, forward and inverse.

problem = make_convex_map(Lp(p=1.2), n, 4, random_state=0)
x_new, exact = problem.sample_pairs(n_new, random_state=1)
for cost in (Lp(p=1.2), SquaredEuclidean()):
    transport = NCFTransport(cost=cost, random_state=0)
    transport.fit(problem.X, X_target=problem.X_target)
    forward = l2_uvp(transport.transform(x_new), exact)
    inverse = l2_uvp(transport.inverse_transform(exact), x_new)
    print(f"{cost!r:<20} forward {forward:6.2f} %, inverse {inverse:6.2f} %")

# %%
# The six maps
# ------------

figure, axes = plt.subplots(
    2, 3, figsize=(8.4, 6), sharex=True, sharey=True, layout="constrained"
)
for ax, (name, transport) in zip(axes.flat, maps.items(), strict=True):
    TransportDisplay.from_estimator(
        transport,
        X_new[:1000],
        X_target=Y_new[:1000],
        ax=ax,
        n_arrows=80,
        random_state=0,
        s=5,
        legend=False,
    )
    ax.set_title(name)
    ax.label_outer()
handles, labels = ax.get_legend_handles_labels()
figure.legend(
    handles, labels, loc="outside lower center", ncols=3, frameon=False, markerscale=2
)
plt.show()
