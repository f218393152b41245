"""What is wrong is refused by its name, and the estimator stays as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fits import quick, refused, start_map, two_samples
from scipy import sparse
from sklearn.exceptions import NotFittedError

from sk_ncf import (
    Cost,
    Elastic,
    Lp,
    NCFTransport,
    NormPower,
    PseudoHuber,
    QuadraticForm,
)

X, Y = two_samples(40, 50)


class Flat(Cost):
    """Convex, not strictly."""

    def lagrangian(self, v):
        return v.abs().sum(-1)


class Endless(Cost):
    """Not finite."""

    def lagrangian(self, v):
        return v.square().sum(-1) / 0


def _with(rows, value, dtype=float):
    rows = rows.astype(dtype)
    rows[3, 1] = value
    return rows


def _weight(n, **changed):
    weight = np.ones(n)
    for place, value in changed.items():
        weight[int(place[1:])] = value
    return weight


def _returns(value):
    return lambda size, random_state: value(size)


# Data of a fit, and what the message must say: the parameter, the value, the wish.
DATA = {
    "NaN": ({"X": _with(X, np.nan)}, "Input X contains NaN"),
    "infinity": ({"X": _with(X, np.inf)}, "Input X contains infinity"),
    "target NaN": ({"X_target": _with(Y, np.nan)}, "Input X_target contains NaN"),
    "target inf": ({"X_target": _with(Y, -np.inf)}, "X_target contains infinity"),
    "one row": ({"X": X[:1]}, "X: .*1 sample.* minimum of 2"),
    "one target row": ({"X_target": Y[:1]}, "1 target row .* minimum of 2"),
    "no target row": ({"X_target": Y[:0]}, "X_target: .*0 sample.* minimum of 1"),
    "one target row by domain": (
        {"X_target": None, "sample_domain": _weight(40, _3=-1)},
        "1 target row .* minimum of 2",
    ),
    "columns": ({"X_target": np.c_[Y, Y]}, "X_target has 4 features, but X has 2"),
    "objects": ({"X": _with(X, "a", object)}, "X: .*'a'"),
    "target objects": ({"X_target": _with(Y, "a", object)}, "X_target: .*'a'"),
    "complex": ({"X": X + 1j}, "X: Complex data not supported"),
    "target complex": ({"X_target": Y + 1j}, "X_target: Complex data not supported"),
    "sparse": ({"X": sparse.csr_matrix(X)}, "Sparse data .* X, but dense"),
    "target sparse": (
        {"X_target": sparse.csr_array(Y)},
        "Sparse data .* X_target, but dense",
    ),
    "one dimension": ({"X": X[:, 0]}, "X: Expected 2D array, got 1D"),
    "too large": ({"X": 1e101 * X}, r"X must hold values of at most 1e\+100 .* got 2"),
    "target too large": (
        {"X_target": 1e200 * Y},
        "X_target must hold values of at most",
    ),
    "integer too large": ({"X": _with(X, 10**400, object)}, "X: int too large"),
    "tensor with a gradient": ({"X": torch.ones(4, 2).requires_grad_()}, "X: .*grad"),
    "negative weight": (
        {"sample_weight": _weight(40, _5=-2)},
        r"sample_weight must be >= 0, got a minimum of -2\.0",
    ),
    "zero weight": ({"sample_weight": 0 * _weight(40)}, "sample_weight .* all zero"),
    "sized weight": (
        {"sample_weight": _weight(41)},
        r"sample_weight .*\(40,\).*\(41,\)",
    ),
    "weight NaN": ({"sample_weight": _weight(40, _5=np.nan)}, "sample_weight .*NaN"),
    "weight words": ({"sample_weight": ["a"] * 40}, "sample_weight: .*'a'"),
    "negative target weight": (
        {"target_weight": _weight(50, _5=-2)},
        r"target_weight must be >= 0, got a minimum of -2\.0",
    ),
    "zero target weight": ({"target_weight": 0 * _weight(50)}, "target_weight .* zero"),
    "sized target weight": (
        {"target_weight": _weight(40)},
        r"target_weight .*\(50,\).*\(40,\)",
    ),
    "weights of one side all zero": (
        {
            "X_target": None,
            "sample_domain": np.repeat([1, -1], 20),
            "sample_weight": np.repeat([1, 0], 20),
        },
        "weights of the target rows are all zero",
    ),
    "target weight without target": (
        {"X_target": None, "target_weight": _weight(40)},
        "target_weight .* X_target, which is None",
    ),
    "target rows as y": (
        {"y": Y, "X_target": None},
        r"y has shape \(50, 2\).*X_target=",
    ),
    "as many target rows as y": (
        {"y": Y[:40]},
        r"y has shape \(40, 2\).*pass X_target=",
    ),
    "only source": (
        {"X_target": None, "sample_domain": _weight(40)},
        "No target rows: sample_domain .* < 0",
    ),
    "only target": (
        {"X_target": None, "sample_domain": -_weight(40)},
        "No source rows: sample_domain .* >= 0",
    ),
    "sized domain": ({"sample_domain": _weight(3)}, r"sample_domain .*\(40,\).*\(3,\)"),
    "domain words": ({"sample_domain": ["a"] * 40}, "sample_domain .*integers .*'a'"),
}
# Parameters of the constructor, and what the message must say.
PARAMETERS = {
    "cost": ({"cost": "l7"}, "'cost' .*'lp'.* Got 'l7'"),
    "cost type": ({"cost": 3}, "'cost' .*sk_ncf.costs.*Cost.* Got 3"),
    "cost class": ({"cost": Lp}, "'cost' .*sk_ncf.costs.*Cost.* Got .*Lp"),
    "objective": ({"objective": "l2"}, "'objective' .*'semi_dual'.* Got 'l2'"),
    "p by name": ({"cost": "lp", "cost_params": {"p": 1}}, "p of Lp .*> 1, got 1"),
    "p": ({"cost": Lp(0.5)}, r"p of Lp must be > 1, got 0\.5"),
    "p of the norm": ({"cost": NormPower(1.0)}, "p of NormPower .*> 1, got 1"),
    "p word": ({"cost": Lp("two")}, "p of Lp must be > 1, got 'two'"),
    "gamma": ({"cost": Elastic(-1)}, "gamma of Elastic must be >= 0, got -1"),
    "delta": ({"cost": PseudoHuber(0)}, "delta of PseudoHuber must be > 0, got 0"),
    "matrix": ({"cost": "quadratic_form"}, "cost_params={'matrix': A}"),
    "size of the matrix": (
        {"cost": QuadraticForm(np.eye(3))},
        r"matrix of QuadraticForm .*\(2, 2\).* got \(3, 3\)",
    ),
    "indefinite matrix": (
        {"cost": QuadraticForm([[1, 2], [2, 1]])},
        "matrix of QuadraticForm must be symmetric positive definite",
    ),
    "flat cost": ({"cost": Flat()}, "cost=Flat.* not strictly convex"),
    "endless cost": ({"cost": Endless()}, "cost=Endless.* not finite"),
    "no cost": ({"cost": Cost()}, r"cost=Cost\(\): Cost must define lagrangian"),
    "empty callback": ({"callbacks": [()]}, r"callbacks must be skorch .* got \(\)"),
    "cost_params": (
        {"cost": "lp", "cost_params": {"q": 2}},
        r"cost_params of cost='lp' .*\['p'\], got \['q'\]",
    ),
    "cost_params of an object": (
        {"cost": Lp(), "cost_params": {"p": 2}},
        "cost_params={'p': 2} .* Lp",
    ),
    "unequal widths": (
        {"hidden_layer_sizes": (8, 4)},
        r"hidden_layer_sizes .*\(8, 4\)",
    ),
    "device": ({"device": "abacus"}, "device .*'auto'.* abacus"),
    "device without data": (
        {"device": "meta"},
        "device .*'auto'.* got 'meta'",
    ),
    "huge p": ({"cost": Lp(1e299)}, r"cost=Lp\(p=1e\+299\) .* no floating-point"),
    "p of huge integer": ({"cost": Lp(10**400)}, "p of Lp must be > 1, got 1000"),
    "too wide": (
        {"hidden_layer_sizes": (10**9,)},
        "hidden_layer_sizes .*at most 65536",
    ),
    "shape of the output distribution": (
        {"output_distribution": _returns(lambda size: np.ones(3))},
        r"output_distribution must return shape \(\d+, 2\) .* got \(3,\)",
    ),
    "output distribution NaN": (
        {"output_distribution": _returns(lambda size: np.full(size, np.nan))},
        "output_distribution contains NaN",
    ),
    **{
        f"{name}={value}": (
            {name: value},
            f"'{name}' parameter .*Got {value!r} instead",
        )
        for name, value in [
            ("max_iter", 0),
            ("batch_size", 1),
            ("learning_rate_init", 0.0),
            ("validation_fraction", 1.0),
            ("default_domain", "both"),
            ("skorch_net", "sgd"),
            ("callbacks", 3),
            ("tol", np.inf),
            ("ensemble_size", 10**9),
            ("batch_size", 10**15),
        ]
    },
}


@pytest.fixture(scope="module")
def fitted():
    return quick().fit(X, X_target=Y)


@pytest.mark.parametrize("case", DATA)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
def test_bad_data_are_named_and_leave_the_estimator_as_it_was(case, method, fitted):
    changed, message = DATA[case]
    arguments = {"X": X, "X_target": Y, **changed}
    refused(quick(), method, arguments, message)
    mapped = fitted.transform(X)
    refused(fitted, method, arguments, message)
    np.testing.assert_array_equal(fitted.transform(X), mapped)


@pytest.mark.parametrize("case", PARAMETERS)
def test_bad_parameter_is_named_and_leaves_the_estimator_as_it_was(case):
    changed, message = PARAMETERS[case]
    target = {} if "output_distribution" in changed else {"X_target": Y}
    refused(quick(**changed), "fit", {"X": X, **target}, message)


def test_new_number_of_columns_is_forgotten_with_the_fit_that_failed(fitted):
    wide = {"X": np.c_[X, X], "X_target": Y}
    refused(fitted, "fit", wide, "X_target has 2 features, but X has 4")
    assert fitted.n_features_in_ == 2


METHODS = ["transform", "inverse_transform", "score", "transport_cost"]
CALLS = [
    *((method, {}) for method in METHODS),
    ("interpolate", {"t": 0.5}),
    ("dual_potentials", {"X_target": Y}),
    ("dual_lower_bound", {"X_target": Y}),
]


@pytest.mark.parametrize(("method", "options"), CALLS)
def test_unfitted_estimator_and_wrong_columns_are_refused(method, options, fitted):
    with pytest.raises(NotFittedError, match="NCFTransport instance is not fitted"):
        getattr(quick(), method)(X, **options)
    message = "X has 4 features, but NCFTransport is expecting 2"
    refused(fitted, method, {"X": np.c_[X, X], **options}, message)
    refused(fitted, method, {"X": _with(X, np.nan), **options}, "X contains NaN")


@pytest.mark.parametrize("method", ["score", "dual_potentials", "dual_lower_bound"])
def test_target_rows_with_other_columns_are_refused_after_the_fit(method, fitted):
    arguments = {"X": X, "X_target": Y[:, :1]}
    refused(fitted, method, arguments, "X_target has 1 features, but X has 2")


@pytest.mark.parametrize("t", [-0.1, 1.1, np.nan, "a", [0.5, 0.5], np.full(40, 2.0)])
def test_time_outside_the_unit_interval_is_refused(t, fitted):
    message = r"t must be a number in \[0, 1\] or 40 of them, got"
    refused(fitted, "interpolate", {"X": X, "t": t}, message)


@pytest.mark.parametrize("method", ["transform", "interpolate"])
def test_rows_for_which_float32_overflows_are_refused_by_maps_of_older_files(method):
    """They do not have the range of the training rows, outside which rows are shifted."""
    old, options = quick().fit(X, X_target=Y), {}
    (frame,) = old.preconditioners_
    old.preconditioners_ = [replace(frame, source=replace(frame.source, box=None))]
    if method == "interpolate":
        options["t"] = 0.5
    far = np.float32(3e38) * np.sign(X).astype(np.float32)
    refused(old, method, {"X": far, **options}, "The map overflows")


def test_rows_whose_cost_overflows_are_refused():
    start, rows = start_map(cost=NormPower(4)).fit(X, X_target=Y), 1e99 * X
    options = {"X": rows, "X_target": Y}
    refused(start, "dual_lower_bound", options, "overflows for some rows")
    assert start.transport_cost(rows) < 1e-9  # such rows are shifted, and rounded


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_samples_that_differ_by_too_little_are_refused(method):
    message = "X and X_target must differ, .* by 1e-100 to .* got .*e-11"
    refused(quick(), method, {"X": 1e-110 * X, "X_target": 1e-110 * Y}, message)


def test_fit_transform_that_cannot_map_forgets_its_fit(monkeypatch):
    def transform(*args, **kwargs):
        raise ValueError("no map")

    monkeypatch.setattr(NCFTransport, "transform", transform)
    refused(quick(), "fit_transform", {"X": X, "X_target": Y}, "no map")


@pytest.mark.parametrize("value", [torch.zeros(2), np.zeros(2), [True, False]])
def test_a_parameter_of_several_values_is_refused_by_name(value):
    estimator = quick(class_conditional=value)
    with pytest.raises(NotFittedError):
        estimator.transform(np.zeros((5, 2)))
    with pytest.raises(ValueError, match="class_conditional"):
        estimator.fit(np.zeros((5, 2)))
