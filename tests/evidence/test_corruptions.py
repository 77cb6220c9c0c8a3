"""Images that lose their content: each corruption against its closed form."""

import numpy as np
import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.evidence.analyses.corruptions import KINDS, corrupt

IMAGES = torch.randint(0, 256, (4, 3, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", KINDS)
def test_severity_0_changes_nothing_and_others_keep_shape_and_type(kind: str) -> None:
    before = IMAGES.clone()
    assert torch.equal(corrupt(IMAGES, kind, 0), IMAGES)
    changed = corrupt(IMAGES, kind, 0.6)
    assert (changed.shape, changed.dtype) == (IMAGES.shape, torch.uint8)
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("kind", KINDS)
def test_content_fades_with_severity(kind: str) -> None:
    """How far two different images stay apart."""
    apart = []
    for severity in (0, 0.5, 0.75, 1):
        a, b = corrupt(IMAGES, kind, severity)[:2].float()
        apart.append(float((a - b).square().mean()))
    assert apart == sorted(apart, reverse=True) or kind == "noise"
    assert kind == "noise" or apart[-1] < 0.05 * apart[0]


def test_brightness_multiplies() -> None:
    expected = np.round(IMAGES.numpy() * np.float32(0.75)).astype(np.uint8)
    assert (corrupt(IMAGES, "brightness", 0.25).numpy() == expected).all()
    assert int(corrupt(IMAGES, "brightness", 1).sum()) == 0


def test_contrast_ends_at_the_mean_of_each_channel() -> None:
    flat = corrupt(IMAGES, "contrast", 1).float()
    assert torch.allclose(flat, IMAGES.float().mean((2, 3), keepdim=True).expand_as(flat), atol=0.51)


def test_noise_ends_without_any_of_the_image() -> None:
    other = 255 - IMAGES
    assert torch.equal(corrupt(IMAGES, "noise", 1), corrupt(other, "noise", 1))
    many = corrupt(torch.zeros(8, 3, 40, 40, dtype=torch.uint8), "noise", 1).double()
    assert abs(float(many.mean()) - 127.5) < 2
    assert abs(float(many.std()) - 255 / 12**0.5) < 2
    half = corrupt(torch.full((8, 3, 40, 40), 200, dtype=torch.uint8), "noise", 0.5).double()
    assert abs(float(half.mean()) - (100 + 63.75)) < 1


def test_noise_is_the_same_for_every_network_and_another_by_seed() -> None:
    assert torch.equal(corrupt(IMAGES, "noise", 0.5), corrupt(IMAGES, "noise", 0.5))
    assert not torch.equal(corrupt(IMAGES, "noise", 0.5), corrupt(IMAGES, "noise", 0.5, seed=1))


def test_blur_is_a_gaussian_average() -> None:
    severity, (height, width) = 0.8, (12, 16)
    deviation = severity**3 * 12 / 2
    image = IMAGES[0, 0].double().numpy()
    expected = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            down = np.exp(-((np.arange(height) - i) ** 2) / (2 * deviation**2))
            across = np.exp(-((np.arange(width) - j) ** 2) / (2 * deviation**2))
            weights = np.outer(down, across)
            expected[i, j] = (weights * image).sum() / weights.sum()
    found = corrupt(IMAGES[:1], "blur", severity)[0, 0].numpy()
    assert np.abs(found - expected).max() < 0.51


def test_blur_leaves_a_flat_image_flat() -> None:
    flat = torch.full((1, 3, 9, 9), 77, dtype=torch.uint8)
    assert torch.equal(corrupt(flat, "blur", 1), flat)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(InputError, match="kind must be a known name, got 'fog'"):
        corrupt(IMAGES, "fog", 0.5)
    with pytest.raises(InputError, match="severity must be in"):
        corrupt(IMAGES, "blur", 1.2)
