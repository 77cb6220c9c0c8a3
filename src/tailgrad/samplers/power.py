"""Classes drawn by a power of their counts."""

from torch import Generator, Tensor

from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies


class PowerSampler(EpochSampler):
    """Draws with replacement, class k with ``q_k = n_k^power / sum_j n_j^power``; N draws an epoch.

    Args:
        target: class index of each example, [N].
        power: 1 natural, 0.5 square root, 0 class-balanced; below 0 rare classes come more often than common
            ones.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: Kang et al. 2020, arXiv 1910.09217 eq 1 (their code: classifier-balancing).

    Example:
        >>> sampler = PowerSampler([0] * 100 + [1] * 10 + [2], power=0.5)
        >>> [round(q, 6) for q in sampler.log_frequencies().exp().tolist()]
        [0.706101, 0.223289, 0.07061]
    """

    def __init__(
        self,
        target: Target,
        *,
        power: float = 1.0,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.power = power
        self._log_frequencies = power_frequencies(self.index.counts, power)

    def order(self, generator: Generator) -> Tensor:
        """Draws, [N]."""
        return self.index.draw(self._log_frequencies, self.size, generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]."""
        return self._log_frequencies
