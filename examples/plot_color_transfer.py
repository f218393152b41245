"""
Color transfer: the palette of one photograph for another
=========================================================

The pixels of a photograph are rows of three features. The optimal transport map between
the pixels of two photographs gives each one the colours of the other, and changes every
colour as little as that allows. One fit gives both directions.
"""

# %%
# Two photographs
# ---------------
# Most pixels are left out of the fit and measure how good the map is.

import matplotlib.pyplot as plt
import numpy as np
import ot
import pandas as pd
from ot.da import EMDTransport
from scipy.linalg import sqrtm
from sklearn.datasets import load_sample_images

from sk_ncf import NCFTransport
from sk_ncf.metrics import energy_distance

n, n_test, n_plan = 20_000, 4000, 4000
# sphinx_gallery_start_ignore
import argparse
import os
import sys

if os.environ.get("SK_NCF_QUICK"):  # the tests look at the code, not at the map
    n, n_test, n_plan = 2000, 1000, 200
# sphinx_gallery_end_ignore
china, flower = (image / 255 for image in load_sample_images().images)
rng = np.random.default_rng(0)


def split_pixels(image):
    """Pixels for the fit, and two test samples."""
    pixels = rng.permutation(image.reshape(-1, 3))
    return np.split(pixels[: n + 2 * n_test], [n, n + n_test])


china_fit, china_test, china_other = split_pixels(china)
flower_fit, flower_test, flower_other = split_pixels(flower)

# %%
# The transport map
# -----------------
# There are gaps between the colours of a photograph. A smooth map leaves some pixels in
# them, with colours that the other photograph lacks. A discrete potential maps around the
# gaps: it averages over nearby pixels of the other photograph.

transport = NCFTransport(potential="discrete", random_state=0)
transport.fit(china_fit, X_target=flower_fit)

# %%
# Two methods to compare with
# ---------------------------
# The linear map is the optimal map between Gaussians with the means and covariances of the
# pixels. The exact plan of POT needs memory for all pairs of pixels, so it is fitted to
# fewer of them; any other pixel moves as the nearest of these does.

mean_x, mean_y = china_fit.mean(axis=0), flower_fit.mean(axis=0)
root = sqrtm(np.cov(china_fit.T))
inverse_root = np.linalg.inv(root)
A = inverse_root @ sqrtm(root @ np.cov(flower_fit.T) @ root) @ inverse_root


def linear_map(pixels):
    return mean_y + (pixels - mean_x) @ A


def linear_map_back(pixels):
    return mean_x + (pixels - mean_y) @ np.linalg.inv(A)


plan = EMDTransport(max_iter=10_000_000)
plan.fit(Xs=china_fit[:n_plan], Xt=flower_fit[:n_plan])

# %%
# How close are the palettes?
# ---------------------------
# Three measures between mapped pixels of one photograph and pixels of the other: 100 times
# the squared energy distance (0 on average for two samples of the same distribution, so it
# can be slightly negative); the intersection of the colour histograms (8 x 8 x 8 bins, 1
# is best); and the earth mover's distance between these histograms, in bins. The last
# line compares two samples of the same photograph: no map can be expected to be closer.

bins = np.stack(np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
distances = ot.dist(bins, metric="euclidean")


def histogram(pixels):
    """Shares of the pixels in 8 x 8 x 8 bins of colour."""
    counts = np.histogramdd(pixels, bins=8, range=[(0, 1)] * 3)[0]
    return counts.ravel() / len(pixels)


def closeness(mapped, wanted):
    mapped = np.clip(mapped, 0, 1)  # what a screen can show
    p, q = histogram(mapped), histogram(wanted)
    energy = 100 * energy_distance(mapped, wanted)
    return energy, np.minimum(p, q).sum(), ot.emd2(p, q, distances)


maps = {
    "no map": (lambda pixels: pixels, lambda pixels: pixels),
    "linear map": (linear_map, linear_map_back),
    "POT, exact plan": (
        lambda pixels: plan.transform(Xs=pixels),
        lambda pixels: plan.inverse_transform(Xt=pixels),
    ),
    "NCFTransport": (transport.transform, transport.inverse_transform),
}
rows = {
    name: (
        *closeness(to_flower(china_test), flower_other),
        *closeness(to_china(flower_test), china_other),
    )
    for name, (to_flower, to_china) in maps.items()
}
rows["noise floor"] = (
    *closeness(flower_test, flower_other),
    *closeness(china_test, china_other),
)
measures = ["energy", "intersection", "emd, bins"]
columns = pd.MultiIndex.from_product([["china to flower", "flower to china"], measures])
table = pd.DataFrame(rows, index=columns).T
print(table.round(3).to_string())

# %%
# The photographs
# ---------------


def recoloured(image, pixel_map):
    """The image with every pixel mapped, each colour once."""
    colours, index = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    mapped = pixel_map(colours.astype(np.float32))
    return np.clip(mapped[index].reshape(image.shape), 0, 1)


# sphinx_gallery_start_ignore
if os.environ.get("SK_NCF_QUICK"):
    china, flower = china[::8, ::8], flower[::8, ::8]
# sphinx_gallery_end_ignore
panels = {
    "china": china,
    "linear map to flower": recoloured(china, linear_map),
    "transform to flower": recoloured(china, transport.transform),
    "flower": flower,
    "linear map to china": recoloured(flower, linear_map_back),
    "inverse_transform to china": recoloured(flower, transport.inverse_transform),
}
figure, axes = plt.subplots(2, 3, figsize=(8, 4), layout="constrained")
for ax, (title, image) in zip(axes.flat, panels.items(), strict=True):
    ax.imshow(image)
    ax.set_title(title, fontsize=10)
    ax.axis("off")
# sphinx_gallery_start_ignore
parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here, and show nothing")
save = parser.parse_known_args()[0].save
if save:
    figure.savefig(save, dpi=120, pil_kwargs={"optimize": True, "quality": 90})
    sys.exit()
# sphinx_gallery_end_ignore
plt.show()
