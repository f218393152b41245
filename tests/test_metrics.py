"""Distances of samples and scorers: closed forms, identities, searches."""

import numpy as np
import pytest
from fits import crossing_classes, quick, start_map, two_samples
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_ncf import Lp
from sk_ncf.metrics import (
    energy_distance,
    make_classifier_scorer,
    neg_energy_distance,
    neg_estimated_error,
)

X, Y = two_samples(200, 230)
SCORERS = [neg_energy_distance, neg_estimated_error]


def test_energy_distance_in_one_dimension_is_the_square_of_that_of_scipy():
    x, y = X[:, :1], Y[:, :1]
    n, m = len(x), len(y)
    own = [np.abs(z - z.T).mean() for z in (x, y)]
    # scipy counts the pairs of a row with itself.
    wanted = stats.energy_distance(x[:, 0], y[:, 0]) ** 2
    wanted -= own[0] / (n - 1) + own[1] / (m - 1)
    assert energy_distance(x, y) == pytest.approx(wanted)


def test_energy_distance_is_unbiased():
    """Half of a sample against the other half: its mean over splits is zero."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        order = rng.permutation(len(X))
        found.append(energy_distance(X[order[:100]], X[order[100:]]))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))
    assert np.min(found) < 0


def test_energy_distance_scales_with_the_unit_and_is_symmetric():
    wanted = energy_distance(X, Y)
    assert energy_distance(Y, X) == pytest.approx(wanted)
    assert energy_distance(7 * X, 7 * Y) == pytest.approx(7 * wanted)


@pytest.mark.parametrize("rows", [X[:1], X[:, :1]])
def test_energy_distance_refuses_samples_that_cannot_be_compared(rows):
    with pytest.raises(ValueError, match="X and Y must have"):
        energy_distance(rows, Y)


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_better_map_has_a_better_score(scorer):
    good = start_map().fit(X, X_target=Y)
    fitted = start_map().fit(X, X_target=X + 9)
    fitted._score_rows = good._score_rows  # rows of Y: the map leads elsewhere
    assert scorer(good, X) > scorer(fitted, X) + 0.1


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_search_over_costs_compares_what_can_be_compared(scorer):
    grid = {"cost": ["sqeuclidean", Lp(3.0)]}
    folds = KFold(2, shuffle=True, random_state=0)
    search = GridSearchCV(start_map(), grid, scoring=scorer, cv=folds)
    search.fit(X, X_target=Y)
    assert (search.cv_results_["mean_test_score"] < 1).all()
    # Only the squared Euclidean cost starts from the Gaussian map.
    assert search.best_params_ == {"cost": "sqeuclidean"}


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_pipeline_is_scored_by_its_transport(scorer):
    scale = StandardScaler().fit(X)
    transport = start_map(default_domain="target")
    transport.fit(scale.transform(X), X_target=scale.transform(Y))
    pipeline = make_pipeline(scale, transport, LogisticRegression())
    wanted = scorer(transport, scale.transform(X))
    assert scorer(pipeline, X) == pytest.approx(wanted)


def test_the_classifier_scorer_is_the_accuracy_on_mapped_rows():
    rows, target, y = crossing_classes(300)
    classifier = LogisticRegression().fit(target, y)
    transport = quick(2, class_conditional=True)
    transport.fit(rows, y, X_target=target, y_target=y)
    scorer = make_classifier_scorer(classifier)
    wanted = classifier.score(transport.transform(rows), y)
    assert scorer(transport, rows, y) == pytest.approx(wanted)
    assert scorer(transport, rows, y) > classifier.score(rows, y) + 0.5


@pytest.mark.parametrize("scorer", SCORERS)
def test_scorers_refuse_what_holds_no_transport(scorer):
    with pytest.raises(ValueError, match="estimator must be an NCFTransport"):
        scorer(StandardScaler().fit(X), X)
