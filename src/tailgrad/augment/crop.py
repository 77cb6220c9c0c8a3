"""Random crop of the padded image."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tailgrad.checks import in_range

Pair = tuple[int, int]


class Crop:
    """Pad every side with zeros and cut a window of the original size at a random place.

    Args:
        share: padding as a share of each side, in [0, 1]; 0.125 is the field's 4 pixels at 32.

    Raises:
        InputError: ``share`` lies outside [0, 1].

    Source: standard CIFAR augmentation (random crop 32, padding 4).

    Example:
        >>> import torch
        >>> Crop()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])
    """

    kind: ClassVar[str] = "transform"

    def __init__(self, share: float = 0.125) -> None:
        self.share = in_range("share", share, 0, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Crop a batch [N, C, H, W]."""
        n, _, height, width = images.shape
        top, left = round(height * self.share), round(width * self.share)
        row = torch.randint(2 * top + 1, (n,), device=images.device)
        column = torch.randint(2 * left + 1, (n,), device=images.device)
        if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
            padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, left, left, top, top))
            return _windows(padded, (1, height), (2, width), row, column).permute(0, 3, 1, 2)
        padded = F.pad(images, (left, left, top, top))
        return _windows(padded, (2, height), (3, width), row, column)


def _windows(images: Tensor, rows: Pair, columns: Pair, row: Tensor, column: Tensor) -> Tensor:
    """One window of each image; ``rows`` and ``columns`` are (dimension, length)."""
    # The windows at all places of the memory are a view; those wanted are copied whole, in one call.
    images = images.contiguous()
    shape, strides = list(images.shape), images.stride()
    shape[rows[0]], shape[columns[0]] = rows[1], columns[1]
    span = sum((length - 1) * stride for length, stride in zip(shape[1:], strides[1:], strict=True))
    every = images.as_strided((max(0, images.numel() - span), *shape[1:]), (1, *strides[1:]))
    first = torch.arange(len(images), device=images.device) * strides[0]
    return every.index_select(0, first + row * strides[rows[0]] + column * strides[columns[0]])
