import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.heads import CSBA, BranchSum, Linear
from tailgrad.models import CifarResNet, Classifier, TimmBackbone, WideResNet, fit_images
from tailgrad.models.fit_images import fitted_size


class _Probe(nn.Module):
    """A head that keeps what it received."""

    def __init__(self, takes: str) -> None:
        super().__init__()
        self.takes = takes

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.shape = tuple(features.shape)
        return features.flatten(1)[:, :2]


@pytest.mark.parametrize(
    ("name", "takes", "expected"),
    [
        ("cifar", "map", (1, 64, 8, 8)),
        ("cifar", "pooled", (1, 64)),
        ("vit_tiny_patch16_224", "map", (1, 192)),
        ("vit_tiny_patch16_224", "pooled", (1, 192)),
        ("mobilenetv3_small_050", "map", (1, 288, 1, 1)),
        ("mobilenetv3_small_050", "pooled", (1, 1024)),
    ],
)
def test_heads_receive_what_they_take(name: str, takes: str, expected: tuple[int, ...]) -> None:
    backbone = CifarResNet(blocks=1) if name == "cifar" else TimmBackbone(name)
    head = _Probe(takes)
    Classifier(backbone, head).eval()(torch.rand(1, 3, 32, 32))
    assert head.shape == expected


@pytest.mark.parametrize("head", [Linear(64, 5), BranchSum(64, 5), CSBA(64, 5), nn.Linear(64, 5)])
def test_outputs_agree_with_forward(head: nn.Module) -> None:
    model = Classifier(CifarResNet(blocks=1), head).eval()
    images = torch.rand(3, 3, 32, 32)
    out = model.outputs(images)
    assert torch.equal(out.logits, model(images))
    torch.testing.assert_close(out.features, model.features(images).mean((2, 3)))
    assert out.experts is None


def test_backbone_and_head_split_the_parameters() -> None:
    model = Classifier(WideResNet(depth=10, width=1), CSBA(64, 5))
    names = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert names == {"backbone", "head"}


def test_channels_last_changes_nothing() -> None:
    model = Classifier(CifarResNet(blocks=1), CSBA(64, 5)).double().eval()
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    plain = model(images)
    other = model.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, other)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((8, 8), (32, 32)),
        ((24, 40), (48, 80)),
        ((31, 31), (62, 62)),
        ((32, 7), (160, 35)),
        ((1, 1), (32, 32)),
    ],
)
def test_small_images_grow_by_a_whole_factor(size: tuple[int, int], expected: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    fitted = fit_images(images)
    assert fitted.shape == (2, 3, *expected)
    assert fitted_size(size) == expected
    torch.testing.assert_close(fitted, F.interpolate(images, expected, mode="bilinear"))


def test_large_images_pass_untouched() -> None:
    images = torch.rand(1, 3, 32, 100)
    assert fit_images(images) is images
    assert fit_images(images, (32, 100)) is images


def test_a_fixed_size_is_met_from_above_and_below() -> None:
    flat = torch.full((1, 3, 300, 20), 0.25)
    fitted = fit_images(flat, (224, 224))
    assert fitted.shape == (1, 3, 224, 224)
    torch.testing.assert_close(fitted, torch.full_like(fitted, 0.25))
    # Antialiasing averages a checkerboard instead of picking one of its colours.
    board = (torch.arange(448)[:, None] + torch.arange(448)) % 2
    shrunk = fit_images(board.float().expand(1, 3, 448, 448), (224, 224))
    torch.testing.assert_close(shrunk[..., 4:-4, 4:-4], torch.full((1, 3, 216, 216), 0.5))


@pytest.mark.parametrize(
    "images",
    [torch.zeros(3, 8, 8), torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 0, 8), torch.zeros(2, 3, 8, 8).byte()],
)
def test_other_shapes_and_types_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"floating point \[N, 3, H, W\]"):
        fit_images(images)
