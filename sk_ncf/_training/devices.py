"""Where training runs: on which device, and in how many processes."""

import torch

__all__ = [
    "check_accelerator",
    "drawn",
    "objective_of",
    "place",
    "rank_and_size",
    "resolve_device",
    "training_device",
]


def resolve_device(device):
    """The torch device of a name; "auto" is "cuda" where there is one, else "cpu".

    Not "mps": the matrices are small, and float64 is not known there.

    Raises
    ------
    ValueError
        If this machine has no such device, or torch does not know the name.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        # Some devices that torch knows by name hold no value.
        torch.zeros(1, dtype=torch.float32, device=found).item()
    except (AssertionError, ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            "device must be 'auto' or a torch device of this machine ('cpu', 'cuda', "
            f"'mps', ...), got {str(device)!r}: {reason}"
        ) from None
    return found


def training_device(template, device):
    """The device of `device`, or that of the accelerator of the user's net."""
    accelerator = getattr(template, "accelerator", None)
    return resolve_device(device) if accelerator is None else accelerator.device


def rank_and_size(net):
    """Number of this process among those that train together, and how many they are."""
    accelerator = getattr(net, "accelerator", None)
    if accelerator is None:
        return 0, 1
    return accelerator.process_index, accelerator.num_processes


def check_accelerator(net, random_state):
    """Raise where the accelerator of the user's net cannot be used as it is set."""
    accelerator = getattr(net, "accelerator", None)
    if accelerator is None:
        return
    if accelerator.mixed_precision != "no":
        raise ValueError(
            "The accelerator of net must have mixed_precision='no', got "
            f"{accelerator.mixed_precision!r}: the clip would meet scaled gradients."
        )
    if accelerator.gradient_accumulation_steps != 1:
        raise ValueError(
            "The accelerator of net must have gradient_accumulation_steps=1, got "
            f"{accelerator.gradient_accumulation_steps}: set batch_size instead."
        )
    if accelerator.num_processes > 1 and random_state is None:
        raise ValueError(
            "random_state must be the same integer in all processes that train "
            "together, got None: they hold the same rows out."
        )


def drawn(sampler, **options):
    """What takes the place of a data loader: the sampler, which has placed its rows.

    An accelerator leaves it as it is, where of a loader it would deal every minibatch
    out to the processes. These draw minibatches of their own.
    """
    return sampler


def objective_of(net):
    """The net's objective, out of what several processes wrap it in."""
    return getattr(net.module_, "module", net.module_)


def place(net, device):
    """Move all that a net has learnt; at rest that is on the CPU, where any machine reads it.

    Parameters
    ----------
    net : skorch.NeuralNet
        Initialised.
    device : torch.device
    """
    objective_of(net).to(device)
    if isinstance(net.criterion_, torch.nn.Module):  # the user's own
        net.criterion_.to(device)
    state = net.optimizer_.state
    for parameter in state:
        state[parameter] = _moved(state[parameter], device)
    for _, callback in net.callbacks_:
        for name in getattr(callback, "placed", ()):
            setattr(callback, name, _moved(getattr(callback, name), device))
    net.device = str(device)


def _moved(value, device):
    """A tensor, or a collection of collections of them, on the device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value
