"""Colour arithmetic on batches with values in 0..255, one factor an image."""

import torch
from torch import Tensor

from tailgrad.augment.beside import beside


def gray(images: Tensor) -> Tensor:
    """Luma [N, 1, H, W] of floating-point images [N, 3, H, W]: ``0.2989 r + 0.587 g + 0.114 b``.

    Example:
        >>> gray(torch.tensor([100.0, 0.0, 0.0]).view(1, 3, 1, 1)).item()
        29.8...
    """
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    return red.mul(0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def blend(images: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    """``factor * images + (1 - factor) * other``, kept within 0..255.

    Args:
        images: floating point [N, C, H, W].
        other: whatever ``images`` can be added to.
        factor: [N] float64 on the CPU, at least 0.

    Example:
        >>> blend(torch.full((1, 1, 1, 1), 100.0), 20.0, torch.tensor([0.5])).item()
        60.0
    """
    keep, rest = (beside(images, part.float()).view(-1, 1, 1, 1) for part in (factor, 1 - factor))
    # addcmul rounds once, as torchvision's add with alpha does: whole numbers stay whole before truncation.
    target = other if isinstance(other, Tensor) else torch.full((), other, device=images.device)
    return torch.addcmul(images * keep, target, rest).clamp_(0, 255)


def change_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black; arguments as ``blend``.

    Example:
        >>> change_brightness(torch.full((1, 3, 1, 1), 200.0), torch.tensor([2.0])).flatten()
        tensor([255., 255., 255.])
    """
    return blend(images, 0.0, factor)


def change_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with each image's mean luma; arguments as ``blend``.

    Example:
        >>> change_contrast(torch.full((1, 3, 2, 2), 80.0), torch.tensor([0.0]))[0, 0, 0].round()
        tensor([80., 80.])
    """
    return blend(images, gray(images).mean((1, 2, 3), keepdim=True), factor)


def change_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the luma; arguments as ``blend``.

    Example:
        >>> image = torch.tensor([100.0, 0.0, 0.0]).view(1, 3, 1, 1)
        >>> change_saturation(image, torch.tensor([0.0])).flatten()
        tensor([29.8..., 29.8..., 29.8...])
    """
    return blend(images, gray(images), factor)


def change_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue in HSV space, keeping saturation and value.

    With V the largest channel, C = V - the smallest and h the hue in sixths of a turn, channel c becomes
    ``V - C clip(min(k, 4 - k), 0, 1)``, ``k = (o_c + h) mod 6``, ``o = (5, 3, 1)``.

    Args:
        images: floating point [N, 3, H, W].
        turn: [N] on the CPU, in turns; 1/3 makes red green.

    Example:
        >>> image = torch.tensor([90.0, 0.0, 0.0]).view(1, 3, 1, 1)
        >>> change_hue(image, torch.tensor([1 / 3])).flatten().round()
        tensor([ 0., 90.,  0.])
    """
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    low, high = images.aminmax(dim=1, keepdim=True)
    chroma = high - low
    span = chroma.clamp(min=1e-12)
    sixths = torch.where(high == green, (blue - red) / span + 2, (red - green) / span + 4)
    sixths = torch.where(high == red, (green - blue) / span, sixths)
    offsets = torch.arange(5.0, 0.0, -2.0, device=images.device).view(1, 3, 1, 1)
    k = (offsets + sixths + 6 * beside(images, turn.float()).view(-1, 1, 1, 1)) % 6
    return high - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)
