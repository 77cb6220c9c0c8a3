"""Learnable class scales on a classifier that stays as it is."""

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError


class ScaledHead(nn.Module):
    """``s_k z_k`` with the logits z of another head, s learnt from 1; the head itself is frozen.

    Args:
        head: a linear head [D] -> [K].
        freeze: stop the gradients of the head's own parameters; without it both learn.

    Raises:
        InputError: the head is not linear.

    At the start it equals the head. It stands around a trained head, so it is no head to choose by name.

    Source: LWS of Kang et al., arXiv 1910.09217 and its official code: ``s (W x + b)``. ``freeze=False`` is
    the second stage of MiSLAS (Zhong et al. 2021).

    Example:
        >>> linear = nn.Linear(8, 3)
        >>> scaled, x = ScaledHead(linear), torch.randn(2, 8)
        >>> torch.equal(scaled(x), linear(x)), [n for n, p in scaled.named_parameters() if p.requires_grad]
        (True, ['scales'])
    """

    def __init__(self, head: nn.Module, *, freeze: bool = True) -> None:
        if not isinstance(head, nn.Linear):
            raise InputError(
                f"head must be linear, got {type(head).__name__}; train one with head=linear first"
            )
        super().__init__()
        self.head = head
        self.takes = getattr(head, "takes", "pooled")
        self.scales = nn.Parameter(torch.ones_like(head.weight[:, 0]))
        if freeze:
            head.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of pooled features [N, D]."""
        logits: Tensor = self.head(features)
        return self.scales * logits
