"""Confusion counts of probabilities, and F1 from them."""

import torch
from torch import Tensor

# A class with less probability than this in the whole batch, and no label, is not there.
_ABSENT = 1e-6


def rows(target: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """Targets of either kind as rows [N, K]; probabilities stay as they are.

    Example:
        >>> rows(torch.tensor([1]), 3, torch.float32)
        tensor([[0., 1., 0.]])
    """
    if target.is_floating_point():
        return target.to(dtype)
    # A comparison, since F.one_hot looks at the numbers, which function transforms do not show.
    return (target[:, None] == torch.arange(num_classes, device=target.device)).to(dtype)


def f1_loss(found: Tensor, target: Tensor, smoothing: float, reduction: str) -> Tensor:
    """``1 - (2 TP_k + s) / (P_k + Y_k + s)``, averaged or summed over the classes of the batch.

    ``TP_k = sum_i P_ik Y_ik``, ``P_k = sum_i P_ik``, ``Y_k = sum_i Y_ik``. A class absent from both, where
    the fraction would be 0/0, is skipped: P_k + Y_k at most 1e-6. Where all are, the mean is 0.

    Args:
        found: P, [N, K], at least 0.
        target: class indices [N] or Y itself, [N, K].
        smoothing: s, at least 0.
        reduction: ``"mean"`` or ``"sum"``.

    Example:
        >>> f1_loss(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([0]), 0.0, "mean")
        tensor(0.6667)
    """
    actual = rows(target, found.shape[1], found.dtype)
    overlap = (found * actual).sum(0)
    mass = found.sum(0) + actual.sum(0)
    there = ~(mass <= _ABSENT)  # NaN is there, and shows in the loss
    fractions = (2 * overlap + smoothing) / torch.where(there, mass + smoothing, 1.0)
    losses = torch.where(there, 1 - fractions, 0.0)
    return losses.sum() if reduction == "sum" else losses.sum() / there.sum().clamp(min=1)
