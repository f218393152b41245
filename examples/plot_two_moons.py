"""
A first map: a Gaussian sample to two moons, and back
=====================================================

One fit gives the optimal transport map between two samples and its inverse. Nothing pairs
the rows of one sample with those of the other.
"""

# %%
# Two samples
# -----------

import matplotlib.pyplot as plt
import numpy as np

from sk_ncf import NCFTransport
from sk_ncf.datasets import make_moons_2d
from sk_ncf.metrics import energy_distance
from sk_ncf.plotting import InterpolationDisplay

n = 8192
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n = 300
# sphinx_gallery_end_ignore
rng = np.random.default_rng(0)
X = rng.standard_normal((n, 2))
Y = make_moons_2d(n, random_state=rng)

# %%
# Fit
# ---
# Target rows are passed by keyword, because the second argument of every scikit-learn
# ``fit`` is ``y``.

transport = NCFTransport(random_state=0).fit(X, X_target=Y)
print("the map is read from:", transport.map_kind_)

# %%
# The gap between the moons makes the exact map discontinuous. The fit notices that on
# held-out rows and reads the map from a discrete potential instead of a network, so that
# hardly any rows end up between the moons.
#
# Is the map right?
# -----------------
# New rows are mapped and compared with new rows of the other sample by the squared energy
# distance. It is 0 on average for two samples of the same distribution.

X_new, Y_new = rng.standard_normal((4000, 2)), make_moons_2d(4000, random_state=rng)
mapped = transport.transform(X_new)
mapped_back = transport.inverse_transform(Y_new)
print(f"before the map:       {energy_distance(X_new, Y_new):.5f}")
print(f"transform:            {energy_distance(mapped, Y_new):.5f}")
print(f"inverse_transform:    {energy_distance(mapped_back, X_new):.5f}")

# %%
# There and back again, a row comes close to where it was:

error = np.linalg.norm(transport.inverse_transform(mapped) - X_new, axis=1)
print(f"median distance of T^-1(T(x)) to x: {np.median(error):.3f}")

# %%
# The paths of the rows
# ---------------------
# Rows move along straight lines, at constant speed. They keep the colour of the place
# that they start from; the target rows are grey.

shown = {"X": X_new[:1500], "X_target": Y_new[:1500], "times": (0, 1 / 2, 1)}
for kind in ("forward", "inverse"):
    display = InterpolationDisplay.from_estimator(transport, kind=kind, **shown)
    titles = {"forward": "transform", "inverse": "inverse_transform"}
    display.figure_.suptitle(titles[kind])
plt.show()
