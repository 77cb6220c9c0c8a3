"""Rare classes repeated."""

from torch import Generator, Tensor

from tailgrad.checks import in_range
from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler


class OverSampler(EpochSampler):
    """Random over-sampling: class k gets ``c_k = max(n_k, ceil(ratio max_j n_j))`` places.

    An epoch has ``sum_k c_k`` places. Every example comes at least once, and none of a class more than once
    more than another.

    Args:
        target: class index of each example, [N].
        ratio: of the largest class, 0 (nothing repeats) to 1 (all classes as large).
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: random over-sampling as commonly used; which examples repeat is usually left to chance altogether.

    Example:
        >>> sorted(OverSampler([0, 0, 0, 0, 1, 1]))
        [0, 1, 2, 3, 4, 4, 5, 5]
    """

    def __init__(
        self,
        target: Target,
        *,
        ratio: float = 1.0,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        least = (in_range("ratio", ratio, 0, 1) * self.index.counts.max().double()).ceil().long()
        self.places = self.index.counts.maximum(least)
        self.size = int(self.places.sum())

    def order(self, generator: Generator) -> Tensor:
        """Each class's places in random order, [sum_k c_k]."""
        return self.index.deal_counts(self.places, generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]: c_k / sum_j c_j."""
        return (self.places.double() / self.size).log()
