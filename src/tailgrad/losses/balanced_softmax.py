"""Balanced softmax: cross-entropy of logits shifted by the class prior."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.losses.arguments import prepared
from tailgrad.losses.prior import log_prior
from tailgrad.losses.targets import pick
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class BalancedSoftmaxLoss(Settings, nn.Module):
    """``loss(z, y) = CE(z + log n, y)``; the model's own logits z serve after training.

    Args:
        class_counts: training examples of each class, each at least 1; needed without a prior.
        prior: K positive numbers on any scale in place of the counts: the shares of the classes among the
            examples that the sampler draws (ones under a class-balanced sampler, where the loss has nothing
            left to correct).
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Counts are scaled to sum 1 first, which changes nothing: it is ``LogitAdjustedLoss`` with tau = 1.
    Probabilities as targets (mixup) stay as they are; only logits are shifted.

    Source: Ren et al., arXiv 2007.10740.

    Example:
        >>> loss = BalancedSoftmaxLoss([100, 10, 1])
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
        tensor(6.6426)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    shift: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        prior: Sequence[float] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.log_prior = log_prior(class_counts, prior, "BalancedSoftmaxLoss")
        self.reduction = check_reduction(reduction)
        self.register_buffer("shift", torch.tensor(self.log_prior))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, len(self.shift))
        log_p = (logits + self.shift.to(logits.dtype)).log_softmax(1)
        return reduce(-pick(log_p, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """The shift of training logits: ``log pi_k``."""
        return Correction("train_shift", self.log_prior)
