"""The focal loss in its softmax form."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import prepared
from tailgrad.losses.targets import of_labels
from tailgrad.losses.weighting import ClassWeighting, check_reduction
from tailgrad.settings import Settings
from tailgrad.types import Correction


class FocalLoss(Settings, nn.Module):
    """``loss(z, y) = -w_y (1 - p_y)^gamma log p_y`` with ``p = softmax(z)``.

    Args:
        class_counts: training examples of each class, each at least 1; needed by the schemes.
        gamma: focusing, at least 0 (0 is cross-entropy).
        weights: ``"none"``, ``"inverse"``, ``"inverse_sqrt"``, ``"effective"`` (see ``class_weights``) or K
            positive numbers, the alpha of the source.
        normalizer: what the mean divides by: ``"weights"``, ``sum_i w_{y_i}``; ``"batch"``, N (see
            ``CrossEntropyLoss`` for the choice).
        beta: of the effective number, 0 to below 1.
        defer: epochs without the weights, which apply from the next on (``set_epoch``); at least 0.
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
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    weight: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        gamma: float = 2.0,
        weights: str | Sequence[float] = "none",
        normalizer: str = "weights",
        beta: float = 0.9999,
        defer: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.weighting = ClassWeighting(class_counts, weights, beta=beta, normalizer=normalizer, defer=defer)
        self.gamma = in_range("gamma", gamma, 0)
        self.num_classes = self.weighting.num_classes
        self.reduction = check_reduction(reduction)
        self.register_buffer("weight", self.weighting.tensor())

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 1."""
        self.weighting.set_epoch(epoch)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        log_p = of_labels(prepared(logits, target, self.num_classes).log_softmax(1), target)
        others = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).tiny)
        values = -log_p * others**self.gamma
        self.weighting.watch.saw(self, target)
        return self.weighting.reduce(values, target, self.weight, self.reduction)

    def correction(self) -> Correction | None:
        """How the weights shift the prior: ``log w_k``, deferred or not; None without weights."""
        return self.weighting.correction()
