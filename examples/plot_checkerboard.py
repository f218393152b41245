"""
Figure 5 of the paper: a checkerboard to eight Gaussians, and back
==================================================================

Eight squares that touch at their corners, and eight Gaussians that do not touch. The map
separates the squares, and its inverse spreads each Gaussian over a square. Both are read
from one potential, whose level lines are shown as well.
"""

# %%
# Two samples
# -----------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_checkerboard, make_eight_gaussians
from sk_ncf.metrics import energy_distance
from sk_ncf.plotting import InterpolationDisplay, TransportDisplay

n, n_new = 8192, 4096
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, n_new = 300, 300
# sphinx_gallery_end_ignore
rng = np.random.default_rng(0)
X, X_new, X_other = (
    make_checkerboard(size, random_state=rng) for size in (n, n_new, n_new)
)
Y, Y_new, Y_other = (
    make_eight_gaussians(size, random_state=rng) for size in (n, n_new, n_new)
)

# %%
# Fit
# ---

transport = NCFTransport(random_state=0).fit(X, X_target=Y)
mapped, mapped_back = transport.transform(X_new), transport.inverse_transform(Y_new)

# %%
# Do mapped rows look like new ones?
# ----------------------------------
# 100 times the squared energy distance to new rows of the other sample; the third column
# compares two new samples of the same distribution. "Outside" is the share of mapped rows
# outside the support of the other sample: outside the dark squares, or farther from all
# centres than all but one in a thousand rows of a Gaussian.


def outside_board(rows):
    column, row = np.floor(rows * 2 / np.sqrt(3) + 2).astype(int).T
    inside = (np.minimum(row, column) >= 0) & (np.maximum(row, column) < 4)
    return 1 - (inside & ((row + column) % 2 == 0)).mean()


def outside_gaussians(rows, noise=0.1):
    angle = np.pi / 4 * np.arange(8)
    centres = np.sqrt(2) * np.column_stack([np.cos(angle), np.sin(angle)])
    nearest = np.linalg.norm(rows[:, None] - centres, axis=2).min(axis=1)
    return (nearest > noise * np.sqrt(2 * np.log(1000))).mean()


table = pd.DataFrame(
    {
        "before": [energy_distance(X_new, Y_new)] * 2,
        "mapped": [energy_distance(mapped, Y_new), energy_distance(mapped_back, X_new)],
        "two new samples": [
            energy_distance(Y_new, Y_other),
            energy_distance(X_new, X_other),
        ],
        "outside": [outside_gaussians(mapped), outside_board(mapped_back)],
        "outside, new rows": [outside_gaussians(Y_new), outside_board(X_new)],
    },
    index=["board to Gaussians", "Gaussians to board"],
)
print((100 * table).round(3).to_string())  # energy distances x 100, shares in percent

# %%
# The paths of the rows, and the potential
# ----------------------------------------
# Rows keep the colour of the place that they start from. In the last panels, the arrows
# lead from rows to their images, at right angles to the level lines of :math:`u(x, 0)`
# and :math:`u(y, 1)`. Rows of the board are blue and those of the Gaussians orange; mapped
# rows are green.

shown = {"X": X_new[:2000], "X_target": Y_new[:2000]}
figure, axes = plt.subplots(2, 4, figsize=(9.6, 5.4), layout="constrained")
for kind, row in zip(("forward", "inverse"), axes, strict=True):
    InterpolationDisplay.from_estimator(
        transport, kind=kind, times=(0, 0.5, 1), axes=row[:3], **shown
    )
    TransportDisplay.from_estimator(
        transport,
        kind=kind,
        contours=True,
        ax=row[3],
        n_arrows=40,
        random_state=0,
        s=2,
        legend=False,
        **shown,
    )
axes[0, 3].set_title("level lines of u(x, 0)")
axes[1, 3].set_title("level lines of u(y, 1)")
plt.show()
