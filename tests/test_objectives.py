"""Objectives as objects: weights, copies, searches, files, and a user's own."""

import copy
import pickle

import numpy as np
import pytest
import torch
from fits import crossing_classes, problem, quick, refused, start_map, two_samples
from problems import PROBLEMS
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sk_ncf import MMD, Objective, SemiDual, load, save
from sk_ncf._training.objective import MinibatchLoss
from sk_ncf.metrics import l2_uvp
from sk_ncf.objectives import energy_distance, hj_residual
from sk_ncf.objectives._registry import OBJECTIVES as NAMED

X, Y = two_samples()
EXACT = next(p for p in PROBLEMS if p.name == "gaussian")


class Displacement(Objective):
    """A user's own objective: match the samples by displacements that cost little."""

    auto_weights = {"displacement_weight": (0.1, 0.2)}

    def __init__(self, *, matching_weight=10.0, displacement_weight="auto"):
        self.matching_weight = matching_weight
        self.displacement_weight = displacement_weight

    def terms(self, flow, x, y, t):
        from_x, from_y = flow.characteristics(x, y)
        return {
            "hj": hj_residual(from_x, from_y),
            "matching": energy_distance(from_x.end, y) + energy_distance(from_y.end, x),
            "displacement": from_x.action.mean(-1) + from_y.action.mean(-1),
        }


EVERY = {
    "semi_dual": SemiDual(),
    "semi_dual, laplace": SemiDual(mmd_weight=3.0, kernel="laplace"),
    "mmd": MMD(),
    "mmd, gaussian": MMD(hj_weight=0.5, mmd_weight=2.0, kernel="gaussian"),
    "user's": Displacement(),
}
every_objective = pytest.mark.parametrize("objective", EVERY.values(), ids=EVERY.keys())


def _weights(objective):
    params = objective.get_params()
    return {name: w for name, w in params.items() if name.endswith("_weight")}


def _terms(objective, bend=0.3):
    """Weighted terms of a minibatch under a potential that is not optimal."""
    x, t = EXACT.sample(30), torch.linspace(0, 1, 30, dtype=torch.float64)[None]
    loss = MinibatchLoss(EXACT.flow(bend), objective)
    return {name: v.item() for name, v in loss(x, EXACT.T(x) + 0.2, t).items()}


@every_objective
@pytest.mark.parametrize("class_conditional", [False, True])
def test_resolved_weights_are_numbers_and_those_that_were_given_stay(
    objective, class_conditional
):
    before = objective.get_params()
    resolved = objective.resolved(class_conditional)
    assert type(resolved) is type(objective)
    assert objective.get_params() == before
    for name, weight in _weights(resolved).items():
        auto = objective.auto_weights[name] if before[name] == "auto" else None
        assert weight == (auto[class_conditional] if auto else before[name])
        assert isinstance(weight, float)


@every_objective
def test_loss_is_the_weighted_sum_of_the_terms_and_a_weight_of_zero_drops_one(
    objective,
):
    objective = objective.resolved(False)
    weights = _weights(objective)
    ones = clone(objective).set_params(**dict.fromkeys(weights, 1.0))
    alone, found = _terms(ones), _terms(objective)
    assert any(abs(term) > 1e-6 for term in alone.values())
    wanted = {n: weights.get(f"{n}_weight", 1.0) * term for n, term in alone.items()}
    assert sum(found.values()) == pytest.approx(sum(wanted.values()))
    for name in weights:
        term = name.removesuffix("_weight")
        without = _terms(clone(ones).set_params(**{name: 0.0}))
        assert without.get(term, 0.0) == 0
        wanted = {n: v for n, v in alone.items() if n != term}
        assert {n: v for n, v in without.items() if n != term} == pytest.approx(wanted)


@every_objective
def test_clone_copy_and_pickle_keep_the_parameters(objective):
    copies = clone(objective), copy.deepcopy(objective)
    for twin in (*copies, pickle.loads(pickle.dumps(objective))):
        assert type(twin) is type(objective)
        assert twin is not objective
        assert twin.get_params() == objective.get_params()
        assert _terms(twin.resolved(False)) == _terms(objective.resolved(False))


@pytest.mark.parametrize("name", NAMED)
def test_name_is_the_object_with_its_defaults(name):
    maps = [
        quick(objective=objective).fit(X, X_target=Y).transform(X)
        for objective in (name, NAMED[name]())
    ]
    np.testing.assert_array_equal(*maps)


