import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tailgrad.models import create_model
from tailgrad.models.small_conv import SmallConv


def test_parameters_are_those_of_three_convolutions_and_their_norms() -> None:
    expected = 9 * (3 * 16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64)
    assert sum(p.numel() for p in SmallConv().parameters()) == expected


def test_stages_hold_every_parameter_in_order() -> None:
    network = SmallConv()
    names = [
        f"{stage}.{name}"
        for stage in network.stages
        for name, _ in getattr(network, stage).named_parameters()
    ]
    assert names == [name for name, _ in network.named_parameters()]


def test_the_map_is_what_functional_layers_give() -> None:
    torch.manual_seed(0)
    network = SmallConv().double()
    images = torch.rand(5, 3, 16, 16, dtype=torch.float64)
    expected = images
    for stage, stride in zip(network.stages, (1, 2, 2), strict=True):
        conv = getattr(network, stage)[0]
        expected = F.conv2d(expected, conv.weight, stride=stride, padding=1)
        mean, spread = expected.mean((0, 2, 3)), expected.var((0, 2, 3), unbiased=False)
        expected = (expected - mean[:, None, None]) / (spread[:, None, None] + 1e-5).sqrt()
        expected = expected.clamp(min=0)
    torch.testing.assert_close(network(images), expected)
    torch.testing.assert_close(network.pool(expected), expected.mean((2, 3)))


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (33, 20)])
def test_images_of_any_size_are_brought_to_its_own(size: tuple[int, int]) -> None:
    model = create_model("small_conv", num_classes=4, image_size=size)
    assert model(torch.rand(2, 3, *size)).shape == (2, 4)
    seen: list[torch.Size] = []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0].shape))
    model(torch.rand(2, 3, *size))
    assert seen == [(2, 3, 16, 16)]


def test_convolutions_begin_with_the_spread_of_kaiming() -> None:
    torch.manual_seed(0)
    weights = [layer.weight for layer in SmallConv().modules() if isinstance(layer, nn.Conv2d)]
    for weight in weights[1:]:
        assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.05)
