"""The distribution-balanced loss for several labels an example."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import in_range
from tailgrad.losses.arguments import required_counts
from tailgrad.losses.label_counts import label_counts
from tailgrad.losses.multi_label_target import multi_label
from tailgrad.losses.weighting import check_reduction, listed, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class DistributionBalancedLoss(Settings, nn.Module):
    """``loss = mean_k rhat_k [y_k f(-v_k) + (1-y_k) f(c v_k) / c]``, ``f(x) = sigmoid(x)^gamma softplus(x)``.

    ``v = z + (init_bias / c) log(pi / (1-pi))`` with the shares pi of the labels: negatives of rare labels
    are tolerated. The weight ``rhat = alpha + sigmoid(beta (r - mu))`` undoes what labels that come together
    do to sampling: ``r_k = (1/n_k) / sum_{j: y_j=1} 1/n_j``, 1 for a single positive.

    Args:
        class_counts: positive examples of each class, each at least 1.
        num_samples: training examples; None takes the sum of the counts, right for one label each.
        alpha: smallest weight, at least 0.
        beta: slope of the weight, at least 0.
        mu: where the weight is half-way, 0 to 1.
        neg_scale: c, above 0; 1 treats negatives as positives.
        init_bias: at least 0; 0 leaves the logits unshifted.
        gamma: focusing, at least 0.
        reduction: ``"mean"`` over examples, ``"sum"`` or ``"none"`` ([N]); each example's value is the mean
            over classes.

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The target is a matrix of zeros and ones [N, K]; an example without labels has the largest weights.
    ``correction`` lists the loss: its weights and shifts act on sigmoids, apart for each label.

    Source: Wu et al., arXiv 2007.09654, and its public code, whose COCO constants are the defaults (VOC: mu
    0.3, neg_scale 5). That code doubles the loss where it is focal; left out.

    Example:
        >>> loss = DistributionBalancedLoss([100, 10, 1])
        >>> loss(torch.tensor([[2.0, -1.0, -4.0]]), torch.tensor([[1, 0, 0]]))
        tensor(0.0008)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = False
    multi_label: ClassVar[bool] = True
    rarity: Tensor
    bias: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        num_samples: int | None = None,
        alpha: float = 0.1,
        beta: float = 10.0,
        mu: float = 0.2,
        neg_scale: float = 2.0,
        init_bias: float = 0.05,
        gamma: float = 2.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "DistributionBalancedLoss")
        self.num_classes = len(counts)
        self.alpha = in_range("alpha", alpha, 0)
        self.beta = in_range("beta", beta, 0)
        self.mu = in_range("mu", mu, 0, 1)
        self.neg_scale = in_range("neg_scale", neg_scale, 1e-6)
        self.gamma = in_range("gamma", gamma, 0)
        self.reduction = check_reduction(reduction)
        scale = in_range("init_bias", init_bias, 0) / neg_scale
        self.register_buffer("rarity", 1 / torch.tensor(counts))
        self.register_buffer("bias", scale * torch.tensor(_log_odds(counts, num_samples)))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for a target of zeros and ones [N, K]."""
        logits, y = multi_label(logits, target, self.num_classes)
        shifted = logits + self.bias.to(logits.dtype)
        # The logit of being wrong, so that positives and negatives share what is costly.
        against = torch.where(y > 0, -shifted, self.neg_scale * shifted)
        weights = self._weights(y)
        weights = torch.where(y > 0, weights, weights / self.neg_scale)
        # Kept above 0, where a power below 1 has no derivative.
        wrong = against.sigmoid().clamp(min=torch.finfo(y.dtype).tiny)
        values = weights * wrong**self.gamma * F.softplus(against)
        return reduce(values.mean(1), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """Listed only, with zeros."""
        return listed(self.num_classes)

    def _weights(self, y: Tensor) -> Tensor:
        rarity = self.rarity.to(y.dtype)
        together = (y * rarity).sum(1, keepdim=True).clamp(min=torch.finfo(y.dtype).tiny)
        return self.alpha + (self.beta * (rarity / together - self.mu)).sigmoid()


def _log_odds(counts: Sequence[int], num_samples: int | None) -> list[float]:
    """``log(n_k / (N - n_k))``, with n_k kept between 1 and N - 1."""
    inside, total = label_counts(counts, num_samples)
    return [math.log(n / (total - n)) for n in inside]
