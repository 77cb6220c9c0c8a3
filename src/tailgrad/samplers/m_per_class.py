"""A few classes a batch, equally many examples of each."""

import torch
from torch import Generator, Tensor

from tailgrad.checks import InputError
from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.frequencies import power_frequencies
from tailgrad.samplers.whole_number import whole


class MPerClassSampler(EpochSampler):
    """Every batch holds ``batch_size / m`` classes, drawn anew, with m examples each: ``q_k = 1 / K``.

    The m examples differ where the class has as many. An epoch is N places, filled up to whole batches. Give
    the data loader the same ``batch_size``. Each rank gets whole batches; in all ranks' batches together a
    class has a multiple of m examples. Ranks that come short of a batch repeat one of the first.

    Args:
        target: class index of each example, [N].
        batch_size: examples of a batch, of one rank: a multiple of m, at most m K.
        m: examples of a class in a batch, at least 1.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, or a class has no example.

    Source: batches of metric learning, as pytorch-metric-learning's sampler of this name builds them.

    Example:
        >>> target = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
        >>> order = list(MPerClassSampler(target, batch_size=4, m=2))
        >>> [sorted(target[order[i : i + 4]].bincount(minlength=3).tolist()) for i in (0, 4, 8)]
        [[0, 2, 2], [0, 2, 2], [0, 2, 2]]
    """

    def __init__(
        self,
        target: Target,
        *,
        batch_size: int,
        m: int = 4,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.m = whole("m", m, 1)
        self.batch_size = self.block = whole("batch_size", batch_size, 1)
        most = m * len(self.index.counts)
        if batch_size % m or batch_size > most:
            raise InputError(
                f"batch_size must be a multiple of m={m} and at most m K = {most}, got {batch_size}; "
                "change either"
            )
        self.batches = -(-self.size // batch_size)
        self.size = self.batches * batch_size

    def order(self, generator: Generator) -> Tensor:
        """Batch after batch, [M batch_size]."""
        num_classes, chosen = len(self.index.counts), self.batch_size // self.m
        draws = [torch.randperm(num_classes, generator=generator)[:chosen] for _ in range(self.batches)]
        return self.index.deal(torch.cat(draws).repeat_interleave(self.m), generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]: 1 / K."""
        return power_frequencies(self.index.counts, 0.0)
