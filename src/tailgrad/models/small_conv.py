"""Three convolutions for pictures of 16 pixels: seconds of a CPU a run."""

from torch import Tensor, nn

from tailgrad.heads.pooling import mean_positions


def _layer(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class SmallConv(nn.Module):
    """3x3 convolutions of 16, 32 and 64 channels, each with BatchNorm and ReLU; stride 4 in all.

    Images of another size are brought to 16 x 16, so that a run of a few hundred costs seconds. For made
    pictures, trials and studies of losses; too small for photographs.

    Source: ours; the layers of a CIFAR residual network without its blocks.

    Example:
        >>> import torch
        >>> SmallConv()(torch.zeros(1, 3, 16, 16)).shape
        torch.Size([1, 64, 4, 4])
    """

    channels = 64
    pooled = 64
    grid = True
    stages: tuple[str, ...] = ("stem", "stage1", "stage2")
    input_size: tuple[int, int] | None = (16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stage1, self.stage2 = _layer(3, 16, 1), _layer(16, 32, 2), _layer(32, 64, 2)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, 64, 4, 4] of images [N, 3, 16, 16]."""
        features: Tensor = self.stage2(self.stage1(self.stem(images)))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """The mean over positions [N, 64]."""
        return mean_positions(features)
