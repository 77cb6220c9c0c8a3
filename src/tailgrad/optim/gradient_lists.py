"""Gradients kept as one tensor a parameter: their joint length, their sums, the same on all ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from tailgrad.distributed import is_spread, sum_over_ranks

Gradients = list[Tensor | None]
"""One a parameter, None where no loss reaches it."""


def joint_norm(gradients: Sequence[Tensor | None]) -> float:
    """Euclidean length of all tensors together; 0 where there are none.

    Example:
        >>> joint_norm([torch.tensor([3.0]), None, torch.tensor([0.0, 4.0])])
        5.0
    """
    return float(get_total_norm([g for g in gradients if g is not None]))


def weighted_sum(first: Gradients, second: Gradients, shares: tuple[float, float] = (1.0, 1.0)) -> Gradients:
    """``shares[0] first + shares[1] second``; None counts as 0.

    Example:
        >>> weighted_sum([torch.ones(1), None], [torch.ones(1), None], (0.7, 0.3))
        [tensor([1.]), None]
    """
    return [_sum(a, b, shares) for a, b in zip(first, second, strict=True)]


def merged(gradients: Gradients, parameters: Sequence[Tensor], factor: float) -> Gradients:
    """``factor`` times the gradients, summed over ranks; what one rank reaches, all have.

    Args:
        gradients: of this rank.
        parameters: theirs.
        factor: of this rank.

    Example:
        >>> merged([torch.ones(2), None], [torch.zeros(2), torch.zeros(1)], 0.5)
        [tensor([0.5000, 0.5000]), None]
    """
    own = gradients if factor == 1 else [None if g is None else g * factor for g in gradients]
    if not is_spread():
        return own
    reached = torch.tensor([float(g is not None) for g in own], device=parameters[0].device)
    return [
        sum_over_ranks(torch.zeros_like(p) if g is None else g) if anywhere else None
        for g, p, anywhere in zip(own, parameters, sum_over_ranks(reached).tolist(), strict=True)
    ]


def _sum(first: Tensor | None, second: Tensor | None, shares: tuple[float, float]) -> Tensor | None:
    if first is None or second is None:
        found = [(g, share) for g, share in zip((first, second), shares, strict=True) if g is not None]
        return found[0][0] * found[0][1] if found else None
    return first * shares[0] + second * shares[1]
