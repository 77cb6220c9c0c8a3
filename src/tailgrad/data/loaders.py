"""Batches of uint8 images: resident in memory, or decoded while training."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tailgrad.data.resident import load_images
from tailgrad.data.source import Source
from tailgrad.types import Batch


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


class _Loader:
    """What both loaders share: the classes and positions of their examples, and the order of an epoch."""

    def __init__(self, target: Tensor, index: Tensor, batch_size: int, seed: int | None) -> None:
        self.target, self.index = target, index
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.order: Order | None = None
        self.partner: Order | None = None

    def __len__(self) -> int:
        return len(self._sizes())

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of ``epoch``."""
        self.epoch = epoch
        for order in (self.order, self.partner):
            if order is not None:
                order.set_epoch(epoch)

    def ordered(self, order: Order | None, partner: Order | None = None) -> Self:
        """This loader with the places that a sampler draws, for training.

        Args:
            order: places of an epoch; None for the loader's own shuffle.
            partner: places of a second batch for every batch, repeated where they run out; None for none.
        """
        self.order, self.partner = order, partner
        return self

    def places(self) -> tuple[Tensor, ...]:
        """Places of each batch's examples, in this epoch's order."""
        if self.order is None:
            return torch.split(epoch_order(len(self.target), self.seed, self.epoch), self._sizes())
        drawn = torch.tensor(list(self.order), dtype=torch.int64)
        return torch.split(drawn, self._sizes(len(drawn)))

    def partner_places(self) -> tuple[Tensor, ...]:
        """Places of the second batches' examples: none where there is no partner."""
        if self.partner is None:
            return ()
        sizes, drawn = self._sizes(), torch.tensor(list(self.partner), dtype=torch.int64)
        return torch.split(drawn.repeat(-(-sum(sizes) // len(drawn)))[: sum(sizes)], sizes)

    def _sizes(self, examples: int | None = None) -> list[int]:
        total = examples or (len(self.target) if self.order is None else len(self.order))
        whole, rest = divmod(total, self.batch_size)
        sizes = [self.batch_size] * whole + [rest] * (rest > 0)
        # Batch norm on a 1x1 map cannot train on one example: it joins the batch before.
        if self.seed is not None and rest == 1 and whole:
            sizes[-2:] = [self.batch_size + 1]
        return sizes


class ResidentLoader(_Loader):
    """Batches cut from images that live in memory (or on the device) as uint8.

    Args:
        images: uint8 [N, 3, H, W].
        target: classes [N], int64.
        index: positions in the source [N], int64.
        batch_size: examples a batch, at least 1; the last batch may be smaller, and where one example is
            left over in training it joins the batch before.
        seed: with the epoch, fixes the order, for training; None keeps the given order.

    Example:
        >>> loader = ResidentLoader(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.zeros(5).long(),
        ...                         torch.arange(5), batch_size=2)
        >>> [len(batch) for batch in loader]
        [2, 2, 1]
    """

    def __init__(
        self, images: Tensor, target: Tensor, index: Tensor, *, batch_size: int, seed: int | None = None
    ) -> None:
        super().__init__(target, index, batch_size, seed)
        self.images = images

    def __iter__(self) -> Iterator[Batch]:
        pairs = zip_longest(self.places(), self.partner_places())
        for places, others in pairs:
            yield replace(self._batch(places), partner=None if others is None else self._batch(others))

    def _batch(self, places: Tensor) -> Batch:
        return Batch(self.images[places], self.target[places], self.index[places])


class StreamingLoader(_Loader):
    """The same batches in the same order, decoded by worker processes when they are needed.

    Args:
        source: where the images are.
        index: positions in the source [N], int64.
        size: (height, width) after resizing.
        batch_size: examples a batch.
        mode: resizing, "squash" or "crop".
        seed: as in ``ResidentLoader``.
        workers: decoding processes; 0 decodes in this one.

    Example:
        >>> import numpy as np
        >>> from tailgrad.data import open_source
        >>> loader = StreamingLoader(open_source("digits-lt"), np.arange(5), (32, 32), batch_size=2)
        >>> [tuple(batch.inputs.shape) for batch in loader][-1]
        (1, 3, 32, 32)
    """

    def __init__(
        self,
        source: Source,
        index: NDArray[np.int64],
        size: tuple[int, int],
        *,
        batch_size: int,
        mode: str = "squash",
        seed: int | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__(torch.as_tensor(source.labels[index]), torch.as_tensor(index), batch_size, seed)
        self._images, self.workers = _Decoded(source, index, size, mode), workers

    def __iter__(self) -> Iterator[Batch]:
        places, others = self.places(), self.partner_places()
        wanted = [torch.cat([a, b]) for a, b in zip(places, others, strict=True)] if others else places
        batches = DataLoader(
            self._images,
            batch_sampler=[part.tolist() for part in wanted],
            num_workers=self.workers,
            generator=torch.Generator(),
        )
        for part, every, images in zip(places, wanted, batches, strict=True):
            n, second = len(part), every[len(part) :]
            partner = Batch(images[n:], self.target[second], self.index[second]) if len(second) else None
            yield Batch(images[:n], self.target[part], self.index[part], partner)


class _Decoded(Dataset[Tensor]):
    def __init__(self, source: Source, index: NDArray[np.int64], size: tuple[int, int], mode: str) -> None:
        self.source, self.index, self.size, self.mode = source, index, size, mode

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, place: int) -> Tensor:
        return load_images(self.source, self.index[place : place + 1], self.size, mode=self.mode)[0]


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
