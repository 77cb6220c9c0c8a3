"""Random brightness and contrast."""

from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.checks import in_range


class ColorJitter:
    """Scale each image's brightness and contrast by factors uniform in [1 - strength, 1 + strength].

    Works on normalised images too: contrast moves values about the image's own mean, brightness moves that
    mean by up to ``strength`` in units of the input.

    Args:
        strength: half-width of both ranges, in [0, 1].

    Raises:
        InputError: ``strength`` lies outside [0, 1].

    Source: standard; after torchvision's ``ColorJitter``, on normalised values (deviation: the shift of
    brightness is additive).

    Example:
        >>> import torch
        >>> images = torch.rand(2, 3, 4, 4)
        >>> torch.equal(ColorJitter(strength=0.0)(images), images)
        True
    """

    kind: ClassVar[str] = "transform"

    def __init__(self, strength: float = 0.2) -> None:
        self.strength = in_range("strength", strength, 0, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Jitter a batch [N, C, H, W]; bytes are jittered as numbers from 0 to 1 and rounded."""
        if not images.is_floating_point():
            return self(images.float() / 255).mul_(255).round_().clamp_(0, 255).to(images.dtype)
        shape = (len(images), 1, 1, 1)
        shift = (2 * torch.rand(shape, device=images.device) - 1) * self.strength
        scale = (2 * torch.rand(shape, device=images.device) - 1) * self.strength
        return images + scale * (images - images.mean((1, 2, 3), keepdim=True)) + shift
