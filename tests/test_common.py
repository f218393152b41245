"""scikit-learn's own checks, over every option that changes what the estimator does."""

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_ncf import (
    MMD,
    AdaptedClassifier,
    Cost,
    NCFTransport,
    SemiDual,
    SquaredEuclidean,
)


class Quartic(Cost):
    """A user's own cost: only L, for rows of any number of features."""

    def lagrangian(self, v):
        return v.square().sum(-1) / 2 + v.pow(4).sum(-1) / 4


class Logistic:
    """A user's own output distribution."""

    def __call__(self, size, random_state):
        return random_state.logistic(size=size)

    def __repr__(self):
        return "Logistic()"


# One of every kind for each run; all others with -m slow.
FEW = [
    {"default_domain": "target", "potential": "network"},
    {"class_conditional": "per_class", "potential": "network"},
]
MANY = [
    {
        "cost": "lp",
        "cost_params": {"p": 1.2},
        "objective": SemiDual(mmd_weight=1.0, kernel="laplace"),
        "ensemble_size": 2,
    },
    {"class_conditional": "shared", "objective": "mmd"},
    {"default_domain": "target"},
    {"class_conditional": "per_class"},
    {"early_stopping": False},
    {"warm_start": True, "tol": 1.0},
    {"warm_start": True, "tol": 1.0, "cost": "norm_power", "cost_params": {"p": 3}},
    {"output_distribution": "uniform"},
    {"objective": "mmd"},
    {"objective": MMD(kernel="gaussian"), "default_domain": "target"},
    {"cost": "norm_power", "output_distribution": Logistic()},
    {"cost": "elastic"},
    {"cost": "pseudo_huber", "early_stopping": False},
    {"cost": SquaredEuclidean(), "batch_size": 32, "hidden_layer_sizes": (16, 16)},
    {"cost": Quartic(), "batch_size": 8, "ensemble_size": 1, "max_iter": 2},
    {"class_conditional": "per_class", "default_domain": "target"},
    {
        "class_conditional": "per_class",
        "classifier": KNeighborsClassifier(1),
        "cost": "lp",
        "cost_params": {"p": 1.2},
    },
    {
        "class_conditional": True,
        "classifier": LogisticRegression(),
        "objective": "mmd",
    },
    {"class_conditional": "per_class", "warm_start": True, "tol": 1.0},
]


# The options matter, not the size of the net, nor of the discrete potential beside it.
SMALL = {
    "max_iter": 5,
    "hidden_layer_sizes": (16, 16),
    "batch_size": 64,
    "max_potential_rows": 64,
}


def configured(options):
    return [NCFTransport(**{**SMALL, **each}) for each in options]


# The checks fit a few rows, of which a class may have one or two.
few_rows = pytest.mark.filterwarnings("ignore:Classes with too few rows:UserWarning")


@few_rows
@parametrize_with_checks(configured([{}, *FEW]))
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)


@few_rows
@pytest.mark.slow
@parametrize_with_checks([NCFTransport(), *configured(MANY)])
def test_scikit_learn_check_passes_with_other_options(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [
        AdaptedClassifier(LogisticRegression()),
        AdaptedClassifier(KNeighborsClassifier()),
        AdaptedClassifier(make_pipeline(StandardScaler(), LogisticRegression())),
    ]
)
def test_scikit_learn_check_passes_without_target_rows(estimator, check):
    check(estimator)
