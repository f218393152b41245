"""What is compared: how each method moves rows, and the rows its classifier learns.

A method is a function of a split and a classifier that returns one :class:`Adapted` for
each of its rows of the table. Peers get the settings named here, for all tasks alike:
Sinkhorn's regularisation is a share of the median cost, as the default of 1 shrinks
everything to a point, and subspaces keep half of the dimensions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC
from sklearn.utils.validation import has_fit_parameter

from adaptation.tasks import MISSING, fewer
from sk_ncf import AdaptedClassifier, NCFTransport

MOST_ROWS = 2000  # of a sample, for methods that solve for a plan
HEAVIEST = 10  # weight of a labelled target row, where those are few
# No name is a part of another, so that --methods can ask for each alone.
GUARDED = "AdaptedClassifier, no labels"
UNGUARDED = "AdaptedClassifier, no guard, no labels"
NETWORKS = "AdaptedClassifier, networks, no labels"
SOURCE, TARGET = 1, -2  # skada's convention


class MarginSVC(SVC):
    """SVC whose probabilities are a softmax of its margins, for self-training.

    Platt's need several rows of each class, and cross-validation.
    """

    def predict_proba(self, X):
        margins = 3 * self.decision_function(X)
        if margins.ndim == 1:
            return expit(np.stack([-margins, margins], axis=1))
        return softmax(margins, axis=1)


CLASSIFIERS = {
    "logistic": LogisticRegression(max_iter=1000),
    "SVC": MarginSVC(),
    "boosting": HistGradientBoostingClassifier(
        max_iter=50, learning_rate=0.2, min_samples_leaf=5, random_state=0
    ),
    "neighbours": KNeighborsClassifier(),
}


@dataclass
class Adapted:
    """Rows to learn from, their classes and weights, and what is done to new rows.

    `comparable` tells whether distances in the target's space are still meant. `fitted`
    is the classifier itself, of methods that train it.
    """

    X: np.ndarray
    y: np.ndarray | None
    move: Callable = lambda X: X
    weight: np.ndarray | None = None
    self_training: bool = False
    comparable: bool = True
    fitted: object = None


@dataclass(frozen=True)
class Method:
    """The function, the names of its rows, and what it needs.

    Where `asks_classifier` is false, one call serves all classifiers.
    """

    rows: tuple[str, ...]
    adapt: Callable  # (split, classifier) -> tuple of Adapted
    labels: bool = False
    asks_classifier: bool = False
    packages: tuple[str, ...] = ()
    classes: bool = False  # of the source: no rows of unlabelled pairs
    option: str | None = None  # of NCFTransport

    def missing(self):
        """Packages, or the option of NCFTransport, that are not there."""
        missing = [name for name in self.packages if find_spec(name) is None]
        known = NCFTransport().get_params()
        return missing + [o for o in (self.option,) if o and o not in known]


def model(adapted, classifier):
    """The classifier, fitted to the rows; weights where it takes them."""
    if adapted.fitted is not None:
        return adapted.fitted
    X, y, weight = adapted.X, adapted.y, adapted.weight
    classifier = clone(classifier)
    if hasattr(classifier, "n_neighbors"):
        classifier.n_neighbors = min(classifier.n_neighbors, int((y != MISSING).sum()))
    if adapted.self_training:
        if weight is not None:  # by repetition: the fit takes no weights
            X, y = (np.repeat(a, weight.astype(int), axis=0) for a in (X, y))
        return SelfTrainingClassifier(classifier).fit(X, y)
    if weight is not None and has_fit_parameter(classifier, "sample_weight"):
        return classifier.fit(X, y, sample_weight=weight)
    return classifier.fit(X, y)


def source_only(split, classifier):
    return (Adapted(split.Xs, split.ys),)


def standardised(split, classifier):
    """Each domain by its own means and deviations."""
    source, target = (StandardScaler().fit(X) for X in (split.Xs, split.Xt))
    rows = source.transform(split.Xs)
    return (Adapted(rows, split.ys, target.transform, comparable=False),)


def skada_adapter(name, split, classifier, comparable=True, **options):
    """An adapter of skada between source and target rows."""
    import skada

    Xs, ys, Xt, _, options = few_rows(split, split.yt, **options)
    if name.startswith("Subspace"):
        options["n_components"] = max(1, Xs.shape[1] // 2)
    domain = np.repeat([SOURCE, TARGET], [len(Xs), len(Xt)])
    y = None if ys is None else np.r_[ys, np.full(len(Xt), MISSING)]
    adapter = getattr(skada, name)(**options)
    moved = adapter.fit_transform(np.r_[Xs, Xt], y, sample_domain=domain)
    move = lambda X: adapter.transform(X, sample_domain=np.full(len(X), TARGET))
    return (Adapted(moved[domain == SOURCE], ys, move, comparable=comparable),)


def pot(name, split, classifier, labels=False, **options):
    """A transport of POT; with labels, rows of other classes are out of reach."""
    import ot

    Xs, ys, Xt, yt, options = few_rows(split, split.yt if labels else None, **options)
    transport = getattr(ot.da, name)(**options).fit(Xs=Xs, ys=ys, Xt=Xt, yt=yt)
    moved = transport.transform(Xs=Xs)
    return (with_labels(split, moved, ys) if labels else Adapted(moved, ys),)


def few_rows(split, yt, most=None, share=None, **options):
    """Rows of both samples, at most so many, and the settings that depend on them."""
    most, seed = most or 10**9, split.seed
    Xs, ys = fewer(split.Xs, split.ys, most, seed)
    Xt, yt = fewer(split.Xt, yt, most, seed, split.yt != MISSING)
    if share is not None:
        options["reg_e"] = share * np.median(cdist(Xs, Xt, "sqeuclidean"))
    return Xs, ys, Xt, yt, options


def with_labels(split, X, y):
    """Rows and classes, and the labelled target rows with a greater weight."""
    rows = split.Xt[split.labelled]
    weight = np.clip(len(X) // max(len(rows), 1), 1, HEAVIEST)
    return Adapted(
        np.concatenate([X, rows]),
        np.concatenate([y, split.yt[split.labelled]]),
        weight=np.repeat([1.0, float(weight)], [len(X), len(rows)]),
    )


def labels_alone(split, classifier):
    return (Adapted(split.Xt[split.labelled], split.yt[split.labelled]),)


def pooled(split, classifier):
    return (with_labels(split, split.Xs, split.ys),)


def self_training_target(split, classifier):
    return (Adapted(split.Xt, split.yt, self_training=True),)


def self_training_pooled(split, classifier):
    """Source, labelled rows with their weight, and target rows without class."""
    return (self_trained(split, with_labels(split, split.Xs, split.ys)),)


def self_trained(split, rows):
    """The same rows and, for self-training, the target rows without class."""
    nameless = ~split.labelled
    return Adapted(
        np.concatenate([rows.X, split.Xt[nameless]]),
        np.concatenate([rows.y, split.yt[nameless]]),
        weight=np.concatenate([rows.weight, np.ones(nameless.sum())]),
        self_training=True,
    )


def ncf(split, classifier, **options):
    """Source rows moved to the target; target rows moved to the source's own model."""
    transport = NCFTransport(random_state=split.seed, **options)
    transport.fit(split.Xs, X_target=split.Xt)
    back = transport.inverse_transform
    return (
        Adapted(transport.transform(split.Xs), split.ys),
        Adapted(split.Xs, split.ys, back, comparable=False),
    )


