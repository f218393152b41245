r"""
Theorem 5.4: the training loss bounds the error of the map
==========================================================

Between Gaussians, Park, Liu, Zhou and Osher bound the error of the map by the loss that is
minimised: a small loss leaves no room for a wrong map. Here many short fits of that loss
(implicit residual and kernel discrepancy, ``objective="mmd"``) are measured by both.
"""

# %%
# Two Gaussians, and an initialization that is wrong
# --------------------------------------------------
# The squared Euclidean cost is given as the power :math:`|v|^2 / 2` of the norm. For this
# cost, training starts at the mean shift and not at the Gaussian map, which would be the
# answer.

import copy

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import LogLocator

from sk_ncf import NCFTransport, NormPower
from sk_ncf.datasets import make_gaussians
from sk_ncf.objectives import implicit_residual, mmd

n, budgets, seeds = 4096, (50, 100, 200, 400, 800, 1600), range(5)
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, budgets, seeds = 300, (10, 30), range(2)
# sphinx_gallery_end_ignore
problem = make_gaussians(n, 2, random_state=0)
x, exact = problem.sample_pairs(4096, random_state=1)
y = problem.sample_pairs(4096, random_state=2)[1]

# %%
# Error and loss of a fit
# -----------------------
# The error is the mean square :math:`E|\hat T(x) - T(x)|^2` over the variance of the
# target. The loss is that of the paper, on new rows: the squared implicit residual at
# points between source and target rows, and the unbiased squared kernel discrepancy of
# mapped rows and target rows.


def loss(transport):
    """Residual and discrepancy, in the network's variables."""
    frame, flow = transport.preconditioners_[0], copy.deepcopy(transport.flow_)
    a, b = (
        torch.from_numpy(side.forward(rows))[None]
        for side, rows in ((frame.source, x), (frame.target, y))
    )
    t = torch.from_numpy(np.random.default_rng(3).uniform(size=(1, len(x))))
    with torch.no_grad():
        between = a + t[..., None] * (b - a)
        residual = implicit_residual(flow.double(), between, t).square().mean().item()
        discrepancy = mmd(flow.head(a), b, "energy", unbiased=True).item()
    return residual, max(discrepancy, 0.0)


fits = []
for steps in budgets:
    for seed in seeds:
        transport = NCFTransport(
            cost=NormPower(p=2),
            objective="mmd",
            potential="network",
            max_iter=steps,
            early_stopping=False,
            ensemble_size=1,
            hidden_layer_sizes=(32, 32),
            random_state=seed,
        )
        transport.fit(problem.X, X_target=problem.X_target)
        error = np.square(transport.transform(x) - exact).sum(axis=1).mean()
        residual, discrepancy = loss(transport)
        fits.append((steps, error / exact.var(axis=0).sum(), residual, discrepancy))
fits = pd.DataFrame(fits, columns=["steps", "error", "residual", "discrepancy"])
fits["loss"] = fits["residual"] + fits["discrepancy"]
print(fits.groupby("steps").mean().round(5).to_string())

# %%
# The slope
# ---------
# On logarithmic axes the slope is 1 if the error is proportional to the loss. The error
# falls with the loss, and more slowly.

logs = np.log(fits[["loss", "error"]])
slope, constant = np.polyfit(logs["loss"], logs["error"], 1)
correlation = logs.corr().iloc[0, 1]
print(f"slope {slope:.2f}, correlation {correlation:.2f}, {len(fits)} fits")
print(f"largest error / loss: {(fits['error'] / fits['loss']).max():.1f}")

# %%
# Error and loss of all fits
# --------------------------

figure, ax = plt.subplots(figsize=(6.5, 4.4), layout="constrained")
dots = ax.scatter(fits["loss"], fits["error"], c=np.log2(fits["steps"]), s=28)
ends = np.array([fits["loss"].min(), fits["loss"].max()])
line = np.exp(constant) * ends**slope
ax.plot(ends, line, color="#555555", linestyle="--", label=f"slope {slope:.2f}")
ax.set(xscale="log", yscale="log", xlabel="loss on new rows")
for axis in (ax.xaxis, ax.yaxis):
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")
ax.set_ylabel("mean square error / variance")
bar = figure.colorbar(dots, ax=ax, label="gradient steps")
bar.set_ticks(np.log2(budgets), labels=[str(steps) for steps in budgets])
ax.legend(frameon=False)
plt.show()