@every_objective
def test_fit_learns_and_does_not_change_its_objective(objective):
    rows = problem("elastic")
    data = {"X": rows.X, "X_target": rows.X_target}
    before = objective.get_params()
    transport = quick(100, cost="elastic", objective=objective, ensemble_size=1).fit(
        **data
    )
    assert transport.objective is objective
    assert objective.get_params() == before
    fresh, mapped = rows.sample_pairs(1000, random_state=1)
    start = start_map(cost="elastic").fit(**data)
    error, of_start = (l2_uvp(t.transform(fresh), mapped) for t in (transport, start))
    assert error < 0.7 * of_start


@every_objective
def test_every_weight_is_a_parameter_of_the_estimator_and_changes_the_loss(objective):
    for name in _weights(objective):
        transport = quick(2, objective=clone(objective), ensemble_size=1)
        losses = set()
        for weight in (0.5, 50.0):
            transport.set_params(**{f"objective__{name}": weight}).fit(X, X_target=Y)
            losses.add(transport.history_[0]["train_loss"])
        assert len(losses) == 2


@pytest.mark.slow
@every_objective
def test_grid_search_reaches_the_weights(objective):
    before, names = objective.get_params(), list(_weights(objective))
    grid = {f"objective__{name}": [0.5, 50.0] for name in names[-1:]}
    search = GridSearchCV(quick(5, objective=objective), grid, cv=2)
    search.fit(X, X_target=Y)
    best = search.best_estimator_.objective.get_params()
    assert search.best_params_ == {f"objective__{n}": best[n] for n in names[-1:]}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert objective.get_params() == before


@pytest.mark.parametrize("objective", [EVERY["semi_dual, laplace"], MMD(hj_weight=2.0)])
def test_objective_of_this_package_is_saved_with_its_parameters(objective, tmp_path):
    transport = quick(objective=objective).fit(X, X_target=Y)
    save(transport, tmp_path / "map.ncf")
    loaded = load(tmp_path / "map.ncf")
    assert type(loaded.objective) is type(objective)
    assert loaded.objective.get_params() == objective.get_params()
    np.testing.assert_array_equal(loaded.transform(X), transport.transform(X))


def test_objective_of_the_user_is_pickled_and_not_saved(tmp_path):
    transport = quick(objective=Displacement()).fit(X, X_target=Y)
    with pytest.raises(
        ValueError, match=r"objective cannot be saved, got Displ.*pickle"
    ):
        save(transport, tmp_path / "map.ncf")
    assert not list(tmp_path.iterdir())
    loaded = pickle.loads(pickle.dumps(transport))
    np.testing.assert_array_equal(loaded.transform(X), transport.transform(X))
    save(transport.set_params(objective="semi_dual"), tmp_path / "map.ncf")


class Shared(Displacement):
    """For a map that all classes share: one value of the matching per class."""

    allows_shared_map = True

    def terms(self, flow, x, y, t):
        heads, feet = flow.characteristics(x.flatten(0, 1)[None], y.flatten(0, 1)[None])
        matching = energy_distance(heads.end.view_as(x), y)
        return {
            "hj": hj_residual(heads, feet),
            "matching": matching + energy_distance(feet.end.view_as(y), x),
            "displacement": heads.action.mean(-1),
        }


def test_only_an_objective_that_allows_it_trains_a_shared_map():
    x, y, labels = crossing_classes(60)
    data = {"X": x, "y": labels, "X_target": y, "y_target": labels}
    for objective in ("semi_dual", SemiDual(mmd_weight=1.0), Displacement()):
        shared = quick(class_conditional="shared", objective=objective)
        refused(shared, "fit", data, "class_conditional='shared' needs objective='mmd'")
    quick(class_conditional="shared", objective=Shared()).fit(**data)


class Returns(Objective):
    """Its terms are what it is given."""

    def __init__(self, found, *, spare_weight=0.0):
        self.found, self.spare_weight = found, spare_weight

    def terms(self, flow, x, y, t):
        return self.found(flow.velocity(x, 0).square().sum(-1))


class NoTerms(Objective):
    """Defines nothing."""


def _mean(v):
    return {"speed": v.mean(-1)}


