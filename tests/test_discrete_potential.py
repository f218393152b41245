"""The discrete potential: the exact plan between rows, as a map of new rows."""

import pickle

import numpy as np
import pytest
import torch
from problems import COSTS
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone

import sk_ncf
from sk_ncf import NCFTransport
from sk_ncf._flow import discrete_potential, dual_ascent
from sk_ncf._flow.characteristics import CharacteristicFlow
from sk_ncf._flow.discrete_potential import DiscretePotential
from sk_ncf._flow.dual_ascent import FACTOR, fit_discrete_potential
from sk_ncf.costs import SquaredEuclidean

RNG = np.random.RandomState(0)
X, Y = RNG.randn(80, 2), RNG.randn(100, 2) @ [[1.5, 0.3], [0.0, 0.6]] + 2
NEW = RNG.randn(30, 2)


def potential(cost, n=12, m=15, d=3, epsilon=0.2, K=1):
    """One of random rows, weights and dual values."""
    x, y = torch.randn(K, n, d), torch.randn(K, m, d)
    log_a, log_b = torch.randn(K, n).log_softmax(-1), torch.randn(K, m).log_softmax(-1)
    f, g = torch.randn(K, n), torch.randn(K, m)
    return DiscretePotential(x, y, log_a, log_b, f, g, torch.full((K,), epsilon), cost)


def fitted(x, y, cost=None, a=None, b=None):
    """The optimal one of two arrays, with the epsilon of its dual values."""
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    a = x.new_full((len(x),), 1 / len(x)) if a is None else torch.as_tensor(a)
    b = y.new_full((len(y),), 1 / len(y)) if b is None else torch.as_tensor(b)
    found = fit_discrete_potential(x, y, a, b, cost or SquaredEuclidean())
    found.epsilon = found.epsilon / FACTOR
    return found


def discrete(**params):
    return NCFTransport(potential="discrete", random_state=0, **params)


@pytest.mark.parametrize("t", [0.0, 1.0])
@pytest.mark.parametrize("name", COSTS)
def test_the_gradient_is_that_of_the_value(float64, name, t):
    torch.manual_seed(0)
    found = potential(COSTS[name])
    x, t = torch.randn(1, 20, 3, requires_grad=True), torch.tensor(t)
    (p,) = torch.autograd.grad(found(x, t).sum(), x)
    torch.testing.assert_close(found.value_and_gradient(x, t)[1], p)


def test_both_ends_can_be_evaluated_together(float64):
    found, x = potential(SquaredEuclidean()), torch.randn(1, 6, 3)
    u, p = found.value_and_gradient(x, torch.tensor([0.0, 1, 0, 1, 1, 0]))
    for t in (0, 1):
        at = torch.tensor([0, 2, 5] if t == 0 else [1, 3, 4])
        value, gradient = found.value_and_gradient(x[:, at], torch.tensor(float(t)))
        torch.testing.assert_close(u[:, at], value)
        torch.testing.assert_close(p[:, at], gradient)
    with pytest.raises(ValueError, match="t of 0 or 1"):
        found(x, torch.tensor(0.5))


@pytest.mark.parametrize("name", ["sqeuclidean", "lp 1.5"])
def test_rows_do_not_depend_on_the_size_of_the_blocks(float64, name, monkeypatch):
    found, x = potential(COSTS[name], K=2), torch.randn(2, 50, 3)
    whole = found.value_and_gradient(x, torch.zeros(()))
    monkeypatch.setattr(discrete_potential, "BLOCK_SIZE", 40)
    assert max(part.shape[1] for part in found.blocks(x, end=False)) == 1
    for one, other in zip(
        whole, found.value_and_gradient(x, torch.zeros(())), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["lp 1.5", "elastic", "moved lp"])
def test_costs_that_are_kept_are_those_that_are_computed_again(
    float64, name, monkeypatch
):
    x, y = torch.randn(50, 3), torch.randn(70, 3) + 1
    monkeypatch.setattr(discrete_potential, "BLOCK_SIZE", 2_000)  # several blocks
    found = []
    for most in (50 * 70, 50 * 70 - 1):
        monkeypatch.setattr(dual_ascent, "KEPT_COSTS", most)
        found.append(fitted(x, y, COSTS[name]))
    assert torch.equal(found[0].f, found[1].f)
    assert torch.equal(found[0].g, found[1].g)


def test_no_block_has_more_pairs_than_fit_the_cache(float64):
    found = potential(SquaredEuclidean(), n=3000, m=2000)
    rows = torch.randn(1, 5000, 3)
    for end, kept in ((False, 2000), (True, 3000)):
        most = max(part.shape[1] for part in found.blocks(rows, end))
        assert most * kept <= discrete_potential.BLOCK_SIZE


