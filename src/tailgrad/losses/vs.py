"""The vector-scaling loss: logits scaled and shifted by class in training; CDT is its scaling alone."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import prepared, required_counts
from tailgrad.losses.prior import log_prior
from tailgrad.losses.targets import pick
from tailgrad.losses.weighting import check_reduction, listed, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class VSLoss(Settings, nn.Module):
    """``loss(z, y) = CE(z / Delta + tau log pi, y)`` with ``Delta_k = (n_max / n_k)^gamma``.

    Three published losses in one: gamma = 0 is ``LogitAdjustedLoss``, tau = 0 is CDT (class-dependent
    temperatures), both 0 is cross-entropy. The model's own logits z serve after training.

    Args:
        class_counts: training examples of each class, each at least 1; needed.
        gamma: of the scaling, at least 0; 0 to 0.4 for CDT on CIFAR-10-LT, 0 to 0.2 on CIFAR-100-LT.
        tau: of the shift, at least 0.
        prior: K positive numbers on any scale in place of the counts in the shift (see
            ``BalancedSoftmaxLoss``).
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Source: Kini et al., arXiv 2103.01550; gamma 0.3 and tau 1 from its code, whose command for CIFAR-10-LT
    takes 0.2 and 1.2. CDT: Ye et al., arXiv 2001.01385.

    Example:
        >>> loss = VSLoss([100, 10, 1])
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
        tensor(6.6286)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        gamma: float = 0.3,
        tau: float = 1.0,
        prior: Sequence[float] | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "VSLoss")
        in_range("gamma", gamma, 0)
        self.tau = in_range("tau", tau, 0)
        self.log_shift = tuple(tau * value for value in log_prior(counts, prior, "VSLoss"))
        self.reduction = check_reduction(reduction)
        self.register_buffer("scale", torch.tensor([(n / max(counts)) ** gamma for n in counts]))
        self.register_buffer("shift", torch.tensor(self.log_shift))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, len(self.shift))
        scaled = logits * self.scale.to(logits.dtype) + self.shift.to(logits.dtype)
        return reduce(-pick(scaled.log_softmax(1), target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """The shift of training logits, ``tau log pi_k``; the scaling alone (tau = 0) is listed."""
        return Correction("train_shift", self.log_shift) if self.tau else listed(len(self.log_shift))
