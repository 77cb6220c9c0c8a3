"""AnyLoss: macro-F1 of probabilities pushed towards 0 and 1."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tailgrad.checks import in_range, positive_counts
from tailgrad.losses.arguments import counted_classes, prepared, set_reduction
from tailgrad.losses.epoch_watch import EpochWatch
from tailgrad.losses.soft_counts import f1_loss
from tailgrad.losses.weighting import listed
from tailgrad.settings import Settings
from tailgrad.types import Correction


class AnyLoss(Settings, nn.Module):
    """``loss = 1 - mean_k F1_k`` of ``A = 1 / (1 + exp(-L (p - 1/2)))`` in place of ``p = softmax(z)``.

    A loss of the whole batch; ``reduction="none"`` is refused. At L = 73 the counts are those of hard
    predictions within 1e-3 once p is 0.1 from one half, and gradients vanish there: anneal L.

    Args:
        class_counts: training examples of each class, each at least 1; only their number is used.
        steepness: L, above 0.
        start_steepness: L in epoch 1, above 0; unused without ``anneal_epochs``.
        anneal_epochs: epochs over which L goes geometrically from start to end; 0 keeps it fixed.
        reduction: ``"mean"`` or ``"sum"`` over the classes present in labels or amplified probabilities.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    Annealing follows ``set_epoch``, so a resumed run goes on where it was; without a call L stays at its
    start, and a second epoch warns. Probabilities as targets enter as the labels' counts.

    Source: L = 73 as read in third-party code. The method is binary: macro-F1 over one-vs-rest, and
    annealing, are ours.

    Example:
        >>> import torch
        >>> rows = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5]])
        >>> AnyLoss()(rows.log(), torch.arange(3))
        tensor(0.1112)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = True

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        steepness: float = 73.0,
        start_steepness: float = 5.0,
        anneal_epochs: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = counted_classes(class_counts)
        self.end = in_range("steepness", steepness, 1e-6)
        self.start = in_range("start_steepness", start_steepness, 1e-6)
        self.anneal_epochs = in_range("anneal_epochs", anneal_epochs, 0)
        self.reduction = set_reduction(reduction)
        length = 0 if class_counts is None else sum(positive_counts(class_counts))
        self.watch = EpochWatch(length, f"its steepness stays at {self.start}")
        self.set_epoch(1)
        self.watch.is_told = anneal_epochs == 0

    def set_epoch(self, epoch: int) -> None:
        """Set L for an epoch, counted from 1."""
        in_range("epoch", epoch, 1)
        done = min((epoch - 1) / self.anneal_epochs, 1.0) if self.anneal_epochs else 1.0
        self.steepness = self.start * (self.end / self.start) ** done
        self.watch.is_told = True

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        found = prepared(logits, target, self.num_classes).softmax(1)
        self.watch.saw(self, target)
        amplified = (self.steepness * (found - 0.5)).sigmoid()
        return f1_loss(amplified, target, 0.0, self.reduction)

    def correction(self) -> Correction | None:
        """Listed only, with zeros; None where the number of classes is not known."""
        return None if self.num_classes is None else listed(self.num_classes)
