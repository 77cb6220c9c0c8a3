"""A square hole in every image."""

from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.augment.boxes import random_boxes
from tailgrad.checks import in_range


class Cutout:
    """Set a rectangle around a random pixel of each image to 0, clipped at the image's border.

    After ``Normalize`` 0 is the channel's mean; on bytes it is black.

    Args:
        share: the hole's sides as a share of the image's, in [0, 1]; 0.5 is the field's 16 pixels at 32.
            Odd lengths lose a pixel.

    Raises:
        InputError: ``share`` lies outside [0, 1].

    Source: DeVries and Taylor, arXiv 1708.04552, with the clipping of the authors' code.

    Example:
        >>> import torch
        >>> torch.equal(Cutout(share=0.0)(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))
        True
    """

    kind: ClassVar[str] = "transform"

    def __init__(self, share: float = 0.5) -> None:
        self.share = in_range("share", share, 0, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Cut a hole into each image of [N, C, H, W]."""
        n, _, height, width = images.shape
        sides = [round(length * self.share) // 2 for length in (height, width)]
        half = torch.stack([torch.full((n,), side, device=images.device) for side in sides], 1)
        hole, _ = random_boxes(half, height, width)
        return images * ~hole
