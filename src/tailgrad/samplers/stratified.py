"""Every batch holds every class."""

import torch
from torch import Generator, Tensor

from tailgrad.checks import InputError
from tailgrad.samplers.class_index import Target
from tailgrad.samplers.epoch_sampler import EpochSampler
from tailgrad.samplers.whole_number import whole


class StratifiedSampler(EpochSampler):
    """Batch binding: every batch holds at least one example of every class, the rest as in the data.

    With M batches an epoch class k gets ``c_k = max(M, lambda n_k)`` places, lambda such that
    ``sum_k c_k = M batch_size``, and each batch ``c_k / M`` of them, rounded down or up. Where no class is
    rarer than one a batch that is the natural prior; otherwise rare classes repeat and ``correction()`` says
    so. An epoch is N places, filled up to whole batches. Give the data loader the same ``batch_size``; each
    rank gets whole batches, so that its own batch and all ranks' together keep the property. Ranks that come
    short of a batch repeat one of the first.

    Args:
        target: class index of each example, [N].
        batch_size: examples of a batch, of one rank; at least K.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit, a class has no example, or there are more classes than places.

    Source: batch binding, general knowledge; the shares are ours.

    Example:
        >>> target = torch.tensor([0] * 13 + [1] * 2 + [2])
        >>> order = list(StratifiedSampler(target, batch_size=4))
        >>> [target[order[i : i + 4]].bincount().tolist() for i in range(0, 16, 4)]
        [[2, 1, 1], [2, 1, 1], [2, 1, 1], [2, 1, 1]]
    """

    def __init__(
        self,
        target: Target,
        *,
        batch_size: int,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(target, seed=seed, num_replicas=num_replicas, rank=rank)
        self.batch_size = self.block = whole("batch_size", batch_size, 1)
        num_classes = len(self.index.counts)
        if batch_size < num_classes:
            raise InputError(
                f"batch_size must be at least the number of classes {num_classes}, got {batch_size}; "
                "make batches larger or use ClassAwareSampler, which spreads classes over batches"
            )
        self.batches = -(-self.size // batch_size)
        self.size = self.batches * batch_size

    def order(self, generator: Generator) -> Tensor:
        """Batch after batch, [M batch_size]."""
        each = torch.arange(len(self.index.counts)).expand(self.batches, -1)
        # Sorted by class and dealt out in turn, the rest differs by one at most between batches.
        rest = torch.arange(len(self.index.counts)).repeat_interleave(self._rest())
        classes = torch.cat([each, rest.view(-1, self.batches).T], 1)
        classes = classes[torch.randperm(self.batches, generator=generator)]
        mixed = torch.rand(classes.shape, generator=generator).argsort(1)
        return self.index.deal(classes.gather(1, mixed).flatten(), generator)

    def log_frequencies(self) -> Tensor:
        """Log q_k [K]: log of c_k / sum_j c_j before rounding."""
        return (self._shares() / self.size).log()

    def _shares(self) -> Tensor:
        counts, floor = self.index.counts.double(), float(self.batches)
        rare = torch.zeros(len(counts), dtype=torch.bool)
        shares = counts * (self.size / counts.sum())
        while bool((newly := ~rare & (shares < floor)).any()):
            rare |= newly
            left = self.size - floor * rare.sum()
            shares = torch.where(rare, floor, counts * left / counts[~rare].sum())
        return shares

    def _rest(self) -> Tensor:
        wanted = self._shares() - self.batches
        whole_places = wanted.floor().long()
        missing = self.size - self.batches * len(wanted) - int(whole_places.sum())
        whole_places[(wanted - whole_places).argsort(descending=True, stable=True)[:missing]] += 1
        return whole_places
