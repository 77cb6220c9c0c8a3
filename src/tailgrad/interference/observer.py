"""What is shown to those who look on during the pass over the data, so that the data are read once."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Seen:
    """A chunk of one class after its forward pass.

    Args:
        label: the class.
        inputs: [n, ...], where the data keep them.
        features: pooled features [n, D] without a graph, or None.

    Example:
        >>> import torch
        >>> Seen(0, torch.zeros(2, 3), None).label
        0
    """

    label: int
    inputs: Tensor
    features: Tensor | None


Observer = Callable[[Seen], None]
