"""A data set whose entries are rows of images, decoded and resized; damaged ones are reported, not raised."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tailgrad.data.decode import UnreadableImage
from tailgrad.data.resize import resize
from tailgrad.data.source import Source, load_for

MOST_TRIES = 1000
"""Images that are tried in the place of unreadable ones before the whole set is given up."""

Row = list[int]
Fault = tuple[str, str]


class Rows(NamedTuple):
    """What was read of a batch.

    Args:
        images: uint8 [n, r, 3, H, W], r images a row.
        places: their places [n, r], int64.
        faults: (name, reason) of each image that could not be read.

    Example:
        >>> Rows(torch.zeros(1, 1, 3, 2, 2), torch.zeros(1, 1), []).faults
        []
    """

    images: Tensor
    places: Tensor
    faults: list[Fault]


class DecodedRows(Dataset[Rows]):
    """Rows of one image (or two, with that of a second batch) at a time, decoded in any process.

    A row with an unreadable image is left out. Where fewer than ``least`` of a batch's rows are left, the
    rows of the places that follow its last one stand in.

    Args:
        source: where the images are.
        index: positions in the source [N], int64.
        size: (height, width) after resizing.
        mode: resizing, "squash" or "crop".
        least: rows that a batch keeps at least; 0 lets it become empty.
        stop: give up a batch at its first fault.

    Example:
        >>> import numpy as np
        >>> from tailgrad.data import open_source
        >>> images = DecodedRows(open_source("digits-lt"), np.arange(9), (16, 16), "squash", 2, stop=True)
        >>> images.__getitems__([[3], [5]]).images.shape
        torch.Size([2, 1, 3, 16, 16])
    """

    def __init__(
        self,
        source: Source,
        index: NDArray[np.int64],
        size: tuple[int, int],
        mode: str,
        least: int,
        *,
        stop: bool,
    ) -> None:
        self.source, self.index, self.size, self.mode = source, index, size, mode
        self.least, self.stop = least, stop

    def __len__(self) -> int:
        return len(self.index)

    def __getitems__(self, rows: list[Row]) -> Rows:
        """A whole batch at once, as ``DataLoader`` asks for it."""
        images = torch.empty((len(rows), len(rows[0]), 3, *self.size), dtype=torch.uint8)
        kept: list[Row] = []
        faults: list[Fault] = []
        for row in self._candidates(rows, kept):
            fault = self._read(images[len(kept)], row)
            if fault is None:
                kept.append(row)
            else:
                faults.append(fault)
                if self.stop:
                    break
        places = torch.tensor(kept, dtype=torch.int64).reshape(len(kept), len(rows[0]))
        return Rows(images[: len(kept)], places, faults)

    def _candidates(self, rows: list[Row], kept: Sequence[Row]) -> Iterator[Row]:
        """The rows asked for, then those of the places that follow as long as too few are kept."""
        yield from rows
        for ahead in range(1, MOST_TRIES + 1):
            if len(kept) >= min(self.least, len(rows)):
                return
            yield [(place + ahead) % len(self) for place in rows[-1]]

    def _read(self, images: Tensor, row: Row) -> Fault | None:
        for view, place in zip(images.numpy(), row, strict=True):
            try:
                pixels = load_for(self.source.items, int(self.index[place]), self.size)
            except UnreadableImage as error:
                return error.name, error.reason
            view[:] = resize(pixels, self.size, self.mode).transpose(2, 0, 1)
        return None


def as_they_are(rows: Any) -> Any:
    """The batch is put together already.

    Example:
        >>> as_they_are(Rows(torch.zeros(0), torch.zeros(0), [])).faults
        []
    """
    return rows
