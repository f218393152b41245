"""
A checkerboard to eight Gaussians, and back
===========================================

Eight squares that touch at their corners, and eight blobs that do not touch: the way
there tears the squares apart, the way back spreads each blob over its square. Both maps
come from one potential; its level lines are drawn as well.
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
from sk_ncf.datasets import make_checkerboard, make_eight_gaussians
from sk_ncf.objectives import energy_distance
from sk_ncf.plotting import InterpolationDisplay, TransportDisplay

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

n, m = (500, 500) if quick else (8192, 4096)
rng = np.random.default_rng(0)
boards, blobs = (
    np.split(draw(n + 2 * m, random_state=rng), [n, n + m])
    for draw in (make_checkerboard, make_eight_gaussians)
)

# %%
# Fit
# ---

transport = NCFTransport(max_iter=50 if quick else "auto", random_state=0)
transport.fit(boards[0], X_target=blobs[0])

# %%
# Do mapped rows look like fresh ones?
# ------------------------------------
# The squared energy distance of mapped fresh rows to other fresh rows of the other
# side, and that of two fresh samples of the same law, the floor. "Off" is the share of
# mapped rows that lie where the other side has none: outside the dark squares, or
# farther from all centres than all but one in a thousand rows of a blob.


def distance(A, B):
    """Squared energy distance of two samples, times 100."""
    a, b = (torch.from_numpy(rows)[None] for rows in (A, B))
    return 100 * energy_distance(a, b).item()


def off_board(rows):
    """Share of rows outside the dark squares."""
    column, row = np.floor(rows * 2 / np.sqrt(3) + 2).astype(int).T
    inside = (np.minimum(row, column) >= 0) & (np.maximum(row, column) < 4)
    return 1 - (inside & ((row + column) % 2 == 0)).mean()


def off_blobs(rows, noise=0.1):
    """Share of rows far from all eight centres."""
    angle = np.pi / 4 * np.arange(8)
    centres = np.sqrt(2) * np.column_stack([np.cos(angle), np.sin(angle)])
    nearest = np.linalg.norm(rows[:, None] - centres, axis=2).min(axis=1)
    return (nearest > noise * np.sqrt(2 * np.log(1000))).mean()


def compare(name, rows, there, off, wanted):
    """One row of the table."""
    mapped = there(rows)
    values = [distance(Z, wanted[1]) for Z in (rows, mapped, wanted[2])]
    shares = [off(mapped), off(wanted[1])]
    print(
        f"{name:<16}"
        + "".join(f"{v:>11.3f}" for v in values)
        + "".join(f"{v:>11.1%}" for v in shares)
    )


head = ("before", "mapped", "floor", "off", "off, fresh")
print(f"{'100 x energy':<16}" + "".join(f"{name:>11}" for name in head))
compare("board -> blobs", boards[1], transport.transform, off_blobs, blobs)
compare("blobs -> board", blobs[1], transport.inverse_transform, off_board, boards)

# %%
# The way there and back
# ----------------------
# Colours by the place a row starts from. The last panels: level lines of u(x, 0) and of
# u(y, 1), with the characteristics perpendicular to them.

figure, axes = plt.subplots(2, 4, figsize=(8.4, 4.5), layout="constrained")
board, blob = boards[1][:2000], blobs[1][:2000]
for kind, row in zip(("forward", "inverse"), axes, strict=True):
    InterpolationDisplay.from_estimator(
        transport,
        board,
        X_target=blob,
        kind=kind,
        times=(0, 0.5, 1),
        axes=row[:3],
        s=4,
    )
    TransportDisplay.from_estimator(
        transport,
        board,
        X_target=blob,
        kind=kind,
        contours=True,
        ax=row[3],
        n_arrows=150,
        random_state=0,
        s=1,
        alpha=0.25,
        legend=False,
    )
    row[3].set(xticks=[], yticks=[], title="level lines")
for ax, title in zip(
    axes[:, :3].flat,
    ["checkerboard", "half way", "transform"]
    + ["eight Gaussians", "half way", "inverse_transform"],
    strict=True,
):
    ax.set_title(title)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
