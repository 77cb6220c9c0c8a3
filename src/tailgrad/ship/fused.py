"""Heads in their pooled form: what is left of their branches once dropout is off."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tailgrad.heads import CSBA, BranchSoftmax, BranchSum, ConflictBranches, SEGate, WiderHead
from tailgrad.heads.ncm import NearestMean
from tailgrad.heads.pooling import mean_positions
from tailgrad.heads.scaled import ScaledHead
from tailgrad.models.multi_expert import ExpertHeads


class PooledLinear(nn.Linear):
    """``z = W g + c`` of the mean over positions ``g = mean_{hw} F``.

    Source: derived here; the heads are those of arXiv 2606.05740.

    Example:
        >>> PooledLinear(8, 3)(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 3])
    """

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        return super().forward(mean_positions(features).to(self.weight.dtype))


class GatedSum(nn.Module):
    """``z = sum_b W_b (a_b * g) + c`` with gates ``a_b = sigmoid(E_b relu(S_b g))`` of ``g = mean_{hw} F``.

    Args:
        gates: (S_b [H, C], E_b [C, H]) of each of B gates.
        weights: W_b [K, C] of each.
        bias: c [K].

    Source: derived here; the heads are those of arXiv 2606.05740.

    Example:
        >>> squeeze, excite, weight = torch.zeros(2, 8), torch.zeros(8, 2), torch.ones(3, 8)
        >>> GatedSum([(squeeze, excite)], [weight], torch.zeros(3))(torch.ones(1, 8))
        tensor([[4., 4., 4.]], grad_fn=...)
    """

    def __init__(
        self, gates: Sequence[tuple[Tensor, Tensor]], weights: Sequence[Tensor], bias: Tensor
    ) -> None:
        super().__init__()
        self.hidden = len(gates[0][0])
        self.squeeze = _linear(torch.cat([squeeze for squeeze, _ in gates]))
        self.excite = nn.ModuleList(_linear(excite) for _, excite in gates)
        self.classify = _linear(torch.cat(list(weights), 1), bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        pooled = mean_positions(features).to(self.classify.weight.dtype)
        parts = self.squeeze(pooled).relu().split(self.hidden, 1)
        gated = [excite(part).sigmoid() * pooled for excite, part in zip(self.excite, parts, strict=True)]
        logits: Tensor = self.classify(torch.cat(gated, 1))
        return logits


class AddedHidden(nn.Module):
    """``z = W (g + E relu(S g)) + c`` of ``g = mean_{hw} F``.

    Args:
        squeeze: S [H, C].
        expand: E [C, H].
        weight: W [K, C].
        bias: c [K].

    Source: ``heads.WiderHead`` without dropout.

    Example:
        >>> head = AddedHidden(torch.zeros(2, 8), torch.zeros(8, 2), torch.ones(3, 8), torch.zeros(3))
        >>> head(torch.ones(1, 8)).tolist()
        [[8.0, 8.0, 8.0]]
    """

    def __init__(self, squeeze: Tensor, expand: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.squeeze, self.expand = _linear(squeeze), _linear(expand)
        self.classify = _linear(weight, bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, ...]."""
        pooled = mean_positions(features).to(self.classify.weight.dtype)
        logits: Tensor = self.classify(pooled + self.expand(self.squeeze(pooled).relu()))
        return logits


