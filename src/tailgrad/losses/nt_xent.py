"""The contrastive loss of two views, without labels."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError, in_range
from tailgrad.losses.arguments import counted_classes, set_reduction
from tailgrad.losses.contrast import gathered, similarities
from tailgrad.losses.features import as_views, unit
from tailgrad.settings import Settings
from tailgrad.types import Correction


class NTXentLoss(Settings, nn.Module):
    """``-log( e^{<x_i, x_i'> / t} / sum_{a != i} e^{<x_i, x_a> / t} )``, the mean over the 2N views.

    x are features of length one, ``x_i'`` is the other view of the same image. Labels are not read.

    Args:
        class_counts: each at least 1; not used, losses are built alike.
        temperature: t, above 0.
        over_ranks: in training, compare with the views of all ranks.
        reduction: ``"mean"`` or ``"sum"`` over the views.

    Raises:
        InputError: an argument or shape does not fit.

    Source: SimCLR, arXiv 2002.05709, eq 1; t = 0.5 as in the repository of arXiv 2312.02517, which also
    clamps cosines at 1e-7 and so stops the gradient of every dissimilar pair; not done here. That Joint-SSL
    of that paper uses this loss is assumed.

    Example:
        >>> import torch
        >>> NTXentLoss()(torch.eye(4).expand(2, 4, 4))
        tensor(0.5944)
    """

    takes: ClassVar[str] = "features"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        temperature: float = 0.5,
        over_ranks: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counted_classes(class_counts)
        self.temperature = in_range("temperature", temperature, 0, exclusive=True)
        self.over_ranks = over_ranks
        self.reduction = set_reduction(reduction, over="views")

    def forward(self, views: Tensor, target: Tensor | None = None) -> Tensor:  # noqa: ARG002 - not read
        """The loss of the features of two views [2, N, D]; a target [N] is ignored."""
        if len(as_views(views)) != 2:
            raise InputError(
                f"features must be those of two views [2, N, D], got {list(views.shape)}; set views=2"
            )
        anchors = unit(views).flatten(0, 1)
        keys, start = gathered(anchors, self.over_ranks and self.training)
        scores, own = similarities(anchors, keys, start, self.temperature)
        partner = own.flatten().roll(len(anchors) // 2)
        return F.cross_entropy(scores, partner, reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: labels take no part."""
        return None
