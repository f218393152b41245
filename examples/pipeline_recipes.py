"""
Five pipelines: frozen model, domain adaptation, grid search, skada
===================================================================

How a transport map is used with scikit-learn's pipelines and searches. The data are
penguins with four measurements each. The two domains are the sexes: a classifier of
species that was trained on males has to predict the species of females.
"""

# %%
# Data
# ----

import contextlib

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

penguins = load_penguins().dropna()
names = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
male = (penguins["sex"] == "male").to_numpy()
measured = penguins[names].to_numpy(float)
species = penguins["species"].to_numpy()
X, y = measured[male], species[male]
X_new, y_new = measured[~male], species[~male]

in_use = make_pipeline(StandardScaler(), SVC()).fit(X, y)
print(f"accuracy on females without a map: {in_use.score(X_new, y_new):.3f}")

# %%
# 1. From one sample to another
# -----------------------------
# Target rows are keyword-only, because the second argument of every ``fit`` is ``y``.
# The squared Euclidean cost depends on the units of the features. If these differ as much
# as grams and millimetres do, scale both samples alike first.

scaler = StandardScaler().fit(X)
source, target = scaler.transform(X), scaler.transform(X_new)
transport = NCFTransport(random_state=0)
mapped = transport.fit(source, X_target=target).transform(source)
back = transport.inverse_transform(mapped)
print(
    f"root mean square of T^-1(T(x)) - x: {np.sqrt(np.square(back - source).mean()):.3f}"
)

# %%
# 2. New data for a model that must not change
# --------------------------------------------
# Females are mapped to the males that the classifier was trained on. No label of a female
# is needed.

frozen = make_pipeline(NCFTransport(random_state=0), FrozenEstimator(in_use))
frozen.fit(X_new, ncftransport__X_target=X)
print(f"accuracy of the frozen classifier: {frozen.score(X_new, y_new):.3f}")

# %%
# 3. Domain adaptation: train on mapped rows, predict on the target
# -----------------------------------------------------------------
# With ``default_domain="target"`` the rows of ``fit`` are source rows and are mapped;
# rows that come later are target rows and pass through. ``transform_input`` takes
# `X_target` through the steps in front of the map.

with sklearn.config_context(enable_metadata_routing=True):
    transport = NCFTransport(default_domain="target", random_state=0)
    steps = [("scale", StandardScaler()), ("map", transport), ("classify", SVC())]
    adapted = Pipeline(steps, transform_input=["X_target"])
    adapted.fit(X, y, X_target=X_new)
    print(f"accuracy, trained on mapped rows: {adapted.score(X_new, y_new):.3f}")

    # sample_domain=1: the rows of a validation fold are source rows. They are mapped
    # too, and their labels score the parameters.
    search = GridSearchCV(adapted, {"classify__C": [0.1, 1.0]}, cv=2)
    search.fit(X, y, X_target=X_new, sample_domain=1)
    print(f"after a search over C: {search.score(X_new, y_new):.3f}")
    print(search.best_params_)

# %%
# The same class by class: :class:`~sk_ncf.AdaptedClassifier` predicts the species of the
# females in rounds, and compares with a classifier without a map.

by_class = AdaptedClassifier(make_pipeline(StandardScaler(), SVC()), random_state=0)
by_class.fit(X, y, X_target=X_new)
print(f"accuracy of AdaptedClassifier: {by_class.score(X_new, y_new):.3f}")

# %%
# 4. The same with skada, if it is installed
# ------------------------------------------
# (Not installed where this page was recorded.)

with contextlib.suppress(ImportError):
    from skada import make_da_pipeline

    transport = NCFTransport(default_domain="target", random_state=0)
    pipeline = make_da_pipeline(StandardScaler(), transport, SVC())
    labels, known = np.unique(species, return_inverse=True)
    domain = np.where(male, 1, -2)
    pipeline.fit(measured, np.where(male, known, -1), sample_domain=domain)
    predicted = labels[pipeline.predict(X_new)]
    print(f"accuracy with skada: {np.mean(predicted == y_new):.3f}")

# %%
# 5. A search over the parameters of the map
# ------------------------------------------
# The score of a map is minus its held-out semi-dual risk: greater is better. It compares
# fits with the same cost.

grid = {"potential": ["network", "discrete"]}
folds = KFold(2, shuffle=True, random_state=0)
search = GridSearchCV(NCFTransport(random_state=0), grid, cv=folds, n_jobs=2)
search.fit(source, X_target=target)
print("scores", search.cv_results_["mean_test_score"].round(3), search.best_params_)

# %%
# Costs are compared by what the map is for, here the accuracy on mapped rows. The
# parameters of a cost that is given as an object are in the grid, too. Both costs are
# equally good here; the search then takes the first.

with sklearn.config_context(enable_metadata_routing=True):
    transport = NCFTransport(cost=Lp(), default_domain="target", random_state=0)
    adapted = Pipeline([("map", transport), ("classify", SVC())])
    search = GridSearchCV(adapted, {"map__cost__p": [1.5, 2.0]}, cv=2)
    search.fit(source, y, X_target=target, sample_domain=1)
print("accuracies", search.cv_results_["mean_test_score"].round(3), search.best_params_)

# %%
# The map, in the plane of two principal components
# -------------------------------------------------

transport = NCFTransport(random_state=0).fit(source, X_target=target)
figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
for ax, kind in zip(axes, ("forward", "inverse"), strict=True):
    TransportDisplay.from_estimator(
        transport, source, X_target=target, kind=kind, ax=ax, s=14, random_state=0
    )
plt.show()
