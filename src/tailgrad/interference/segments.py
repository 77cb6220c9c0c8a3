"""The examples of a batch, class by class."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Where the classes of a batch are.

    Args:
        classes: those present.
        order: the examples, class by class.
        bounds: where each class begins and ends in ``order``.
        has_rest: whether the last class has no bounds: it gets what the others leave of a gradient.

    Example:
        >>> in_segments(torch.tensor([4, 7, 4])).bounds
        [0, 2, 3]
    """

    classes: list[int]
    order: Tensor
    bounds: list[int]
    has_rest: bool


def in_segments(target: Tensor, *, rest: bool = False) -> Segments:
    """Sort a batch by class.

    Args:
        target: class indices [N] on the CPU.
        rest: put the largest class last and leave it without bounds, where there is another.

    Example:
        >>> found = in_segments(torch.tensor([4, 7, 4]), rest=True)
        >>> found.classes, found.order.tolist(), found.bounds
        ([7, 4], [1, 0, 2], [0, 1])
    """
    present, inverse, counts = torch.unique(target, return_inverse=True, return_counts=True)
    has_rest = rest and len(present) > 1
    last = int(counts.argmax()) if has_rest else len(present) - 1
    places = torch.tensor([*(i for i in range(len(present)) if i != last), last])
    order = torch.argsort(torch.argsort(places)[inverse], stable=True)
    bounds = [0, *counts[places].cumsum(0).tolist()]
    return Segments(present[places].tolist(), order, bounds[:-1] if has_rest else bounds, has_rest)
