"""LDAM: label-distribution-aware margins on cosine logits."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.nn import functional as F

from tailgrad.checks import InputError, in_range
from tailgrad.losses.arguments import prepared, required_counts
from tailgrad.losses.targets import log_sum_exp, of_labels
from tailgrad.losses.weighting import ClassWeighting, check_reduction, listed
from tailgrad.settings import Settings
from tailgrad.types import Correction

NO_THRESHOLD = 50.0  # softplus is exact below it, and the identity to double precision above


class LDAMLoss(Settings, nn.Module):
    """``loss(z, y) = w_y CE(z - s m_y e_y, y)`` with ``m_k = m_max (n_min / n_k)^(1/4)``.

    For logits that are cosines times s: the head ``Cosine`` with the same ``scale``, in training and after.
    Larger logits raise, seen on the CPU at every call and on an accelerator, where a look waits for it, at
    calls 1, 2, 4, 8 and so on.

    Args:
        class_counts: training examples of each class, each at least 1; needed.
        max_margin: m_max, the margin of the rarest class as a cosine, 0 to 2.
        scale: s, above 0; that of the head.
        weights: ``"none"``, ``"inverse"``, ``"inverse_sqrt"``, ``"effective"`` (see ``class_weights``) or K
            positive numbers.
        normalizer: what the mean divides by: ``"weights"``, ``sum_i w_{y_i}``; ``"batch"``, N (see
            ``CrossEntropyLoss`` for the choice).
        beta: of the effective number, 0 to below 1.
        defer: epochs without the weights, which apply from the next on (``set_epoch``); at least 0. DRW is
            ``weights="effective"`` with 160 of 200 epochs deferred.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit, or a logit exceeds 1.001 s.

    A margin concerns the label alone: ``loss = softplus(s m_y - (z_y - log sum_{j != y} e^{z_j}))``, so one
    pass serves all labels of a target of probabilities.

    Source: Cao et al., arXiv 1906.07413; m_max 0.5 and s 30 from its code.

    Example:
        >>> loss = LDAMLoss([100, 10, 1], reduction="none")
        >>> loss(30 * torch.tensor([[0.8, 0.5, 0.1]] * 2), torch.tensor([1, 2]))
        tensor([17.4351, 36.0001])
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    head_needed: ClassVar[str] = "cosine"
    margin: Tensor
    weight: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        max_margin: float = 0.5,
        scale: float = 30.0,
        weights: str | Sequence[float] = "none",
        normalizer: str = "weights",
        beta: float = 0.9999,
        defer: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "LDAMLoss")
        self.weighting = ClassWeighting(counts, weights, beta=beta, normalizer=normalizer, defer=defer)
        self.scale = in_range("scale", scale, 1e-3)
        self.reduction = check_reduction(reduction)
        in_range("max_margin", max_margin, 0, 2)
        margins = [max_margin * (min(counts) / n) ** 0.25 for n in counts]
        self.register_buffer("margin", torch.tensor(margins))
        self.register_buffer("weight", self.weighting.tensor())
        self._calls = 0

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 1."""
        self.weighting.set_epoch(epoch)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits s cos [N, K] for class indices [N] or probabilities [N, K]."""
        precise = prepared(logits, target, len(self.margin))
        if self._looks(logits):
            self._check(logits)
        margin = of_labels(self.scale * self.margin.to(precise.dtype)[None], target)
        if target.is_floating_point():
            values = F.softplus(margin - _log_odds(precise), threshold=NO_THRESHOLD)
        else:
            moved = precise.scatter_add(1, target.long()[:, None], -margin)
            values = -of_labels(moved.log_softmax(1), target)
        self.weighting.watch.saw(self, target)
        return self.weighting.reduce(values, target, self.weight, self.reduction)

    def correction(self) -> Correction | None:
        """``log w_k`` of the weights, deferred or not; without weights the margins, which are listed."""
        return self.weighting.correction(without=listed(len(self.margin)))

    def _looks(self, logits: Tensor) -> bool:
        if torch.compiler.is_compiling() or is_functorch_wrapped_tensor(logits):
            return False
        self._calls += 1
        return logits.device.type == "cpu" or self._calls & (self._calls - 1) == 0

    def _check(self, logits: Tensor) -> None:
        largest = float(torch.linalg.vector_norm(logits.detach(), torch.inf))
        if largest > self.scale * (1.001 + torch.finfo(logits.dtype).eps):
            raise InputError(
                f"logits must be cosines times scale={self.scale}, got one of size {largest:.4g}; use the "
                "Cosine head with the scale of the loss"
            )


def _log_odds(logits: Tensor) -> Tensor:
    """``z_k - log sum_{j != k} e^{z_j}`` [N, K]."""
    # 1 - p_k cancels only for the largest p_k: the rest of that class is summed without it.
    top = logits.argmax(1, keepdim=True)
    rest = log_sum_exp(logits.scatter(1, top, -torch.inf))
    log_p = logits.log_softmax(1)
    others = (-log_p.exp().scatter(1, top, 0)).log1p()
    return (log_p - others).scatter(1, top, logits.gather(1, top) - rest)