class Distances(nn.Module):
    """``NearestMean`` with its distances written out, which every exporter knows.

    Args:
        head: by distance.

    Example:
        >>> Distances(NearestMean(torch.eye(2), torch.zeros(2), "raw"))(torch.tensor([[1.0, 3.0]]))
        tensor([[-9., -5.]])
    """

    means: Tensor
    centre: Tensor

    def __init__(self, head: NearestMean) -> None:
        super().__init__()
        self.directions = head.kind != "raw"
        self.register_buffer("means", head.means)
        self.register_buffer("centre", head.centre)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, D, ...]."""
        pooled = mean_positions(features).to(self.means.dtype)
        if self.directions:
            pooled = pooled - self.centre
            pooled = pooled / pooled.square().sum(1, keepdim=True).sqrt().clamp(min=1e-30)
        return -(pooled[:, None] - self.means).square().sum(2)


@torch.no_grad()
def fused(head: nn.Module) -> nn.Module:
    """A head for inference that gives the same logits with fewer operations; the head itself where none is.

    ``BranchSum`` and ``BranchSoftmax`` become one linear layer, ``CSBA``, ``SEGate`` and ``ConflictBranches``
    gates before one linear layer, ``WiderHead`` a hidden layer before one. ``ClassHeads``, ``Linear``,
    ``Cosine`` and ``ETF`` have no branches to add, and a rectified ``BranchSum`` is not linear in the mean.

    Args:
        head: of a trained network; left as it is.

    Returns:
        A copy in evaluation mode, of the same precision.

    Source: derived here; the heads are those of arXiv 2606.05740.

    Example:
        >>> head = BranchSum(8, 3).eval()
        >>> features = torch.randn(2, 8, 4, 4)
        >>> torch.allclose(fused(head)(features), head(features), atol=1e-5)
        True
    """
    for kind, make in _FORMS.items():
        if type(head) is kind:
            return _still(make(head))
    return _still(copy.deepcopy(head))


def _still(head: nn.Module) -> nn.Module:
    return head.eval().requires_grad_(False)


def _linear(weight: Tensor, bias: Tensor | None = None) -> PooledLinear:
    layer = PooledLinear(
        weight.shape[1], weight.shape[0], bias is not None, device=weight.device, dtype=weight.dtype
    )
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _added(branches: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Weights and biases of linear branches, summed."""
    return (
        torch.stack([one.weight for one in branches]).sum(0),
        torch.stack([one.bias for one in branches]).sum(0),
    )


def _branch_sum(head: Any) -> nn.Module:
    return copy.deepcopy(head) if head.relu else _linear(*_added(head.branches))


def _branch_softmax(head: Any) -> nn.Module:
    alpha = head.mixture() * (len(head.branches) if head.rescale else 1)
    weights = torch.stack([one.weight for one in head.branches])
    biases = torch.stack([one.bias for one in head.branches])
    return _linear((alpha[:, None, None] * weights).sum(0), (alpha[:, None] * biases).sum(0))


def _csba(head: Any) -> nn.Module:
    classifiers = [branch.classify for branch in head.branches]
    weight, bias = _added(classifiers)
    if head.gate is not None:
        return GatedSum([_matrices(head.gate)], [weight], bias)
    return GatedSum([_matrices(branch) for branch in head.branches], [c.weight for c in classifiers], bias)


def _se_gate(head: Any) -> nn.Module:
    return GatedSum([_matrices(head.gate)], [head.classify.weight], head.classify.bias)


def _conflict_branches(head: Any) -> nn.Module:
    used = head.group.unique().tolist()
    masks = [(head.group == b)[:, None].to(head.classify.weight.dtype) for b in used]
    weights = [mask * head.classify.weight for mask in masks]
    return GatedSum([_matrices(head.branches[b]) for b in used], weights, head.classify.bias)


def _wider_head(head: Any) -> nn.Module:
    return AddedHidden(head.squeeze.weight, head.expand.weight, *_added(head.branches))


def _scaled(head: Any) -> nn.Module:
    inner, scales = head.head, head.scales
    bias = torch.zeros_like(scales) if inner.bias is None else inner.bias
    return _linear(scales[:, None] * inner.weight, scales * bias)


def _nearest_mean(head: NearestMean) -> nn.Module:
    return Distances(head) if head.near == "distance" else copy.deepcopy(head)


def _experts(head: Any) -> nn.Module:
    return ExpertHeads([fused(one) for one in head.heads])


def _matrices(gate: Any) -> tuple[Tensor, Tensor]:
    return gate.squeeze.weight, gate.excite.weight


_FORMS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    BranchSum: _branch_sum,
    BranchSoftmax: _branch_softmax,
    CSBA: _csba,
    SEGate: _se_gate,
    ConflictBranches: _conflict_branches,
    WiderHead: _wider_head,
    ScaledHead: _scaled,
    NearestMean: _nearest_mean,
    ExpertHeads: _experts,
}
