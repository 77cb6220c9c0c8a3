"""Batches of images that are decoded while training."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tailgrad.data.batch_order import BatchOrder
from tailgrad.data.resident import load_images
from tailgrad.data.source import Source
from tailgrad.types import Batch


class StreamingLoader(BatchOrder):
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
