"""
Between Gaussians, in up to 64 dimensions
=========================================

The one setting in which the optimal map is known whatever the dimension: it is affine.
The error is therefore exact, and there is a strong method to compare with, the same
formula with the means and covariances of the samples.
"""

# %%
# The errors
# ----------
# L2-UVP is the share of the target's variance that the map gets wrong, in percent; the
# cosine similarity is that of the displacements :math:`T(x) - x`. Both are measured on
# rows that were not in the fit. Set ``SK_NCF_QUICK=1`` for a short and inaccurate run,
# and ``--save PATH`` to write the picture instead of showing it.

import argparse
import os

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator

from sk_ncf import NCFTransport
from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf._flow.moments import weighted_moments
from sk_ncf.datasets import make_gaussians
from sk_ncf.metrics import l2_uvp

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

dimensions = [2, 4] if quick else [2, 4, 8, 16, 32, 64]
seeds = range(1) if quick else range(3)
n, m = (300, 500) if quick else (4096, 4096)


def closed_form(X, Y):
    """The Gaussian map of the sample moments, and its inverse."""
    (mean_x, cov_x), (mean_y, cov_y) = (
        weighted_moments(rows, np.ones(len(rows))) for rows in (X, Y)
    )
    A = gaussian_map(cov_x, cov_y)
    back = np.linalg.inv(A)
    return lambda x: mean_y + (x - mean_x) @ A, lambda y: mean_x + (y - mean_y) @ back


def similarity(x, mapped, exact):
    """Cosine of the displacements, over all rows."""
    got, wanted = mapped - x, exact - x
    return (got * wanted).sum() / np.linalg.norm(got) / np.linalg.norm(wanted)


# %%
# Fits
# ----
# The network's training starts at the closed form of the sample, and the held-out risk
# decides whether anything better has been found. Between Gaussians nothing is, so that
# the two agree here: what this example shows is that the choice is made rightly, in
# every dimension. A network that trains on for its own sake does worse.


def errors(problem, maps, seed):
    """UVP forward and inverse, and 1 - cosine, of fresh rows."""
    x, tx = problem.sample_pairs(m, random_state=1000 + seed)
    there, back = maps[0](x), maps[1](tx)
    return l2_uvp(there, tx), l2_uvp(back, x), 1 - similarity(x, there, tx)


def measure(d, seed):
    """Errors of the neural map and of the closed form."""
    problem = make_gaussians(n, d, random_state=seed)
    transport = NCFTransport(max_iter=10 if quick else "auto", random_state=seed)
    transport.fit(problem.X, X_target=problem.X_target)
    neural = transport.transform, transport.inverse_transform
    both = neural, closed_form(problem.X, problem.X_target)
    return [errors(problem, maps, seed) for maps in both]


results = np.array([[measure(d, seed) for seed in seeds] for d in dimensions])
worst = results.max(axis=1)  # (dimensions, methods, measures)

names = ["NCFTransport", "closed form"]
print(f"worst of {len(seeds)} seeds, {n} rows of either side")
print(f"{'':>4}{names[0]:>30}{names[1]:>30}")
print(f"{'d':>4}" + f"{'forward %':>10}{'inverse %':>10}{'1 - cos':>10}" * 2)
for d, row in zip(dimensions, worst, strict=True):
    cells = "".join(f"{f:>10.4f}{b:>10.4f}{c:>10.1e}" for f, b, c in row)
    print(f"{d:>4}{cells}")

# %%
# The picture
# -----------

COLOURS, MARKERS = ("#0072B2", "#E69F00"), ("o", "x")
figure, axes = plt.subplots(1, 3, figsize=(8.4, 3), layout="constrained")
titles = ("L2-UVP, forward (%)", "L2-UVP, inverse (%)", "1 - cosine similarity")
for k, (ax, title) in enumerate(zip(axes, titles, strict=True)):
    for j, name in enumerate(names):
        style = {"color": COLOURS[j], "marker": MARKERS[j], "label": name}
        ax.plot(dimensions, worst[:, j, k], linestyle="--" if j else "-", **style)
    ax.set(title=title, xlabel="features", xscale="log", yscale="log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.set_xticks(dimensions, [str(d) for d in dimensions])
axes[0].legend(frameon=False)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