LARGEST = r"\[0, 1e\+30\]"
BAD = {
    "number": (3, "'objective' .*'semi_dual'.*Objective.* Got 3"),
    "none": (None, "'objective' .*'semi_dual'.*Objective.* Got None"),
    "name": ("duall", "'objective' .*'semi_dual'.*Objective.* Got 'duall'"),
    "class": (SemiDual, "'objective' .*Objective.* Got <class .*SemiDual"),
    "function": (energy_distance, "'objective' .*Objective.* Got <function energy"),
    "abstract": (
        Objective(),
        r"objective=Objective\(\): Objective must define terms\(flow, x, y, t\)",
    ),
    "no terms": (NoTerms(), r"objective=NoTerms\(\): NoTerms must define terms\("),
    "negative weight": (
        SemiDual(hj_weight=-1.0),
        rf"hj_weight of SemiDual must be a number in {LARGEST}, got -1\.0",
    ),
    "infinite weight": (
        SemiDual(hopf_lax_weight=np.inf),
        rf"hopf_lax_weight of SemiDual must be a number in {LARGEST}, got inf",
    ),
    "NaN": (MMD(hj_weight=np.nan), "hj_weight of MMD must be a number .* got nan"),
    "huge": (
        MMD(mmd_weight=10**400),
        "mmd_weight of MMD must be 'auto' or .* got 1000",
    ),
    "word": (
        SemiDual(mmd_weight="much"),
        rf"mmd_weight of SemiDual must be 'auto' or a number in {LARGEST}, got 'much'",
    ),
    "no auto": (
        SemiDual(semi_dual_weight="auto"),
        "semi_dual_weight of SemiDual must be a number in .* got 'auto'",
    ),
    "array": (
        MMD(mmd_weight=np.ones(2)),
        "mmd_weight of MMD must be 'auto' or a number in .* got array",
    ),
    "no weight": (MMD(mmd_weight=None), "mmd_weight of MMD must be .* got None"),
    "kernel": (
        SemiDual(kernel="cubic"),
        r"kernel of SemiDual must be one of \['energy', 'gaussian', 'laplace'\], got "
        "'cubic'",
    ),
    "kernel type": (MMD(kernel=["energy"]), r"kernel of MMD .* got \['energy'\]"),
    "weight of the user's": (
        Displacement(matching_weight=-1),
        rf"matching_weight of Displacement must be a number in {LARGEST}, got -1",
    ),
    "list of terms": (
        Returns(lambda v: [v.mean(-1)]),
        "Returns.terms must return a dict of tensors .* got .tensor",
    ),
    "empty": (Returns(lambda v: {}), "Returns.terms must return a dict .* got {}"),
    "scalar": (
        Returns(lambda v: {"speed": v.mean()}),
        r"must return tensors of shape \(1,\), .* got \(\) for the term 'speed'",
    ),
    "values of rows": (
        Returns(lambda v: {"speed": v}),
        r"must return tensors of shape \(1,\), .* got \(1, \d+\) for the term 'speed'",
    ),
    "float": (Returns(lambda v: {"speed": 1.0}), "got <class 'float'> for the term"),
    "weight of no term": (
        Returns(_mean, spare_weight=2.0),
        r"spare_weight=2\.0 of Returns is the weight of no term: .* \['speed'\]",
    ),
}


@pytest.fixture(scope="module")
def good():
    """A fit that is copied before it is changed."""
    return quick(ensemble_size=1).fit(X, X_target=Y)


@pytest.mark.parametrize("case", BAD)
def test_bad_objective_is_named_and_leaves_the_estimator_as_it_was(case, good):
    objective, message = BAD[case]
    estimator = quick(objective=objective, ensemble_size=1)
    refused(estimator, "fit", {"X": X, "X_target": Y}, message)
    good = copy.deepcopy(good)
    mapped = good.transform(X)
    good.objective = objective
    for method in ("fit", "partial_fit") if case not in LATE else ("fit",):
        refused(good, method, {"X": X, "X_target": Y}, message)
    np.testing.assert_array_equal(good.transform(X), mapped)


# A stream keeps the objective of its first call; what it returns is checked there.
LATE = {k for k, (objective, _) in BAD.items() if isinstance(objective, Returns)}


def test_terms_that_are_right_pass():
    for found in (_mean, lambda v: {"a": v.mean(-1), "b": v.amax(-1)}):
        quick(objective=Returns(found)).fit(X, X_target=Y)


def test_parameters_that_an_objective_does_not_have_are_refused():
    with pytest.raises(TypeError, match="momentum_weight"):
        MMD(momentum_weight=1.0)
    with pytest.raises(ValueError, match="Invalid parameter 'momentum_weight'"):
        quick(objective=MMD()).set_params(objective__momentum_weight=1.0)
