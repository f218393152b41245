"""
Domain adaptation by one map of all rows: male to female penguins
=================================================================

Male penguins are larger than female ones of their species, so a classifier of species
that was trained on males makes mistakes on females. The males are mapped to the females,
without looking at any species, and a classifier is trained on the mapped rows. (Compare
with :class:`~sk_ncf.AdaptedClassifier`, which maps class by class.)
"""

# %%
# Penguins
# --------
# A transport cost adds up the features, so they get one scale.

import matplotlib.pyplot as plt
import pandas as pd
from ot.da import EMDTransport, LinearTransport
from palmerpenguins import load_penguins
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sk_ncf import AdaptedClassifier, NCFTransport

penguins = load_penguins().dropna()
names = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
rows, species = penguins[names].to_numpy(float), penguins["species"].to_numpy()
male = (penguins["sex"] == "male").to_numpy()
rows = StandardScaler().fit(rows[male]).transform(rows)
X_male, y_male = rows[male], species[male]
X_female, y_female = rows[~male], species[~male]

# %%
# Four training sets
# ------------------
# No method sees the species of a female.

transport = NCFTransport(random_state=0).fit(X_male, X_target=X_female)
linear = LinearTransport().fit(Xs=X_male, Xt=X_female)
plan = EMDTransport().fit(Xs=X_male, Xt=X_female)
training_sets = {
    "males as they are": X_male,
    "linear map (POT)": linear.transform(Xs=X_male),
    "exact plan (POT)": plan.transform(Xs=X_male),
    "NCFTransport": transport.transform(X_male),
}
print("map_kind_:", transport.map_kind_, " best_iter_:", transport.best_iter_)

# %%
# Accuracy on the females
# -----------------------
# There are 165 females, so one bird is 0.006. On so few rows the fit may find nothing
# better than its initialization, the Gaussian map; ``map_kind_`` tells. The last line is
# trained on females, by cross-validation.

classifiers = {
    "logistic": LogisticRegression(max_iter=1000),
    "SVC": SVC(),
    "neighbours": KNeighborsClassifier(),
}
folds = StratifiedKFold(10, shuffle=True, random_state=0)
accuracies = {}
for name, classifier in classifiers.items():
    accuracies[name] = {
        training_set: classifier.fit(Z, y_male).score(X_female, y_female)
        for training_set, Z in training_sets.items()
    }
    adapted = AdaptedClassifier(classifier, random_state=0)
    adapted.fit(X_male, y_male, X_target=X_female)
    accuracies[name]["AdaptedClassifier"] = adapted.score(X_female, y_female)
    best = cross_val_score(classifier, X_female, y_female, cv=folds).mean()
    accuracies[name]["trained on females"] = best
print(pd.DataFrame(accuracies).round(3))

# %%
# Males before and after the map
# ------------------------------
# Over the females in grey, in the plane of their first two principal components.

plane = PCA(2).fit(X_female)
figure, axes = plt.subplots(
    1, 2, figsize=(8, 5), sharex=True, sharey=True, layout="constrained"
)
sets = {"males as they are": X_male, "males, mapped": training_sets["NCFTransport"]}
styles = {"Adelie": ("#0072B2", "o"), "Chinstrap": ("#D55E00", "s")}
styles |= {"Gentoo": ("#009E73", "^")}
for ax, (title, Z) in zip(axes, sets.items(), strict=True):
    for kind, (colour, marker) in styles.items():
        style = {"marker": marker, "linewidths": 0}
        females = plane.transform(X_female[y_female == kind])
        males = plane.transform(Z[y_male == kind])
        label = f"{kind}, females"
        ax.scatter(*females.T, s=40, color="#BBBBBB", label=label, **style)
        ax.scatter(*males.T, s=18, color=colour, label=f"{kind}, males", **style)
    ax.set(title=title, xlabel="component 1", aspect="equal")
axes[0].set_ylabel("component 2")
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
plt.show()
