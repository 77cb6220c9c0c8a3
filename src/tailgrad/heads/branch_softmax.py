"""The paper's "GradNorm" variant: branches weighted by a learnt softmax."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes
from tailgrad.heads.pooling import branch_logits, check_features


class BranchSoftmax(nn.Module):
    """B branches of dropout and a 1x1 convolution, mixed by ``alpha = softmax(w)`` and average-pooled.

    ``z = mean_{hw} sum_b alpha_b (W_b * D_b(F) + c_b)``, times B with ``rescale``; w starts at 0.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        branches: B, at least 1.
        dropout: probability of zeroing one element of the features, 0 to 0.99.
        rescale: multiply by B, so that the logits at the start equal those of ``BranchSum``.

    Raises:
        InputError: a size is outside its range, or features of another width arrive.

    Source: arXiv 2606.05740, eq 51-53, there called GradNorm, although no loss on gradient norms takes
    part: the classification loss trains w. Without ``rescale`` the logits start at ``1/B`` of the
    baseline's. The printed 1.37M parameters are unexplained; this adds B.

    Example:
        >>> head = BranchSoftmax(16, 6)
        >>> head(torch.randn(2, 16, 4, 4)).shape, head.mixture().tolist()
        (torch.Size([2, 6]), [0.333..., 0.333..., 0.333...])
    """

    takes: ClassVar[str] = "map"

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        branches: int = 3,
        dropout: float = 0.5,
        rescale: bool = False,
    ) -> None:
        check_sizes(channels, num_classes, branches=branches, dropout=dropout)
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        self.rescale = rescale
        self.branches = nn.ModuleList(nn.Linear(channels, num_classes) for _ in range(branches))
        self.mixing = nn.Parameter(torch.zeros(branches))
        kaiming_uniform(self)

    def mixture(self) -> Tensor:
        """The weights alpha [B], which sum to 1."""
        return self.mixing.softmax(0)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        check_features(features, self.channels)
        logits = branch_logits(self.branches, features, self.dropout if self.training else 0.0)
        alpha = self.mixture().to(logits.dtype) * (len(self.branches) if self.rescale else 1)
        return (alpha[:, None, None] * logits).sum(0)
