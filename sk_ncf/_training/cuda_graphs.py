"""Steps on a GPU, recorded once and replayed: a launch for hundreds of small kernels.

The matrices of a step are small, so that a GPU waits for Python to name its kernels. A
CUDA graph names them all at once. What is recorded must read no value on the CPU, and
must find its tensors where they were.
"""

import torch

from sk_ncf._flow.potential import Potential
from sk_ncf.costs._affine import AffineCost
from sk_ncf.costs._registry import COSTS
from sk_ncf.objectives._registry import OBJECTIVES

__all__ = ["LossGraph", "Recording"]

DEVICES = {"cuda"}
WARM_UP = 3  # calls: libraries set themselves up in the first ones


class Recording:
    """A function of tensors that stay where they are, replayed from the fourth call on.

    On another device than a GPU, and wherever a tensor has moved, it is called.
    """

    def __init__(self):
        self.key, self.n_calls, self.replay = None, 0, None

    def __call__(self, function, tensors, *constants):
        """What `function()` returns, of the values that `tensors` have now.

        Parameters
        ----------
        function : callable
            The same one as before, where neither tensors nor constants have changed.
        tensors : list of Tensor
            All that it reads and writes.
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
            return warmed_up(function, tensors[0].device)
        if self.replay is None:
            self.replay = recorded(function, tensors[0].device)
        return self.replay()


def warmed_up(function, device):
    """What `function()` returns, on another stream, as it will be recorded on one."""
    here, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        result = function()
    here.wait_stream(aside)
    return result


def recorded(function, device):
    """The function's kernels as a CUDA graph: what it returns is always the same tensors."""
    with torch.cuda.device(device):
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on with what they do on the GPU.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = function()

    def replay():
        graph.replay()
        return result

    return replay


class LossGraph:
    """Loss, terms and gradients of minibatches that are all of one shape.

    Parameters
    ----------
    net : NCFNet
        Initialised; its parameters stay where they are.
    """

    def __init__(self, net):
        self.module, self.criterion = net.module_, net.criterion_
        self.parameters = list(net.module_.parameters())
        self.recording, self.inputs = Recording(), {}

    @staticmethod
    def fits(net, device):
        """Whether a step is known to read no value: no code of the user's is in it."""
        cost = net.module_.flow.cost
        while isinstance(cost, AffineCost):
            cost = cost.cost
        return (
            type(cost) in COSTS.values()
            and type(net.module_.objective) in OBJECTIVES.values()
            and device.type in DEVICES
            and isinstance(net.module_.flow.potential, Potential)
        )

    def __call__(self, inputs):
        """Loss and terms of the minibatch; the parameters get their gradients."""
        for name, value in inputs.items():
            if name not in self.inputs or self.inputs[name].shape != value.shape:
                self.inputs[name] = value.clone()
            else:
                self.inputs[name].copy_(value)
        tensors = [*self.parameters, *self.inputs.values()]
        loss, terms, gradients = self.recording(
            self._run, tensors, *self.module.objective.get_params(deep=False).values()
        )
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        return loss.clone(), terms  # the next minibatch overwrites it

    def _run(self):
        with torch.enable_grad():
            terms = self.module(**self.inputs)
            loss = self.criterion(terms, None)
            gradients = torch.autograd.grad(loss, self.parameters)
        # Nothing is to keep the graph of gradients alive, which knows its stream.
        terms = {name: term.detach() for name, term in terms.items()}
        return loss.detach(), terms, gradients
