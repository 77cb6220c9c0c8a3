"""The squeeze-and-excitation gate on pooled features."""

from torch import Tensor, nn


def activation(squeeze: nn.Linear, excite: nn.Linear, pooled: Tensor) -> Tensor:
    """``a = sigmoid(E relu(S g))`` [N, C] of pooled features g [N, C].

    Args:
        squeeze: S [H, C].
        excite: E [C, H].
        pooled: g.

    Source: arXiv 2606.05740, eq 13, 14 (squeeze and excitation).

    Example:
        >>> squeeze, excite = nn.Linear(4, 1, bias=False), nn.Linear(1, 4, bias=False)
        >>> _ = nn.init.zeros_(excite.weight)
        >>> activation(squeeze, excite, nn.init.ones_(squeeze.weight.detach().clone()))
        tensor([[0.5000, 0.5000, 0.5000, 0.5000]], grad_fn=...)
    """
    found: Tensor = excite(squeeze(pooled).relu()).sigmoid()
    return found


class Gate(nn.Module):
    """``a = sigmoid(E relu(S g))`` with S [H, C] and E [C, H] without bias: one number in (0, 1) a channel.

    Args:
        channels: C.
        hidden: H.

    Source: as ``activation``.

    Example:
        >>> import torch
        >>> Gate(16, 2)(torch.randn(3, 16)).shape
        torch.Size([3, 16])
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden, bias=False)
        self.excite = nn.Linear(hidden, channels, bias=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """Activations [N, C] of pooled features [N, C] of the gate's own type."""
        return activation(self.squeeze, self.excite, pooled)
