"""
A Swiss roll to two moons, and back
===================================

The classical pair of shapes in the plane, in both directions, with one fit: the map has
to cut the spiral open and fold it into two arcs. Where rows go is a straight line, run
through at constant speed.
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

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_moons_2d, make_swiss_roll_2d
from sk_ncf.objectives import energy_distance
from sk_ncf.plotting import InterpolationDisplay

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

n, m = (500, 500) if quick else (8192, 4096)
rng = np.random.default_rng(0)
rolls, moons = (
    np.split(draw(n + 2 * m, random_state=rng), [n, n + m])
    for draw in (make_swiss_roll_2d, make_moons_2d)
)

# %%
# Fit
# ---

transport = NCFTransport(max_iter=50 if quick else "auto", random_state=0)
transport.fit(rolls[0], X_target=moons[0])

# %%
# Do mapped rows look like fresh ones?
# ------------------------------------
# The exact map is not known. What can be measured on rows that were not in the fit is
# the squared energy distance of mapped rows to fresh rows of the other side. Two fresh
# samples of the same law are apart as well: that is the floor. The round trip is the
# median distance between a row and :math:`T^{-1}(T(x))`.


def distance(A, B):
    """Squared energy distance of two samples, times 100."""
    a, b = (torch.from_numpy(rows)[None] for rows in (A, B))
    return 100 * energy_distance(a, b).item()


def compare(name, rows, there, back, wanted):
    """One row of the table."""
    mapped = there(rows)
    values = [distance(Z, wanted[1]) for Z in (rows, mapped, wanted[2])]
    trip = np.median(np.linalg.norm(back(mapped) - rows, axis=1))
    print(f"{name:<16}" + "".join(f"{v:>11.3f}" for v in (*values, trip)))


to_moons, to_roll = transport.transform, transport.inverse_transform
head = ("before", "mapped", "floor", "round trip")
print(f"{'100 x energy':<16}" + "".join(f"{name:>11}" for name in head))
compare("roll -> moons", rolls[1], to_moons, to_roll, moons)
compare("moons -> roll", moons[1], to_roll, to_moons, rolls)

# %%
# The way there and back
# ----------------------
# Colours by the place a row starts from; grey, the other side's rows. The exact map is
# discontinuous, so the fit chooses a discrete potential: no rows are left between the
# arcs.

figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.5), layout="constrained")
for kind, row in zip(("forward", "inverse"), axes, strict=True):
    InterpolationDisplay.from_estimator(
        transport,
        rolls[1][:1500],
        X_target=moons[1][:1500],
        kind=kind,
        times=(0, 1 / 3, 2 / 3, 1),
        axes=row,
        s=5,
    )
for ax, title in zip(
    axes.flat, ["Swiss roll", "1/3", "2/3", "transform"] * 2, strict=True
):
    ax.set_title(title)
axes[1, 0].set_title("two moons")
axes[1, 3].set_title("inverse_transform")
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
