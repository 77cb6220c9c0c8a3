"""Common classes cut down."""

from torch import Generator, Tensor

from tailgrad.checks import in_range
from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler


class UnderSampler(EpochSampler):
    """Random under-sampling: class k gives ``c_k = min(n_k, floor(ratio min_j n_j))`` examples.

    An epoch has ``sum_k c_k`` places and no example twice; which examples is drawn anew every epoch.

    Args:
        target: class index of each example, [N].
        ratio: of the smallest class, at least 1 (all classes as small).
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: random under-sampling; usually drawn once, here every epoch, so that all are seen in time.

    Example:
        >>> target = [0, 0, 0, 0, 1, 1]
        >>> sorted(target[i] for i in UnderSampler(target))
        [0, 0, 1, 1]
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
        most = (in_range("ratio", ratio, 1) * self.index.counts.min().double()).floor().long()
        self.places = self.index.counts.minimum(most)
        self.size = int(self.places.sum())

    def order(self, generator: Generator) -> Tensor:
        """Each class's examples in random order, [sum_k c_k]."""
        return self.index.deal_counts(self.places, generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]: c_k / sum_j c_j."""
        return (self.places.double() / self.size).log()
