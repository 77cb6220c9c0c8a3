"""Class-Specific Branch Attention: each branch behind a channel gate of its own."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tailgrad.checks import one_of
from tailgrad.heads.gate import Gate, activation
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes, whole_size
from tailgrad.heads.pooling import branch_means, check_features, mean_positions
from tailgrad.precision import full_precision

GATES = ("own", "shared", "frozen", "identical")


class _GatedBranch(nn.Module):
    def __init__(self, channels: int, num_classes: int, hidden: int, *, gated: bool) -> None:
        super().__init__()
        if gated:
            self.squeeze = nn.Linear(channels, hidden, bias=False)
            self.excite = nn.Linear(hidden, channels, bias=False)
        self.classify = nn.Linear(channels, num_classes)

    def gate(self, pooled: Tensor) -> Tensor:
        return activation(self.squeeze, self.excite, pooled)

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
        detach_gates: let no gradient through the gates: the printed gradient (eq 39, 40) holds only then. The
            gates then stay as they were drawn, and so do their weights, which have no gradients.
        gates: ``"own"``, one a branch; or a control: ``"shared"``, one for all branches; ``"frozen"``, own
            ones that stay as they were drawn while gradients still pass through them; ``"identical"``, own
            ones that start as copies of the first.

    Raises:
        InputError: a size is outside its range, ``gates`` is unknown, or features of another width arrive.

    Despite the name no gate is tied to a class. Identical branches without dropout receive identical
    gradients: branches part only through their random start and their masks. The gate multiplies the mean
    of the masked features instead of the map, which is the same value up to rounding and avoids B gated
    maps.

    Source: arXiv 2606.05740, eq 13-15, 35-38; r = 8 as stated, dropout 0.5 assumed. The controls are ours.

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
        gates: str = "own",
    ) -> None:
        check_sizes(channels, num_classes, branches=branches, dropout=dropout)
        whole_size("reduction", reduction)
        is_shared = one_of("gates", gates, GATES) == "shared"
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        self.detach_gates = detach_gates
        hidden = max(1, channels // reduction)
        self.branches = nn.ModuleList(
            _GatedBranch(channels, num_classes, hidden, gated=not is_shared) for _ in range(branches)
        )
        self.gate = Gate(channels, hidden) if is_shared else None
        kaiming_uniform(self)
        if gates == "identical":
            self._copy_first_gate()
        if gates == "frozen" or detach_gates:
            for weight in self._gate_weights():
                weight.requires_grad_(False)

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
        with full_precision(pooled):
            pooled = pooled.to(self._gate_weights()[0].dtype)
            if self.gate is not None:
                shared: Tensor = self.gate(pooled)
                return shared.expand(len(self.branches), -1, -1)
            return torch.stack([branch.gate(pooled) for branch in self._own()])

    def _own(self) -> list[_GatedBranch]:
        return cast("list[_GatedBranch]", list(self.branches))

    def _gate_weights(self) -> list[Tensor]:
        holders = self._own() if self.gate is None else [self.gate]
        return [layer.weight for holder in holders for layer in (holder.squeeze, holder.excite)]

    @torch.no_grad()
    def _copy_first_gate(self) -> None:
        first, second, *others = self._gate_weights()
        for place, weight in enumerate(others):
            weight.copy_((first, second)[place % 2])
