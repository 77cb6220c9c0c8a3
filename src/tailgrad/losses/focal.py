"""The focal loss in its softmax form."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.targets import check_target, pick
from tailgrad.losses.weighting import check_reduction, reduce, resolve_weights, weight_correction
from tailgrad.types import Correction


class FocalLoss(nn.Module):
    """``loss(z, y) = -w_y (1 - p_y)^gamma log p_y`` with ``p = softmax(z)``.

    Args:
        class_counts: training examples of each class, each at least 1; needed by the schemes.
        gamma: focusing, at least 0 (0 is cross-entropy).
        weights: ``"none"``, ``"inverse"``, ``"inverse_sqrt"``, ``"effective"`` (see ``class_weights``) or K
            positive numbers, the alpha of the source.
        normalizer: what the mean divides by: ``"weights"``, ``sum_i w_{y_i}``; ``"batch"``, N (see
            ``CrossEntropyLoss`` for the choice).
        beta: of the effective number, 0 to below 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The modulator stays in the graph and never contains the class weight. ``1 - p`` comes from the log-softmax
    without cancelling, and is kept above the smallest normal number: below gamma = 1 its power has no
    derivative at 0.

    Source: Lin et al., arXiv 1708.02002, in the softmax form of arXiv 2606.05740 eq 50; gamma = 2 as in
    RetinaNet, assumed for the latter.

    Example:
        >>> FocalLoss(gamma=2.0)(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([2]))
        tensor(1.9936)
    """

    takes: ClassVar[str] = "logits"
    weight: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        gamma: float = 2.0,
        weights: str | Sequence[float] = "none",
        normalizer: str = "weights",
        beta: float = 0.9999,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction, normalizer)
        self.weights = resolve_weights(class_counts, weights, beta)
        self.gamma = in_range("gamma", gamma, 0)
        self.normalizer = normalizer
        self.reduction = reduction
        known = class_counts if self.weights is None else self.weights
        self.num_classes = None if known is None else len(known)
        self.register_buffer("weight", None if self.weights is None else torch.tensor(self.weights))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        check_target(logits, target, self.num_classes)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        log_p = logits.log_softmax(1)
        others = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)
        values = -log_p * others**self.gamma
        if self.weight is None:
            return reduce(pick(values, target), None, self.reduction, self.normalizer)
        weight = self.weight.to(values.dtype)[None]
        return reduce(pick(weight * values, target), pick(weight, target), self.reduction, self.normalizer)

    def correction(self) -> Correction | None:
        """How the weights shift the prior: ``log w_k``, or None without weights."""
        return weight_correction(self.weights)
