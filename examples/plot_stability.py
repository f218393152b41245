r"""
The loss bounds the error
=========================

Between Gaussians, Park, Liu, Zhou and Osher bound the error of the map by the loss that
is minimised (theorem 5.4): a small loss leaves no room for a wrong map. Here many short
fits of that loss, implicit residual plus kernel discrepancy, are measured on both.
"""

# %%
# Two Gaussians and a bad start
# -----------------------------
# The squared Euclidean cost is given as the power :math:`|v|_2^2 / 2` of the norm, for
# which training starts at the mean shift and not at the Gaussian map, the answer. Set
# ``SK_NCF_QUICK=1`` for a short and inaccurate run, and ``--save PATH`` to write the
# picture instead of showing it.

import argparse
import copy
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import LogLocator

from sk_ncf import NCFTransport, NormPower
from sk_ncf.datasets import make_gaussians
from sk_ncf.objectives import implicit_residual, mmd

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

budgets = (10, 30) if quick else (50, 100, 200, 400, 800, 1600)
seeds = range(2) if quick else range(5)
n, m = (500, 500) if quick else (4096, 4096)
problem = make_gaussians(n, 2, random_state=0)
x, tx = problem.sample_pairs(m, random_state=1)
y = problem.sample_pairs(m, random_state=2)[1]

# %%
# Error and loss of a fit
# -----------------------
# The error is the mean square :math:`E |\hat T(x) - T(x)|^2` over the variance of the
# target. The loss is the paper's, on fresh rows: the implicit residual squared, in
# points on the way from source to target rows, and the squared kernel discrepancy of
# mapped and target rows (without its bias, which no map removes).


def loss(transport):
    """Residual and discrepancy, in the network's variables."""
    frame, flow = transport.preconditioners_[0], copy.deepcopy(transport.flow_)
    a, b = (
        torch.from_numpy(side.forward(rows))[None]
        for side, rows in ((frame.source, x), (frame.target, y))
    )
    t = torch.from_numpy(np.random.default_rng(3).uniform(size=(1, m)))
    with torch.no_grad():
        way = a + t[..., None] * (b - a)
        residual = implicit_residual(flow.double(), way, t).square().mean().item()
        discrepancy = mmd(flow.head(a), b, "energy", unbiased=True).item()
    return residual, max(discrepancy, 0.0)


def measure(budget, seed):
    """Steps, error, residual and discrepancy of one fit."""
    transport = NCFTransport(
        cost=NormPower(p=2),
        objective="mmd",
        max_iter=budget,
        early_stopping=False,
        ensemble_size=1,
        hidden_layer_sizes=(32, 32),
        random_state=seed,
    )
    transport.fit(problem.X, X_target=problem.X_target)
    error = np.square(transport.transform(x) - tx).sum(axis=1).mean()
    return budget, error / tx.var(axis=0).sum(), *loss(transport)


steps, error, residual, discrepancy = np.array(
    [measure(budget, seed) for budget in budgets for seed in seeds]
).T
total = residual + discrepancy

# %%
# The slope
# ---------
# On double logarithmic axes; 1 where the mean square error is proportional to the loss.
# It is less: the error falls with the loss, and more slowly.

slope, constant = np.polyfit(np.log(total), np.log(error), 1)
correlation = np.corrcoef(np.log(total), np.log(error))[0, 1]
print(f"{'steps':>6}{'fits':>6}{'error':>10}{'residual':>10}{'discrepancy':>13}")
for budget in budgets:
    rows = steps == budget
    means = [values[rows].mean() for values in (error, residual, discrepancy)]
    print(
        f"{budget:>6}{rows.sum():>6}{means[0]:>10.5f}{means[1]:>10.5f}{means[2]:>13.5f}"
    )
print(f"slope {slope:.2f}, correlation {correlation:.2f}, {len(error)} fits")
print(f"largest error / loss {np.max(error / total):.2f}")

# %%
# The picture
# -----------

figure, ax = plt.subplots(figsize=(6.5, 4.4), layout="constrained")
dots = ax.scatter(total, error, c=np.log2(steps), cmap="viridis", s=28, alpha=0.9)
ends = np.array([total.min(), total.max()])
line = np.exp(constant) * ends**slope
ax.plot(ends, line, color="#555555", linestyle="--", label=f"slope {slope:.2f}")
ax.set(xscale="log", yscale="log", xlabel="loss on fresh rows")
for axis in (ax.xaxis, ax.yaxis):
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")
ax.set_ylabel("mean square error of the map / variance")
bar = figure.colorbar(dots, ax=ax, label="gradient steps")
bar.set_ticks(np.log2(budgets), labels=[str(budget) for budget in budgets])
ax.legend(frameon=False)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
