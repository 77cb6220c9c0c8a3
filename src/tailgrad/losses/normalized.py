"""Normalised losses that resist label noise: an active and a passive part."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import counted_classes, prepared
from tailgrad.losses.targets import mix, of_labels
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class NormalizedLoss(Settings, nn.Module):
    """``loss(z, y) = alpha NCE + beta RCE``, ``NCE = log p_y / sum_k log p_k``, ``RCE = A (1 - p_y)``.

    ``p = softmax(z)``. NCE summed over the labels is 1, RCE ``A (K-1)``: constants, which is why noise that
    spreads evenly over the labels cannot move the optimum. Both underfit, the tail first.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        alpha: weight of normalised cross-entropy, at least 0.
        beta: weight of reverse cross-entropy, at least 0; 0 leaves NCE alone.
        log_zero: A, above 0: what stands for ``-log 0`` in the reverse cross-entropy.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Source: Ma et al., arXiv 2006.13554 (active passive loss), general knowledge of the method; alpha =
    beta = 1 and A = 4 assumed.

    Example:
        >>> NormalizedLoss(beta=0.0)(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1]))
        tensor(0.3333)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        log_zero: float = 4.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.alpha = in_range("alpha", alpha, 0)
        self.beta = in_range("beta", beta, 0)
        self.log_zero = in_range("log_zero", log_zero, 0)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        log_p = prepared(logits, target, self.num_classes).log_softmax(1)
        own = of_labels(log_p, target)
        active = own / log_p.sum(1, keepdim=True).clamp(max=-torch.finfo(log_p.dtype).tiny)
        values = self.alpha * active - self.beta * self.log_zero * own.expm1()
        return reduce(mix(values, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every class is treated alike."""
        return None
