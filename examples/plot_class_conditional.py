"""
Classes that cross
==================

Every class of the source has to arrive at the same class of the target. Here the
classes lie opposite their goals, so their ways cross; the optimal map of all rows
together cannot do that, and takes every row to the nearest place. With
``class_conditional="per_class"`` every class has a map of its own.
"""

# %%
# Three classes
# -------------
# Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and ``--save PATH`` to write
# the picture instead of showing it.

import argparse
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import LineCollection
from sklearn.neighbors import KNeighborsClassifier

from sk_ncf import NCFTransport
from sk_ncf.objectives import energy_distance

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"


def crossing(n, rng):
    """Source rows, target rows and the class of both."""
    y = np.arange(n) % 3
    angle = 2 * np.pi * y / 3
    centre = 4 * np.column_stack([np.cos(angle), np.sin(angle)])
    a, (b, c) = rng.standard_normal((n, 2)), rng.standard_normal((2, n))
    bent = np.column_stack([b, c / 2 + 0.3 * b**2])
    return centre + 0.5 * a, -centre + 0.7 * bent, y


rng = np.random.default_rng(0)
n, m = (200, 200) if quick else (3000, 3000)
X, Y, y = crossing(n, rng)
X_test, Y_test, y_test = crossing(m, rng)

# %%
# Two maps
# --------

max_iter = 20 if quick else "auto"
one = NCFTransport(max_iter=max_iter, random_state=0).fit(X, X_target=Y)
by_class = NCFTransport(
    class_conditional="per_class", max_iter=max_iter, random_state=0
)
by_class.fit(X, y, X_target=Y, y_target=y)

# %%
# Who arrives where
# -----------------
# "Own class": share of mapped test rows whose nearest target row is of their class.
# "Distance": mean over classes of the squared energy distance, without the bias of few
# rows, to fresh rows of the class. "Trip": :math:`|T^{-1} T(x) - x|^2` over the
# variance. Classes are predicted from where a row is, unless they are given.

judge = KNeighborsClassifier(1).fit(Y, y)


def distance(A, B):
    """Squared energy distance of two samples, 0 on average for equal laws."""
    a, b = (torch.from_numpy(rows)[None] for rows in (A, B))
    return energy_distance(a, b, unbiased=True).item()


def compare(name, transport, **label):
    """One row of the table."""
    mapped = transport.transform(X_test, **label)
    back = transport.inverse_transform(mapped, **label)
    own = (judge.predict(mapped) == y_test).mean()
    pairs = [(mapped[y_test == k], Y_test[y_test == k]) for k in range(3)]
    apart = np.mean([distance(*pair) for pair in pairs])
    trip = np.square(back - X_test).sum(axis=1).mean() / X_test.var(axis=0).sum()
    print(f"{name:<26}{own:>10.3f}{apart:>10.4f}{trip:>10.4f}")
    return mapped


print(f"{'':<26}{'own class':>10}{'distance':>10}{'trip':>10}")
everyone = compare("one map for all", one)
compare("by class, class predicted", by_class)
own_way = compare("by class, class given", by_class, sample_label=y_test)

# %%
# The picture
# -----------

COLOURS, MARKERS = ("#0072B2", "#D55E00", "#009E73"), ("o", "^", "s")
figure, axes = plt.subplots(
    1, 2, figsize=(8.4, 4.4), sharex=True, sharey=True, layout="constrained"
)
for ax, mapped, title in zip(
    axes,
    (everyone, own_way),
    ("one map for all", 'class_conditional="per_class"'),
    strict=True,
):
    ax.scatter(*Y_test.T, s=4, color="#CCCCCC", linewidths=0, label="target")
    for k in range(3):
        rows = np.flatnonzero(y_test == k)[:250]
        style = {"color": COLOURS[k], "marker": MARKERS[k], "s": 7, "linewidths": 0}
        ax.scatter(*X_test[rows].T, alpha=0.3, **style)
        ax.scatter(*mapped[rows].T, label=f"class {k}", **style)
        ways = np.stack([X_test[rows[:30]], mapped[rows[:30]]], axis=1)
        ax.add_collection(LineCollection(ways, colors=COLOURS[k], lw=0.5, alpha=0.6))
    ax.set(title=title, aspect="equal", xticks=[], yticks=[])
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(
    handles, labels, loc="outside lower center", ncols=4, frameon=False, markerscale=2
)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
