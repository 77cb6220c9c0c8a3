"""Checked held-out logits and class indices, the only data a method may be fitted on."""

import numpy as np
import torch
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.posthoc.logits import Values, as_logits


def held_out(logits: Values, target: Values, num_classes: int | None = None) -> tuple[Tensor, Tensor]:
    """Finite logits [N, K] and class indices [N] on the CPU, without gradient.

    Args:
        logits: tensor or array [N, K], N at least 1.
        target: class indices [N], tensor or array of integers.
        num_classes: K wanted, or None for any.

    Raises:
        InputError: a shape, type or value does not fit; the first bad value is named.

    Example:
        >>> held_out(torch.zeros(2, 3), torch.tensor([0, 3]))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: target must be in 0..2, got target[1]=3; check the labels ...
    """
    rows = as_logits(logits, num_classes).detach().cpu()
    bad = (~rows.isfinite()).nonzero()
    if len(bad):
        i, k = bad[0].tolist()
        raise InputError(
            f"held-out logits must be finite, got logits[{i}, {k}]={rows[i, k].item()}; "
            "look for the example or the step that broke the model"
        )
    return rows, _class_indices(target, rows)


def _class_indices(target: Values, rows: Tensor) -> Tensor:
    found = torch.as_tensor(np.array(target)) if not isinstance(target, Tensor) else target.detach().cpu()
    if found.is_floating_point() or found.dtype == torch.bool or found.shape != rows.shape[:1]:
        raise InputError(
            f"target must be class indices [{len(rows)}], got {found.dtype} {list(found.shape)}; "
            "fit on hard labels, one an example (argmax(1) of one-hot rows)"
        )
    if not len(found):
        raise InputError("held-out data must hold at least one example, got 0; set some training data aside")
    outside = ((found < 0) | (found >= rows.shape[1])).nonzero()
    if len(outside):
        i = int(outside[0])
        raise InputError(
            f"target must be in 0..{rows.shape[1] - 1}, got target[{i}]={int(found[i])}; "
            "check the labels against the classes"
        )
    return found.long()


def class_means(values: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Mean row of ``values`` [N, D] over the examples of each class [K, D]; zeros for a class without any.

    Example:
        >>> class_means(torch.tensor([[2.0], [4.0], [5.0]]), torch.tensor([0, 0, 2]), 3).tolist()
        [[3.0], [0.0], [5.0]]
    """
    sums = values.new_zeros(num_classes, values.shape[1]).index_add_(0, target, values)
    return sums / target.bincount(minlength=num_classes).clamp_min(1)[:, None]


def example_shares(target: Tensor, balanced: bool) -> Tensor:
    """Weight of each example [N], summing to 1: all the same, or every class that occurs the same.

    Example:
        >>> example_shares(torch.tensor([0, 0, 2]), balanced=True).tolist()
        [0.25, 0.25, 0.5]
    """
    if not balanced:
        return torch.full((len(target),), 1 / len(target))
    counts = target.bincount()
    return 1 / (counts[target] * (counts > 0).sum())
