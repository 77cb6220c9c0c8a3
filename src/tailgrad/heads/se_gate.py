"""One squeeze-and-excitation gate in front of one classifier, as large as a head with several gates."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import one_of
from tailgrad.heads.gate import Gate
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes, whole_size
from tailgrad.heads.pooling import branch_means, check_features, mean_positions
from tailgrad.precision import full_precision

LIKE = ("csba", "conflict_branches")


class SEGate(nn.Module):
    """``z = mean_{hw} (W * D(a F) + c)`` behind one gate ``a = sigmoid(E relu(S mean_{hw} F))``.

    S [H, C] and E [C, H] are without bias. H is as wide as makes the number of parameters that of the head
    named by ``like``: ``B max(1, C // r)`` for ``conflict_branches``, exactly; for ``csba``, whose B - 1
    further classifiers have to be made up for, ``(B - 1) K (C + 1) / (2 C)`` more, rounded.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        like: the head to be as large as: ``"csba"`` or ``"conflict_branches"``.
        branches: B of that head, at least 1.
        reduction: r of that head, at least 1.
        dropout: probability of zeroing one element of the gated features, 0 to 0.99.

    Raises:
        InputError: a size is outside its range, ``like`` is unknown, or features of another width arrive.

    With one branch this is ``CSBA`` with one branch. Several summed classifiers behind one gate are one
    classifier once dropout is off, so nothing is lost by having one.

    Source: squeeze and excitation as in arXiv 2606.05740, eq 13-15; ours as a control of it.

    Example:
        >>> from tailgrad.heads.csba import CSBA
        >>> [sum(p.numel() for p in head.parameters()) for head in (SEGate(768, 6), CSBA(768, 6))]
        [456198, 456210]
    """

    takes: ClassVar[str] = "map"

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        like: str = "csba",
        branches: int = 3,
        reduction: int = 8,
        dropout: float = 0.5,
    ) -> None:
        check_sizes(channels, num_classes, branches=branches, dropout=dropout)
        whole_size("reduction", reduction)
        one_of("like", like, LIKE)
        super().__init__()
        self.channels = channels
        self.dropout = dropout
        gates = branches if like == "csba" else min(branches, num_classes)
        hidden = gates * max(1, channels // reduction)
        if like == "csba":
            hidden += round((branches - 1) * num_classes * (channels + 1) / (2 * channels))
        self.gate = Gate(channels, hidden)
        self.classify = nn.Linear(channels, num_classes)
        kaiming_uniform(self)

    def gates(self, features: Tensor) -> Tensor:
        """The gate's activations in (0, 1), [1, N, C], of features [N, C, ...]."""
        check_features(features, self.channels)
        return self._gate(mean_positions(features))[None]

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        check_features(features, self.channels)
        pooled = mean_positions(features)
        mean = branch_means(features, 1, self.dropout)[0] if self.training else pooled
        gate = self._gate(pooled)
        with full_precision(features):
            logits: Tensor = self.classify(gate * mean.to(gate.dtype))
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _gate(self, pooled: Tensor) -> Tensor:
        with full_precision(pooled):
            found: Tensor = self.gate(pooled.to(self.classify.weight.dtype))
        return found
