"""The network against its formula, differentiated by autograd."""

import pytest
import torch
from torch import nn

from sk_ncf._flow import potential as module
from sk_ncf._flow.potential import MeanPotential, ModulePotential, Potential
from sk_ncf._flow.potential_gradient import ValueAndGradient

pytestmark = pytest.mark.usefixtures("float64")
shapes = pytest.mark.parametrize(
    ("n_potentials", "depth"), [(1, 1), (1, 2), (2, 3), (3, 4)]
)
D, N, WIDTH = 3, 5, 6


def _rows(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _potential(n_potentials=1, depth=3, size=1.0):
    generator = torch.Generator().manual_seed(3)
    potential = Potential(D, (WIDTH,) * depth, n_potentials, generator=generator)
    with torch.no_grad():
        potential.output_weight.mul_(100 * size)
    return potential


def _formula(potential, x, t):
    """u(x, t) as the docstring of Potential has it, class by class, layer by layer."""
    values = []
    for k in range(len(x)):
        B, A = potential.input_weight[k], potential.hidden_weight[k]
        w = potential.output_weight[k, :, 0]
        s = torch.cat([x[k], t[k, :, None], torch.ones(x.shape[1], 1)], dim=-1)
        beta = potential.sharpness
        z = torch.log1p(torch.exp(beta * (s @ B[0]))) / beta
        for A_l, B_l in zip(A, B[1:], strict=True):
            z = z + torch.log1p(torch.exp(beta * (z @ A_l + s @ B_l))) / beta
        values.append(z @ w)
    return torch.stack(values)


def _formula_with_gradient(potential, x, t):
    u = _formula(potential, x, t)
    return u, torch.autograd.grad(u.sum(), x, create_graph=True)[0]


@shapes
def test_value_and_gradient_are_those_of_the_formula(n_potentials, depth):
    potential = _potential(n_potentials, depth)
    x, t = _rows(n_potentials, N, D).requires_grad_(), torch.rand(n_potentials, N)
    for ours, wanted in zip(
        potential.value_and_gradient(x, t),
        _formula_with_gradient(potential, x, t),
        strict=True,
    ):
        assert ours.shape == wanted.shape
        torch.testing.assert_close(ours, wanted)
    torch.testing.assert_close(potential(x, t), _formula(potential, x, t))


@shapes
def test_backward_of_both_is_that_of_the_formula_differentiated_twice(
    n_potentials, depth
):
    potential = _potential(n_potentials, depth)
    x, t = _rows(n_potentials, N, D).requires_grad_(), torch.rand(n_potentials, N)
    t.requires_grad_()
    along_u, along_p = _rows(n_potentials, N, seed=1), _rows(n_potentials, N, D, seed=2)

    def gradients(u, p):
        total = (along_u * u.sin()).sum() + (along_p * p.square()).sum()
        inputs = [x, t, *potential.parameters()]  # depth 1 has no hidden weights
        return torch.autograd.grad(total, inputs, materialize_grads=True)

    ours = gradients(*potential.value_and_gradient(x, t))
    wanted = gradients(*_formula_with_gradient(potential, x, t))
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, b)


@shapes
def test_backward_is_the_slope_of_value_and_gradient(n_potentials, depth):
    potential = _potential(n_potentials, depth)
    s = torch.cat([_rows(n_potentials, 2, D), torch.rand(n_potentials, 2, 2)], dim=-1)
    inputs = [s.requires_grad_(), *potential.parameters()]
    assert torch.autograd.gradcheck(
        lambda *inputs: ValueAndGradient.apply(*inputs, 5.0), inputs, atol=1e-5
    )


@pytest.mark.parametrize("output", [0, 1])
def test_backward_needs_only_the_output_that_was_used(output):
    potential, x = _potential(), _rows(1, N, D).requires_grad_()
    t = torch.rand(1, N)
    ours = torch.autograd.grad(
        potential.value_and_gradient(x, t)[output].sum(), list(potential.parameters())
    )
    wanted = torch.autograd.grad(
        _formula_with_gradient(potential, x, t)[output].sum(),
        list(potential.parameters()),
    )
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_rows_are_independent():
    potential, x, t = _potential(2), _rows(2, N, D), torch.rand(2, N)
    u, p = potential.value_and_gradient(x, t)
    for i in range(N):
        alone = potential.value_and_gradient(x[:, i : i + 1], t[:, i : i + 1])
        torch.testing.assert_close(alone[0][:, 0], u[:, i])
        torch.testing.assert_close(alone[1][:, 0], p[:, i])


def test_classes_are_separate_networks():
    potential, x, t = _potential(2), _rows(2, N, D), torch.rand(2, N)
    u, p = potential.value_and_gradient(x, t)
    for k in range(2):
        single = _potential(1)
        with torch.no_grad():
            for mine, theirs in zip(
                single.parameters(), potential.parameters(), strict=True
            ):
                mine.copy_(theirs[k : k + 1])
        alone = single.value_and_gradient(x[k : k + 1], t[k : k + 1])
        torch.testing.assert_close(alone, (u[k : k + 1], p[k : k + 1]))


