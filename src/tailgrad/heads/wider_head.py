"""The baseline head of the CSBA paper with a hidden layer that has as many parameters as CSBA's gates."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes, whole_size
from tailgrad.heads.pooling import branch_means, check_features, mean_positions
from tailgrad.precision import full_precision


class WiderHead(nn.Module):
    """B branches of dropout and a 1x1 convolution on features that a hidden layer adds to: no gate.

    ``g = mean_{hw} F``, ``u = E relu(S g)``, ``z = mean_{hw} sum_b (W_b * (D_b(F) + u) + c_b)``,
    with S [H, C] and E [C, H] without bias and ``H = B max(1, C // r)``.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        branches: B, at least 1.
        reduction: r, at least 1.
        dropout: probability of zeroing one element of the features, 0 to 0.99.

    Raises:
        InputError: a size is outside its range, or features of another width arrive.

    It has exactly the parameters of ``CSBA`` with the same B and r, whatever C and K, reads what its gates
    read, and drops out what ``BranchSum`` drops out. What CSBA's gates do that this does not is to multiply.

    Source: ours, a control of arXiv 2606.05740.

    Example:
        >>> from tailgrad.heads.csba import CSBA
        >>> [sum(p.numel() for p in head.parameters()) for head in (WiderHead(768, 6), CSBA(768, 6))]
        [456210, 456210]
    """

    takes: ClassVar[str] = "map"

    def __init__(
        self, channels: int, num_classes: int, *, branches: int = 3, reduction: int = 8, dropout: float = 0.5
    ) -> None:
        check_sizes(channels, num_classes, branches=branches, dropout=dropout)
        whole_size("reduction", reduction)
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        hidden = branches * max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)
        self.branches = nn.ModuleList(nn.Linear(channels, num_classes) for _ in range(branches))
        kaiming_uniform(self)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        check_features(features, self.channels)
        dtype = self.squeeze.weight.dtype
        means = branch_means(features, len(self.branches), self.dropout if self.training else 0.0)
        with full_precision(features):
            added = self.expand(self.squeeze(mean_positions(features).to(dtype)).relu())
            pairs = zip(self.branches, means, strict=True)
            logits = torch.stack([branch(mean.to(dtype) + added) for branch, mean in pairs])
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).sum(0)
