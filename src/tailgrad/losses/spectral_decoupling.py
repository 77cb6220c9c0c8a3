"""Spectral decoupling: cross-entropy with a penalty on the logits."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import counted_classes, prepared
from tailgrad.losses.targets import mix, of_labels
from tailgrad.losses.weighting import check_reduction, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class SpectralDecouplingLoss(Settings, nn.Module):
    """``loss(z, y) = -log p_y + (penalty / 2) sum_j z_j^2`` with ``p = softmax(z)``, averaged over the batch.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        penalty: lambda, at least 0 (0 is cross-entropy). The squares are summed over classes, not averaged.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Source: Pezeshki et al., arXiv 2011.09468 (gradient starvation), general knowledge of the method;
    penalty 0.1 assumed.

    Example:
        >>> import torch
        >>> SpectralDecouplingLoss(penalty=0.1)(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1]))
        tensor(1.6576)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False

    def __init__(
        self, class_counts: Sequence[int] | None = None, *, penalty: float = 0.1, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.penalty = in_range("penalty", penalty, 0)
        self.reduction = check_reduction(reduction)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, self.num_classes)
        squares = logits.square().sum(1, keepdim=True)
        values = self.penalty / 2 * squares - of_labels(logits.log_softmax(1), target)
        return reduce(mix(values, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """None: every class is treated alike."""
        return None
