"""Affine maps of bytes, one matrix an image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tailgrad.augment.beside import beside


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Look up every pixel at ``matrix @ (x, y, 1)`` of its own image; nearest pixel, black outside.

    Coordinates are in pixels from the image's centre, x to the right, y downwards.

    Args:
        images: uint8 [N, C, H, W].
        matrix: [N, 2, 3] on the CPU.

    Example:
        >>> left = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
        >>> warp(torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8), left)
        tensor([[[[2, 3, 0]]]], dtype=torch.uint8)
    """
    height, width = images.shape[-2:]
    half = torch.tensor([width / 2, height / 2])
    # [N, 2, 1, 1, 3]. Plain products, not a matrix product, which may run in reduced precision.
    shares = beside(images, matrix.float() / half[:, None])[:, :, None, None]
    x = torch.linspace((1 - width) / 2, (width - 1) / 2, width, device=images.device)
    y = torch.linspace((1 - height) / 2, (height - 1) / 2, height, device=images.device)[:, None]
    grid = (x * shares[..., 0] + y * shares[..., 1]).add_(shares[..., 2]).permute(0, 2, 3, 1)
    return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(images.dtype)
