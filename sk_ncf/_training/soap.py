r"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, for stacks of matrices."""

from functools import partial

import torch
from torch import Tensor

from sk_ncf._training.cuda_graphs import Recording

__all__ = ["SOAP"]

CONSTANTS = ("betas", "basis_beta", "eps", "weight_decay")
NO_FACTORISATIONS = {"mps"}  # devices for which torch has no eigh and no qr
FEW_ROWS = 160  # of a matrix, which a GPU takes longer to factorise than a CPU


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

    _recording = None  # of a step on a GPU; no part of the state

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step; `closure`, if given, computes and returns the loss first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        parts = [
            (parameter, self.state[parameter], group)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        for part in parts:
            _advance(*part)
        update = partial(_update, parts)
        if not parts or any(_is_due(state, group) for _, state, group in parts):
            update()  # a factorisation waits for the device
        else:
            self._recording = self._recording or Recording()
            tensors = [tensor for part in parts for tensor in _tensors(*part)]
            constants = [g[name] for g in self.param_groups for name in CONSTANTS]
            self._recording(update, tensors, *constants)
        return loss


def _advance(parameter, state, group):
    """Count the step; start with the first."""
    if not state:
        _start(state, parameter.grad, group["max_side"])
    state["step"] += 1
    (beta1, beta2), step = group["betas"], state["step"]
    values = {
        "rate": group["lr"] / (1 - beta1**step),
        "correction": 1 - beta2**step,
        "shrink": 1 - group["lr"] * group["weight_decay"],
    }
    for name, value in values.items():
        state[name].fill_(value)


def _is_due(state, group):
    """Whether the basis is brought up to date in this step."""
    return (state["step"] - 1) % group["basis_every"] == 0


def _tensors(parameter, state, group):
    """All tensors that a step reads or writes."""
    own = [value for value in state.values() if isinstance(value, Tensor)]
    factors = [*state["covariances"].values(), *state["basis"].values()]
    return [parameter, parameter.grad, *own, *factors]


def _update(parts):
    for parameter, state, group in parts:
        gradient, basis, beta1, beta2 = parameter.grad, state["basis"], *group["betas"]
        for axis, covariance in state["covariances"].items():
            _track(covariance, gradient, axis, 1 - group["basis_beta"])
        if _is_due(state, group):
            _refresh(basis, state["covariances"])
        state["mean"].lerp_(gradient, 1 - beta1)
        turned = _turn(gradient, basis)
        state["square"].mul_(beta2).addcmul_(turned, turned, value=1 - beta2)
        root = (state["square"] / state["correction"]).sqrt_().add_(group["eps"])
        move = _turn_back(_turn(state["mean"], basis) / root, basis)
        if group["weight_decay"]:
            parameter.mul_(state["shrink"])
        parameter.addcmul_(move, state["rate"], value=-1)


def _start(state, gradient, max_side):
    state["step"] = 0
    state["mean"], state["square"] = (torch.zeros_like(gradient) for _ in range(2))
    # Numbers of the step, where the device finds them.
    for name in ("rate", "correction", "shrink"):
        state[name] = gradient.new_empty(())
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


def _refresh(basis: dict, covariances: dict):
    """Eigenvectors at first, then one step of orthogonal iteration, in place."""
    for axis, covariance in covariances.items():
        first = axis not in basis
        matrix = covariance if first else covariance @ basis[axis]
        few = matrix.is_cuda and matrix.shape[-1] <= FEW_ROWS
        if few or matrix.device.type in NO_FACTORISATIONS:
            matrix = matrix.cpu()
        if first:
            found = torch.linalg.eigh(matrix).eigenvectors
            basis[axis] = found.to(covariance.device)
        else:
            basis[axis].copy_(torch.linalg.qr(matrix).Q)


def _turn(G: Tensor, basis: dict) -> Tensor:
    """Q_l' G Q_r."""
    G = basis[-2].mT @ G if -2 in basis else G
    return G @ basis[-1] if -1 in basis else G


def _turn_back(G: Tensor, basis: dict) -> Tensor:
    """Q_l G Q_r'."""
    G = basis[-2] @ G if -2 in basis else G
    return G @ basis[-1].mT if -1 in basis else G
