"""The plain linear classifier."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes
from tailgrad.heads.pooling import check_features, mean_positions
from tailgrad.precision import full_precision


class Linear(nn.Linear):
    """One linear layer on pooled features: ``z = W g + b``.

    Args:
        channels: width D of the pooled features, at least 1.
        num_classes: K, at least 2.

    Raises:
        InputError: a size is outside its range, or features of another width arrive.

    A map or tokens are accepted too and averaged over positions first. The layer runs in float32 inside
    autocast.

    Source: common practice. Initial weights as in the other heads (``heads.init``), so that heads are
    compared from the same start.

    Example:
        >>> Linear(8, 3)(torch.randn(2, 8)).shape
        torch.Size([2, 3])
    """

    takes: ClassVar[str] = "pooled"

    def __init__(self, channels: int, num_classes: int) -> None:
        check_sizes(channels, num_classes)
        super().__init__(channels, num_classes)
        kaiming_uniform(self)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of pooled features [N, D]."""
        check_features(features, self.in_features)
        with full_precision(features):
            logits = super().forward(mean_positions(features).to(self.weight.dtype))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))
