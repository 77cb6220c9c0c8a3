"""Several experts on shared first stages."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from tailgrad.models.backbone import Backbone
from tailgrad.models.branched_backbone import BranchedBackbone, MakeBackbone
from tailgrad.models.classifier import Classifier
from tailgrad.types import Inputs, Output

MakeHead = Callable[[Backbone], nn.Module]


class MultiExpert(Classifier):
    """E experts that share the first stages of a backbone and own the last, with a head each.

    ``z = mean_e head_e(branch_e(shared(x)))``. The features of an ``Output`` are those of all experts side by
    side [N, E D]; ``experts`` holds the logits of each, as ``RIDELoss`` takes them.

    Args:
        make_backbone: builds a backbone, a new one at each call.
        make_head: builds a head for one expert's backbone, a new one at each call.
        experts: E, at least 1.
        share_until: the last submodule that all experts share; None leaves the last two large stages to each
            expert (``"stage1"`` for ``resnet32``, ``"net.layer2"`` for timm's residual networks).

    Raises:
        InputError: the backbone cannot be cut there (the error names the reason), or ``experts`` is below 1.

    Source: RIDE, arXiv 2010.01809 and its official code, which owns the last two stages and averages the
    logits. Its narrower experts ("reduce dimension") and its router are not here.

    Example:
        >>> from tailgrad.heads import Cosine
        >>> from tailgrad.models import CifarResNet
        >>> model = MultiExpert(CifarResNet, lambda backbone: Cosine(backbone.pooled, 5), experts=3)
        >>> model.outputs(torch.rand(2, 3, 32, 32)).experts.shape
        torch.Size([3, 2, 5])
    """

    def __init__(
        self,
        make_backbone: MakeBackbone,
        make_head: MakeHead,
        *,
        experts: int = 3,
        share_until: str | None = None,
    ) -> None:
        backbone = BranchedBackbone(make_backbone, experts, share_until, own=2)
        heads = [make_head(cast("Backbone", branch)) for branch in backbone.copies]
        super().__init__(backbone, ExpertHeads(heads))

    def outputs(self, images: Inputs) -> Output:
        """Logits [N, K], features [N, E D] and the experts' logits [E, N, K] of images [N, 3, H, W]."""
        features = self.features(images)
        pooled = self.backbone.pool(features)
        # A call of the module, so that hooks on it see the experts too.
        logits: Tensor = self.head(features if self.takes_map else pooled, apart=True)
        return Output(logits.mean(1), pooled, logits.transpose(0, 1))


class ExpertHeads(nn.Module):
    """One head for each part of the features; the mean of their logits.

    Args:
        heads: E heads, each for a part [N, D] or [N, C, *spatial].

    Source: as ``MultiExpert``.

    Example:
        >>> heads = ExpertHeads([nn.Linear(4, 3), nn.Linear(4, 3)])
        >>> heads(torch.zeros(5, 8)).shape, heads(torch.zeros(5, 8), apart=True).shape
        (torch.Size([5, 3]), torch.Size([5, 2, 3]))
    """

    def __init__(self, heads: list[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.takes = getattr(heads[0], "takes", "pooled")

    def forward(self, features: Tensor, *, apart: bool = False) -> Tensor:
        """Mean logits [N, K] of the parts side by side [N, E D, ...], or those of each expert [N, E, K]."""
        parts = features.chunk(len(self.heads), 1)
        logits = torch.stack([head(part) for head, part in zip(self.heads, parts, strict=True)], 1)
        return logits if apart else logits.mean(1)
