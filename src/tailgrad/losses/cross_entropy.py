"""Cross-entropy with class weights and label smoothing."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from tailgrad.checks import InputError, in_range
from tailgrad.losses.arguments import prepared
from tailgrad.losses.targets import of_labels
from tailgrad.losses.weighting import ClassWeighting, check_reduction
from tailgrad.settings import Settings
from tailgrad.types import Correction


class CrossEntropyLoss(Settings, nn.Module):
    """``loss(z, y) = w_y [(1 - eps)(-log p_y) + (eps / K) sum_j (-log p_j)]`` with ``p = softmax(z)``.

    Args:
        class_counts: training examples of each class, each at least 1; needed by the schemes.
        weights: ``"none"``, ``"inverse"``, ``"inverse_sqrt"``, ``"effective"`` (see ``class_weights``) or K
            positive numbers.
        normalizer: what the mean divides by: ``"weights"``, ``sum_i w_{y_i}``; ``"batch"``, N.
        label_smoothing: eps, 0 to 1.
        beta: of the effective number, 0 to below 1.
        defer: epochs without the weights, which apply from the next on (``set_epoch``); at least 0.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The default normaliser is ``"weights"``, as in PyTorch: the mean stays on the scale of the unweighted
    loss, so a learning rate keeps its meaning when weights are switched on, and multiplying all weights by
    a number changes nothing. Its price: the divisor changes from batch to batch, and in a batch of one
    class the weight cancels. ``"batch"`` is the printed form of the CSBA paper's eq 2 as we read it; the
    two can differ many times over. In a data-parallel loop of your own each process divides
    by its own sum; ``tailgrad.train`` takes that of all.

    Two deviations from ``torch.nn.CrossEntropyLoss``: with smoothing, the true class's weight multiplies the
    whole term, while PyTorch weights each smoothed term by its own class; with probability targets the mean
    still divides by the weights, so that one-hot rows equal class indices.

    Source: arXiv 2606.05740 eq 1-3; smoothing composed with weights as ``w_y`` times the smoothed term
    (ours).

    Example:
        >>> import torch
        >>> loss = CrossEntropyLoss([100, 10, 1], weights="inverse", normalizer="batch")
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]] * 2), torch.tensor([0, 2]))
        tensor(44.6161)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    weight: Tensor | None

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        weights: str | Sequence[float] = "none",
        normalizer: str = "weights",
        label_smoothing: float = 0.0,
        beta: float = 0.9999,
        defer: int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        given: object = class_counts
        # of an array == would compare number by number
        unweighted = isinstance(weights, str) and weights == "none"
        if unweighted and isinstance(given, Tensor) and given.is_floating_point():
            raise InputError(
                f"class_counts must be counts of training examples, got {given.dtype} and no weights; the "
                "class weights of torch's loss go into weights=[...] here"
            )
        self.weighting = ClassWeighting(class_counts, weights, beta=beta, normalizer=normalizer, defer=defer)
        self.label_smoothing = in_range("label_smoothing", label_smoothing, 0, 1)
        self.num_classes = self.weighting.num_classes
        self.reduction = check_reduction(reduction)
        self.register_buffer("weight", self.weighting.tensor())

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 1."""
        self.weighting.set_epoch(epoch)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        log_p = prepared(logits, target, self.num_classes).log_softmax(1)
        values = -of_labels(log_p, target)
        if self.label_smoothing:
            values = values.lerp(-log_p.mean(1, keepdim=True), self.label_smoothing)
        self.weighting.watch.saw(self, target)
        return self.weighting.reduce(values, target, self.weight, self.reduction)

    def correction(self) -> Correction | None:
        """How the weights shift the prior: ``log w_k``, deferred or not; None without weights."""
        return self.weighting.correction()
