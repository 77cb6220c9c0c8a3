"""Classes drawn by the square root of their counts."""

from torch import Generator, Tensor

from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies


class SquareRootSampler(EpochSampler):
    """Draws with replacement, ``q_k = sqrt(n_k) / sum_j sqrt(n_j)``; N draws an epoch.

    Args:
        target: class index of each example, [N].
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: Kang et al. 2020, arXiv 1910.09217 (square-root, q = 1/2).

    Example:
        >>> sampler = SquareRootSampler([0] * 100 + [1] * 10 + [2])
        >>> [round(q, 6) for q in sampler.log_frequencies().exp().tolist()]
        [0.706101, 0.223289, 0.07061]
    """

    def order(self, generator: Generator) -> Tensor:
        """Draws, [N]."""
        return self.index.draw(self.log_frequencies(), self.size, generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]."""
        return power_frequencies(self.index.counts, 0.5)
