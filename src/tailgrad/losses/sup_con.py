"""The supervised contrastive loss."""

from collections.abc import Sequence
from typing import ClassVar

import torch.distributed as dist
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.distributed import is_spread, sum_over_ranks
from tailgrad.losses.arguments import counted_classes, set_reduction
from tailgrad.losses.contrast import gathered, similarities
from tailgrad.losses.features import as_views, check_labels, unit
from tailgrad.settings import Settings
from tailgrad.types import Correction


class SupConLoss(Settings, nn.Module):
    """``L_i = -mean_{p in P(i)} [ s_ip / t - log sum_{a != i} e^{s_ia / t} ]`` with cosines s.

    P(i) are the other examples and views of i's class. Anchors without any contribute 0; the mean is over the
    others.

    Args:
        class_counts: each at least 1; not used, losses are built alike.
        temperature: t, above 0.
        over_ranks: in training, compare with the examples of all ranks.
        reduction: ``"mean"`` or ``"sum"`` over the anchors.

    Raises:
        InputError: an argument, shape or type does not fit; targets are probabilities.

    Source: Khosla et al., arXiv 2004.11362, eq 2 (the sum outside the logarithm); t = 0.07 from
    the official code, which multiplies by t over a base temperature, 1 in effect.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> SupConLoss()(features, torch.tensor([0, 0, 1]))
        tensor(1.4566)
    """

    takes: ClassVar[str] = "features"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        temperature: float = 0.07,
        over_ranks: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counted_classes(class_counts)
        self.temperature = in_range("temperature", temperature, 0, exclusive=True)
        self.over_ranks = over_ranks
        self.reduction = set_reduction(reduction, over="anchors")

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """The loss of features [N, D] or views of them [V, N, D] for class indices [N]."""
        views = as_views(features)
        check_labels(target, views.shape[1])
        spread = self.over_ranks and self.training and is_spread()
        anchors, labels = unit(views).flatten(0, 1), target.repeat(len(views))
        keys, start = gathered(anchors, spread)
        scores, own = similarities(anchors, keys, start, self.temperature)
        positive = labels[:, None] == gathered(labels, spread)[0]
        positive = positive.scatter(1, own, value=False)
        counts = positive.sum(1)
        # An anchor alone in the world has no other key: its row of minus infinity must not be normalised.
        log_p = scores.log_softmax(1) if scores.shape[1] > 1 else scores
        values = -log_p.masked_fill(~positive, 0).sum(1) / counts.clamp(min=1)
        if self.reduction == "sum":
            return values.sum()
        paired = (counts > 0).sum().to(values.dtype)
        if spread:
            paired = sum_over_ranks(paired) / dist.get_world_size()
        return values.sum() / paired.clamp(min=1e-6)

    def correction(self) -> Correction | None:
        """None: it acts on features, whose classifier is another loss's matter."""
        return None
