"""Rare classes more often than common ones."""

from torch import Generator, Tensor

from tailgrad.checks import in_range, one_of
from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies

PER = ("class", "example")


class ReversedSampler(EpochSampler):
    """Draws with replacement, class k in proportion to ``n_k^-alpha``; N draws an epoch.

    With ``per="example"`` each *example* weighs ``n_k^-alpha``, so that class k comes in proportion to
    ``n_k^(1 - alpha)``: alpha = 1 is then class-balanced and no longer reversed.

    Args:
        target: class index of each example, [N].
        alpha: at least 0; how far to reverse.
        per: ``"class"`` or ``"example"``, what the weight belongs to.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: Zhou et al. 2020, arXiv 1912.02413 (BBN's second branch: per class, alpha 1). Park et al. 2022,
    arXiv 2112.00412 (CMO's foreground): the paper gives the class's probability (``"class"``, from memory),
    the released code gives the weights to examples (``"example"``).

    Example:
        >>> sampler = ReversedSampler([0] * 100 + [1] * 10 + [2])
        >>> [round(q, 6) for q in sampler.log_frequencies().exp().tolist()]
        [0.009009, 0.09009, 0.900901]
    """

    def __init__(
        self,
        target: Target,
        *,
        alpha: float = 1.0,
        per: str = "class",
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.alpha = in_range("alpha", alpha, 0)
        self.per = one_of("per", per, PER)
        self._log_frequencies = power_frequencies(self.index.counts, (per == "example") - alpha)

    def order(self, generator: Generator) -> Tensor:
        """Draws, [N]."""
        return self.index.draw(self._log_frequencies, self.size, generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]."""
        return self._log_frequencies
