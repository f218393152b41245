r"""
Diagnostics without the true map: which ones follow the error?
==============================================================

An exact potential solves the Hamilton-Jacobi equation, keeps the momentum along its
characteristics, maps back to where rows came from, and closes the gap between transport
cost and dual value. None of this needs the true map. Here it is known, so each measure
can be compared with the true error as the training goes on.
"""

# %%
# A problem with a known map
# --------------------------

import copy

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_convex_map
from sk_ncf.metrics import l2_uvp

n, budgets, seeds = 16_384, [100, 200, 400, 800, 1600], range(3)
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, budgets, seeds = 300, [10, 20, 30], range(1)
# sphinx_gallery_end_ignore
problem = make_convex_map("sqeuclidean", n, 4, random_state=0)
x, exact = problem.sample_pairs(4096, random_state=1)

# %%
# The measures
# ------------
# All on new rows. The first three are root mean squares, and the first two of them in the
# network's variables, in which rows have unit variance:
#
# - equation: residual of the Hamilton-Jacobi equation along a characteristic, from both
#   ends,
# - momentum: change of :math:`\nabla u` between the ends,
# - cycle: :math:`T^{-1}(T(x)) - x`,
# - gap: 1 - dual value / least cost. The least cost is known here. If it is not, the
#   transport cost of the map takes its place.

least_cost = np.square(exact - x).sum(axis=1).mean() / 2


def residuals(transport):
    """Root mean squares of equation and momentum."""
    frame, flow = transport.preconditioners_[0], copy.deepcopy(transport.flow_)
    sides = ((frame.source, x), (frame.target, exact))
    rows = (torch.from_numpy(side.forward(Z))[None] for side, Z in sides)
    with torch.no_grad():
        heads, feet = flow.double().characteristics(*rows)
    equation = torch.cat(
        [feet.u - feet.action - feet.u_end, heads.u_end - heads.action - heads.u], 1
    )
    momentum = torch.cat([line.p_end - line.p for line in (heads, feet)], 1)
    return [r.square().mean().sqrt().item() for r in (equation, momentum)]


def measured(transport):
    mapped = transport.transform(x)
    equation, momentum = residuals(transport)
    cycle = transport.inverse_transform(mapped) - x
    return {
        "true error, %": l2_uvp(mapped, exact),
        "equation": equation,
        "momentum": momentum,
        "cycle": np.sqrt(np.square(cycle).mean()),
        "gap": 1 - transport.score(x, X_target=exact) / least_cost,
    }


# %%
# More and more training
# ----------------------
# Every fit starts anew and uses its whole budget of gradient steps. Early stopping is off:
# the validation split would end most of them before.

fits = []
for steps in budgets:
    for seed in seeds:
        transport = NCFTransport(
            potential="network",
            max_iter=steps,
            early_stopping=False,
            ensemble_size=1,
            random_state=seed,
        )
        transport.fit(problem.X, X_target=problem.X_target)
        fits.append({"steps": steps, **measured(transport)})
fits = pd.DataFrame(fits).set_index("steps")
means = fits.groupby("steps").mean()
print(means.round(4).to_string())

# %%
# Spearman's rank correlation of each measure with the true error, over all fits. 1 means
# that the measure puts the fits in the right order.

ranks = fits.rank().corr()["true error, %"]
print(ranks.round(2).to_string())

# %%
# The measures next to the error
# ------------------------------
# Equation, momentum and gap fall with the error. The cycle-consistency error does not: it
# rises again while the error still falls. It finds maps that are far from invertible, but
# it does not order good ones.

figure, ax = plt.subplots(figsize=(8.4, 4.2), layout="constrained")
colours = ("#000000", "#0072B2", "#E69F00", "#009E73", "#CC79A7")
for name, colour, marker in zip(means, colours, "os^Dv", strict=True):
    ax.plot(means[name], color=colour, marker=marker, ms=5, label=name)
ax.set(xscale="log", yscale="log", xlabel="gradient steps of the fit")
ax.set_ylabel("mean of the fits")
ax.set_xticks(budgets, [str(steps) for steps in budgets])
ax.minorticks_off()
ax.grid(axis="y", color="#DDDDDD", linewidth=0.6)
figure.legend(loc="outside right center", frameon=False)
plt.show()
