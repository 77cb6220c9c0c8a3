"""Many small grey images, in memory or in a temporary file."""

import tempfile
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

SIDE = 32
"""Side of the thumbnails that near-duplicates are judged by, in pixels."""

IN_MEMORY = 50_000
"""Thumbnails (50 MB) up to which they stay in memory."""


class Thumbnails:
    """Grey thumbnails [SIDE, SIDE], one after another, read back in any order.

    Args:
        total: how many there will be; above 50,000 they are kept in an unnamed temporary file.

    Example:
        >>> with Thumbnails(2) as kept:
        ...     for shade in (3, 7):
        ...         kept.append(np.full((SIDE, SIDE), shade, np.uint8))
        ...     kept.rows(np.array([1, 0, 1]))[:, 0, 0].tolist()
        [7.0, 3.0, 7.0]
    """

    def __init__(self, total: int) -> None:
        most = max(1, min(total, IN_MEMORY)) * SIDE * SIDE
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(most)  # noqa: SIM115 - __exit__ closes it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, thumbnail: NDArray[np.uint8]) -> None:
        """Add one at the end."""
        self._file.write(thumbnail.tobytes())

    def rows(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Those at the places ``index`` [n], float32 [n, SIDE, SIDE]."""
        found = np.empty((len(index), SIDE, SIDE), np.float32)
        for row, i in zip(found, index.tolist(), strict=True):
            self._file.seek(i * SIDE * SIDE)
            row[:] = np.frombuffer(self._file.read(SIDE * SIDE), np.uint8).reshape(SIDE, SIDE)
        return found
