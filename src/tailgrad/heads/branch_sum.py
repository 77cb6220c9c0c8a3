"""The baseline head of the CSBA paper: identical branches whose maps are added."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes
from tailgrad.heads.pooling import branch_logits, check_features, mean_positions


class BranchSum(nn.Module):
    """B branches of dropout and a 1x1 convolution, added and average-pooled.

    ``z = mean_{hw} sum_b (W_b * D_b(F) + c_b)`` with an element-wise dropout mask D_b of each branch's own.
    Outside training this is one linear classifier with ``W = sum_b W_b``.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        branches: B, at least 1.
        dropout: probability of zeroing one element of the features, 0 to 0.99.
        relu: rectify each branch's map of logits before the sum, as SqueezeNet does.

    Raises:
        InputError: a size is outside its range, or features of another width arrive.

    On a pooled vector the dropout acts on the vector itself and is then a far stronger regulariser.

    Source: arXiv 2606.05740, eq 10, 28, 29. The kernel size 1, dropout 0.5, element-wise masks and the
    missing rectifier are assumed (the values were lost). Without ``relu`` the mean is taken before the
    convolution, which changes rounding only.

    Example:
        >>> head = BranchSum(16, 6)
        >>> head(torch.randn(2, 16, 4, 4)).shape, len(head.branches)
        (torch.Size([2, 6]), 3)
    """

    takes: ClassVar[str] = "map"

    def __init__(
        self, channels: int, num_classes: int, *, branches: int = 3, dropout: float = 0.5, relu: bool = False
    ) -> None:
        check_sizes(channels, num_classes, branches=branches, dropout=dropout)
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        self.relu = relu
        self.branches = nn.ModuleList(nn.Linear(channels, num_classes) for _ in range(branches))
        kaiming_uniform(self)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        check_features(features, self.channels)
        if self.relu:
            return self._rectified(features)
        dropout = self.dropout if self.training else 0.0
        return branch_logits(self.branches, features, dropout).sum(0)

    def _rectified(self, features: Tensor) -> Tensor:
        total = torch.zeros((), device=features.device)
        for branch in self.branches:
            dropped = F.dropout(features, self.dropout, self.training)
            logit_map = branch(dropped.movedim(1, -1)).movedim(-1, 1)
            total = total + F.relu(logit_map).to(torch.promote_types(logit_map.dtype, torch.float32))
        return mean_positions(total)
