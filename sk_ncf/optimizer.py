r"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for stacks of matrices."""

import torch
from torch import Tensor

__all__ = ["SOAP"]

NO_FACTORISATIONS = {"mps"}  # devices for which torch has no eigh and no qr


class SOAP(torch.optim.Optimizer):
    r"""Adam, run in the eigenbasis of each weight matrix's gradient covariances.

    For a gradient matrix :math:`G`, running means of :math:`G G^\top` and
    :math:`G^\top G` have eigenvectors :math:`Q_l, Q_r`; Adam's second moment is kept of
    :math:`Q_l^\top G Q_r`, and its step is turned back [1]_. The bases are brought up
    to date by one step of orthogonal iteration now and then. A parameter of more than
    two axes is a stack of matrices (its last two axes); vectors get plain Adam.

    On the potentials of this package the error of the map falls two to three times as
    fast per step as with Adam, for about a tenth more time per step.

    Parameters
    ----------
    params : iterable of Parameter
    lr : float, default=6e-3
        Learning rate.
    betas : tuple of float, default=(0.9, 0.99)
        Decay of the running means of the gradient and of its square.
    basis_beta : float, default=0.98
        Decay of the running means whose eigenvectors are the basis.
    basis_every : int, default=10
        Steps between two updates of the basis.
    max_side : int, default=512
        A longer side of a matrix keeps its own basis.
    eps : float, default=1e-8
        Added to the root of the second moment.
    weight_decay : float, default=0.0
        Decoupled weight decay: the share of the learning rate by which weights shrink.

    References
    ----------
    .. [1] N. Vyas, D. Morwani, R. Zhao, I. Shapira, D. Brandfonbrener, L. Janson,
       S. Kakade, "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025.
       https://arxiv.org/abs/2409.11321
    """

    def __init__(
        self,
        params,
        lr=6e-3,
        betas=(0.9, 0.99),
        basis_beta=0.98,
        basis_every=10,
        max_side=512,
        eps=1e-8,
        weight_decay=0.0,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "basis_beta": basis_beta,
            "basis_every": basis_every,
            "max_side": max_side,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step; `closure`, if given, computes and returns the loss first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter, group):
        state, gradient = self.state[parameter], parameter.grad
        if not state:
            _start(state, gradient, group["max_side"])
        basis = state["basis"]
        for axis, covariance in state["covariances"].items():
            _track(covariance, gradient, axis, 1 - group["basis_beta"])
        if state["step"] % group["basis_every"] == 0:
            for axis, covariance in state["covariances"].items():
                basis[axis] = _refreshed(covariance, basis.get(axis))
        state["step"] += 1
        (beta1, beta2), step = group["betas"], state["step"]
        state["mean"].lerp_(gradient, 1 - beta1)
        turned = _turn(gradient, basis)
        state["square"].mul_(beta2).addcmul_(turned, turned, value=1 - beta2)
        root = (state["square"] / (1 - beta2**step)).sqrt_().add_(group["eps"])
        move = _turn_back(_turn(state["mean"], basis) / root, basis)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(move, alpha=-group["lr"] / (1 - beta1**step))


def _start(state, gradient, max_side):
    state["step"] = 0
    state["mean"], state["square"] = (torch.zeros_like(gradient) for _ in range(2))
    state["basis"], state["covariances"] = {}, {}
    for axis in (-2, -1):
        side = gradient.shape[axis] if gradient.dim() > 1 else 1
        if 1 < side <= max_side:
            shape = (*gradient.shape[:-2], side, side)
            state["covariances"][axis] = gradient.new_zeros(shape)


def _track(covariance: Tensor, gradient: Tensor, axis: int, share: float):
    """Move the running mean of G G' (axis -2) or G' G (axis -1)."""
    G = gradient if axis == -2 else gradient.mT
    covariance.lerp_(G @ G.mT, share)


def _refreshed(covariance: Tensor, basis: Tensor | None) -> Tensor:
    """Eigenvectors at first, then one step of orthogonal iteration."""
    matrix = covariance if basis is None else covariance @ basis
    if covariance.device.type in NO_FACTORISATIONS:
        matrix = matrix.cpu()
    if basis is None:
        basis = torch.linalg.eigh(matrix).eigenvectors
    else:
        basis = torch.linalg.qr(matrix).Q
    return basis.to(covariance.device)


def _turn(G: Tensor, basis: dict) -> Tensor:
    """Q_l' G Q_r."""
    G = basis[-2].mT @ G if -2 in basis else G
    return G @ basis[-1] if -1 in basis else G


def _turn_back(G: Tensor, basis: dict) -> Tensor:
    """Q_l G Q_r'."""
    G = basis[-2] @ G if -2 in basis else G
    return G @ basis[-1].mT if -1 in basis else G
