"""Wide residual networks for small images."""

from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import InputError, in_range
from tailgrad.heads.pooling import mean_positions


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.drop = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out else None

    def forward(self, features: Tensor) -> Tensor:
        active = F.relu(self.norm1(features))
        residual: Tensor = self.conv2(self.drop(F.relu(self.norm2(self.conv1(active)))))
        return residual + (features if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """A 3x3 stem, then three stages of pre-activation blocks with 16w, 32w and 64w channels; stride 4 in all.

    Args:
        depth: layers, 6n + 4 with n at least 1.
        width: w, at least 1.
        dropout: probability between a block's two convolutions, 0 to 0.99.

    Raises:
        InputError: an option is outside its range.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, arXiv 1605.07146; Kaiming normal weights over
    fan-out. With ``width=1`` the first stage has as many channels as the stem and needs no projection.

    Example:
        >>> import torch
        >>> WideResNet(depth=10, width=1)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 64, 8, 8])
    """

    grid = True
    stages: tuple[str, ...] = ("stem", "stage1", "stage2", "stage3", "norm")
    input_size: tuple[int, int] | None = None

    def __init__(self, *, depth: int = 28, width: int = 10, dropout: float = 0.0) -> None:
        in_range("width", width, 1)
        in_range("dropout", dropout, 0, 0.99)
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"depth must be 6n + 4 with n at least 1, got {depth}; choose 16, 22, 28 or 40")
        super().__init__()
        self.channels = self.pooled = 64 * width
        blocks = (depth - 4) // 6
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.stage1 = _stage(blocks, 16, 16 * width, 1, dropout)
        self.stage2 = _stage(blocks, 16 * width, 32 * width, 2, dropout)
        self.stage3 = _stage(blocks, 32 * width, 64 * width, 2, dropout)
        self.norm = nn.BatchNorm2d(64 * width)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, 64w, H/4, W/4] of images [N, 3, H, W]."""
        features = self.stage3(self.stage2(self.stage1(self.stem(images))))
        return F.relu(self.norm(features))

    def pool(self, features: Tensor) -> Tensor:
        """The mean over positions [N, 64w]."""
        return mean_positions(features)


def _stage(blocks: int, channels: int, out: int, stride: int, dropout: float) -> nn.Sequential:
    first = _Block(channels, out, stride, dropout)
    return nn.Sequential(first, *(_Block(out, out, 1, dropout) for _ in range(blocks - 1)))


def wrn28_10() -> WideResNet:
    """The wide residual network of 28 layers and width 10.

    Example:
        >>> import torch
        >>> with torch.device("meta"):
        ...     model = wrn28_10()
        >>> model.channels
        640
    """
    return WideResNet()
