"""Targets of several labels an example: a matrix of zeros and ones."""

import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.losses.targets import check_tensor, is_readable


def multi_label(logits: Tensor, target: Tensor, num_classes: int | None = None) -> tuple[Tensor, Tensor]:
    """Logits and target in one floating type, float32 or wider, once they belong together.

    Shapes are always checked, values only where reading them is free, as in ``check_target``.

    Args:
        logits: [N, K] with N at least 1, floating point.
        target: [N, K] of any real type; 1 where the example has the label, else 0.
        num_classes: the K that the loss knows from its counts.

    Raises:
        InputError: a shape, type or value does not fit; the first bad value is named.

    Example:
        >>> multi_label(torch.zeros(1, 2), torch.tensor([[1, 0]]))[1]
        tensor([[1., 0.]])
    """
    check_tensor("logits", logits)
    check_tensor("target", target)
    if logits.ndim != 2 or not len(logits) or not logits.is_floating_point():
        raise InputError(
            f"logits must be floating point [N, K] with N at least 1, got {logits.dtype} "
            f"{list(logits.shape)}; flatten further dimensions into N"
        )
    if num_classes is not None and logits.shape[1] != num_classes:
        raise InputError(
            f"logits must have one column for each of the {num_classes} classes counted, got "
            f"{logits.shape[1]}; give the loss the counts of the model's classes"
        )
    if target.shape != logits.shape or target.is_complex():
        raise InputError(
            f"target must hold a 0 or 1 for each example and class {list(logits.shape)}, got {target.dtype} "
            f"{list(target.shape)}; turn class indices into rows with torch.nn.functional.one_hot"
        )
    if is_readable(target):
        _check_values(target)
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.to(wide), target.to(wide)


def _check_values(target: Tensor) -> None:
    bad = ((target != 0) & (target != 1)).nonzero()
    if len(bad):
        i, k = bad[0].tolist()
        raise InputError(
            f"target must hold zeros and ones, got target[{i}, {k}]={target[i, k].item()}; losses of several "
            "labels take no probabilities, round them or leave mixing out"
        )
