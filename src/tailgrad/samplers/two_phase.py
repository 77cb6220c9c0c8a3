"""A balanced part of the data first, then all of it."""

import torch
from torch import Generator, Tensor

from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies
from tailgrad.samplers.whole_number import whole


class TwoPhaseSampler(EpochSampler):
    """Epochs 1 ... ``phase`` know ``min(n_k, per_class)`` examples of each class only, later ones all.

    Which ones depends on the seed alone. They are gone through again and again, so that an epoch has N
    places in both phases and schedules counted in steps need not know of them. ``correction()`` is that of
    the second phase: zeros.

    Args:
        target: class index of each example, [N].
        phase: epochs on the subset, at least 0.
        per_class: examples of a class in the subset, at least 1; None takes the size of the smallest class,
            which makes the subset balanced.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: two-phase training, general knowledge; repeating the subset up to N places is ours.

    Example:
        >>> sampler = TwoPhaseSampler([0, 0, 0, 0, 1, 1], phase=1)
        >>> first = set(sampler)
        >>> sampler.set_epoch(2)
        >>> len(first), len(set(sampler))
        (4, 6)
    """

    def __init__(
        self,
        target: Target,
        *,
        phase: int,
        per_class: int | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.phase = whole("phase", phase, 0)
        smallest = int(self.index.counts.min())
        self.per_class = smallest if per_class is None else whole("per_class", per_class, 1)

    def subset(self) -> Tensor:
        """Examples of the first phase, in no order."""
        return self.index.deal_counts(self.index.counts.clamp(max=self.per_class), self._generator(0))

    def order(self, generator: Generator) -> Tensor:
        """Passes over the subset, or a permutation of all; [N]."""
        if self.epoch > self.phase:
            return torch.randperm(self.size, generator=generator)
        known = self.subset()
        passes = -(-self.size // len(known))
        turns = [torch.randperm(len(known), generator=generator) for _ in range(passes)]
        return known[torch.cat(turns)[: self.size]]

    def log_frequencies(self) -> Tensor:
        """Log q_k [K] of the second phase: pi_k."""
        return power_frequencies(self.index.counts, 1.0)
