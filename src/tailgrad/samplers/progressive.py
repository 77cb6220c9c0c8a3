"""From natural to class-balanced sampling."""

import torch
from torch import Generator, Tensor

from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies
from tailgrad.samplers.schedule import done
from tailgrad.samplers.whole_number import whole


class ProgressiveSampler(EpochSampler):
    """Draws with replacement, class k with ``q_k(t) = (1 - t) pi_k + t / K``; N draws an epoch.

    t goes from 0 in epoch 1 to 1 in the last, evenly. ``correction()`` is that of the last epoch.

    Args:
        target: class index of each example, [N].
        epochs: epochs of the training, at least 1 (a single one is class-balanced); later ones stay balanced.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: Kang et al. 2020, arXiv 1910.09217 eq 2; t by epoch as in their code (``linspace(0, 1, epochs)``).

    Example:
        >>> sampler = ProgressiveSampler([0] * 100 + [1] * 10 + [2], epochs=3)
        >>> sampler.set_epoch(2)
        >>> [round(q, 6) for q in sampler.log_frequencies_now().exp().tolist()]
        [0.617117, 0.211712, 0.171171]
    """

    def __init__(
        self,
        target: Target,
        *,
        epochs: int,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.epochs = whole("epochs", epochs, 1)

    def order(self, generator: Generator) -> Tensor:
        """Draws, [N]."""
        return self.index.draw(self.log_frequencies_now(), self.size, generator)

    def log_frequencies_now(self) -> Tensor:
        """Log q_k(t) [K] of the epoch that was set."""
        t = done(self.epoch, self.epochs)
        natural, balanced = (power_frequencies(self.index.counts, power).exp() for power in (1.0, 0.0))
        return torch.lerp(natural, balanced, t).log()

    def log_frequencies(self) -> Tensor:
        """Log q_k [K] of the last epoch: 1 / K."""
        return power_frequencies(self.index.counts, 0.0)
