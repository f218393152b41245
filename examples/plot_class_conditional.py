"""
One map per class, for classes whose paths cross
================================================

Every class of the source is mapped to the same class of the target. Here the classes lie
opposite to their targets, so their paths cross. A single optimal map cannot do that: it
moves all rows as little as possible, whatever their class. With
``class_conditional="per_class"`` every class has a map of its own (figure 3 of the paper).
"""

# %%
# Three classes
# -------------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier

from sk_ncf import NCFTransport
from sk_ncf.metrics import energy_distance

n = 3000
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n = 200
# sphinx_gallery_end_ignore


def crossing_classes(n, rng):
    """Source rows, target rows and the class of both."""
    y = np.arange(n) % 3
    angle = 2 * np.pi * y / 3
    centre = 4 * np.column_stack([np.cos(angle), np.sin(angle)])
    a, (b, c) = rng.standard_normal((n, 2)), rng.standard_normal((2, n))
    bent = np.column_stack([b, c / 2 + 0.3 * b**2])
    return centre + 0.5 * a, -centre + 0.7 * bent, y


rng = np.random.default_rng(0)
X, Y, y = crossing_classes(n, rng)
X_test, Y_test, y_test = crossing_classes(n, rng)

# %%
# One map for all rows, and one per class
# ---------------------------------------

one_map = NCFTransport(random_state=0).fit(X, X_target=Y)
per_class = NCFTransport(class_conditional="per_class", random_state=0)
per_class.fit(X, y, X_target=Y, y_target=y)

# %%
# Which rows arrive at their class?
# ---------------------------------
# Three measures on new rows: the share of mapped rows whose nearest target row is of their
# class; the squared energy distance to new rows of the class, mean of the classes (0 on
# average for an exact map); and the cycle-consistency error
# :math:`E|T^{-1}(T(x)) - x|^2` over the variance. The class of a row is predicted from
# its features, or given as `sample_label`.

nearest = KNeighborsClassifier(1).fit(Y, y)
maps = {
    "one map for all": (one_map, {}),
    "per class, predicted": (per_class, {}),
    "per class, given": (per_class, {"sample_label": y_test}),
}
mapped, rows = {}, {}
for name, (transport, label) in maps.items():
    Z = mapped[name] = transport.transform(X_test, **label)
    back = transport.inverse_transform(Z, **label)
    rows[name] = {
        "own class": (nearest.predict(Z) == y_test).mean(),
        "energy distance": np.mean(
            [energy_distance(Z[y_test == k], Y_test[y_test == k]) for k in range(3)]
        ),
        "cycle error": np.square(back - X_test).sum(axis=1).mean()
        / X_test.var(0).sum(),
    }
print(pd.DataFrame(rows).T.round(4))

# %%
# Where the classes go
# --------------------
# The source rows are pale, the mapped rows strong, and the target rows grey.

COLOURS, MARKERS = ("#0072B2", "#D55E00", "#009E73"), ("o", "^", "s")
figure, axes = plt.subplots(
    1, 2, figsize=(8.4, 4.4), sharex=True, sharey=True, layout="constrained"
)
for ax, name in zip(axes, ("one map for all", "per class, given"), strict=True):
    ax.scatter(*Y_test.T, s=8, color="#CCCCCC", linewidths=0, label="target")
    for k in range(3):
        some = np.flatnonzero(y_test == k)[:250]
        style = {"color": COLOURS[k], "marker": MARKERS[k], "s": 8, "linewidths": 0}
        ax.scatter(*X_test[some].T, alpha=0.3, **style)
        ax.scatter(*mapped[name][some].T, label=f"class {k}, mapped", **style)
        for i in some[:30]:
            arrow = {"arrowstyle": "->", "color": COLOURS[k], "lw": 0.5, "alpha": 0.7}
            ax.annotate("", mapped[name][i], X_test[i], arrowprops=arrow)
    ax.set(title=name, aspect="equal", xlabel="feature 0")
axes[0].set_ylabel("feature 1")
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(
    handles, labels, loc="outside lower center", ncols=4, frameon=False, markerscale=2
)
plt.show()
