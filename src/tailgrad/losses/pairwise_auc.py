"""The pairwise surrogate of macro-AUC."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import one_of
from tailgrad.losses.arguments import counted_classes, set_reduction
from tailgrad.losses.multi_label_target import multi_label
from tailgrad.losses.weighting import listed
from tailgrad.settings import Settings
from tailgrad.types import Correction

SURROGATES = ("logistic", "hinge", "squared")


class PairwiseAUCLoss(Settings, nn.Module):
    """``loss = mean_k mean_{i: y_ik=1, j: y_jk=0} l(z_ik - z_jk)``: one minus macro-AUC, made smooth.

    A loss of the whole batch: the pairs are those inside it. A label without positives or without negatives
    there has no pair and is skipped; a batch without any pair costs 0.

    Args:
        class_counts: positive examples of each label, each at least 1; only their number is used.
        surrogate: l: ``"logistic"``, ``softplus(-m)``; ``"hinge"``, ``max(1-m, 0)``; ``"squared"``,
            ``(1-m)^2``.
        reduction: ``"mean"`` or ``"sum"`` over the labels that have pairs.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The target is a matrix of zeros and ones [N, K]. Adding a number to all logits of a label changes nothing,
    so that probabilities mean nothing afterwards: thresholds come from validation data. ``correction`` lists
    the loss without multiplying anything.

    Source: Wu et al. 2023, "Towards understanding generalization of macro-AUC in multi-label learning", the
    pairwise surrogate; pairs within batches as is usual. General knowledge of the method.

    Example:
        >>> import torch
        >>> z, y = torch.tensor([[2.0], [1.0], [0.0]]), torch.tensor([[1], [0], [0]])
        >>> PairwiseAUCLoss(surrogate="hinge")(z, y), PairwiseAUCLoss(surrogate="squared")(z, y)
        (tensor(0.), tensor(0.5000))
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = True
    multi_label: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        surrogate: str = "logistic",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.surrogate = one_of("surrogate", surrogate, SURROGATES)
        self.reduction = set_reduction(reduction, "labels")

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for a target of zeros and ones [N, K]."""
        logits, y = multi_label(logits, target, self.num_classes)
        values = self._of_margin(logits[:, None] - logits[None])
        pairs = y[:, None] * (1 - y[None])
        number = pairs.sum((0, 1))
        losses = (pairs * values).sum((0, 1)) / number.clamp(min=1)
        total = losses.sum()
        return total if self.reduction == "sum" else total / (number > 0).sum().clamp(min=1)

    def correction(self) -> Correction | None:
        """Listed only, with zeros; None where the number of labels is not known."""
        return None if self.num_classes is None else listed(self.num_classes)

    def _of_margin(self, margin: Tensor) -> Tensor:
        if self.surrogate == "logistic":
            return F.softplus(-margin)
        missing = 1 - margin
        return missing.clamp(min=0) if self.surrogate == "hinge" else missing.square()
