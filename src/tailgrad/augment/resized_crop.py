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
        """Crop a floating-point batch [N, C, H, W]."""
        n, device = len(images), images.device
        area = self.min_area + (1 - self.min_area) * torch.rand(n, device=device)
        aspect = torch.exp((2 * torch.rand(n, device=device) - 1) * math.log(4 / 3))
        extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).clamp(max=1)
        centre = (1 - extent) * (2 * torch.rand(n, 2, device=device) - 1)
        window = torch.zeros(n, 2, 3, device=device)
        window[:, 0, 0], window[:, 1, 1], window[:, :, 2] = extent[:, 0], extent[:, 1], centre
        shape = [*images.shape[:2], *(images.shape[2:] if self.size is None else (self.size, self.size))]
        grid = F.affine_grid(window, shape, align_corners=False).to(images.dtype)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
