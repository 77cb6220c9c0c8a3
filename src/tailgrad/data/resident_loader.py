"""Batches cut from images that live in memory or on the device."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from torch import Tensor

from tailgrad.data.batch_order import BatchOrder
from tailgrad.types import Batch


class ResidentLoader(BatchOrder):
    """Batches cut from images that live in memory (or on the device) as uint8.

    Args:
        images: uint8 [N, 3, H, W].
        target: classes [N], int64.
        index: positions in the source [N], int64.
        batch_size: examples a batch, at least 1; the last batch may be smaller, and where one example is
            left over in training it joins the batch before.
        seed: with the epoch, fixes the order, for training; None keeps the given order.

    Example:
        >>> import torch
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
