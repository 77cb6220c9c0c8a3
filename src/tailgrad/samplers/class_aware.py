"""Class after class, a few examples of each."""

import torch
from torch import Generator, Tensor

from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies
from tailgrad.samplers.whole_number import whole


class ClassAwareSampler(EpochSampler):
    """Goes through the classes in random order, ``samples_per_class`` examples of each; N places an epoch.

    Over whole rounds ``q_k = 1 / K`` exactly. Every class goes through its own examples in a shuffled order,
    anew every epoch. Ranks take the order's places in turn.

    Args:
        target: class index of each example, [N].
        samples_per_class: examples before the next class comes, at least 1.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: Shen et al. 2016, arXiv 1512.05830; the cycle as in classifier-balancing's code (4 examples),
    whose epoch is K times the largest count. Here it is N, and a class repeats one shuffle within an epoch.

    Example:
        >>> target = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])
        >>> order = list(ClassAwareSampler(target, samples_per_class=1))
        >>> sorted(target[order[:3]].tolist()), len(order)
        ([0, 1, 2], 8)
    """

    def __init__(
        self,
        target: Target,
        *,
        samples_per_class: int = 4,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.samples_per_class = whole("samples_per_class", samples_per_class, 1)

    def order(self, generator: Generator) -> Tensor:
        """Rounds over the classes, cut off at N."""
        num_classes = len(self.index.counts)
        rounds = -(-self.size // (num_classes * self.samples_per_class))
        classes = torch.cat([torch.randperm(num_classes, generator=generator) for _ in range(rounds)])
        return self.index.deal(classes.repeat_interleave(self.samples_per_class)[: self.size], generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]: 1 / K."""
        return power_frequencies(self.index.counts, 0.0)
