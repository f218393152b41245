"""
Figure 1 of the paper: a Swiss roll to two moons, and back
==========================================================

A pair of shapes whose optimal map is discontinuous: it cuts the spiral open and folds it
into two arcs. One fit gives both directions.
"""

# %%
# Two samples
# -----------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_moons_2d, make_swiss_roll_2d
from sk_ncf.metrics import energy_distance
from sk_ncf.plotting import InterpolationDisplay

n, n_new = 8192, 4096
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, n_new = 300, 300
# sphinx_gallery_end_ignore
rng = np.random.default_rng(0)
X, X_new, X_other = (
    make_swiss_roll_2d(size, random_state=rng) for size in (n, n_new, n_new)
)
Y, Y_new, Y_other = (
    make_moons_2d(size, random_state=rng) for size in (n, n_new, n_new)
)

# %%
# Fit
# ---

transport = NCFTransport(random_state=0).fit(X, X_target=Y)

# %%
# Do mapped rows look like new ones?
# ----------------------------------
# 100 times the squared energy distance between mapped rows and new rows of the other
# sample. The last column compares two new samples of the same distribution: what remains
# for an exact map is of that size, and of either sign. The cycle-consistency error is the
# median distance between a row and :math:`T^{-1}(T(x))`.

mapped, mapped_back = transport.transform(X_new), transport.inverse_transform(Y_new)
cycles = (
    transport.inverse_transform(mapped) - X_new,
    transport.transform(mapped_back) - Y_new,
)
table = pd.DataFrame(
    {
        "before": [energy_distance(X_new, Y_new)] * 2,
        "mapped": [energy_distance(mapped, Y_new), energy_distance(mapped_back, X_new)],
        "two new samples": [
            energy_distance(Y_new, Y_other),
            energy_distance(X_new, X_other),
        ],
    },
    index=["roll to moons", "moons to roll"],
)
table *= 100
table["cycle error"] = [np.median(np.linalg.norm(c, axis=1)) for c in cycles]
print(table.round(3))

# %%
# The paths of the rows
# ---------------------
# Rows keep the colour of the place that they start from; the rows to be matched are grey.
# The fit has chosen a discrete potential, so that hardly any rows are
# left between the arcs.

shown = {"X": X_new[:1500], "X_target": Y_new[:1500], "times": (0, 1 / 3, 2 / 3, 1)}
figures = [
    InterpolationDisplay.from_estimator(transport, kind=kind, **shown).figure_
    for kind in ("forward", "inverse")
]
figures[0].suptitle("Swiss roll to moons: transform")
figures[1].suptitle("moons to Swiss roll: inverse_transform")
plt.show()