@pytest.mark.parametrize("name", ["sqeuclidean", "lp 1.5", "norm 1.5", "elastic"])
def test_the_map_between_the_rows_is_the_optimal_assignment(float64, name):
    name = (
        name
        if name in COSTS
        else next(key for key in COSTS if key.startswith(name[:4]))
    )
    cost, rng = COSTS[name], np.random.RandomState(1)
    x, y = (torch.from_numpy(rng.randn(60, 3)) for _ in range(2))
    flow = CharacteristicFlow(fitted(x, y, cost), cost)
    _, best = linear_sum_assignment(cost.pairwise(x, y).numpy())
    nearest = torch.cdist(flow.head(x[None])[0], y).argmin(-1)
    assert (nearest.numpy() == best).mean() > 0.9
    back = torch.cdist(flow.foot(y[None])[0], x).argmin(-1)
    assert (back.numpy()[best] == np.arange(60)).mean() > 0.9


def test_the_dual_value_is_the_cost_of_the_optimal_assignment(float64):
    rng = np.random.RandomState(2)
    x, y = rng.randn(200, 2), rng.rand(200, 2)
    cost = SquaredEuclidean().pairwise(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    best = cost[linear_sum_assignment(cost)].mean()
    found = fitted(x, y)
    assert (found.f.mean() + found.g.mean()).item() == pytest.approx(best, rel=1e-2)


def test_weight_reaches_every_target_row_in_proportion(float64):
    """Also across a gap, where Sinkhorn's updates alone take thousands of steps."""
    rng = np.random.RandomState(3)
    x = np.concatenate([rng.randn(30, 2), rng.randn(70, 2) + 6])
    y = np.concatenate([rng.randn(60, 2), rng.randn(40, 2) + 6])
    found = fitted(x, y)
    _, share = found.soft_minimum(found.x, end=False)
    received = found.log_a.exp() @ share
    assert (received[0, 0] - found.log_b.exp()).abs().sum() / 2 < 0.03


def test_many_rows_are_solved_from_few():
    """The coarse problem of 1,024 rows is a start that leaves little to do."""
    rng = np.random.RandomState(4)
    x, y = rng.randn(2200, 2), rng.rand(2100, 2)
    found = fitted(x, y)
    share = torch.cat(
        [found.soft_minimum(p, False)[1] for p in found.blocks(found.x, False)], 1
    )
    received = found.log_a.exp() @ share[0]
    assert (received - found.log_b.exp()).abs().sum() / 2 < 0.005


def test_the_inverse_leads_back_to_the_rows():
    transport = discrete().fit(X, X_target=X @ [[2.0, 0.5], [0.5, 1.0]])
    back = transport.inverse_transform(transport.transform(X))
    assert np.square(back - X).mean() < 0.01 * X.var()


def test_a_weight_is_a_repetition():
    times = np.arange(80) % 3
    weighted = discrete().fit(X, X_target=Y, sample_weight=times)
    repeated = discrete().fit(np.repeat(X, times, axis=0), X_target=Y)
    np.testing.assert_allclose(
        weighted.transform(NEW), repeated.transform(NEW), atol=1e-5
    )


def test_rows_of_weight_zero_do_not_matter():
    weight = np.r_[np.ones(80), np.zeros(5)]
    rows = np.concatenate([X, np.full((5, 2), 50.0)])
    with_them = discrete().fit(rows, X_target=Y, sample_weight=weight)
    without = discrete().fit(X, X_target=Y)
    a, b = with_them.transform(NEW), without.transform(NEW)
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_map_of_one_feature_increases():
    transport = discrete().fit(X[:, :1], X_target=Y[:, :1])
    mapped = transport.transform(np.linspace(-2, 2, 400)[:, None])[:, 0]
    assert (np.diff(mapped) >= -1e-9).all()


def test_repeated_values_are_reached_exactly():
    rng = np.random.RandomState(5)
    counts = rng.poisson(3, size=(400, 1)).astype(float)
    mapped = (
        discrete().fit(rng.randn(400, 1), X_target=counts).transform(rng.randn(200, 1))
    )
    assert (np.abs(mapped - np.rint(mapped)) < 1e-3).mean() > 0.9


def test_a_narrow_cluster_beside_spread_rows_is_resolved():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2, 600, 2))
    width = 1e-3
    X[:300] *= width
    Y[:300] *= 2 * width
    fitted = NCFTransport(potential="discrete", random_state=0).fit(X, X_target=Y)
    new = width * rng.standard_normal((500, 2))
    error = np.linalg.norm(fitted.transform(new) - 2 * new, axis=1)
    assert np.median(error) < 0.6 * 2 * width  # epsilon of the variance alone: above 1


