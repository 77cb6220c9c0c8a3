"""From class-balanced to natural sampling."""

from torch import Generator, Tensor

from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies
from tailgrad.samplers.schedule import done
from tailgrad.samplers.whole_number import whole


class CooldownSampler(EpochSampler):
    """Draws with replacement, class k in proportion to ``n_k^(1 / tau)``; N draws an epoch.

    ``1 / tau`` goes from 0 (class-balanced) in epoch 1 to 1 (natural) in the last, evenly. ``correction()``
    is that of the last epoch: zeros.

    Args:
        target: class index of each example, [N].
        epochs: epochs of the training, at least 1 (a single one is natural); later ones stay natural.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: cooldown of the sampling temperature, general knowledge; the schedule of 1 / tau is assumed.

    Example:
        >>> sampler = CooldownSampler([0] * 100 + [1] * 10 + [2], epochs=3)
        >>> sampler.set_epoch(2)
        >>> [round(q, 6) for q in sampler.log_frequencies_now().exp().tolist()]
        [0.706101, 0.223289, 0.07061]
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
        """Log q_k [K] of the epoch that was set."""
        return power_frequencies(self.index.counts, done(self.epoch, self.epochs))

    def log_frequencies(self) -> Tensor:
        """Log q_k [K] of the last epoch: pi_k."""
        return power_frequencies(self.index.counts, 1.0)
