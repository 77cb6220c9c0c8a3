"""Logit adjustment in training: cross-entropy of logits shifted by a power of the class prior."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import prepared
from tailgrad.losses.prior import log_prior
from tailgrad.losses.targets import pick
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class LogitAdjustedLoss(Settings, nn.Module):
    """``loss(z, y) = CE(z + tau log pi, y)`` with ``pi_k = n_k / N``; z itself serves after training.

    Args:
        class_counts: training examples of each class, each at least 1; needed without a prior.
        tau: strength, at least 0 (0 is cross-entropy, 1 balanced softmax).
        prior: K positive numbers on any scale in place of the counts (see ``BalancedSoftmaxLoss``).
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Not for use with post-hoc adjustment by the same prior: that corrects twice.

    Source: Menon et al., arXiv 2007.07314 (the loss, not the post-hoc rule); tau = 1.

    Example:
        >>> loss = LogitAdjustedLoss([100, 10, 1], tau=0.5)
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
        tensor(4.4247)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    shift: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        tau: float = 1.0,
        prior: Sequence[float] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        in_range("tau", tau, 0)
        self.log_shift = tuple(tau * value for value in log_prior(class_counts, prior, "LogitAdjustedLoss"))
        self.reduction = check_reduction(reduction)
        self.register_buffer("shift", torch.tensor(self.log_shift))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, len(self.shift))
        log_p = (logits + self.shift.to(logits.dtype)).log_softmax(1)
        return reduce(-pick(log_p, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """The shift of training logits: ``tau log pi_k``."""
        return Correction("train_shift", self.log_shift)
