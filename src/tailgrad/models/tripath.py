"""The CSBA paper's backbone: a SqueezeNet-like network whose fire modules have three expand paths."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range, one_of
from tailgrad.heads.init import kaiming_uniform
from tailgrad.heads.pooling import mean_positions

PLACEMENTS = ("stem", "squeeze", "concat", "all")
SQUEEZE = (16, 16, 32, 32, 48, 48, 64, 64)
EXPAND = (64, 64, 128, 128, 192, 192, 256, 256)


def _norm(channels: int, present: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if present else nn.Identity()


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _in_order(*layers: tuple[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


class TriPathFire(nn.Module):
    """A squeeze to s channels, then a 1x1 path and two 3x3 paths of e channels each, concatenated.

    ``q = act(S x)``, ``F = act([A q, B q, C q])``. The two 3x3 paths are the two halves of one convolution
    from s to 2e channels: the same weights, start and results as two convolutions, in one call. Batch
    normalisation works channel by channel, so one after the concatenation equals one after every path.

    Args:
        channels: input width.
        squeeze: s.
        expand: e; the output has 3e channels.
        slope: negative slope of the rectifiers.
        batch_norm: where it stands: ``"stem"`` (none here), ``"squeeze"``, ``"concat"`` or ``"all"`` (both).
        conv_bias: whether convolutions have a bias.

    Source: arXiv 2606.05740, eq 5-8, 20-24.

    Example:
        >>> TriPathFire(64, 16, 64)(torch.zeros(1, 64, 5, 5)).shape
        torch.Size([1, 192, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        squeeze: int,
        expand: int,
        *,
        slope: float = 0.01,
        batch_norm: str = "all",
        conv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1, bias=conv_bias)
        self.squeeze_norm = _norm(squeeze, batch_norm in ("squeeze", "all"))
        self.expand1 = nn.Conv2d(squeeze, expand, 1, bias=conv_bias)
        self.expand3 = nn.Conv2d(squeeze, 2 * expand, 3, padding=1, bias=conv_bias)
        self.norm = _norm(3 * expand, batch_norm in ("concat", "all"))
        self.act = nn.LeakyReLU(slope)

    def forward(self, features: Tensor) -> Tensor:
        """Map [N, 3e, H, W] of a map [N, C, H, W]."""
        squeezed = self.act(self.squeeze_norm(self.squeeze(features)))
        paths = torch.cat([self.expand1(squeezed), self.expand3(squeezed)], dim=1)
        activated: Tensor = self.act(self.norm(paths))
        return activated


class TriPath(nn.Module):
    """Stem, then eight tri-path fire modules with pools after the second and the fourth: 768 channels.

    A 224-pixel image gives a 14 x 14 map, a 47-pixel one the smallest map of 3 x 3.

    Args:
        stem_filters: channels of the first convolution, at least 1.
        stem_kernel: its kernel, at least 1.
        stem_stride: its stride, at least 1.
        stem_padding: its padding, at least 0.
        slope: negative slope of every rectifier, 0 to 1.
        batch_norm: where it stands besides the stem: ``"all"`` (after every convolution, before the
            rectifier), ``"concat"`` (after each concatenation), ``"squeeze"`` or ``"stem"`` (nowhere else).
        conv_bias: whether convolutions have a bias.

    Raises:
        InputError: an option is outside its range or unknown.

    Source: arXiv 2606.05740, eq 4-9, 17-25, Table 3. Stated: the channel plan, the places of the pools,
    ceil mode and Kaiming uniform. Derived from the printed parameter counts: batch normalisation
    everywhere, biases.
    Assumed: stem 64 filters, 3x3, stride 2, padding 1; slope 0.01; pools 3x3, stride 2.

    Example:
        >>> TriPath()(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 768, 4, 4])
    """

    channels = 768
    pooled = 768
    grid = True
    stages: tuple[str, ...] = ("stem", "stage1", "stage2", "stage3")
    input_size: tuple[int, int] | None = None

    def __init__(
        self,
        *,
        stem_filters: int = 64,
        stem_kernel: int = 3,
        stem_stride: int = 2,
        stem_padding: int = 1,
        slope: float = 0.01,
        batch_norm: str = "all",
        conv_bias: bool = True,
    ) -> None:
        in_range("stem_filters", stem_filters, 1)
        in_range("stem_kernel", stem_kernel, 1)
        in_range("stem_stride", stem_stride, 1)
        in_range("stem_padding", stem_padding, 0)
        one_of("batch_norm", batch_norm, PLACEMENTS)
        super().__init__()
        widths = (stem_filters, *(3 * e for e in EXPAND))
        fires = [
            (
                f"fire{i + 1}",
                TriPathFire(widths[i], s, e, slope=slope, batch_norm=batch_norm, conv_bias=conv_bias),
            )
            for i, (s, e) in enumerate(zip(SQUEEZE, EXPAND, strict=True))
        ]
        conv = nn.Conv2d(3, stem_filters, stem_kernel, stem_stride, stem_padding, bias=conv_bias)
        norm = ("norm", nn.BatchNorm2d(stem_filters))
        self.stem = _in_order(("conv", conv), norm, ("act", nn.LeakyReLU(slope)), ("pool", _pool()))
        self.stage1 = _in_order(*fires[:2])
        self.stage2 = _in_order(("pool", _pool()), *fires[2:4])
        self.stage3 = _in_order(("pool", _pool()), *fires[4:])
        kaiming_uniform(self, slope)

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, 768, h, w] of images [N, 3, H, W]."""
        features: Tensor = self.stage3(self.stage2(self.stage1(self.stem(images))))
        return features

    def pool(self, features: Tensor) -> Tensor:
        """The mean over positions [N, 768]."""
        return mean_positions(features)
