"""Random horizontal flip."""

from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.checks import in_range


class Flip:
    """Mirror each image left to right with probability ``p``.

    Args:
        p: probability in [0, 1].

    Raises:
        InputError: ``p`` lies outside [0, 1].

    Source: standard; the same distribution as torchvision's ``RandomHorizontalFlip`` per image.

    Example:
        >>> import torch
        >>> Flip(p=1.0)(torch.tensor([[[[1.0, 2.0]]]]))
        tensor([[[[2., 1.]]]])
    """

    kind: ClassVar[str] = "transform"

    def __init__(self, p: float = 0.5) -> None:
        self.p = in_range("p", p, 0, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Flip a batch [N, C, H, W]."""
        chosen = torch.rand(len(images), device=images.device) < self.p
        if images.device.type != "cpu":
            return torch.where(chosen[:, None, None, None], images.flip(-1), images)
        flipped = images.clone()
        for place in chosen.nonzero().flatten().tolist():  # half as much to move as mirroring all
            flipped[place] = images[place].flip(-1)
        return flipped
