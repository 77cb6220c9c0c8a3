import pytest
import torch
from torch import nn

from tailgrad.checks import InputError
from tailgrad.models import CifarResNet, TriPath, WideResNet, resnet32, wrn28_10


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_known_parameter_counts() -> None:
    # With a linear layer to 10 classes: 464,154 (0.46M) and 36,479,194 (36.5M), as printed in the papers.
    assert _size(resnet32()) + 64 * 10 + 10 == 464_154
    with torch.device("meta"):
        assert _size(wrn28_10()) + 640 * 10 + 10 == 36_479_194


def test_layer_counts() -> None:
    convs = [m for m in resnet32().modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) + 1 == 32
    assert all(conv.kernel_size == (3, 3) for conv in convs)
    with torch.device("meta"):
        wide = [m.kernel_size for m in wrn28_10().modules() if isinstance(m, nn.Conv2d)]
    assert (len(wide), wide.count((1, 1))) == (28, 3)


@pytest.mark.parametrize("size", [(32, 32), (48, 33)])
def test_maps_are_a_quarter_of_the_image(size: tuple[int, int]) -> None:
    for backbone in (CifarResNet(blocks=1), WideResNet(depth=10, width=2)):
        features = backbone(torch.rand(2, 3, *size))
        assert features.shape == (2, backbone.channels, -(-size[0] // 4), -(-size[1] // 4))
        assert backbone.pool(features).shape == (2, backbone.pooled)


def test_option_a_shortcut_is_subsampling_with_zero_channels() -> None:
    block = CifarResNet(blocks=1).stage2[0].double().eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 16, 6, 6, dtype=torch.float64)
    out = block(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_wide_block_projects_the_activated_input() -> None:
    block = WideResNet(depth=10, width=2).stage1[0].double().eval()
    nn.init.zeros_(block.conv2.weight)
    nn.init.normal_(block.norm1.weight)
    x = torch.randn(2, 16, 5, 5, dtype=torch.float64)
    active = (block.norm1.weight[:, None, None] * x / (1 + block.norm1.eps) ** 0.5).relu()
    expected = torch.einsum("oc,nchw->nohw", block.shortcut.weight[:, :, 0, 0], active)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("build", [TriPath, resnet32, lambda: WideResNet(depth=10, width=1)])
def test_stages_hold_every_parameter_in_order(build: type) -> None:
    backbone = build()
    names = [
        f"{stage}.{name}"
        for stage in backbone.stages
        for name, _ in backbone.get_submodule(stage).named_parameters()
    ]
    assert names == [name for name, _ in backbone.named_parameters()]


@pytest.mark.parametrize("build", [TriPath, resnet32, lambda: WideResNet(depth=10, width=1)])
def test_pool_is_float32_inside_autocast(build: type) -> None:
    backbone = build().eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        features = backbone(torch.rand(1, 3, 32, 32))
        pooled = backbone.pool(features)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, features.float().mean((2, 3)))


def test_bad_sizes_are_named() -> None:
    for depth in (9, 27, 4):
        with pytest.raises(InputError, match=f"depth must be .* got {depth}"):
            WideResNet(depth=depth)
    with pytest.raises(InputError, match="blocks"):
        CifarResNet(blocks=0)
    with pytest.raises(InputError, match="width"):
        WideResNet(width=0)
