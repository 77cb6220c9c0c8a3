"""The CIFAR residual networks: 6n + 2 layers, 16-32-64 channels."""

from torch import Tensor, nn
from torch.nn import functional as F

from tailgrad.checks import in_range
from tailgrad.heads.pooling import mean_positions


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.stride = stride
        self.extra = (out - channels) // 2

    def forward(self, features: Tensor) -> Tensor:
        residual = F.relu(self.norm1(self.conv1(features)))
        residual = self.norm2(self.conv2(residual))
        return F.relu(residual + self._shortcut(features))

    def _shortcut(self, features: Tensor) -> Tensor:
        if not self.extra:
            return features
        return F.pad(features[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.extra, self.extra))


def _stage(blocks: int, channels: int, out: int, stride: int) -> nn.Sequential:
    first = _Block(channels, out, stride)
    return nn.Sequential(first, *(_Block(out, out, 1) for _ in range(blocks - 1)))


class CifarResNet(nn.Module):
    """A 3x3 stem, then three stages of n blocks with 16, 32 and 64 channels; no pool, stride 4 in all.

    Shortcuts carry no parameters: they skip every second position and fill new channels with zeros (option
    A).

    Args:
        blocks: n blocks a stage, at least 1; the network has 6n + 2 layers with its classifier.

    Raises:
        InputError: ``blocks`` is below 1.

    Source: He et al., Deep Residual Learning, arXiv 1512.03385, section 4.2. Zeros on both sides and Kaiming
    normal weights (fan-in) as in LDAM-DRW's code.

    Example:
        >>> import torch
        >>> CifarResNet(blocks=1)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 64, 8, 8])
    """

    channels = 64
    pooled = 64
    grid = True
    stages: tuple[str, ...] = ("stem", "stage1", "stage2", "stage3")
    input_size: tuple[int, int] | None = None

    def __init__(self, *, blocks: int = 5) -> None:
        in_range("blocks", blocks, 1)
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.stage1 = _stage(blocks, 16, 16, 1)
        self.stage2 = _stage(blocks, 16, 32, 2)
        self.stage3 = _stage(blocks, 32, 64, 2)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, 64, H/4, W/4] of images [N, 3, H, W]."""
        features: Tensor = self.stage3(self.stage2(self.stage1(self.stem(images))))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """The mean over positions [N, 64]."""
        return mean_positions(features)


def resnet8() -> CifarResNet:
    """The smallest CIFAR residual network, 8 layers: for CPUs, trials and tests.

    Example:
        >>> sum(p.numel() for p in resnet8().parameters())
        74640
    """
    return CifarResNet(blocks=1)


def resnet32() -> CifarResNet:
    """The 32-layer CIFAR residual network of most long-tailed CIFAR tables.

    Example:
        >>> sum(p.numel() for p in resnet32().parameters())
        463504
    """
    return CifarResNet(blocks=5)
