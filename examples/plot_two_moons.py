"""
A Gaussian blob to two moons, and back
======================================

One network learns the optimal transport map between two samples in the plane, and with
it the way back: both are read off the same straight characteristics. Nothing pairs the
rows of one sample with those of the other.
"""

# %%
# Two samples
# -----------
# Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and ``--save PATH`` to write
# the picture instead of showing it.

import argparse
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import LineCollection

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_moons_2d
from sk_ncf.objectives import energy_distance

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

n = 1000 if quick else 8192
rng = np.random.default_rng(0)
X = rng.standard_normal((n, 2))
X_target = make_moons_2d(n, random_state=rng)

# %%
# Fit
# ---

transport = NCFTransport(max_iter=100 if quick else "auto", random_state=0)
transport.fit(X, X_target=X_target)

# %%
# Both directions, on rows that were not in the fit
# -------------------------------------------------
# The exact map is not known here. What can be measured is whether mapped rows are
# distributed as fresh rows of the other side are: the squared energy distance, next to
# that between two fresh samples of the same distribution, which no map can be asked to
# beat; and whether the way back leads to where a row came from.

m = 1000 if quick else 4000
blob, blob_again = (rng.standard_normal((m, 2)) for _ in range(2))
moons, moons_again = (make_moons_2d(m, random_state=rng) for _ in range(2))
mapped = transport.transform(blob)
mapped_back = transport.inverse_transform(moons)


def distance(A, B):
    """Squared energy distance between two samples."""
    a, b = (torch.from_numpy(rows)[None] for rows in (A, B))
    return energy_distance(a, b).item()


print(f"{'energy distance':<22}{'before':>9}{'after':>9}{'floor':>9}")
before = distance(blob, moons)
after, floor = distance(mapped, moons), distance(moons, moons_again)
print(f"{'blob -> moons':<22}{before:>9.4f}{after:>9.4f}{floor:>9.4f}")
after, floor = distance(mapped_back, blob), distance(blob, blob_again)
print(f"{'moons -> blob':<22}{before:>9.4f}{after:>9.4f}{floor:>9.4f}")
round_trip = np.linalg.norm(transport.inverse_transform(mapped) - blob, axis=1)
print(f"median |T^-1(T(x)) - x| = {np.median(round_trip):.3f}")

# %%
# The picture
# -----------
# A row keeps the colour of the place it starts from. In the middle, the rows half way
# (t = 1/2), and the characteristics of some: straight lines, run through at constant
# speed. The exact map is discontinuous, so the fit chooses a discrete potential: no rows
# are left between the moons.

BACKGROUND, LINES = "#CCCCCC", "#666666"


def colours(rows):
    """Colour by rank from left to right; told apart by colour-blind readers too."""
    return plt.get_cmap("viridis")(rows[:, 0].argsort().argsort() / len(rows))


def draw(ax, rows, colour, title, behind=None, n_rows=1000):
    """One panel; the distribution to be met in grey behind the rows."""
    if behind is not None:
        ax.scatter(*behind[:n_rows].T, s=7, color=BACKGROUND, linewidths=0)
    ax.scatter(*rows[:n_rows].T, s=5, c=colour[:n_rows], linewidths=0)
    ax.set_title(title, fontsize=12)
    ax.set(xlim=(-3.1, 3.1), ylim=(-2.8, 2.8), xticks=[], yticks=[], aspect="equal")


def draw_lines(ax, starts, ends, n_lines=120):
    """The characteristics of the first rows."""
    segments = np.stack([starts[:n_lines], ends[:n_lines]], axis=1)
    ax.add_collection(LineCollection(segments, colors=LINES, linewidths=0.6, zorder=0))


figure, ((a, b, c), (d, e, f)) = plt.subplots(
    2, 3, figsize=(8, 5.3), layout="constrained"
)
draw(a, blob, colours(blob), "source  $x$")
draw(b, transport.interpolate(blob, 0.5), colours(blob), "half way  $T_{1/2}(x)$")
draw_lines(b, blob, mapped)
draw(c, mapped, colours(blob), "transform  $T(x)$", behind=moons)

draw(d, moons, colours(moons), "target  $y$")
draw(e, (moons + mapped_back) / 2, colours(moons), "half way back")
draw_lines(e, moons, mapped_back)
title = "inverse_transform  $T^{-1}(y)$"
draw(f, mapped_back, colours(moons), title, behind=blob)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
