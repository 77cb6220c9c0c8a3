"""Temperature scaling."""

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from tailgrad.checks import positive_counts
from tailgrad.posthoc.held_out import example_shares, held_out
from tailgrad.posthoc.logits import Logits, Values, transformed
from tailgrad.posthoc.state import require_fit, take_shapes_when_loading

_WIDEST = 10.0


class TemperatureScaling(nn.Module):
    """``z / T`` with the T > 0 that minimises the held-out negative log-likelihood.

    Args:
        class_counts: taken for uniformity; only their number matters.
        balanced: let every held-out class count the same, for a deployment prior that is uniform; otherwise
            the held-out data should have the deployment prior.

    Raises:
        InputError: an argument does not fit, logits of another number of classes arrive, or ``transform``
            comes before ``fit``.

    The arg-max never changes. Fit it after a correction of the prior, not before. The likelihood has one
    maximum in 1/T, found as the root of its derivative; log T stays within 10 of 0, which is where T ends on
    held-out data that the model classifies without an error. Where no row tells one class from another, every
    T is as good, and T is 1.

    Source: Guo et al., arXiv 1706.04599 (general knowledge of the method).

    Example:
        >>> logits, target = torch.tensor([[4.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])
        >>> method = TemperatureScaling().fit(logits, target)
        >>> method.transform(logits[:1]).softmax(1)
        tensor([[0.7500, 0.2500]])
    """

    transductive: ClassVar[bool] = False
    temperature: Tensor

    def __init__(self, class_counts: Sequence[int] | None = None, *, balanced: bool = False) -> None:
        super().__init__()
        self.num_classes = None if class_counts is None else len(positive_counts(class_counts))
        self.balanced = balanced
        self.register_buffer("temperature", torch.empty(0))
        take_shapes_when_loading(self)

    @torch.no_grad()
    def fit(self, logits: Values, target: Values) -> Self:
        """Find T on held-out logits [N, K] and class indices [N]."""
        rows, classes = held_out(logits, target, self.num_classes)
        gaps = rows - rows.gather(1, classes[:, None])
        shares = example_shares(classes, self.balanced).double()

        def slope(log_temperature: float) -> float:
            expected = ((gaps * math.exp(-log_temperature)).softmax(1) * gaps).sum(1)
            return float(shares @ expected.double())

        # The slope by 1/T rises in 1/T: at an end where it already has the other sign, that end is best.
        if not gaps.any():
            best = 0.0
        elif slope(-_WIDEST) <= 0:
            best = -_WIDEST
        elif slope(_WIDEST) >= 0:
            best = _WIDEST
        else:
            best = brentq(slope, -_WIDEST, _WIDEST, xtol=1e-7)
        self.temperature = self.temperature.new_tensor(math.exp(best))
        return self

    def transform(self, logits: Logits) -> Logits:
        """Logits [N, K] divided by T, a tensor or an array as given."""
        return transformed(self, logits, self.num_classes)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits [N, K] divided by T, for a tensor."""
        require_fit(self, self.temperature)
        return logits / self.temperature.to(logits)

    def correction(self) -> None:
        """None: one factor for all classes shifts no prior."""
