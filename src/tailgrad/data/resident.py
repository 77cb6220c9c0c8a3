"""Decode images once, to one size, into one tensor that stays in memory."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailgrad.checks import InputError, one_of
from tailgrad.data.decode import UnreadableImage
from tailgrad.data.duplicates import Progress
from tailgrad.data.resize import resize
from tailgrad.data.source import Source, load_for

_WORKERS = min(8, cpu_count() or 1)
_SMALL, _ENOUGH = 96, 32
_LOOKED_AT = 20_000


def load_images(
    source: Source,
    indices: Sequence[int] | NDArray[np.int64],
    size: tuple[int, int],
    *,
    mode: str = "squash",
    progress: Progress | None = None,
) -> Tensor:
    """Decode and resize images into one tensor.

    Resizing is Pillow's bilinear filter, which averages when it reduces (antialiasing); a JPEG at least twice
    as large is decoded at a half, a quarter or an eighth of its size first.

    Args:
        source: where the images are.
        indices: n positions in the source.
        size: (H, W), each at least 1.
        mode: ``squash`` takes the whole image whatever its aspect ratio; ``crop`` the largest centred part
            of the wanted ratio.
        progress: called with (images decoded, images).

    Returns:
        uint8 [n, 3, H, W], contiguous, in the order of ``indices``.

    Raises:
        InputError: a size below 1, an unknown mode, or images that cannot be decoded (five are named).

    Example:
        >>> from tailgrad.data import open_source
        >>> load_images(open_source("digits-lt"), [0, 5], (32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """
    one_of("mode", mode, ("squash", "crop"))
    if min(size) < 1:
        raise InputError(f"size must be at least 1 x 1, got {size}; give (height, width) in pixels")
    positions = [int(i) for i in indices]
    images = torch.empty((len(positions), 3, *size), dtype=torch.uint8)
    views = images.numpy()

    def fill(n: int) -> UnreadableImage | None:
        try:
            views[n] = resize(load_for(source.items, positions[n], size), size, mode).transpose(2, 0, 1)
        except UnreadableImage as error:
            return error
        return None

    _refuse([error for error in _each(fill, len(positions), progress) if error])
    return images


def _each(
    fill: Callable[[int], UnreadableImage | None], n: int, progress: Progress | None
) -> list[UnreadableImage | None]:
    if n == 1:  # a loader that asks image by image should not pay for threads
        return [fill(0)]
    found = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for one in pool.map(fill, range(n)):
            found.append(one)
            if progress is not None:
                progress(len(found), n)
    return found


def _refuse(errors: list[UnreadableImage]) -> None:
    if errors:
        first = "; ".join(f"{error.name!r}: {error.reason}" for error in errors[:5])
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        raise InputError(
            f"images must be readable, got {len(errors)} that are not ({first}{more}); replace or "
            "remove them, or pass over them with data.skip_unreadable=true"
        )


def default_size(source: Source, fallback: int) -> tuple[int, int]:
    """The size to train at when none is asked for.

    Images of one size with both sides at most 96: that size times the smallest whole number that makes the
    short side at least 32 (8 x 8 becomes 32 x 32, 40 x 24 becomes 80 x 48). Otherwise a square. Images that
    cannot be read are left out of the question; from 40,000 images on, 20,000 or more of them are looked at.

    Args:
        source: where the images are.
        fallback: side of the square.

    Example:
        >>> from tailgrad.data import open_source
        >>> default_size(open_source("digits-lt"), fallback=128)
        (32, 32)
    """
    common: tuple[int, int] | None = None
    for i in range(0, len(source.items), max(1, len(source.items) // _LOOKED_AT)):
        try:
            size = source.items.size(i)
        except UnreadableImage:
            continue
        if max(size) > _SMALL or size != (common or size):
            return fallback, fallback
        common = size
    if common is None:
        return fallback, fallback
    factor = -(-_ENOUGH // min(common))
    return common[0] * factor, common[1] * factor
