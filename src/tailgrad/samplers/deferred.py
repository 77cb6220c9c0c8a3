"""Natural sampling first, class-balanced sampling from some epoch on."""

import torch
from torch import Generator, Tensor

from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies
from tailgrad.samplers.whole_number import whole


class DeferredSampler(EpochSampler):
    """Epochs 1 ... ``defer`` are shuffles; afterwards N draws with replacement, ``q_k = 1 / K``.

    ``correction()`` is that of the balanced epochs.

    Args:
        target: class index of each example, [N].
        defer: natural epochs, at least 0.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: Cao et al. 2019, arXiv 1906.07413, deferred re-sampling (DRS); 160 of 200 epochs as in their code.

    Example:
        >>> sampler = DeferredSampler([0, 0, 0, 1], defer=1)
        >>> sorted(sampler)
        [0, 1, 2, 3]
    """

    def __init__(
        self,
        target: Target,
        *,
        defer: int = 160,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.defer = whole("defer", defer, 0)

    def order(self, generator: Generator) -> Tensor:
        """A permutation or draws, [N]."""
        if self.epoch <= self.defer:
            return torch.randperm(self.size, generator=generator)
        return self.index.draw(self.log_frequencies(), self.size, generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K] after the switch: 1 / K."""
        return power_frequencies(self.index.counts, 0.0)
