"""The bilateral-branch network: one branch for the data as they are, one for them re-balanced."""

from typing import cast

import torch
from torch import Tensor

from tailgrad.checks import InputError, in_range
from tailgrad.models.backbone import Backbone
from tailgrad.models.branched_backbone import BranchedBackbone, MakeBackbone
from tailgrad.models.classifier import Classifier
from tailgrad.models.multi_expert import MakeHead
from tailgrad.types import Inputs


class BBN(Classifier):
    """Two branches on shared first stages, their features side by side before one classifier.

    Training mixes two batches, ``z = head(2 [l f_c, (1 - l) f_r])``, with ``loss = l loss(z, y_c) + (1 - l)
    loss(z, y_r)`` and l falling over the epochs (``bbn_weight``); a call sees one image in both branches with
    weight 1 each, the same as ``l = 1/2``.

    Args:
        make_backbone: builds a backbone, a new one at each call.
        make_head: builds the head for both branches' features side by side.
        share_until: the last submodule that both branches share; None leaves the last large stage to each.

    Raises:
        InputError: the backbone cannot be cut there.

    Source: Zhou et al., arXiv 1912.02413 and its official code, whose CIFAR network owns the last block of
    the last stage: ``share_until="stage3.3"`` on ``resnet32``.

    Example:
        >>> from tailgrad.heads import Linear
        >>> from tailgrad.models import CifarResNet
        >>> model = BBN(CifarResNet, lambda backbone: Linear(backbone.pooled, 5))
        >>> model.mixed(torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), 0.9).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, make_backbone: MakeBackbone, make_head: MakeHead, *, share_until: str | None = None
    ) -> None:
        backbone = BranchedBackbone(make_backbone, 2, share_until, own=1)
        super().__init__(backbone, make_head(cast("Backbone", backbone)))

    def mixed(self, conventional: Inputs, rebalanced: Inputs, l: float) -> Tensor:  # noqa: E741
        """Logits [N, K] of two batches of images [N, 3, H, W], mixed with weight l in [0, 1].

        Raises:
            InputError: the batches differ in size, or l is outside its range.
        """
        in_range("l", l, 0, 1)
        if len(conventional) != len(rebalanced):
            raise InputError(
                "both batches must hold the same number of images, got "
                f"{len(conventional)} and {len(rebalanced)}; draw them from samplers of one length"
            )
        parts = [self._part(conventional, 0), self._part(rebalanced, 1)]
        logits: Tensor = self.head(2 * torch.cat([l * parts[0], (1 - l) * parts[1]], 1))
        return logits

    def _part(self, images: Inputs, place: int) -> Tensor:
        backbone = cast("BranchedBackbone", self.backbone)
        features = backbone.branch(self.fitted(images), place)
        return features if self.takes_map else backbone.pool_branch(features, place)


def bbn_weight(epoch: int, epochs: int) -> float:
    """``l = 1 - ((epoch - 1) / epochs)^2``: weight of the conventional branch, from 1 towards 0.

    Args:
        epoch: counted from 1.
        epochs: in all.

    Raises:
        InputError: the epoch is not in 1..epochs.

    Source: Zhou et al., arXiv 1912.02413, official code.

    Example:
        >>> bbn_weight(1, 200), bbn_weight(101, 200)
        (1.0, 0.75)
    """
    in_range("epoch", epoch, 1, epochs)
    return 1 - ((epoch - 1) / epochs) ** 2
