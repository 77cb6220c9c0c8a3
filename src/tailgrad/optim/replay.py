"""Further passes over a batch that leave no trace: same random numbers, other weights, state put back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tailgrad.interference.buffers import buffers_kept
from tailgrad.losses import frozen


class Draws:
    """Where torch's random generators stand now, on the CPU and on the CUDA devices of ``parameters``.

    Args:
        parameters: any tensors.

    Example:
        >>> draws = Draws([torch.zeros(1)])
        >>> first = torch.rand(3)
        >>> with draws.again():
        ...     second = torch.rand(3)
        >>> torch.equal(first, second)
        True
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._devices = sorted({p.device.index for p in parameters if p.is_cuda})
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, random numbers are drawn from there; afterwards they go on as if nothing had been drawn."""
        with torch.random.fork_rng(devices=self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield


@contextmanager
def replay(model: nn.Module, draws: Draws) -> Iterator[None]:
    """Inside, passes repeat the random numbers of ``draws``; no buffer of ``model`` and no loss moves.

    BatchNorm normalises with the batch all the same; its running statistics and their count are put back.

    Args:
        model: its buffers hold afterwards what they held before.
        draws: taken before the pass that is repeated.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with replay(norm, Draws([])):
        ...     out = norm(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        >>> out[1].detach().round(decimals=3), int(norm.num_batches_tracked)
        (tensor([1., 1.]), 0)
    """
    with frozen(), buffers_kept(model), draws.again():
        yield


@contextmanager
def moved(parameters: Sequence[Tensor], direction: Sequence[Tensor | None], length: float) -> Iterator[None]:
    """Inside, each parameter holds ``w + length * direction``; afterwards ``w``, bit for bit.

    Args:
        parameters: changed in place.
        direction: one tensor a parameter, None for none.
        length: factor on the direction.

    Example:
        >>> w = torch.tensor([0.1])
        >>> with moved([w], [torch.tensor([2.0])], 0.5):
        ...     float(w)
        1.100000023841858
        >>> float(w)
        0.10000000149011612
    """
    pairs = [(p.detach(), d) for p, d in zip(parameters, direction, strict=True) if d is not None]
    inside, kept = [p for p, _ in pairs], [p.clone() for p, _ in pairs]
    try:
        if pairs:
            torch._foreach_add_(inside, [d for _, d in pairs], alpha=length)
        torch.clear_autocast_cache()  # an autocast around the step would go on with the weights it has cast
        yield
    finally:
        if pairs:
            torch._foreach_copy_(inside, kept)
        torch.clear_autocast_cache()
