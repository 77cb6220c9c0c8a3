"""Rectangles at random places, clipped to the image."""

import torch
from torch import Tensor


def random_boxes(half: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Rectangles around centres uniform over the pixels; what lies outside the image is cut off.

    Args:
        half: [n, 2], half of each rectangle's height and width in whole pixels; a centre c covers
            c - half to c + half - 1.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        Masks [n, 1, H, W] (bool), true inside, and the share of pixels outside, [n] float32.

    Example:
        >>> mask, outside = random_boxes(torch.tensor([[0, 4]]), 8, 8)
        >>> mask.any().item(), outside.item()
        (False, 1.0)
    """
    rows, columns = (_span(half[:, axis, None], length) for axis, length in enumerate((height, width)))
    inside = rows.sum(1) * columns.sum(1)
    return rows[:, None, :, None] & columns[:, None, None, :], 1 - inside / (height * width)


def _span(half: Tensor, length: int) -> Tensor:
    centre = torch.randint(length, half.shape, device=half.device)
    distance = torch.arange(length, device=half.device) - centre
    return (distance >= -half) & (distance < half)