def test_everything_is_mapped_to_a_single_distinct_row():
    transport = discrete().fit(X, X_target=np.tile(Y[:1], (2, 1)))
    np.testing.assert_allclose(
        transport.transform(X), np.tile(Y[:1], (80, 1)), atol=1e-5
    )
    alone = discrete().fit(np.tile(X[:1], (2, 1)), X_target=np.tile(Y[:1], (2, 1)))
    np.testing.assert_allclose(alone.transform(X[:1]), Y[:1], atol=1e-6)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"cost": "lp"},
        {"cost": "quadratic_form", "cost_params": {"matrix": [[2.0, 0.1], [0.1, 1.0]]}},
    ],
)
@pytest.mark.parametrize("per_class", [False, True])
def test_saved_pickled_and_fitted_again_it_is_the_same_map(params, per_class, tmp_path):
    labels, of = {}, {}
    if per_class:
        pytest.importorskip("skops")
        labels = {"y": np.arange(80) % 3, "y_target": np.arange(100) % 3}
        of = {"sample_label": np.arange(30) % 3}
    transport = discrete(class_conditional=per_class, **params).fit(
        X, X_target=Y, **labels
    )
    sk_ncf.save(transport, tmp_path / "map.safetensors")
    for other in (
        sk_ncf.load(tmp_path / "map.safetensors"),
        pickle.loads(pickle.dumps(transport)),
        clone(transport).fit(X, X_target=Y, **labels),
    ):
        for method in ("transform", "inverse_transform"):
            np.testing.assert_array_equal(
                getattr(other, method)(NEW, **of), getattr(transport, method)(NEW, **of)
            )
        np.testing.assert_array_equal(other.map_kind_, transport.map_kind_)
    assert np.all(np.asarray(transport.map_kind_) == "discrete")
    assert transport.stop_reason_ == "discrete"
    assert transport.net_ is None


def test_a_class_has_the_map_of_its_rows_alone():
    y, y_target = np.arange(80) % 2, np.r_[np.zeros(60, int), np.ones(40, int)]
    together = discrete(class_conditional=True, cost="lp").fit(
        X, y, X_target=Y, y_target=y_target
    )
    for k in (0, 1):
        alone = discrete(cost="lp", ensemble_size=1).fit(
            X[y == k], X_target=Y[y_target == k]
        )
        np.testing.assert_allclose(
            together.transform(NEW, sample_label=np.full(30, k)),
            alone.transform(NEW),
            atol=1e-4,
        )


def test_float32_rows_are_mapped_in_float32():
    transport = discrete().fit(X, X_target=Y)
    mapped = transport.transform(NEW.astype(np.float32))
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, transport.transform(NEW), atol=1e-2)


def test_it_keeps_at_most_so_many_rows_of_either_side():
    transport = discrete(max_potential_rows=30).fit(X, X_target=Y)
    assert (
        transport.flow_.potential.x.shape
        == transport.flow_.potential.y.shape
        == (1, 30, 2)
    )
    more = discrete(max_potential_rows=10**6).fit(X, X_target=Y)  # than there are
    assert more.flow_.potential.x.shape[1] <= 80


def test_the_rows_that_are_kept_have_the_weights_of_all():
    values = np.repeat([0.0, 1.0, 2.0], [500, 30, 470])[:, None]
    rows = np.concatenate([values, RNG.rand(1000, 1) + 5])
    transport = discrete(max_potential_rows=200).fit(RNG.randn(900, 1), X_target=rows)
    kept = transport.flow_.potential
    weight = kept.log_b.exp()[0].numpy()
    assert weight.max() == pytest.approx(0.25, abs=0.02)


def test_potentials_and_costs_are_read_off_it():
    transport = discrete().fit(X, X_target=Y)
    f, g = transport.dual_potentials(X, X_target=Y)
    cost = transport.transport_cost(X)
    assert f.mean() + g.mean() == pytest.approx(cost, rel=0.05)
    assert transport.dual_lower_bound(X, X_target=Y) == pytest.approx(cost, rel=0.05)
    middle = transport.interpolate(X, 0.5)
    np.testing.assert_allclose(middle, (X + transport.transform(X)) / 2)


def test_partial_fit_says_what_to_do_without_all_rows():
    with pytest.raises(
        ValueError, match="potential='discrete' needs all rows.*call fit"
    ):
        discrete().partial_fit(X, X_target=Y)


def test_a_map_that_is_shared_by_classes_is_not_discrete():
    transport = discrete(class_conditional="shared", objective="mmd")
    with pytest.raises(
        ValueError, match="potential='discrete' needs class_conditional"
    ):
        transport.fit(X, np.arange(80) % 2, X_target=Y, y_target=np.arange(100) % 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("potential", "smooth"),
        ("potential", None),
        ("max_potential_rows", 0),
        ("max_potential_rows", 2.5),
    ],
)
def test_a_bad_parameter_is_named(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter.*Got {value!r}"):
        NCFTransport(**{name: value}).fit(X, X_target=Y)


def test_a_stream_can_follow_a_fit():
    transport = discrete(max_iter=2).fit(X, X_target=Y)
    transport.set_params(potential="auto").partial_fit(X, X_target=Y)
    assert transport.map_kind_ in ("network", "gaussian")
    assert np.isfinite(transport.transform(NEW)).all()
