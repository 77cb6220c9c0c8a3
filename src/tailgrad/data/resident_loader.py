"""Batches cut from images that live in memory or on the device."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

import torch
from torch import Tensor

from tailgrad.data.batch_order import BatchOrder
from tailgrad.types import Batch, Inputs

Places = tuple[Tensor, Tensor]


class ResidentLoader(BatchOrder):
    """Batches cut from images that live in memory (or on the device) as uint8.

    On a device batches are cut there: an epoch's order travels in one copy, and no batch waits for the
    device. ``index`` stays in memory, where names are looked up.

    Args:
        images: uint8 [N, 3, H, W], or encoded rows of a table.
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
        self, images: Inputs, target: Tensor, index: Tensor, *, batch_size: int, seed: int | None = None
    ) -> None:
        super().__init__(target, index, batch_size, seed)
        self.images = images

    def __iter__(self) -> Iterator[Batch]:
        target = self.target.to(self.images.device)
        pairs = zip_longest(self._there(self.places()), self._there(self.partner_places()))
        for places, others in pairs:
            partner = None if others is None else self._batch(target, *others)
            yield replace(self._batch(target, *places), partner=partner)

    def _there(self, parts: tuple[Tensor, ...]) -> Iterator[Places]:
        """Places of each batch, in memory and where the images are."""
        if self.images.device.type == "cpu" or not parts:
            return zip(parts, parts, strict=True)
        moved = torch.cat(parts).to(self.images.device)
        return zip(parts, torch.split(moved, [len(part) for part in parts]), strict=True)

    def _batch(self, target: Tensor, places: Tensor, there: Tensor) -> Batch:
        images = self.images
        chosen = images.index_select(0, there) if isinstance(images, Tensor) else images[there]
        return Batch(chosen, target.index_select(0, there), self.index[places])
