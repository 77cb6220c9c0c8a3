"""The reweighted univariate surrogate of macro-AUC."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.losses.arguments import required_counts
from tailgrad.losses.label_counts import label_counts
from tailgrad.losses.multi_label_target import multi_label
from tailgrad.losses.weighting import check_reduction, listed, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class ReweightedAUCLoss(Settings, nn.Module):
    """``loss = mean_k [y_k (N/n_k) softplus(-z_k) + (1-y_k) (N/(N-n_k)) softplus(z_k)]``.

    Its mean over all N examples is, for each label, the mean loss of its n_k positives plus the mean loss of
    its negatives, then the mean over labels: both sides of a rare label weigh the same. Batches give it
    without bias, so that no pairs are needed.

    Args:
        class_counts: positive examples of each label, each at least 1.
        num_samples: training examples N; None takes the sum of the counts, right for one label each.
        reduction: ``"mean"`` over examples, ``"sum"`` or ``"none"`` ([N]); each example's value is the mean
            over labels.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The target is a matrix of zeros and ones [N, K]. ``correction`` lists the loss: its weights act on
    sigmoids, apart for each label.

    Source: Wu et al. 2023, "Towards understanding generalization of macro-AUC in multi-label learning", the
    reweighted univariate surrogate with the logistic loss; general knowledge of the method.

    Example:
        >>> loss = ReweightedAUCLoss([1, 2], num_samples=4)
        >>> loss(torch.zeros(4, 2), torch.tensor([[1, 0], [0, 1], [0, 1], [0, 0]]))
        tensor(1.3863)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = False
    multi_label: ClassVar[bool] = True
    positive: Tensor
    negative: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        num_samples: int | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts, total = label_counts(required_counts(class_counts, "ReweightedAUCLoss"), num_samples)
        self.num_classes = len(counts)
        self.reduction = check_reduction(reduction)
        self.register_buffer("positive", torch.tensor([total / n for n in counts]))
        self.register_buffer("negative", torch.tensor([total / (total - n) for n in counts]))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for a target of zeros and ones [N, K]."""
        logits, y = multi_label(logits, target, self.num_classes)
        is_positive = y > 0
        weights = torch.where(is_positive, self.positive.to(y.dtype), self.negative.to(y.dtype))
        values = weights * F.softplus(torch.where(is_positive, -logits, logits))
        return reduce(values.mean(1), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """Listed only, with zeros."""
        return listed(self.num_classes)
