"""The small network between pooled features and a contrastive loss."""

from torch import Tensor, nn

from tailgrad.checks import in_range

WIDEST = 2048


class Projector(nn.Module):
    """``W_2 relu(W_1 g + b_1) + b_2``: two layers; the losses themselves normalise what comes out.

    Args:
        channels: width D of the pooled features, at least 1.
        hidden: hidden width, at least 1; None is 4 D, at most 2048.
        out: width of the projections, at least 1.

    Raises:
        InputError: a width is below 1.

    Source: SimCLR, arXiv 2002.05709; D-2048-128 for D = 512 in the repository of arXiv 2312.02517. The rule
    for other D is ours.

    Example:
        >>> import torch
        >>> Projector(64)(torch.zeros(2, 64)).shape
        torch.Size([2, 128])
    """

    def __init__(self, channels: int, hidden: int | None = None, out: int = 128) -> None:
        in_range("channels", channels, 1)
        hidden = min(WIDEST, 4 * channels) if hidden is None else hidden
        in_range("hidden", hidden, 1)
        in_range("out", out, 1)
        super().__init__()
        self.widen = nn.Linear(channels, hidden)
        self.narrow = nn.Linear(hidden, out)

    def forward(self, features: Tensor) -> Tensor:
        """Projections [N, out] of pooled features [N, D]."""
        projected: Tensor = self.narrow(self.widen(features.to(self.widen.weight.dtype)).relu())
        return projected
