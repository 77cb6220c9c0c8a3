"""Which examples make up which batch of an epoch."""

from collections.abc import Iterator
from typing import Protocol, Self

import torch
from torch import Tensor

from tailgrad.checks import InputError


class Order(Protocol):
    """Places of examples, one after another; ``set_epoch`` draws them anew (``tailgrad.samplers``)."""

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of ``epoch``."""
        ...

    def __iter__(self) -> Iterator[int]:
        """Places."""
        ...

    def __len__(self) -> int:
        """Places an epoch."""
        ...


class BatchOrder:
    """What every loader shares: which examples make up which batch of an epoch.

    The same for all ranks and whatever was done before, so that an epoch can be shared among processes and
    gone on with in its middle.

    Args:
        target: classes [N], int64.
        index: positions in the source [N], int64.
        batch_size: examples a batch over all ranks, at least 1; the last batch may be smaller, and where one
            example is left over in training it joins the batch before.
        seed: with the epoch, fixes the order, for training; None keeps the given order.

    Example:
        >>> order = BatchOrder(torch.zeros(5).long(), torch.arange(5), batch_size=2)
        >>> [part.tolist() for part in order.places()]
        [[0, 1], [2, 3], [4]]
        >>> [part.tolist() for part in order.begin_at(1).places()]
        [[2, 3], [4]]
    """

    def __init__(self, target: Tensor, index: Tensor, batch_size: int, seed: int | None = None) -> None:
        self.target, self.index = target, index
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.order: Order | None = None
        self.partner: Order | None = None
        self.begin = 0
        self.rank, self.world = 0, 1

    def __len__(self) -> int:
        return len(self._sizes())

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of ``epoch``, from its first batch."""
        self.epoch, self.begin = epoch, 0
        for order in (self.order, self.partner):
            if order is not None:
                order.set_epoch(epoch)

    def begin_at(self, batch: int) -> Self:
        """Leave out the first ``batch`` batches of the epoch, which were done before; until ``set_epoch``.

        ``len`` stays that of the whole epoch.
        """
        self.begin = batch
        return self

    def ordered(self, order: Order | None, partner: Order | None = None) -> Self:
        """This loader with the places that a sampler draws, for training.

        Args:
            order: places of an epoch; None for the loader's own shuffle.
            partner: places of a second batch for every batch, repeated where they run out; None for none.
        """
        self.order, self.partner = order, partner
        return self

    def share(self, rank: int, world: int) -> Self:
        """Only one process's part; the order of an epoch and ``len`` stay those of all.

        In training a part of every batch: parts follow one another and differ by one example at most, and
        fewer examples left over than processes join the batch before. Without a seed every ``world``-th
        batch.

        Args:
            rank: this process, from 0.
            world: processes.

        Raises:
            InputError: a batch holds fewer examples than there are processes.

        Example:
            >>> order = BatchOrder(torch.zeros(6).long(), torch.arange(6), batch_size=3, seed=0)
            >>> [len(part) for part in order.share(0, 2).places()], len(order.share(1, 2).places()[0])
            ([2, 2], 1)
        """
        if self.seed is not None and min(self.batch_size, len(self.target)) < world:
            raise InputError(
                f"train.batch_size must be at least the number of processes {world}, got {self.batch_size} "
                f"of {len(self.target)} examples; use larger batches or fewer processes"
            )
        self.rank, self.world = rank, world
        return self

    def places(self) -> tuple[Tensor, ...]:
        """Places of each batch's examples, in this epoch's order, from the batch it begins at."""
        if self.order is None:
            drawn, sizes = epoch_order(len(self.target), self.seed, self.epoch), self._sizes()
        else:
            drawn = torch.tensor(list(self.order), dtype=torch.int64)
            sizes = self._sizes(len(drawn))
        return self._own(torch.split(drawn, sizes)[self.begin :])

    def partner_places(self) -> tuple[Tensor, ...]:
        """Places of the second batches' examples: none where there is no partner."""
        if self.partner is None:
            return ()
        sizes, drawn = self._sizes(), torch.tensor(list(self.partner), dtype=torch.int64)
        repeated = drawn.repeat(-(-sum(sizes) // len(drawn)))[: sum(sizes)]
        return self._own(torch.split(repeated, sizes)[self.begin :])

    def _own(self, batches: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.world == 1:
            return batches
        if self.seed is None:
            return batches[self.rank :: self.world]
        return tuple(torch.tensor_split(batch, self.world)[self.rank] for batch in batches)

    def _sizes(self, examples: int | None = None) -> list[int]:
        total = examples or (len(self.target) if self.order is None else len(self.order))
        whole, rest = divmod(total, self.batch_size)
        sizes = [self.batch_size] * whole + [rest] * (rest > 0)
        # Batch norm on a 1x1 map cannot train on one example: it joins the batch before.
        if self.seed is not None and 0 < rest < max(2, self.world) and whole:
            sizes[-2:] = [self.batch_size + rest]
        return sizes


def epoch_order(n: int, seed: int | None, epoch: int) -> Tensor:
    """The order of ``n`` examples in an epoch: a shuffle fixed by (seed, epoch), or 0 ... n - 1.

    Example:
        >>> epoch_order(3, None, 1)
        tensor([0, 1, 2])
        >>> bool((epoch_order(9, 0, 1) == epoch_order(9, 0, 1)).all())
        True
    """
    if seed is None:
        return torch.arange(n)
    # An offset of its own: dropout and augmentation are seeded from the same pair elsewhere. The generator
    # reads the low 32 bits of its seed only.
    generator = torch.Generator().manual_seed((0x9E3779B9 + seed * 1_000_003 + epoch) % 2**32)
    return torch.randperm(n, generator=generator)
