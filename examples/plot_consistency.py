r"""
What a fit can know of its own error
====================================

An exact potential solves the Hamilton-Jacobi equation, keeps the momentum along its
characteristics, maps back to where rows came from, and closes the gap between transport
cost and dual value. None of these needs the true map. Here it is known, so that they
can be watched next to the true error while training goes on.
"""

# %%
# A problem with a known map
# --------------------------
# Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and ``--save PATH`` to write
# the picture instead of showing it.

import argparse
import copy
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import spearmanr

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map
from sk_ncf.metrics import l2_uvp

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

n, m = (300, 500) if quick else (16_384, 4096)
problem = make_convex_map("sqeuclidean", n, 4, random_state=0)
x, tx = problem.sample_pairs(m, random_state=1)

# %%
# The measures
# ------------
# All on fresh rows, as root mean squares in the network's variables (where rows have
# unit variance) but for the last two:
#
# - equation: :math:`u(y, 1) - L(v) - u(foot, 0)` and the same from the other end,
# - momentum: change of :math:`\nabla u` from one end to the other,
# - round trip: :math:`T^{-1}(T(x)) - x`,
# - gap: 1 - dual value of u / least cost, the dual value being `score` on these very
#   rows. Here their least cost is known, E c(x, T(x)). Where it is not, the transport
#   cost of the map found stands for it, and rows that are not paired add noise.


least_cost = np.square(tx - x).sum(axis=1).mean() / 2


def along_lines(transport):
    """Root mean squares of the residuals of equation and momentum."""
    frame, flow = transport.preconditioners_[0], copy.deepcopy(transport.flow_)
    sides = ((frame.source, x), (frame.target, tx))
    rows = (torch.from_numpy(side.forward(Z))[None] for side, Z in sides)
    with torch.no_grad():
        heads, feet = flow.double().characteristics(*rows)
    equation = torch.cat(
        [feet.u - feet.action - feet.u_end, heads.u_end - heads.action - heads.u], 1
    )
    momentum = torch.cat([line.p_end - line.p for line in (heads, feet)], 1)
    return [r.square().mean().sqrt().item() for r in (equation, momentum)]


def measure(transport):
    """Error of the map, and what can be known without the true one."""
    mapped = transport.transform(x)
    trip = np.sqrt(np.square(transport.inverse_transform(mapped) - x).mean())
    gap = 1 - transport.score(x, X_target=tx) / least_cost
    return [l2_uvp(mapped, tx), *along_lines(transport), trip, gap]


# %%
# More and more training
# ----------------------
# Every fit starts anew, has a budget of its own and spends it. The start is worth a
# look: it is the Gaussian map, which solves the equation exactly and is perfectly
# invertible. It solves it for another target; the gap alone knows. Once training has
# begun, the measures fall with the error until it settles; the round trip is the first
# to rise again (rows held out would stop the training before, and are left out here).

budgets = [1, 10, 30] if quick else [1, 100, 200, 400, 800, 1600]
seeds = range(1) if quick else range(3)


def fitted(budget, seed):
    """The map after so many steps; the last ones with a falling learning rate."""
    transport = NCFTransport(
        max_iter=budget, early_stopping=False, ensemble_size=1, random_state=seed
    )
    return transport.fit(problem.X, X_target=problem.X_target)


fits = np.array(
    [[measure(fitted(budget, seed)) for budget in budgets] for seed in seeds]
)  # (seeds, budgets, measures)
table = fits.mean(axis=0)
names = ["UVP, %", "equation", "momentum", "round trip", "gap"]
print(f"{'steps':>8}" + "".join(f"{name:>12}" for name in names))
for budget, row in zip(budgets, table, strict=True):
    print(f"{budget:>8}" + "".join(f"{value:>12.4f}" for value in row))

# %%
# How well a measure puts the fits in the order of their true error, the start left out:
# Spearman's rank correlation.

trained = fits[:, 1:].reshape(-1, len(names))
ranks = [spearmanr(trained[:, 0], values).statistic for values in trained.T]
print(f"{'rank':>8}" + "".join(f"{value:>12.2f}" for value in ranks))

# %%
# The picture
# -----------

COLOURS = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v")
figure, ax = plt.subplots(figsize=(8.4, 4.2), layout="constrained")
for values, name, colour, marker in zip(
    table[1:].T, names, COLOURS, MARKERS, strict=True
):
    ax.plot(budgets[1:], values, color=colour, marker=marker, ms=5, label=name)
ax.set(xscale="log", yscale="log", xlabel="gradient steps of the fit")
ax.set_xticks(budgets[1:], [str(budget) for budget in budgets[1:]])
ax.minorticks_off()
ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
figure.legend(loc="outside right center", frameon=False)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
