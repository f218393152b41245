"""
Moving the colours of a photograph
==================================

The pixels of a photograph are rows of three features. The optimal transport map between
the pixels of two photographs gives each the palette of the other, changing every colour
as little as that allows; one fit gives both directions. The whole palette is asked for:
where the other photograph has two kinds of colour and this one has one sky, the sky is
divided between them.
"""

# %%
# Two photographs
# ---------------
# Set ``SK_NCF_QUICK=1`` for a short and inaccurate run, and ``--save PATH`` to write
# the picture instead of showing it. POT (``pip install pot``) is optional.

import argparse
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_images

try:
    import ot
    import ot.da
except ImportError:
    ot = None

from sk_ncf import NCFTransport
from sk_ncf._flow.gaussian_map import gaussian_map
from sk_ncf._flow.moments import weighted_moments
from sk_ncf.objectives import energy_distance

parser = argparse.ArgumentParser()
parser.add_argument("--save", help="write the picture here")
options = parser.parse_args()
quick = os.environ.get("SK_NCF_QUICK") == "1"

china, flower = (image / 255 for image in load_sample_images().images)


def split_pixels(image, rng):
    """Pixels to fit on, and two lots of held-out ones."""
    pixels = rng.permutation(image.reshape(-1, 3))
    n, m = (2000, 1000) if quick else (20_000, 4000)
    return np.split(pixels[: n + 2 * m], [n, n + m])


rng = np.random.default_rng(0)
china_fit, china_test, china_again = split_pixels(china, rng)
flower_fit, flower_test, flower_again = split_pixels(flower, rng)

# %%
# The linear map
# --------------
# To compare with: the optimal map between the Gaussians of the same means and
# covariances, in closed form.

mean_x, cov_x = weighted_moments(china_fit, np.ones(len(china_fit)))
mean_y, cov_y = weighted_moments(flower_fit, np.ones(len(flower_fit)))
A = gaussian_map(cov_x, cov_y)


def linear(pixels):
    """The linear map, china to flower."""
    return mean_y + (pixels - mean_x) @ A


def linear_inverse(pixels):
    """Its inverse, flower to china."""
    return mean_x + (pixels - mean_y) @ np.linalg.inv(A)


# %%
# The map of NCFTransport
# -----------------------
# There are gaps between the colours of a photograph, and pixels that a smooth map leaves
# in them have colours that the other photograph lacks. A discrete potential maps around
# the gaps: it averages over nearby pixels of the other photograph.

transport = NCFTransport(potential="discrete", random_state=0)
transport.fit(china_fit, X_target=flower_fit)

# %%
# The plan of POT
# ---------------
# The exact plan between fewer pixels, which its square allows for; every other pixel
# goes the way of the nearest of these.

plan = None
if ot is not None:
    some = 200 if quick else 4000
    plan = ot.da.EMDTransport(max_iter=10_000_000).fit(
        Xs=china_fit[:some], Xt=flower_fit[:some]
    )

# %%
# How close are the palettes?
# ---------------------------
# Held-out pixels of one photograph are mapped and compared to held-out pixels of the
# other: by 100 times the squared energy distance; by the intersection of the two colour
# histograms (8 x 8 x 8 bins; 1 is best); and by the earth mover's distance between
# these, in bins. Two lots of pixels of the same photograph do not agree perfectly
# either; that is the floor.


def histogram(pixels):
    """Shares of the pixels in 8 x 8 x 8 bins of colour, shape (512,)."""
    counts = np.histogramdd(pixels, bins=8, range=[(0, 1)] * 3)[0]
    return counts.ravel() / len(pixels)


BINS = np.stack(np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij"), -1).reshape(-1, 3)


def earth_mover(p, q):
    """Mean way, in bins, from one histogram to the other; nan without POT."""
    return np.nan if ot is None else ot.emd2(p, q, ot.dist(BINS, metric="euclidean"))


def closeness(mapped, wanted):
    """Energy distance, histogram intersection and earth mover's distance."""
    mapped = np.clip(mapped, 0, 1)  # what a screen can show
    rows = (torch.from_numpy(pixels)[None] for pixels in (mapped, wanted))
    p, q = histogram(mapped), histogram(wanted)
    return (
        100 * energy_distance(*rows).item(),
        np.minimum(p, q).sum(),
        earth_mover(p, q),
    )


def compare(name, to_flower, to_china):
    """One row of the table."""
    pairs = (to_flower, flower_again), (to_china, china_again)
    values = [value for pair in pairs for value in closeness(*pair)]
    print(f"{name:<13}" + "".join(f"{value:>11.3f}" for value in values))


print(f"{'':<13}{'china -> flower':>33}{'flower -> china':>33}")
print(f"{'':<13}" + f"{'energy':>11}{'intersect.':>11}{'emd, bins':>11}" * 2)
compare("no map", china_test, flower_test)
compare("linear map", linear(china_test), linear_inverse(flower_test))
if plan is not None:
    to_flower = plan.transform(Xs=china_test)
    compare("POT, plan", to_flower, plan.inverse_transform(Xt=flower_test))
to_flower = transport.transform(china_test)
compare("NCFTransport", to_flower, transport.inverse_transform(flower_test))
compare("floor", flower_test, china_test)

# %%
# The photographs
# ---------------


def recoloured(image, pixel_map):
    """The image with every pixel mapped, each colour once."""
    colours, index = np.unique(image.reshape(-1, 3), axis=0, return_inverse=True)
    mapped = pixel_map(colours.astype(np.float32))
    return np.clip(mapped[index].reshape(image.shape), 0, 1)


every = 8 if quick else 1
china, flower = china[::every, ::every], flower[::every, ::every]
panels = {
    "china": china,
    "linear map to flower": recoloured(china, linear),
    "transform to flower": recoloured(china, transport.transform),
    "flower": flower,
    "linear map to china": recoloured(flower, linear_inverse),
    "inverse_transform to china": recoloured(flower, transport.inverse_transform),
}
figure, axes = plt.subplots(2, 3, figsize=(8, 4), layout="constrained")
for ax, (title, image) in zip(axes.flat, panels.items(), strict=True):
    ax.imshow(image)
    ax.set_title(title, fontsize=10)
    ax.axis("off")
if options.save:
    figure.savefig(options.save, dpi=120, pil_kwargs={"optimize": True, "quality": 90})
else:
    plt.show()
