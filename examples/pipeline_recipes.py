"""
Recipes: scikit-learn pipelines with a transport map in them
============================================================

The data are penguins, four measurements each. The two domains are the sexes: a
classifier of species that knows males has to do for females.
"""

# %%
# Data
# ----
# Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and ``--save PATH`` to write
# the picture at the end.

import argparse
import contextlib
import os

import matplotlib.pyplot as plt
import numpy as np
import sklearn
from palmerpenguins import load_penguins
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sk_ncf import AdaptedClassifier, Lp, NCFTransport
from sk_ncf.plotting import TransportDisplay

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
max_iter = 20 if os.environ.get("SK_NCF_QUICK") == "1" else 600

penguins = load_penguins().dropna()
names = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
male = (penguins["sex"] == "male").to_numpy()
measured = penguins[names].to_numpy(float)
species = penguins["species"].to_numpy()
X, y = measured[male], species[male]
X_new, y_new = measured[~male], species[~male]

in_use = make_pipeline(StandardScaler(), SVC()).fit(X, y)
print(f"no map:                              {in_use.score(X_new, y_new):.3f}")

# %%
# 1. From one sample to another
# -----------------------------
# Target rows are keyword-only, because the second argument of every ``fit`` is ``y``.
# The squared Euclidean cost depends on the units of the features; where these differ as
# much as grams and millimetres do, scale both samples alike first.

scaler = StandardScaler().fit(X)
source, target = scaler.transform(X), scaler.transform(X_new)
transport = NCFTransport(max_iter=max_iter, random_state=0)
mapped = transport.fit(source, X_target=target).transform(source)
back = transport.inverse_transform(mapped)
error = np.sqrt(np.square(back - source).mean())
print(f"1. there and back again, rms error:  {error:.3f}")

# %%
# 2. New data for a model that must not change
# --------------------------------------------
# Females are carried to the males, and the classifier in use sees nothing unusual. No
# label of a female is needed.

frozen = make_pipeline(
    NCFTransport(max_iter=max_iter, random_state=0), FrozenEstimator(in_use)
)
frozen.fit(X_new, ncftransport__X_target=X)
print(f"2. map, then the frozen classifier:  {frozen.score(X_new, y_new):.3f}")

# %%
# 3. Domain adaptation: train on mapped rows, predict on the target
# -----------------------------------------------------------------
# With ``default_domain="target"`` the rows of ``fit`` are source rows and are mapped;
# rows met later are target rows and pass through. ``transform_input`` takes `X_target`
# through the steps in front of the map.

with sklearn.config_context(enable_metadata_routing=True):
    transport = NCFTransport(default_domain="target", max_iter=max_iter, random_state=0)
    steps = [("scale", StandardScaler()), ("map", transport), ("classify", SVC())]
    adapted = Pipeline(steps, transform_input=["X_target"])
    adapted.fit(X, y, X_target=X_new)
    print(f"3. trained on mapped rows:           {adapted.score(X_new, y_new):.3f}")

    # Tune it. sample_domain=1 says that the rows of a validation fold are source rows:
    # they are mapped too, and their known labels judge the parameters.
    grid = {"classify__C": [0.1, 1.0]}
    search = GridSearchCV(adapted, grid, cv=2)
    search.fit(X, y, X_target=X_new, sample_domain=1)
    print(f"   tuned:                            {search.score(X_new, y_new):.3f}")
    print("  ", search.best_params_)

# %%
# The same class by class, without arrays put together by hand: the species of the
# females are predicted in rounds, and a guard compares with no map.

by_class = AdaptedClassifier(make_pipeline(StandardScaler(), SVC()), random_state=0)
by_class.fit(X, y, X_target=X_new)
print(f"   class by class:                   {by_class.score(X_new, y_new):.3f}")

# %%
# 4. The same with skada, where it is installed
# ---------------------------------------------

with contextlib.suppress(ImportError):
    from skada import make_da_pipeline

    transport = NCFTransport(default_domain="target", max_iter=max_iter, random_state=0)
    pipeline = make_da_pipeline(StandardScaler(), transport, SVC())
    labels, known = np.unique(species, return_inverse=True)
    domain = np.where(male, 1, -2)
    pipeline.fit(measured, np.where(male, known, -1), sample_domain=domain)
    predicted = labels[pipeline.predict(X_new)]
    print(f"4. skada:                            {np.mean(predicted == y_new):.3f}")

# %%
# 5. Choosing the map itself
# --------------------------
# The score of a map is minus its held-out semi-dual risk: greater is better, and only
# fits with the same cost can be compared by it. A cost given as an object has its
# parameters in the grid, too; choose among costs by what the map is for.

grid = {"learning_rate_init": [1e-4, 6e-3]}
folds = KFold(2, shuffle=True, random_state=0)
search = GridSearchCV(
    NCFTransport(max_iter=max_iter, random_state=0), grid, cv=folds, n_jobs=2
)
search.fit(source, X_target=target)
print("5. scores", search.cv_results_["mean_test_score"].round(3), search.best_params_)

with sklearn.config_context(enable_metadata_routing=True):
    transport = NCFTransport(
        cost=Lp(), default_domain="target", max_iter=max_iter, random_state=0
    )
    adapted = Pipeline([("map", transport), ("classify", SVC())])
    search = GridSearchCV(adapted, {"map__cost__p": [1.5, 2.0]}, cv=2)
    search.fit(source, y, X_target=target, sample_domain=1)
    accuracies = search.cv_results_["mean_test_score"].round(3)
    print("   accuracies on mapped males by cost", accuracies, search.best_params_)

# %%
# Looking at a map
# ----------------

transport = NCFTransport(max_iter=max_iter, random_state=0)
transport.fit(source, X_target=target)
figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
TransportDisplay.from_estimator(transport, source, X_target=target, ax=axes[0], s=14)
TransportDisplay.from_estimator(
    transport, source, X_target=target, kind="inverse", ax=axes[1], s=14
)
if options.save:
    figure.savefig(options.save, dpi=120)
else:
    plt.show()
