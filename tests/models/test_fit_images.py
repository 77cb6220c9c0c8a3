"""Small images are enlarged by whole factors; modes come back as they were."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tailgrad.checks import InputError
from tailgrad.heads import CSBA
from tailgrad.models import CifarResNet, Classifier
from tailgrad.models.evaluating import evaluating
from tailgrad.models.fit_images import SMALLEST_SIDE, fit_images, fitted_size

SIDES = st.integers(1, 100)


@given(SIDES, SIDES)
def test_the_factor_is_the_smallest_whole_one_that_suffices(height: int, width: int) -> None:
    found = fitted_size((height, width))
    factor = next(f for f in range(1, 100) if min(height, width) * f >= SMALLEST_SIDE)
    assert found == (height * factor, width * factor)
    assert fitted_size(found) == found


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_fixed_size_is_always_met(height: int, width: int, tall: int, wide: int) -> None:
    assert fitted_size((height, width), (tall, wide)) == (tall, wide)


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40))
def test_images_have_the_size_that_was_announced(height: int, width: int) -> None:
    images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    found = fit_images(images)
    assert tuple(found.shape[2:]) == fitted_size((height, width))
    assert images.min() - 1e-6 <= found.min() <= found.max() <= images.max() + 1e-6


@pytest.mark.parametrize("size", [(8, 8), (5, 12), (32, 50), (64, 40)])
@pytest.mark.parametrize("target", [None, (24, 24), (48, 33)])
def test_a_constant_image_stays_constant(size: tuple[int, int], target: tuple[int, int] | None) -> None:
    shades = torch.tensor([0.1, 0.5, 0.9])[None, :, None, None]
    found = fit_images(shades.expand(2, 3, *size), target)
    assert found.shape[2:] == fitted_size(size, target)
    torch.testing.assert_close(found, shades.expand_as(found))


def test_images_that_fit_are_not_copied() -> None:
    images = torch.rand(2, 3, 32, 40)
    assert fit_images(images) is images
    assert fit_images(images, (32, 40)) is images


def test_enlarging_a_ramp_is_linear_between_pixel_centres() -> None:
    ramp = torch.arange(16.0)[None, None, None].expand(1, 3, 16, 16)
    found = fit_images(ramp)[0, 0, 5]
    wanted = (torch.arange(32.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(found, wanted.clamp(0, 15))


def test_shrinking_averages() -> None:
    checks = (torch.arange(64)[:, None] + torch.arange(64)[None]) % 2
    images = checks.float().expand(1, 3, 64, 64)
    found = fit_images(images, (16, 16))[0, 0, 2:-2, 2:-2]
    assert (found - 0.5).abs().max() < 0.02


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(1, 1, 8, 8),
        torch.zeros(0, 3, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(1, 8, 8, 3),
    ],
    ids=["no batch", "grey", "empty", "bytes", "channels last"],
)
def test_other_tensors_are_refused_with_their_shape(images: torch.Tensor) -> None:
    with pytest.raises(InputError, match="floating point") as caught:
        fit_images(images)
    assert str(list(images.shape)) in str(caught.value)


def test_a_classifier_sees_small_images_as_their_enlargement() -> None:
    torch.manual_seed(0)
    model = Classifier(CifarResNet(blocks=1), CSBA(64, num_classes=3)).eval()
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(images), model(fit_images(images)))
        found = model.outputs(images)
        torch.testing.assert_close(found.logits, model(images))
        torch.testing.assert_close(found.features, model.backbone.pool(model.features(images)))


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_every_module_gets_its_own_mode_back(wanted: list[bool]) -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout()))
    for module, mode in zip(model.modules(), wanted, strict=True):
        module.training = mode
    with evaluating(model):
        assert not any(modes(model))
    assert modes(model) == wanted


def test_modes_come_back_after_an_error() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    before = modes(model)

    def fail() -> None:
        with evaluating(model):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert modes(model) == before


def test_evaluation_mode_makes_dropout_harmless() -> None:
    model, ones = nn.Dropout(0.9), torch.ones(1000)
    with evaluating(model):
        assert torch.equal(model(ones), ones)
    assert (model(ones) == 0).float().mean() > 0.5
