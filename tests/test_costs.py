"""Conjugacy, convexity and the checks of a cost, over every cost there is."""

import copy
import pickle

import numpy as np
import pytest
import torch
from problems import COSTS, MATRIX, D, PlasticHuber, Quartic
from sklearn.base import clone

from sk_ncf.costs import (
    Cost,
    Elastic,
    Lp,
    NormPower,
    PseudoHuber,
    QuadraticForm,
    SquaredEuclidean,
)
from sk_ncf.costs._affine import AffineCost
from sk_ncf.costs._checks import check_cost
from sk_ncf.costs._registry import make_cost

pytestmark = pytest.mark.usefixtures("float64")
every_cost = pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS.keys())
PLAIN = {name: cost for name, cost in COSTS.items() if not name.startswith("moved")}
plain_cost = pytest.mark.parametrize("cost", PLAIN.values(), ids=PLAIN.keys())


def _rows(n=40, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, D, generator=generator, dtype=torch.float64)


def _close(a, b, rtol=1e-6, atol=1e-7):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@every_cost
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_velocity_undoes_momentum(cost, scale):
    v = _rows(scale=scale)
    _close(cost.velocity(cost.momentum(v)), v)


@every_cost
def test_fenchel_young_holds_with_equality_at_the_gradient(cost):
    v = _rows()
    p = cost.momentum(v)
    _close(cost.lagrangian(v) + cost.hamiltonian(p), (p * v).sum(-1))


@every_cost
def test_fenchel_young_is_strict_away_from_the_gradient(cost):
    v, p = _rows(seed=1), cost.momentum(_rows(seed=2))
    assert (cost.lagrangian(v) + cost.hamiltonian(p) > (p * v).sum(-1)).all()


@every_cost
def test_momentum_is_the_gradient_of_the_lagrangian(cost):
    v = _rows().requires_grad_()
    (gradient,) = torch.autograd.grad(cost.lagrangian(v).sum(), v)
    _close(cost.momentum(v.detach()), gradient)


@every_cost
def test_velocity_is_the_gradient_of_the_hamiltonian(cost):
    p = cost.momentum(_rows()).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cost.hamiltonian(p).sum(), p)
    _close(cost.velocity(p).detach(), gradient)


@every_cost
def test_jacobian_of_the_velocity_inverts_the_hessian_of_the_lagrangian(cost):
    for v in _rows(5):
        p = cost.momentum(v).detach()
        jacobian = torch.autograd.functional.jacobian(
            lambda p: cost.velocity(p[None])[0], p
        )
        hessian = torch.autograd.functional.hessian(cost.lagrangian, v)
        _close(jacobian @ hessian, torch.eye(D))


@every_cost
def test_lagrangian_is_strictly_convex_along_segments(cost):
    a, b = _rows(200, seed=1), _rows(200, seed=2)
    for share in (0.1, 0.5, 0.9):
        chord = (1 - share) * cost.lagrangian(a) + share * cost.lagrangian(b)
        assert (cost.lagrangian((1 - share) * a + share * b) < chord).all()


@every_cost
def test_staying_in_place_costs_nothing_and_any_move_costs_something(cost):
    x, y = _rows(seed=1), _rows(seed=2)
    _close(cost(x, x), torch.zeros(len(x)), atol=1e-12)
    assert (cost(x, y) > 0).all()


@every_cost
def test_gradients_are_finite_at_zero(cost):
    zero = torch.zeros(2, D, requires_grad=True)
    for values in (cost.lagrangian(zero), cost.momentum(zero), cost.velocity(zero)):
        (gradient,) = torch.autograd.grad(values.sum(), zero, allow_unused=True)
        assert values.isfinite().all()
        assert gradient is None or gradient.isfinite().all()
    _close(cost.velocity(torch.zeros(2, D)), torch.zeros(2, D), atol=1e-8)


