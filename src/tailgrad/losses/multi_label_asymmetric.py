"""The asymmetric loss for several labels an example."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import in_range
from tailgrad.losses.arguments import counted_classes
from tailgrad.losses.multi_label_target import multi_label
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class MultiLabelAsymmetricLoss(Settings, nn.Module):
    """``loss = -sum_k [y_k (1-s_k)^g+ log s_k + (1-y_k) m_k^g- log(1-m_k)]``, ``m = max(s-clip, 0)``.

    ``s = sigmoid(z)``. With both focusings and the clip 0 it is binary cross-entropy summed over classes.

    Args:
        class_counts: positive examples of each class, each at least 1; only their number is used.
        gamma_pos: g+, focusing of positives, at least 0.
        gamma_neg: g-, focusing of negatives, at least 0.
        clip: probability below which a negative costs nothing, 0 to below 1.
        detach_focus: let no gradient through the focusing weights.
        reduction: ``"mean"`` over examples, ``"sum"`` (the published scale) or ``"none"`` ([N]); each
            example's value is summed over classes.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The target is a matrix of zeros and ones [N, K]. Logarithms are exact: the public code stops them at
    1e-8, so that positives with a logit below -18.4 receive no gradient.

    Source: Ridnik et al., arXiv 2009.14119, defaults of its public code.

    Example:
        >>> loss = MultiLabelAsymmetricLoss()
        >>> loss(torch.tensor([[2.0, -1.0, -4.0]]), torch.tensor([[1, 0, 0]]))
        tensor(0.0157)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = False
    multi_label: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        gamma_pos: float = 1.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        detach_focus: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.gamma_pos = in_range("gamma_pos", gamma_pos, 0)
        self.gamma_neg = in_range("gamma_neg", gamma_neg, 0)
        self.clip = in_range("clip", clip, 0, 0.999)
        self.detach_focus = detach_focus
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for a target of zeros and ones [N, K]."""
        logits, y = multi_label(logits, target, self.num_classes)
        # The logit of being wrong, so that positives and negatives share what is costly.
        positive = y > 0
        against = torch.where(positive, -logits, logits)
        wrong, costs = against.sigmoid(), F.softplus(against)
        if self.clip:
            clipped = (wrong - self.clip).clamp(0, 1 - self.clip)
            wrong = torch.where(positive, wrong, clipped)
            costs = torch.where(positive, costs, -torch.log1p(-clipped))
        # Kept above 0, where a power below 1 has no derivative.
        focus = (wrong.detach() if self.detach_focus else wrong).clamp(min=torch.finfo(y.dtype).tiny)
        focus = torch.where(positive, _power(focus, self.gamma_pos), _power(focus, self.gamma_neg))
        return reduce((focus * costs).sum(1), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every class is treated alike."""
        return None


def _power(values: Tensor, gamma: float) -> Tensor:
    # Squares are several times faster than a general power, and 4 is the default.
    return values.square().square() if gamma == 4 else values**gamma
