"""Batches of uint8 images: resident in memory, or decoded while training."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tailgrad.data.resident import load_images
from tailgrad.data.source import Source
from tailgrad.types import Batch


class _Loader:
    """What both loaders share: the classes and positions of their examples, and the order of an epoch."""

    def __init__(self, target: Tensor, index: Tensor, batch_size: int, seed: int | None) -> None:
        self.target, self.index = target, index
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0

    def __len__(self) -> int:
        return len(self._sizes())

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of ``epoch``."""
        self.epoch = epoch

    def places(self) -> tuple[Tensor, ...]:
        """Places of each batch's examples, in this epoch's order."""
        return torch.split(epoch_order(len(self.target), self.seed, self.epoch), self._sizes())

    def _sizes(self) -> list[int]:
        whole, rest = divmod(len(self.target), self.batch_size)
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
        for places in self.places():
            yield Batch(self.images[places], self.target[places], self.index[places])


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
        places = [part.tolist() for part in self.places()]
        batches = DataLoader(
            self._images, batch_sampler=places, num_workers=self.workers, generator=torch.Generator()
        )
        for part, images in zip(places, batches, strict=True):
            yield Batch(images, self.target[part], self.index[part])


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
    # An offset of its own: dropout and augmentation are seeded from the same pair elsewhere.
    generator = torch.Generator().manual_seed((2**40 + seed * 1_000_003 + epoch) % 2**63)
    return torch.randperm(n, generator=generator)
