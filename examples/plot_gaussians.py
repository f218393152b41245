"""
Accuracy between Gaussians, in up to 64 dimensions
==================================================

The optimal map between two Gaussians is known in any dimension: it is linear. So the error
of a fit is exact, and there is a strong method to compare with: the same formula with the
means and covariances of the samples.
"""

# %%
# The comparison
# --------------
# L2-UVP is the percentage of the target's variance that a map gets wrong. "1 - cosine" is
# that of the displacements :math:`T(x) - x`. Both are measured on new rows.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator
from scipy.linalg import sqrtm

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_gaussians
from sk_ncf.metrics import l2_uvp

n, dimensions, seeds = 4096, [2, 4, 8, 16, 32, 64], range(3)
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, dimensions, seeds = 100, [2, 4], range(1)
# sphinx_gallery_end_ignore


def closed_form(X, Y):
    """The optimal map between Gaussians with the samples' moments, and its inverse."""
    root = sqrtm(np.cov(X.T))
    inverse_root = np.linalg.inv(root)
    A = inverse_root @ sqrtm(root @ np.cov(Y.T) @ root) @ inverse_root
    mean_x, mean_y = X.mean(axis=0), Y.mean(axis=0)
    return (
        lambda x: mean_y + (x - mean_x) @ A,
        lambda y: mean_x + (y - mean_y) @ np.linalg.inv(A),
    )


def network(X, Y):
    transport = NCFTransport(random_state=0).fit(X, X_target=Y)
    return transport.transform, transport.inverse_transform


def errors(problem, forward, inverse):
    x, exact = problem.sample_pairs(4096, random_state=1000)
    mapped = forward(x)
    got, wanted = mapped - x, exact - x
    cosine = (got * wanted).sum() / np.linalg.norm(got) / np.linalg.norm(wanted)
    return l2_uvp(mapped, exact), l2_uvp(inverse(exact), x), 1 - cosine


# %%
# The fits
# --------
# A fit is initialized at the Gaussian map of the (shrunk) sample moments. Between
# Gaussians nothing is better, and most fits warn that they have kept the initialization.
# So the errors are those of the simple formula, or close to them.

methods = {"NCFTransport": network, "closed form": closed_form}
measures = ["forward, %", "inverse, %", "1 - cosine"]
found = []
for d in dimensions:
    for seed in seeds:
        problem = make_gaussians(n, d, random_state=seed)
        for name, method in methods.items():
            values = errors(problem, *method(problem.X, problem.X_target))
            found.append(
                {"d": d, "method": name, **dict(zip(measures, values, strict=True))}
            )
worst = pd.DataFrame(found).groupby(["method", "d"], sort=False).max()
print(f"worst of {len(seeds)} seeds, {n:,} rows in each sample")
print(worst.unstack("method").swaplevel(axis=1).to_string(float_format="{:.2g}".format))

# %%
# The error grows with the dimension
# ----------------------------------
# It is the sampling error of the moments.

figure, axes = plt.subplots(1, 3, figsize=(8.4, 3), layout="constrained")
styles = ({"color": "#0072B2", "marker": "o"}, {"color": "#E69F00", "marker": "x"})
for ax, measure in zip(axes, measures, strict=True):
    for name, style in zip(methods, styles, strict=True):
        ax.plot(dimensions, worst.loc[name, measure], label=name, **style)
    ax.set(title=measure, xlabel="features", xscale="log", yscale="log")
    ax.set_xticks(dimensions, [str(d) for d in dimensions], minor=False)
    ax.minorticks_off()
for ax in axes[:2]:
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
axes[0].set_ylabel("worst of all seeds")
axes[0].legend(frameon=False)
plt.show()
