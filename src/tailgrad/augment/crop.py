"""Random crop of the padded image."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tailgrad.checks import in_range


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
        padded = F.pad(images, (left, left, top, top))
        device = images.device
        rows = torch.randint(2 * top + 1, (n, 1), device=device) + torch.arange(height, device=device)
        columns = torch.randint(2 * left + 1, (n, 1), device=device) + torch.arange(width, device=device)
        which = torch.arange(n, device=device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
