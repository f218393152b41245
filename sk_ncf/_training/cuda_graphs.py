"""Training steps on a GPU as CUDA graphs: hundreds of small kernels, launched at once.

The matrices of a step are small. Without a graph, a GPU waits for Python to launch each
kernel. A captured function must not read a value on the CPU, and its tensors must stay
at the same place in memory.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from skorch import NeuralNet
from torch import Tensor

from sk_ncf._flow.potential import Potential
from sk_ncf._training.devices import unwrapped_module
from sk_ncf.costs._affine import AffineCost
from sk_ncf.costs._registry import COSTS
from sk_ncf.objectives._registry import OBJECTIVES

if TYPE_CHECKING:
    from sk_ncf._training.net import NCFNet

__all__ = ["GraphedFunction", "LossGraph", "runs_package_code_only"]

DEVICES = {"cuda"}
WARM_UP = 3  # plain calls before the capture, in which libraries initialise themselves


class GraphedFunction:
    """Calls a function, from the fourth call on by replaying a CUDA graph of it.

    The function is called without a graph on other devices than a GPU. If a tensor has
    moved in memory or a constant has changed, the capture starts again.
    """

    def __init__(self) -> None:
        self.key: object = None
        self.n_calls = 0
        self.replay: Callable[[], Any] | None = None

    def __call__(
        self, function: Callable[[], Any], tensors: Sequence[Tensor], *constants: Any
    ) -> Any:
        """The value of ``function()`` for the present values of `tensors`.

        Parameters
        ----------
        function : callable
            The same as in the last call if tensors and constants are the same.
        tensors : list of Tensor
            All tensors that the function reads or writes.
        *constants
            All numbers that it reads.
        """
        if tensors[0].device.type not in DEVICES:
            return function()
        key = constants, [tensor.data_ptr() for tensor in tensors]
        if key != self.key:
            self.key, self.n_calls, self.replay = key, 0, None
        self.n_calls += 1
        if self.n_calls <= WARM_UP:
            return call_on_side_stream(function, tensors[0].device)
        if self.replay is None:
            self.replay = capture_graph(function, tensors[0].device)
        return self.replay()


def call_on_side_stream(function: Callable[[], Any], device: torch.device) -> Any:
    """The value of ``function()``, computed on a separate stream, as in a capture."""
    current, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        result = function()
    current.wait_stream(side)
    return result


def capture_graph(
    function: Callable[[], Any], device: torch.device
) -> Callable[[], Any]:
    """The function as a CUDA graph, which returns the same tensors in every call."""
    with torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        # "thread_local": other threads may use the GPU during the capture.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = function()

    def replay() -> Any:
        graph.replay()
        return result

    return replay


def runs_package_code_only(net: NeuralNet) -> bool:
    """Whether network, cost and objective of an initialised net are the package's."""
    cost = unwrapped_module(net).flow.cost
    while isinstance(cost, AffineCost):
        cost = cost.cost
    return (
        type(cost) in COSTS.values()
        and type(unwrapped_module(net).objective) in OBJECTIVES.values()
        and isinstance(unwrapped_module(net).flow.potential, Potential)
    )


class LossGraph:
    """Loss, terms and gradients of minibatches that have the same shape.

    Parameters
    ----------
    net : NCFNet
        Initialised; its parameters must stay at the same place in memory.
    """

    def __init__(self, net: "NCFNet") -> None:
        self.module, self.criterion = net.module_, net.criterion_
        self.parameters: list[Tensor] = list(net.module_.parameters())
        self.graphed = GraphedFunction()
        self.inputs: dict[str, Tensor] = {}

    @staticmethod
    def is_supported(net: "NCFNet", device: torch.device) -> bool:
        """Whether a step surely reads no value: it runs no code of the user's."""
        return runs_package_code_only(net) and device.type in DEVICES

    def __call__(self, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and terms of the minibatch; sets the gradients of the parameters."""
        for name, value in inputs.items():
            if name not in self.inputs or self.inputs[name].shape != value.shape:
                self.inputs[name] = value.clone()
            else:
                self.inputs[name].copy_(value)
        tensors = [*self.parameters, *self.inputs.values()]
        loss, terms, gradients = self.graphed(
            self._run, tensors, *self.module.objective.get_params(deep=False).values()
        )
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss.clone(), terms  # the next minibatch overwrites the loss

    def _run(self) -> tuple[Tensor, dict[str, Tensor], tuple[Tensor, ...]]:
        with torch.enable_grad():
            terms = self.module(**self.inputs)
            loss = self.criterion(terms, None)
            gradients = torch.autograd.grad(loss, self.parameters)
        # The autograd graph refers to its stream and must not outlive the capture.
        terms = {name: term.detach() for name, term in terms.items()}
        return loss.detach(), terms, gradients