def ncf_per_class(split, classifier, **options):
    """The same class by class; the classifier names the target rows without class.

    Source rows may be learnt from twice, where they are and where they are moved.
    """
    transport = NCFTransport(
        classifier=clone(classifier), random_state=split.seed, **options
    )
    moved = transport.fit_transform(
        split.Xs, split.ys, X_target=split.Xt, y_target=split.yt
    )
    rows = with_labels(split, moved, split.ys)
    both = np.concatenate([split.Xs, moved]), np.concatenate([split.ys, split.ys])
    both = with_labels(split, *both)
    return (
        rows,
        both,
        self_trained(split, rows),
        self_trained(split, both),
        Adapted(split.Xs, split.ys, transport.inverse_transform, comparable=False),
    )


def adapted_classifier(split, classifier, guard=True, networks=None):
    """AdaptedClassifier with the Gaussian maps of the classes, its default.

    Or with networks: a dictionary of options of NCFTransport.
    """
    transport = None
    if networks is not None:
        transport = NCFTransport(random_state=split.seed, **networks)
    fitted = AdaptedClassifier(
        classifier, transport=transport, guard=guard, random_state=split.seed
    )
    fitted.fit(split.Xs, split.ys, X_target=split.Xt, y_target=split.yt)
    return (Adapted(split.Xs, split.ys, fitted=fitted),)


