"""Every class drawn as often as any other."""

from torch import Generator, Tensor

from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies


class ClassBalancedSampler(EpochSampler):
    """Draws with replacement, every class as often: ``q_k = 1 / K``; N draws an epoch.

    Args:
        target: class index of each example, [N].
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: Kang et al. 2020, arXiv 1910.09217 (class-balanced, q = 0). Class weights and logit priors would
    correct the same prior again.

    Example:
        >>> sampler = ClassBalancedSampler([0] * 100 + [1] * 10 + [2])
        >>> [round(q, 6) for q in sampler.log_frequencies().exp().tolist()]
        [0.333333, 0.333333, 0.333333]
    """

    def order(self, generator: Generator) -> Tensor:
        """Draws, [N]."""
        return self.index.draw(self.log_frequencies(), self.size, generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]."""
        return power_frequencies(self.index.counts, 0.0)
