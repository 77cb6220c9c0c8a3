"""One small convolutional branch for each class."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.options import check_sizes, whole_size
from tailgrad.heads.pooling import check_features, mean_positions

MOST_PARAMETERS = 200_000_000


def _branch(channels: int, width: int, kernel: int, dropout: float, slope: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, padding=kernel // 2),
        nn.LeakyReLU(slope),
        nn.Conv2d(width, width, kernel, padding=kernel // 2),
        nn.LeakyReLU(slope),
        nn.Dropout(dropout),
        nn.Conv2d(width, 1, 1),
    )


class ClassHeads(nn.Module):
    """K branches on the same features, one logit each: ``z_k = mean_{hw} f_k(F)``.

    ``f_k`` is conv(C, width), LeakyReLU, conv(width, width), LeakyReLU, dropout, conv1x1(width, 1), with
    biases and without batch normalisation.

    Args:
        channels: C, at least 1.
        num_classes: K, at least 2.
        width: channels inside a branch, at least 1.
        dropout: probability of zeroing one element before the last convolution, 0 to 0.99.
        slope: negative slope of the rectifiers, 0 to 1.
        grid: 3x3 convolutions on maps [N, C, H, W]; without it 1x1 convolutions, for tokens and pooled
            vectors.

    Raises:
        InputError: a size is outside its range, the K branches would hold over 2e8 parameters, or features of
            another width or without a grid arrive.

    Source: arXiv 2606.05740, eq 47-49. The branch's design was lost; this one is assumed, as the natural
    design nearest to the printed total of 7.50M (7,531,846 with ``tripath`` and K = 6). The printed total
    is unexplained.

    Example:
        >>> head = ClassHeads(16, 3, width=8)
        >>> head(torch.randn(2, 16, 4, 4)).shape, len(head.branches)
        (torch.Size([2, 3]), 3)
    """

    takes: ClassVar[str] = "map"

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        width: int = 128,
        dropout: float = 0.5,
        slope: float = 0.01,
        grid: bool = True,
    ) -> None:
        check_sizes(channels, num_classes, dropout=dropout)
        whole_size("width", width)
        kernel = 3 if grid else 1
        size = num_classes * (kernel**2 * width * (channels + width) + 3 * width + 1)
        if size > MOST_PARAMETERS:
            raise InputError(
                f"class_heads must hold at most {MOST_PARAMETERS:,} parameters, got {size:,} for "
                f"num_classes={num_classes}, channels={channels}, width={width}; lower width or choose csba"
            )
        super().__init__()
        self.channels = channels
        self.grid = grid
        self.branches = nn.ModuleList(
            _branch(channels, width, kernel, dropout, slope) for _ in range(num_classes)
        )
        kaiming_uniform(self, slope)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [N, K] of features [N, C, H, W], or [N, C] and [N, C, L] without ``grid``."""
        check_features(features, self.channels)
        if self.grid and features.ndim != 4:
            raise InputError(
                f"features must be a map [N, C, H, W], got shape {list(features.shape)}; "
                "build ClassHeads with grid=False"
            )
        if features.ndim < 4:
            features = features.reshape(*features.shape[:2], -1, 1)
        return torch.cat([mean_positions(branch(features)) for branch in self.branches], dim=1)
