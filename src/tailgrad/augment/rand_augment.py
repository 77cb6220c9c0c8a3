"""RandAugment: operations at random, all of one strength."""

from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.augment.operation_space import check_bytes, operation_space
from tailgrad.checks import in_range


class RandAugment:
    """Apply ``num_ops`` operations to each image, each drawn uniformly from 14, identity among them.

    Args:
        num_ops: operations an image, at least 0.
        magnitude: strength, 0 to ``bins - 1``.
        bins: steps that each operation's range is divided into, at least 2.

    Raises:
        InputError: an argument is outside its range, or images are not uint8 [N, 3, H, W].

    Source: Cubuk et al., arXiv 1909.13719; distribution and results per image are torchvision's
    ``RandAugment`` (nearest pixel, black outside).

    Example:
        >>> import torch
        >>> RandAugment(num_ops=1)(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape
        torch.Size([2, 3, 8, 8])
    """

    kind: ClassVar[str] = "transform"
    on: ClassVar[str] = "bytes"

    def __init__(self, num_ops: int = 2, magnitude: int = 9, bins: int = 31) -> None:
        self.num_ops = int(in_range("num_ops", num_ops, 0))
        self.bins = int(in_range("bins", bins, 2))
        self.magnitude = int(in_range("magnitude", magnitude, 0, bins - 1))

    def __call__(self, images: Tensor) -> Tensor:
        """Augment uint8 images [N, 3, H, W]."""
        check_bytes(images)
        space = operation_space("RandAugment", self.bins, *images.shape[-2:])
        step = torch.full((len(images),), self.magnitude)
        images = images.clone()
        for _ in range(self.num_ops):
            images = space.apply(images, torch.randint(len(space.names), (len(images),)), step)
        return images
