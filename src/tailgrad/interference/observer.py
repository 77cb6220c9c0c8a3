"""What is shown to those who look on during the pass over the data, so that the data are read once."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from tailgrad.interference.trees import Tree


@dataclass(frozen=True, slots=True)
class Seen:
    """Examples of one class after their forward pass.

    Args:
        label: the class.
        inputs: [n, ...] or a tree of such tensors, where the data keep them.
        features: pooled features [n, D] without a graph, or None.
        logits: [n, K] without a graph, or None.
        part: where these examples stood in the batch that went through the network.

    Example:
        >>> import torch
        >>> Seen(0, torch.zeros(2, 3), None).label
        0
    """

    label: int
    inputs: Tree
    features: Tensor | None
    logits: Tensor | None = None
    part: slice = field(default_factory=lambda: slice(None))


Observer = Callable[[Seen], None]
