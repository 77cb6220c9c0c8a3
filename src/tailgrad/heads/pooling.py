"""Means over positions, in float32 or wider, with and without dropout before them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.precision import full_precision


def mean_positions(features: Tensor) -> Tensor:
    """The mean over positions, ``mean_{hw} F``, in float32 or wider.

    Args:
        features: map [N, C, H, W], tokens [N, C, L] or pooled [N, C].

    Returns:
        [N, C].

    Source: arXiv 2606.05740, global average pooling; the precision is ours.

    Example:
        >>> mean_positions(torch.ones(2, 3, 4, 4, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    positions = tuple(range(2, features.ndim))
    dtype = torch.promote_types(features.dtype, torch.float32)
    return features.mean(positions, dtype=dtype) if positions else features.to(dtype)


def branch_means(features: Tensor, branches: int, dropout: float) -> list[Tensor]:
    """For each of B branches the mean over positions of its own dropout of the features, [N, C] each.

    A 1x1 convolution and a per-channel gate are linear and the same at every position, so the mean may be
    taken before them: ``mean_{hw}(W_b (a_b * D_b(F))) = W_b (a_b * mean_{hw} D_b(F))`` for the same mask
    D_b. No branch ever forms a map of its own logits.

    Args:
        features: map [N, C, H, W], tokens [N, C, L] or pooled [N, C].
        branches: B.
        dropout: probability of zeroing one element, 0 outside training.

    Example:
        >>> a, b = branch_means(torch.ones(1, 4, 2, 2), 2, dropout=0.0)
        >>> a is b, a.tolist()
        (True, [[1.0, 1.0, 1.0, 1.0]])
    """
    if dropout == 0.0:
        return [mean_positions(features)] * branches
    return [mean_positions(F.dropout(features, dropout)) for _ in range(branches)]


def branch_logits(branches: nn.ModuleList, features: Tensor, dropout: float) -> Tensor:
    """Logits [B, N, K] of B linear branches, each behind its own dropout, averaged over positions.

    Args:
        branches: B ``nn.Linear`` layers from C to K.
        features: map [N, C, H, W], tokens [N, C, L] or pooled [N, C].
        dropout: probability of zeroing one element, 0 outside training.

    Example:
        >>> branches = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])
        >>> branch_logits(branches, torch.ones(3, 4, 2, 2), dropout=0.5).shape
        torch.Size([2, 3, 2])
    """
    dtype = next(branches.parameters()).dtype
    means = branch_means(features, len(branches), dropout)
    with full_precision(features):
        logits = torch.stack([branch(mean.to(dtype)) for branch, mean in zip(branches, means, strict=True)])
    return logits.to(torch.promote_types(dtype, torch.float32))


def check_features(features: Tensor, channels: int) -> None:
    """Make sure that features are floating point [N, C, ...] with the C that a head was built for.

    Raises:
        InputError: they are not.

    Example:
        >>> check_features(torch.zeros(2, 8), 16)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: features must be [N, 16, ...], got shape [2, 8]; build ...
    """
    if not isinstance(features, Tensor) or not features.is_floating_point():
        came = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise InputError(
            f"features must be a floating-point tensor, got {came}; give what the backbone returns"
        )
    if features.ndim < 2:
        raise InputError(
            f"features must be [N, {channels}, ...], got shape {list(features.shape)}; "
            "add the batch dimension"
        )
    if features.shape[1] != channels:
        raise InputError(
            f"features must be [N, {channels}, ...], got shape {list(features.shape)}; "
            f"build the head with channels={features.shape[1]}"
        )
