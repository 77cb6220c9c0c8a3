"""Class-Specific Branch Attention: each branch behind a channel gate of its own."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes
from tailgrad.heads.pooling import branch_means, check_features, mean_positions
from tailgrad.precision import full_precision


class _GatedBranch(nn.Module):
    def __init__(self, channels: int, num_classes: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)
        self.classify = nn.Linear(channels, num_classes)

    def gate(self, pooled: Tensor) -> Tensor:
        activation: Tensor = self.excite(self.squeeze(pooled).relu()).sigmoid()
        return activation

    def forward(self, masked: Tensor, gate: Tensor) -> Tensor:
        logits: Tensor = self.classify(gate * masked)
        return logits


class CSBA(nn.Module):
    """B branches of a squeeze-and-excitation gate, dropout and a 1x1 convolution, added and pooled.

    ``g = mean_{hw} F``, ``a_b = sigmoid(E_b relu(S_b g))``, ``z = mean_{hw} sum_b (W_b * D_b(a_b F) + c_b)``,
    with S_b [C//r, C] and E_b [C, C//r] without bias and shared by no two branches.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        branches: B, at least 1.
        reduction: r, at least 1; the gates' hidden width is ``max(1, C // r)``.
        dropout: probability of zeroing one element of the gated features, 0 to 0.99.
        detach_gates: let no gradient through the gates: the printed gradient (eq 39, 40) holds only then.

    Raises:
        InputError: a size is outside its range, or features of another width arrive.

    Despite the name no gate is tied to a class. Identical branches without dropout receive identical
    gradients: branches part only through their random start and their masks. The gate multiplies the mean
    of the masked features instead of the map, which is the same value up to rounding and avoids B gated
    maps.

    Source: arXiv 2606.05740, eq 13-15, 35-38; r = 8 as stated, dropout 0.5 assumed.

    Example:
        >>> head = CSBA(16, 6)
        >>> features = torch.randn(2, 16, 4, 4)
        >>> head(features).shape, head.gates(features).shape
        (torch.Size([2, 6]), torch.Size([3, 2, 16]))
    """

    takes: ClassVar[str] = "map"

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        branches: int = 3,
        reduction: int = 8,
        dropout: float = 0.5,
        detach_gates: bool = False,
    ) -> None:
        check_sizes(channels, num_classes, branches=branches, dropout=dropout)
        in_range("reduction", reduction, 1)
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        self.detach_gates = detach_gates
        hidden = max(1, channels // reduction)
        self.branches = nn.ModuleList(_GatedBranch(channels, num_classes, hidden) for _ in range(branches))
        kaiming_uniform(self)

    def gates(self, features: Tensor) -> Tensor:
        """Gate activations a_b in (0, 1), [B, N, C], of features [N, C, ...]."""
        check_features(features, self.channels)
        return self._gates(mean_positions(features))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        check_features(features, self.channels)
        pooled = mean_positions(features)
        means = [pooled] * len(self.branches)
        if self.training and self.dropout > 0:
            means = branch_means(features, len(self.branches), self.dropout)
        gates = self._gates(pooled)
        if self.detach_gates:
            gates = gates.detach()
        with full_precision(features):
            triples = zip(self.branches, means, gates, strict=True)
            logits = torch.stack([branch(mean.to(gate.dtype), gate) for branch, mean, gate in triples])
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).sum(0)

    def _gates(self, pooled: Tensor) -> Tensor:
        branches = cast("list[_GatedBranch]", list(self.branches))
        with full_precision(pooled):
            pooled = pooled.to(branches[0].squeeze.weight.dtype)
            return torch.stack([branch.gate(pooled) for branch in branches])
