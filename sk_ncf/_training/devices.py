"""The device of the training, and the processes that train together."""

from typing import TYPE_CHECKING, Any

import torch
from skorch import NeuralNet
from torch import Tensor, nn

from sk_ncf._flow.fork_safety import gpu_lost_by_fork
from sk_ncf._inputs.types import Device, Seed

if TYPE_CHECKING:
    from sk_ncf._training.minibatches import PairSampler
    from sk_ncf._training.objective import MinibatchLoss

__all__ = [
    "check_accelerator",
    "move_to_device",
    "rank_and_size",
    "resolve_device",
    "sampler_as_iterator",
    "training_device",
    "unwrapped_module",
]


def resolve_device(device: Device) -> torch.device:
    """The torch device of a name; "auto" is "cuda" if there is one, else "cpu".

    "auto" is never "mps": the matrices are small, and that device has no float64. In a
    fork of a process that has used the GPU, "auto" is "cpu".

    Raises
    ------
    ValueError
        If this machine has no such device, if torch does not know the name, or if the
        process is a fork that cannot use the GPU.
    """
    if isinstance(device, str) and device == "auto":
        usable = torch.cuda.is_available() and not gpu_lost_by_fork()
        return torch.device("cuda" if usable else "cpu")
    if str(device).startswith("cuda") and gpu_lost_by_fork():
        raise ValueError(
            f"device must be 'auto' or 'cpu' here, got {str(device)!r}: this process was "
            "forked from one that had used the GPU, and CUDA cannot be initialized again. "
            "Start it with the method 'spawn' to use the GPU."
        )
    try:
        found = torch.device(device)
        # "meta" is a device for torch, with tensors that have no values.
        torch.zeros(1, dtype=torch.float32, device=found).item()
    except (AssertionError, ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            "device must be 'auto' or a torch device of this machine ('cpu', 'cuda', "
            f"'mps', ...), got {str(device)!r}: {reason}"
        ) from None
    return found


def training_device(template: NeuralNet | None, device: Device) -> torch.device:
    """The device of the accelerator of the user's net, or else `device`."""
    accelerator = getattr(template, "accelerator", None)
    return resolve_device(device) if accelerator is None else accelerator.device


def rank_and_size(net: NeuralNet) -> tuple[int, int]:
    """Rank of this process, and the number of processes that train together."""
    accelerator = getattr(net, "accelerator", None)
    if accelerator is None:
        return 0, 1
    return accelerator.process_index, accelerator.num_processes


def check_accelerator(net: NeuralNet | None, random_state: Seed) -> None:
    """Raise ValueError if the settings of the net's accelerator are not supported."""
    accelerator = getattr(net, "accelerator", None)
    if accelerator is None:
        return
    if accelerator.mixed_precision != "no":
        raise ValueError(
            "The accelerator of skorch_net must have mixed_precision='no', got "
            f"{accelerator.mixed_precision!r}: gradients are clipped, and scaled "
            "gradients would be clipped too much."
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            "The accelerator of skorch_net must have gradient_accumulation_steps=1, got "
            f"{accelerator.gradient_accumulation_steps}: set batch_size instead."
        )
    if accelerator.num_processes > 1 and random_state is None:
        raise ValueError(
            "random_state must be the same integer in all processes that train "
            "together, got None: they must hold out the same rows."
        )


def sampler_as_iterator(sampler: "PairSampler", **options: Any) -> "PairSampler":
    """What skorch builds instead of a data loader: the sampler itself.

    An accelerator would divide the minibatches of a data loader among the processes.
    Here every process draws its own minibatches, and the sampler has moved them to the
    device already.
    """
    return sampler


def unwrapped_module(net: NeuralNet) -> "MinibatchLoss":
    """The net's module, without the wrapper in which several processes train it."""
    return getattr(net.module_, "module", net.module_)


def move_to_device(net: NeuralNet, device: torch.device) -> None:
    """Move weights, optimizer state and the tensors of the callbacks to a device.

    After training that is the CPU, so that a fitted net can be opened on any machine. A
    callback names its tensors in the class attribute `device_attributes`.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialised.
    device : torch.device
    """
    unwrapped_module(net).to(device)
    if isinstance(net.criterion_, nn.Module):  # the user's own
        net.criterion_.to(device)
    state = net.optimizer_.state
    for parameter in state:
        state[parameter] = _moved(state[parameter], device)
    for _, callback in net.callbacks_:
        for name in getattr(callback, "device_attributes", ()):
            setattr(callback, name, _moved(getattr(callback, name), device))
    net.device = str(device)


def _moved(value: Any, device: torch.device) -> Any:
    """A tensor, or nested collections of tensors, on the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value