def methods(**options):
    """All methods; the options are those of NCFTransport."""
    labelled = partial(Method, labels=True)
    per_class = {"class_conditional": "per_class", **options}
    trained = partial(Method, adapt=adapted_classifier, asks_classifier=True)
    unguarded = partial(adapted_classifier, guard=False)
    networks = partial(
        adapted_classifier, networks={"class_conditional": True, **options}
    )
    return [
        Method(("source only",), source_only),
        Method(("standardised per domain",), standardised),
        *(_skada(*entry) for entry in SKADA),
        *(_pot(*entry) for entry in POT),
        Method(("sk_ncf", "sk_ncf, frozen model"), partial(ncf, **options)),
        trained((GUARDED,), classes=True),
        trained((UNGUARDED,), adapt=unguarded, classes=True),
        trained((NETWORKS,), adapt=networks, classes=True),
        labelled(("target labels alone",), labels_alone),
        labelled(("source and labels",), pooled),
        trained(("AdaptedClassifier",), labels=True),
        Method(("self-training, no labels",), self_training_pooled, classes=True),
        labelled(("self-training, target",), self_training_target),
        labelled(("self-training, pooled",), self_training_pooled),
        *(_pot(*entry, labels=True) for entry in POT if entry[0] in WITH_LABELS),
        labelled(
            (
                "sk_ncf per class",
                "sk_ncf per class, and source",
                "sk_ncf per class, self-training",
                "sk_ncf per class, and source, self-training",
                "sk_ncf per class, frozen model",
            ),
            partial(ncf_per_class, **per_class),
            asks_classifier=True,
            option="class_conditional",
        ),
    ]


FEW = {"most": MOST_ROWS}
ENTROPIC = {"share": 0.05, **FEW}
SKADA = [
    ("CORAL", "CORALAdapter", {}),
    ("subspace alignment", "SubspaceAlignmentAdapter", {"comparable": False}),
    ("linear OT", "LinearOTMappingAdapter", {}),
    ("exact OT", "OTMappingAdapter", {"max_iter": 1_000_000, **FEW}),
    ("Sinkhorn", "EntropicOTMappingAdapter", {"max_iter": 200, **ENTROPIC}),
    ("Sinkhorn, classes", "ClassRegularizerOTMappingAdapter", ENTROPIC),
]
POT = [
    ("linear", "LinearTransport", {}),
    ("exact plan", "EMDTransport", {"max_iter": 1_000_000, **FEW}),
    ("Sinkhorn", "SinkhornTransport", {"method": "sinkhorn", **ENTROPIC}),
    ("Sinkhorn, classes", "SinkhornLpl1Transport", ENTROPIC),
]

WITH_LABELS = ("exact plan", "Sinkhorn, classes")


def _skada(row, name, options):
    adapt = partial(skada_adapter, name, **options)
    return Method(
        (f"skada {row}",), adapt, packages=("skada",), classes="classes" in row
    )


def _pot(row, name, options, labels=False):
    return Method(
        (f"POT {row}" + ", labels" * labels,),
        partial(pot, name, labels=labels, **options),
        labels=labels,
        packages=("ot",),
        classes="classes" in row,
    )
