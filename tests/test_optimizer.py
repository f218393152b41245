"""SOAP: Adam where there is nothing to rotate, and the same whatever the rotation."""

import pytest
import torch

from sk_ncf._training.soap import SOAP

pytestmark = pytest.mark.usefixtures("float64")


def _noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _steps(optimizer, parameter, gradients):
    """The parameter after each step."""
    out = []
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
        out.append(parameter.detach().clone())
    return torch.stack(out)


def _soap(start, gradients, **options):
    parameter = torch.nn.Parameter(start.clone())
    return _steps(SOAP([parameter], lr=0.1, **options), parameter, gradients)


@pytest.mark.parametrize(
    ("shape", "options"), [((7,), {}), ((3, 4), {"max_side": 1}), ((1, 1), {})]
)
def test_without_a_basis_to_turn_to_it_is_adam(shape, options):
    start, gradients = _noise(*shape), _noise(25, *shape, seed=1)
    adam = torch.nn.Parameter(start.clone())
    wanted = _steps(
        torch.optim.Adam([adam], lr=0.1, betas=(0.6, 0.95)), adam, gradients
    )
    torch.testing.assert_close(_soap(start, gradients, **options), wanted)


def test_turning_the_gradients_turns_the_steps():
    start, gradients = torch.zeros(2, 4, 5), _noise(25, 2, 4, 5)
    left = torch.linalg.qr(_noise(4, 4, seed=2)).Q
    right = torch.linalg.qr(_noise(5, 5, seed=3)).Q
    turned = _soap(left @ start @ right, left @ gradients @ right)
    torch.testing.assert_close(turned, left @ _soap(start, gradients) @ right)


def test_matrices_of_a_stack_do_not_see_each_other():
    start, gradients = _noise(3, 4, 5), _noise(25, 3, 4, 5, seed=1)
    stacked = _soap(start, gradients)
    for k in range(3):
        torch.testing.assert_close(stacked[:, k], _soap(start[k], gradients[:, k]))


def test_first_step_has_the_learning_rate_as_its_spectral_size():
    """The bases are the gradient's singular vectors: every singular value becomes 1."""
    gradient = _noise(1, 4, 4)
    step = _soap(torch.zeros(4, 4), gradient)[0]
    sizes = torch.linalg.svdvals(step)
    torch.testing.assert_close(sizes, torch.full((4,), 0.1), rtol=1e-5, atol=0.0)


def test_ill_conditioned_least_squares_are_solved():
    scales = torch.logspace(0, -2, 6)
    left, right = (torch.linalg.qr(_noise(6, 6, seed=s)).Q for s in (4, 5))
    A, wanted = left * scales @ right, _noise(6, 3, seed=6)
    x = torch.nn.Parameter(torch.zeros(6, 3))
    optimizer = SOAP([x], lr=0.1)
    for step in range(1500):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 1500)
        x.grad = A.mT @ (A @ (x.detach() - wanted))
        optimizer.step()
    torch.testing.assert_close(x.detach(), wanted, rtol=0.0, atol=1e-3)


def test_weight_decay_shrinks_by_its_share_of_the_learning_rate():
    start, still = _noise(3, 4), torch.zeros(1, 3, 4)
    shrunk = _soap(start, still, weight_decay=0.5)[0]
    torch.testing.assert_close(shrunk, start * (1 - 0.1 * 0.5))


def test_a_restored_state_goes_on_as_if_nothing_had_happened():
    start, gradients = _noise(3, 4), _noise(30, 3, 4, seed=1)
    wanted = _soap(start, gradients)
    first = torch.nn.Parameter(start.clone())
    optimizer = SOAP([first], lr=0.1)
    _steps(optimizer, first, gradients[:13])
    second = torch.nn.Parameter(first.detach().clone())
    restored = SOAP([second], lr=0.5)
    restored.load_state_dict(optimizer.state_dict())
    torch.testing.assert_close(_steps(restored, second, gradients[13:]), wanted[13:])


def test_closure_is_evaluated_and_its_loss_returned():
    x = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = SOAP([x], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert optimizer.step(closure).item() < 4.0
