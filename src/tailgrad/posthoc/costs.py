"""Checked cost matrices."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tailgrad.checks import InputError

Costs = Sequence[Sequence[float]] | Tensor | np.ndarray


def cost_matrix(cost: Costs, num_classes: int | None = None) -> Tensor:
    """Costs [K, K] (row: decision, column: true class) as a float32 tensor.

    Raises:
        InputError: they are not square, not K by K, or hold a negative or infinite cost.

    Example:
        >>> cost_matrix([[0, -5], [1, 0]])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: cost must be at least 0 and finite, got cost[0, 1]=-5.0; count losses ...
    """
    found = torch.as_tensor(np.array(cost) if not isinstance(cost, Tensor) else cost).float()
    k = num_classes or len(found)
    if found.shape != (k, k) or not k:
        raise InputError(
            f"cost must be [{k}, {k}], got {list(found.shape)}; give a row a decision and a column a class"
        )
    bad = (~(found.isfinite() & (found >= 0))).nonzero()
    if len(bad):
        a, y = bad[0].tolist()
        raise InputError(
            f"cost must be at least 0 and finite, got cost[{a}, {y}]={found[a, y].item()}; "
            "count losses as positive numbers"
        )
    return found
