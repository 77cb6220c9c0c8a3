"""What a monitor takes for labels and class names."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tailgrad.checks import InputError


def check_target(target: object, num_classes: int) -> None:
    """Check that a target is class indices [N] from 0 to K - 1.

    Raises:
        InputError: it is something else.

    Example:
        >>> check_target(torch.tensor([0, 2]), 3)
    """
    if not isinstance(target, Tensor) or target.ndim != 1 or not len(target) or not _is_whole(target):
        came = f"{target.dtype} {list(target.shape)}" if isinstance(target, Tensor) else type(target).__name__
        raise InputError(
            f"target must be class indices [N], got {came}; switch mixing and soft labels off, or do not "
            "monitor"
        )
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= num_classes:
        raise InputError(
            f"target must be in 0 to {num_classes - 1} for {num_classes} classes, got "
            f"{low if low < 0 else high}; give Monitor every class"
        )


def check_classes(classes: int | Sequence[str]) -> tuple[str, ...]:
    """The names of K classes: those given, or ``"0"`` to ``"K-1"``.

    Raises:
        InputError: fewer than two, or two of one name.

    Example:
        >>> check_classes(3)
        ('0', '1', '2')
    """
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    if isinstance(classes, str | bool) or len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"classes must be at least 2 different names, or their number, got {classes!r}; "
            "list every class once"
        )
    return names


def _is_whole(target: Tensor) -> bool:
    return not (target.is_floating_point() or target.is_complex() or target.dtype is torch.bool)
