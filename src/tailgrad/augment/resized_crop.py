"""Random crop of random area and aspect, resized to the original size."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tailgrad.checks import in_range


class ResizedCrop:
    """Zoom into a random window that holds ``min_area`` to all of the image, aspect 3:4 to 4:3.

    Args:
        min_area: smallest share of the image's area, in (0, 1].
        size: side of the square result in pixels; None keeps the images' size.

    Raises:
        InputError: ``min_area`` lies outside [0.01, 1], or ``size`` is below 1.

    Source: standard; like torchvision's ``RandomResizedCrop``, sampled for the whole batch with one
    bilinear grid. Deviations: the aspect is relative to the image's own; a window that would be wider or
    higher than the image is clipped to it, where torchvision draws again; no antialiasing, which matters only
    where ``size`` is smaller than the window.

    Example:
        >>> import torch
        >>> ResizedCrop(min_area=0.5)(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    kind: ClassVar[str] = "transform"

    def __init__(self, min_area: float = 0.5, size: int | None = None) -> None:
        self.min_area = in_range("min_area", min_area, 0.01, 1)
        self.size = None if size is None else int(in_range("size", size, 1))

    def __call__(self, images: Tensor) -> Tensor:
        """Crop a batch [N, C, H, W]; bytes are rounded."""
        if not images.is_floating_point():
            return self(images.float()).round_().to(images.dtype)
        n, device = len(images), images.device
        area = self.min_area + (1 - self.min_area) * torch.rand(n, device=device)
        aspect = torch.exp((2 * torch.rand(n, device=device) - 1) * math.log(4 / 3))
        extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).clamp(max=1)
        centre = (1 - extent) * (2 * torch.rand(n, 2, device=device) - 1)
        height, width = images.shape[2:] if self.size is None else (self.size, self.size)
        x, y = (
            centre[:, axis, None] + extent[:, axis, None] * _middles(length, device)
            for axis, length in enumerate((width, height))
        )
        seen = [x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)]
        grid = torch.stack(seen, 1).permute(0, 2, 3, 1).to(images.dtype)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _middles(length: int, device: torch.device) -> Tensor:
    """Middles of ``length`` pixels from -1 to 1."""
    return (2 * torch.arange(length, device=device) + 1) / length - 1
