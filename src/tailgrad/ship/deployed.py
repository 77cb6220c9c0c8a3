"""The network as it is shipped: bytes of pixels in, logits out."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.models import Classifier
from tailgrad.models.fit_images import fitted_size
from tailgrad.recipes.restore import Restored
from tailgrad.ship.fused import fused


class Deployed(nn.Module):
    """``posthoc(head(backbone(fit((x / 255 - mean) / std))))`` with the head fused and nothing left to check.

    Bilinear resizing is linear along each side, so that ``fit_images`` is two products with fixed matrices.

    Args:
        network: a restored network; left as it is.

    Example: see ``ship.export``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Restored) -> None:
        super().__init__()
        model = network.model
        self.backbone = copy.deepcopy(model.backbone)
        self.head = fused(model.head)
        self.posthoc = copy.deepcopy(network.posthoc)
        self.takes_map = model.takes_map
        self.register_buffer("mean", 255 * torch.tensor(network.normalize.mean)[:, None, None])
        self.register_buffer("std", 255 * torch.tensor(network.normalize.std)[:, None, None])
        self.fit = _Fit(network.size, _target(model, network.size))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K] of images uint8 [N, 3, H, W]."""
        features = self.backbone(self.fit((images.float() - self.mean) / self.std))
        logits: Tensor = self.head(features if self.takes_map else self.backbone.pool(features))
        return self.posthoc(logits) if len(self.posthoc.steps) else logits


def _target(model: Classifier, size: tuple[int, int]) -> tuple[int, int]:
    return fitted_size(size, model.backbone.input_size)


class _Fit(nn.Module):
    """``A_h x A_w'``: images of one size brought to another, as ``fit_images`` does."""

    def __init__(self, size: tuple[int, int], target: tuple[int, int]) -> None:
        super().__init__()
        self.changes = size != target
        shrinks = target[0] < size[0] or target[1] < size[1]
        for name, before, after in zip(("rows", "columns"), size, target, strict=True):
            unit = torch.eye(before)[None, None]
            matrix = F.interpolate(unit, (after, before), mode="bilinear", antialias=shrinks)
            self.register_buffer(name, matrix[0, 0])

    def forward(self, images: Tensor) -> Tensor:
        if not self.changes:
            return images
        rows, columns = self.get_buffer("rows"), self.get_buffer("columns")
        return rows @ images @ columns.T
