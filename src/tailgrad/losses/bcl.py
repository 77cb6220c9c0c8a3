"""Balanced contrastive learning."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import required_counts, set_reduction
from tailgrad.losses.contrast import gathered, similarities
from tailgrad.losses.features import as_views, check_labels, check_rows, unit
from tailgrad.losses.weighting import listed
from tailgrad.settings import Settings
from tailgrad.types import Correction


class BCLLoss(Settings, nn.Module):
    """``L_i = -mean_{p in P(i)} [ s_ip / t - log sum_{a != i} e^{s_ia / t} / n_a ]``.

    Supervised contrast in which every class counts once. Keys are all features and K learnt class centres, of
    length one; s are cosines, and ``n_a`` is the number of keys of a's class, one less for the anchor's own
    class. So each class adds the mean of its terms, and every anchor has a positive: its centre.

    Args:
        class_counts: training examples of each class, each at least 1; needed, for their number.
        temperature: t, above 0.
        dim: width D of the features, at least 1.
        over_ranks: in training, compare with the examples of all ranks.
        reduction: ``"mean"`` or ``"sum"`` over the anchors.

    Raises:
        InputError: an argument, shape, type or target value does not fit; targets are probabilities.

    The centres are parameters: hand ``loss.parameters()`` to the optimiser. It goes beside a loss on logits,
    as 0.35 times this plus a logit-adjusted cross-entropy in the source.

    Source: Zhu et al. 2022, official code: t 0.1 in the class, 0.07 on its command line. There the centres
    come from the classifier's weights through a small network; free centres here.

    Example:
        >>> loss = BCLLoss([100, 10, 1], dim=8)
        >>> loss(torch.randn(2, 4, 8), torch.tensor([0, 0, 1, 2])).shape, loss.centres.shape
        (torch.Size([]), torch.Size([3, 8]))
    """

    takes: ClassVar[str] = "features"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        temperature: float = 0.1,
        dim: int = 128,
        over_ranks: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = len(required_counts(class_counts, "BCLLoss"))
        self.temperature = in_range("temperature", temperature, 0, exclusive=True)
        in_range("dim", dim, 1)
        self.over_ranks = over_ranks
        self.reduction = set_reduction(reduction, over="anchors")
        self.centres = nn.Parameter(torch.randn(self.num_classes, dim) / math.sqrt(dim))

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """The loss of features [N, D] or views of them [V, N, D] for class indices [N]."""
        views = as_views(features)
        check_rows(views[0], self.centres.shape[1])
        check_labels(target, views.shape[1], self.num_classes)
        spread = self.over_ranks and self.training
        anchors, labels = unit(views).flatten(0, 1), target.long().repeat(len(views))
        keys, start = gathered(anchors, spread)
        names = torch.cat([gathered(labels, spread)[0], torch.arange(self.num_classes, device=labels.device)])
        keys = torch.cat([keys, unit(self.centres).to(keys.dtype)])
        scores, own = similarities(anchors, keys, start, self.temperature)
        positive = (labels[:, None] == names).scatter(1, own, value=False)
        shares = _sizes(names, self.num_classes)[names] - positive.long()
        denominator = (scores - shares.to(scores.dtype).log()).logsumexp(1)
        values = denominator - scores.masked_fill(~positive, 0).sum(1) / positive.sum(1)
        return values.sum() if self.reduction == "sum" else values.mean()

    def correction(self) -> Correction | None:
        """Listed only: it balances the features, not the classifier."""
        return listed(self.num_classes)


def _sizes(names: Tensor, num_classes: int) -> Tensor:
    return names.new_zeros(num_classes).index_add_(0, names, torch.ones_like(names))
