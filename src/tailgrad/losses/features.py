"""What losses on features do first with them: shapes, precision, lengths."""

import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.losses.targets import check_tensor, is_readable


def unit(features: Tensor) -> Tensor:
    """``f / |f|`` along the last dimension, in float32 or wider; 0 for a zero vector.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    length = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    found: Tensor = features / length.where(length > 0, 1.0)
    return found


def as_views(features: Tensor) -> Tensor:
    """Features [V, N, D], of [V, N, D] or of one view [N, D].

    Raises:
        InputError: they have another shape or type.

    Example:
        >>> as_views(torch.zeros(4, 8)).shape
        torch.Size([1, 4, 8])
    """
    check_tensor("features", features)
    if features.ndim not in (2, 3) or not features.numel() or not features.is_floating_point():
        raise InputError(
            "features must be floating point [N, D] or [V, N, D], got "
            f"{features.dtype} {list(features.shape)}; pool maps and stack views first"
        )
    return features if features.ndim == 3 else features[None]


def check_rows(features: Tensor, width: int | None = None) -> None:
    """Make sure that features are [N, D], with the D that a loss knows.

    Raises:
        InputError: they are not.

    Example:
        >>> check_rows(torch.zeros(4, 8), 16)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: features must be floating point [N, 16], got torch.float32 [4, 8]; ...
    """
    check_tensor("features", features)
    fits = features.ndim == 2 and len(features) > 0 and width in (None, features.shape[-1])
    if not fits or not features.is_floating_point():
        raise InputError(
            f"features must be floating point [N, {width or 'D'}], got "
            f"{features.dtype} {list(features.shape)}; give pooled features, and the loss their width"
        )


def check_labels(target: Tensor, length: int, num_classes: int | None = None) -> None:
    """Make sure that a target is class indices, one for each of ``length`` examples.

    Raises:
        InputError: it is something else, above all probabilities.

    Example:
        >>> check_labels(torch.zeros(2, 3), 2)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: target must be class indices [2], got torch.float32 [2, 3]; ...
    """
    check_tensor("target", target)
    if target.shape != (length,) or target.is_floating_point() or target.dtype == torch.bool:
        raise InputError(
            f"target must be class indices [{length}], got {target.dtype} {list(target.shape)}; this loss "
            "takes no probabilities, so leave mixing off or give it the labels as drawn"
        )
    if num_classes is None or not is_readable(target):
        return
    bad = ((target < 0) | (target >= num_classes)).nonzero()
    if len(bad):
        i = int(bad[0])
        raise InputError(
            f"target must be in 0..{num_classes - 1}, got target[{i}]={int(target[i])}; "
            "check the labels against the classes"
        )