@every_cost
def test_pairwise_is_the_cost_of_every_pair(cost):
    x, y = _rows(2 * 5, seed=1).reshape(2, 5, D), _rows(2 * 4, seed=2).reshape(2, 4, D)
    pairs = cost.pairwise(x, y)
    assert pairs.shape == (2, 5, 4)
    for i in range(5):
        for j in range(4):
            _close(pairs[:, i, j], cost(x[:, i], y[:, j]))


@every_cost
def test_scaling_a_displacement_scales_the_cost_by_the_declared_degree(cost):
    if cost.homogeneity is None:
        v = _rows(1)[0]
        degree = (cost.lagrangian(4 * v) / cost.lagrangian(2 * v)).log2()
        again = (cost.lagrangian(16 * v) / cost.lagrangian(8 * v)).log2()
        # Elastic(0) is homogeneous, but Elastic is not.
        assert not torch.isclose(degree, again) or cost.gamma == 0
        return
    v = _rows()
    _close(cost.lagrangian(3 * v), 3**cost.homogeneity * cost.lagrangian(v))


@every_cost
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_and_leading_axes_are_kept(cost, dtype):
    v = _rows(2 * 4).reshape(2, 4, D).to(dtype)
    p = cost.momentum(v)
    for rows in (p, cost.velocity(p)):
        assert (rows.dtype, rows.shape) == (dtype, v.shape)
    for values in (cost.lagrangian(v), cost.hamiltonian(p), cost(v, 2 * v)):
        assert (values.dtype, values.shape) == (dtype, v.shape[:-1])
    _close(cost.velocity(p), v, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("size", [1e-8, 1e-4, 1e-2, 1e2, 1e4, 1e8])
@pytest.mark.parametrize(
    "cost", [c for c in PLAIN.values() if c.homogeneity is not None], ids=repr
)
def test_units_of_the_features_do_not_matter_to_a_homogeneous_cost(cost, size):
    """Even in single precision: L(s v) = s^k L(v)."""
    shift = torch.tensor([1.0, -2.0, 0.5])
    moved = AffineCost(cost, size * shift, size, size**cost.homogeneity)
    reference = AffineCost(cost, shift, 1.0, 1.0)
    v = _rows().float()
    p = reference.momentum(v)
    for method, z in [
        ("lagrangian", v),
        ("momentum", v),
        ("velocity", p),
        ("hamiltonian", p),
    ]:
        _close(getattr(moved, method)(z), getattr(reference, method)(z), 1e-3, 1e-3)


@plain_cost
def test_valid_cost_passes_the_check_at_every_usual_scale(cost):
    for scale in (1e-3, 1.0, 1e3):
        check_cost(cost, D, scale)


@plain_cost
def test_clone_copy_and_pickle_keep_the_parameters(cost):
    for twin in (clone(cost), copy.deepcopy(cost), pickle.loads(pickle.dumps(cost))):
        assert type(twin) is type(cost)
        assert twin is not cost
        np.testing.assert_equal(twin.get_params(), cost.get_params())
        _close(twin.lagrangian(_rows()), cost.lagrangian(_rows()))


def test_parameter_that_is_set_takes_effect():
    cost = clone(Lp(3.0)).set_params(p=1.5)
    _close(cost.lagrangian(_rows()), Lp(1.5).lagrangian(_rows()))
    assert cost.homogeneity == 1.5


@pytest.mark.parametrize("p", [1.2, 2.0, 3.0])
def test_lp_and_norm_power_agree_along_an_axis(p):
    v = torch.zeros(9, D)
    v[:, 1] = torch.linspace(-2, 2, 9)
    _close(Lp(p).lagrangian(v), NormPower(p).lagrangian(v))
    _close(Lp(p).velocity(v), NormPower(p).velocity(v))


@pytest.mark.parametrize(
    "cost",
    [Lp(2.0), NormPower(2.0), Elastic(0.0), QuadraticForm(np.eye(D)), PseudoHuber(1e4)],
    ids=repr,
)
def test_special_case_is_the_squared_euclidean_cost(cost):
    v, plain = _rows(), SquaredEuclidean()
    for method in ("lagrangian", "hamiltonian", "momentum", "velocity"):
        _close(getattr(cost, method)(v), getattr(plain, method)(v))


def test_elastic_velocity_leaves_small_momenta_at_rest():
    p = _rows(200)
    at_rest = Elastic(0.5).velocity(p) == 0
    assert torch.equal(at_rest, p.abs() <= 0.5)
    assert at_rest.any()


def test_pseudo_huber_velocity_is_finite_and_outward_beyond_its_sphere():
    p = _rows(scale=5.0).requires_grad_()
    v = PseudoHuber(0.7).velocity(p)
    (gradient,) = torch.autograd.grad(v.sum(), p)
    assert v.isfinite().all()
    assert gradient.isfinite().all()
    assert ((v * p).sum(-1) > 0).all()


class _Concave(Cost):
    def lagrangian(self, v):
        return -v.square().sum(-1)


class _Linear(Cost):
    def lagrangian(self, v):
        return v.abs().sum(-1)


class _Bounded(Cost):
    def lagrangian(self, v):
        return -(1 - v.square().sum(-1)).log()


class _Wide(Cost):
    def lagrangian(self, v):
        return v.square() / 2


class _WrongVelocity(SquaredEuclidean):
    def velocity(self, p):
        return 2 * p


class _WrongDegree(SquaredEuclidean):
    homogeneity = 1.5


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (_WrongDegree(), r"homogeneity=1\.5, but L\(3 v\) is not 3\^1\.5 L\(v\)"),
        (Lp(1.0), r"p of Lp must be > 1, got 1\.0"),
        (Lp(0.5), "p of Lp must be > 1"),
        (Lp(float("nan")), "p of Lp must be > 1, got nan"),
        (Lp("2"), "p of Lp must be > 1, got '2'"),
        (Lp(float("inf")), "p of Lp|not finite"),
        (NormPower(1), "p of NormPower must be > 1"),
        (Elastic(-0.1), r"gamma of Elastic must be >= 0, got -0\.1"),
        (PseudoHuber(0.0), "delta of PseudoHuber must be > 0"),
        (QuadraticForm(np.eye(2)), r"shape \(3, 3\).*got \(2, 2\)"),
        (QuadraticForm(-np.eye(3)), "positive definite"),
        (QuadraticForm([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]), "symmetric"),
        (_Concave(), "not strictly convex"),
        (_Linear(), "not strictly convex"),
        (_Bounded(), "not finite"),
        (_Wide(), r"lagrangian must map rows of shape \(n, d\)"),
        (_WrongVelocity(), "velocity must be the inverse map of momentum"),
        (Cost(), "must define lagrangian"),
    ],
    ids=repr,
)
def test_check_refuses_what_is_not_a_cost_and_says_why(cost, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        check_cost(cost, D)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("manhattan",), "cost must be one of.*'lp'.*got 'manhattan'"),
        ((Lp,), "cost must be one of"),
        (
            ("lp", {"q": 3}),
            r"cost='lp' must be among \['p'\], got \['q'\]",
        ),
        ((Lp(), {"p": 3}), "set its parameters on it"),
        (("quadratic_form",), "needs cost_params={'matrix': A}"),
    ],
)
def test_name_that_is_not_a_cost_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_cost(*arguments)


def test_name_with_parameters_is_the_cost_object():
    v = _rows()
    _close(make_cost("lp", {"p": 3.0}).lagrangian(v), Lp(3.0).lagrangian(v))
    form = make_cost("quadratic_form", {"matrix": MATRIX})
    _close(form.lagrangian(v), COSTS["quadratic_form"].lagrangian(v))
    own = PlasticHuber()
    assert make_cost(own) is own


def test_derived_methods_do_not_disturb_the_rows_they_are_given():
    v = _rows()
    before = v.clone()
    for method in ("momentum", "velocity", "hamiltonian"):
        getattr(Quartic(), method)(v)
    assert torch.equal(v, before)
    assert not v.requires_grad
