"""Several random views of each image, for contrastive losses."""

from typing import ClassVar

import torch
from torch import Tensor

from tailgrad.augment.color import change_brightness, change_contrast, change_hue, change_saturation, gray
from tailgrad.augment.flip import Flip
from tailgrad.augment.grouped import by_group
from tailgrad.augment.operation_space import check_bytes
from tailgrad.augment.resized_crop import ResizedCrop
from tailgrad.checks import in_range

_CHANGES = (change_brightness, change_contrast, change_saturation, change_hue)


class SimCLRViews:
    """Views by random resized crop, flip, colour jitter and grayscale, each drawn anew for each image.

    The jitter changes brightness, contrast and saturation by factors uniform in 1 -+ 0.8 s and turns the hue
    by up to 0.2 s of a turn, the four in random order; s is the strength.

    Args:
        views: V, number of views, at least 1.
        size: side of the square views in pixels; None keeps the images' size.
        strength: s, 0 to 1.25 at most.
        min_area: smallest share of the area that a crop holds, 0.01 to 1.
        jitter: probability of the colour jitter.
        grayscale: probability of losing all colour.

    Raises:
        InputError: an argument is outside its range, or images are not uint8 [N, 3, H, W].

    Source: Chen et al., arXiv 2002.05709, with the values of the Simplifying authors' code, no
    blur. Crops are those of ``ResizedCrop``; colours are computed in float32 and rounded once, at the end.

    Example:
        >>> SimCLRViews(views=2)(torch.zeros(4, 3, 8, 8, dtype=torch.uint8)).shape
        torch.Size([2, 4, 3, 8, 8])
    """

    kind: ClassVar[str] = "views"
    on: ClassVar[str] = "bytes"

    def __init__(
        self,
        views: int = 2,
        *,
        size: int | None = None,
        strength: float = 0.5,
        min_area: float = 0.08,
        jitter: float = 0.8,
        grayscale: float = 0.2,
    ) -> None:
        self.views = int(in_range("views", views, 1))
        self.crop, self.flip = ResizedCrop(min_area, size), Flip()
        self.strength = in_range("strength", strength, 0, 1.25)
        self.jitter = in_range("jitter", jitter, 0, 1)
        self.grayscale = in_range("grayscale", grayscale, 0, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Views [V, N, 3, H, W] (uint8) of uint8 images [N, 3, H, W]."""
        check_bytes(images)
        views = self.flip(self.crop(images.float().repeat(self.views, 1, 1, 1)))
        views = self._jitter(views)
        colourless = torch.rand(len(views), device=views.device) < self.grayscale
        views = torch.where(colourless[:, None, None, None], gray(views), views)
        return views.round_().to(torch.uint8).view(self.views, len(images), *views.shape[1:])

    def _jitter(self, images: Tensor) -> Tensor:
        n = len(images)
        value = (2 * torch.rand(n, 4, dtype=torch.float64) - 1) * self.strength
        value = value * torch.tensor([0.8, 0.8, 0.8, 0.2]) + torch.tensor([1, 1, 1, 0])
        order = torch.rand(n, 4).argsort(1)
        chosen = torch.rand(n) < self.jitter
        for change in order.unbind(1):
            values = value.gather(1, change[:, None]).squeeze(1)
            images = by_group(images, torch.where(chosen, change, -1), values, _CHANGES)
        return images