@pytest.mark.parametrize("shape", [(), (1,), (N,), (1, N), (2, 1), (2, N)])
def test_time_is_broadcast_to_the_rows(shape):
    potential, x, t = _potential(2), _rows(2, N, D), torch.rand(shape)
    whole = potential.value_and_gradient(x, t.expand(2, N).contiguous())
    torch.testing.assert_close(potential.value_and_gradient(x, t), whole)


def test_gradient_comes_without_a_graph_too():
    potential, x, t = _potential(), _rows(1, N, D), torch.rand(1, N)
    with_graph = potential.value_and_gradient(x, t)
    with torch.no_grad():
        u, p = potential.value_and_gradient(x, t)
    assert not u.requires_grad
    assert not p.requires_grad
    torch.testing.assert_close((u, p), tuple(z.detach() for z in with_graph))
    assert not x.requires_grad


def test_flow_starts_near_the_identity_and_reset_puts_it_there():
    potential, x = Potential(D), _rows(1, 100, D)
    u, p = potential.value_and_gradient(x, torch.zeros(()))
    assert 0 < p.norm(dim=-1).max() < 0.1
    potential.reset()
    for zero in potential.value_and_gradient(x, torch.zeros(())):
        assert not zero.any()


def test_values_are_finite_far_away():
    x = 1e4 * _rows(1, 50, D)
    potential = _potential()
    u, p = potential.value_and_gradient(x, torch.ones(()))
    gradients = torch.autograd.grad(u.sum() + p.sum(), list(potential.parameters()))
    for z in (u, p, *gradients):
        assert z.isfinite().all()


def test_initial_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    weights = [
        [*Potential(D, generator=torch.Generator().manual_seed(seed)).parameters()]
        for seed in (5, 5, 6)
    ]
    for a, b, c in zip(*weights, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


class _Own(nn.Module):
    """The same network, written by a user: rows (n, d) and times (n,) to u."""

    def __init__(self, potential, column):
        super().__init__()
        self.inner, self.column = potential, column

    def forward(self, x, t):
        u = _formula(self.inner, x[None], t[None])[0]
        return u.unsqueeze(-1) if self.column else u


@pytest.mark.parametrize("column", [False, True])
def test_own_network_gives_the_same_numbers_through_autograd(column):
    potential = _potential()
    own = ModulePotential(_Own(potential, column))
    x, t = _rows(1, N, D), torch.rand(1, N)
    results = []
    for network, factor in ((potential, own.scale.item()), (own, 1.0)):
        u, p = (factor * z for z in network.value_and_gradient(x, t))
        total = (_rows(1, N, seed=1) * u).sum() + p.square().sum()
        gradients = torch.autograd.grad(total, list(potential.parameters()))
        results.append((u, p, *gradients))
    for ours, wanted in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted)


def test_own_network_leaves_no_graph_where_none_is_wanted():
    own, x = ModulePotential(_Own(_potential(), False)), _rows(1, N, D)
    for t in (torch.zeros(()), torch.rand(1, N)):
        with torch.no_grad():
            u, p = own.value_and_gradient(x, t)
        assert not u.requires_grad
        assert not p.requires_grad
    assert p.any()
    own.reset()
    assert not own(x, t).any()


def test_mean_potential_is_the_mean_of_its_members_and_its_gradient_theirs():
    members = _potential(n_potentials=3)
    mean, x, t = MeanPotential(members, 3), _rows(1, N, D), _rows(N, seed=1)
    u, p = mean.value_and_gradient(x, t)
    each = members.value_and_gradient(x.expand(3, -1, -1), t)
    torch.testing.assert_close(u, each[0].mean(0, keepdim=True))
    torch.testing.assert_close(p, each[1].mean(0, keepdim=True))
    torch.testing.assert_close(mean(x, t), u)
    mean.reset()
    assert (mean(x, t) == 0).all()


def test_without_gradients_blocks_of_rows_are_joined_in_order(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_SIZE", 1)  # blocks of 64 rows, the least
    potential, x, t = _potential(n_potentials=2), _rows(2, 150, D), _rows(150, seed=1)
    whole = potential.value_and_gradient(x, t)
    with torch.no_grad():
        joined = potential.value_and_gradient(x, t)
    for ours, wanted in zip(joined, whole, strict=True):
        torch.testing.assert_close(ours, wanted)


@pytest.mark.parametrize(
    ("make", "n"),
    [
        (lambda: _potential(2), 2),
        (lambda: MeanPotential(_potential(6), 3), 2),
        (lambda: ModulePotential(_Own(_potential(), False)), 1),
    ],
)
def test_multiplying_a_potential_multiplies_its_value_and_its_gradient(make, n):
    potential, x, t = make(), _rows(n, N, D), torch.rand(n, N)
    factor = torch.tensor([0.5, -2.0])[:n]
    before = potential.value_and_gradient(x, t)
    potential.multiply_by(factor)
    u, p = potential.value_and_gradient(x, t)
    torch.testing.assert_close(u, factor[:, None] * before[0])
    torch.testing.assert_close(p, factor[:, None, None] * before[1])
