"""Logits of either kind, tensors or NumPy arrays, checked, transformed and given back."""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tailgrad.checks import InputError

Logits = TypeVar("Logits", Tensor, NDArray[Any])
Values = Tensor | NDArray[Any]


def transformed(method: nn.Module, logits: Logits, num_classes: int | None = None) -> Logits:
    """``method(logits)`` in float32 or wider, given back as the kind that came.

    Args:
        method: called with a tensor [N, K].
        logits: tensor or array [N, K].
        num_classes: K wanted, or None for any.

    Raises:
        InputError: another shape.

    Example:
        >>> transformed(nn.Identity(), np.zeros((1, 2))).tolist()
        [[0.0, 0.0]]
    """
    result: Tensor = method(as_logits(logits, num_classes))
    if isinstance(logits, Tensor):
        return result
    return result.detach().cpu().numpy()


def as_logits(logits: Values, num_classes: int | None = None) -> Tensor:
    """Logits as a tensor [N, K] of float32 or wider.

    Raises:
        InputError: they are not [N, K] with the K wanted, or K is below 2.

    Example:
        >>> as_logits(np.zeros((1, 3), np.float16), 3).dtype
        torch.float32
    """
    # A copy: memory-mapped arrays are read-only and reversed ones have negative strides.
    found = logits if isinstance(logits, Tensor) else torch.from_numpy(np.array(logits))
    if found.ndim != 2 or found.shape[1] < 2:
        raise InputError(
            f"logits must be [N, K] with K at least 2, got {list(found.shape)}; give one row an example"
        )
    if num_classes is not None and found.shape[1] != num_classes:
        raise InputError(
            f"logits must have one column a class ({num_classes}), got {found.shape[1]}; "
            "use the classes that the method was built for or fitted on"
        )
    return found.to(torch.promote_types(found.dtype, torch.float32))
