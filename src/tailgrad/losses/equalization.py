"""The equalization loss in its softmax form: rare classes ignore most of their negatives."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.losses.arguments import prepared, required_counts
from tailgrad.losses.targets import log_sum_exp, mix, of_labels
from tailgrad.losses.weighting import check_reduction, listed, reduce
from tailgrad.settings import Settings
from tailgrad.types import Correction


class EqualizationLoss(Settings, nn.Module):
    """``loss(z, y) = log sum_k w_k e^{z_k} - z_y`` with ``w_k = 1 - beta_k [pi_k < lambda] [k != y]``.

    Every example draws ``beta_k ~ Bernoulli(gamma)`` anew for each class k of share ``pi_k`` below lambda,
    from torch's global generator, as dropout does. Draws happen in training mode with gradients on;
    otherwise ``beta_k = gamma`` stands in, so that a measured value does not depend on chance. gamma 0 and 1
    never do.

    Args:
        class_counts: training examples of each class, each at least 1; needed.
        gamma: probability that a rare class ignores an example of another class, 0 to 1.
        threshold: lambda, share of the training examples below which a class is rare, 0 to 1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` ([N]).

    Raises:
        InputError: an argument, shape, type or target value does not fit.

    The label's own term always counts: with tail label y alone the loss is cross-entropy only if no other
    class is rare. For probabilities one draw serves all labels of the example.

    Source: Tan et al., arXiv 2003.05176, softmax form of the classification experiments as read in public
    code; gamma 0.9 and lambda 5e-3 from there. The detection form (sigmoid, background) is not here.

    Example:
        >>> loss = EqualizationLoss([100, 10, 1], gamma=1.0, threshold=0.05)
        >>> loss(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0]))
        tensor(0.3133)
    """

    takes: ClassVar[str] = "logits"
    soft_targets: ClassVar[bool] = True
    set_level: ClassVar[bool] = False
    rare: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        gamma: float = 0.9,
        threshold: float = 5e-3,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        counts = required_counts(class_counts, "EqualizationLoss")
        self.gamma = in_range("gamma", gamma, 0, 1)
        in_range("threshold", threshold, 0, 1)
        self.reduction = check_reduction(reduction)
        rare = [n < threshold * sum(counts) for n in counts]
        self.register_buffer("rare", torch.tensor(rare))
        self._plain = not (any(rare) and gamma)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of logits [N, K] for class indices [N] or probabilities [N, K]."""
        logits = prepared(logits, target, len(self.rare))
        if self._plain:
            values = -of_labels(logits.log_softmax(1), target)
        elif target.is_floating_point():
            values = _of_classes(logits, *self._log_weights(logits))
        else:
            log_w = self._log_weights(logits)[0].expand_as(logits).scatter(1, target.long()[:, None], 0)
            values = -of_labels((logits + log_w).log_softmax(1), target)
        return reduce(mix(values, target), reduction=self.reduction)

    def correction(self) -> Correction | None:
        """Listed: what the loss gives rare classes is no shift of the prior."""
        return listed(len(self.rare))

    def _log_weights(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """``log w_k`` and ``log(1 - w_k)`` of classes that are not the label, [N, K] or [1, K] each.

        The lowest number stands for log 0: no sum or difference with a logit is NaN.
        """
        nothing = torch.finfo(logits.dtype).min
        if self.training and torch.is_grad_enabled() and self.gamma < 1:
            drawn = torch.rand_like(logits) < self.gamma
            log_w = (drawn & self.rare).to(logits.dtype) * nothing
            return log_w, nothing - log_w
        rare = self.rare[None].to(logits.dtype)
        kept = math.log1p(-self.gamma) if self.gamma < 1 else nothing
        return rare * kept, (1 - rare) * nothing + rare * math.log(self.gamma)


def _of_classes(logits: Tensor, log_w: Tensor, log_rest: Tensor) -> Tensor:
    """``log(sum_j w_j e^{z_j} + (1 - w_k) e^{z_k}) - z_k`` of every label k: the sum once for all, [N, K]."""
    logits = logits - logits.detach().amax(1, keepdim=True)
    return torch.logaddexp(log_sum_exp(logits + log_w), logits + log_rest) - logits
