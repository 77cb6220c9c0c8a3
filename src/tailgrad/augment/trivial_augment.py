"""TrivialAugment: one operation of random strength."""

from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.augment.operation_space import check_bytes, operation_space
from tailgrad.checks import in_range


class TrivialAugment:
    """Apply one operation to each image, drawn uniformly from 14, of uniformly drawn strength.

    Args:
        bins: steps that each operation's range is divided into, at least 2.

    Raises:
        InputError: ``bins`` is below 2, or images are not uint8 [N, 3, H, W].

    Source: Müller and Hutter, arXiv 2103.10158, the wide space; distribution and results per image are
    torchvision's ``TrivialAugmentWide``: translations reach 32 pixels whatever the size of the image.

    Example:
        >>> import torch
        >>> TrivialAugment()(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape
        torch.Size([2, 3, 8, 8])
    """

    kind: ClassVar[str] = "transform"
    on: ClassVar[str] = "bytes"

    def __init__(self, bins: int = 31) -> None:
        self.bins = int(in_range("bins", bins, 2))

    def __call__(self, images: Tensor) -> Tensor:
        """Augment uint8 images [N, 3, H, W]."""
        check_bytes(images)
        space, n = operation_space("TrivialAugmentWide", self.bins, *images.shape[-2:]), len(images)
        operation, step = torch.randint(len(space.names), (n,)), torch.randint(self.bins, (n,))
        return space.apply(images.clone(), operation, step)
