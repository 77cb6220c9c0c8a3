from collections.abc import Callable

import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from tailgrad.augment import SimCLRViews
from tailgrad.augment.color import change_brightness, change_contrast, change_hue, change_saturation
from tailgrad.augment.grouped import Change


@pytest.mark.parametrize(
    ("change", "reference", "low", "high"),
    [
        (change_brightness, vision.adjust_brightness, 0.0, 2.0),
        (change_contrast, vision.adjust_contrast, 0.0, 2.0),
        (change_saturation, vision.adjust_saturation, 0.0, 2.0),
        (change_hue, vision.adjust_hue, -0.5, 0.5),
    ],
)
def test_colour_changes_equal_torchvision_image_by_image(
    change: Change, reference: Callable[[Tensor, float], Tensor], low: float, high: float
) -> None:
    torch.manual_seed(0)
    images = torch.rand(60, 3, 9, 14)
    images[1::3] = images[1::3, :1]  # no colour
    images[2::3] = (images[2::3] * 3).floor() / 2  # ties between channels, black and white
    factors = torch.linspace(low, high, 60, dtype=torch.float64)
    expected = torch.stack([reference(x, f) for x, f in zip(images, factors.tolist(), strict=True)])
    torch.testing.assert_close(change(images * 255, factors) / 255, expected, atol=2e-5, rtol=0)


def _crops(images: Tensor, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return SimCLRViews(1, jitter=0.0, grayscale=0.0)(images)[0].float()


@pytest.mark.parametrize(("n", "size"), [(1, None), (5, None), (3, 6)])
def test_views_have_the_shape_and_type_of_bytes(n: int, size: int | None) -> None:
    images = torch.randint(256, (n, 3, 12, 20), dtype=torch.uint8)
    before = images.clone()
    make = SimCLRViews(3, size=size)
    torch.manual_seed(1)
    views = make(images)
    torch.manual_seed(1)
    assert torch.equal(views, make(images))
    assert torch.equal(images, before)
    assert views.shape == (3, n, 3, *((12, 20) if size is None else (size, size)))
    assert views.dtype == torch.uint8
    assert not torch.equal(views[0], views[1])


def test_without_randomness_views_are_crops_of_their_own_image() -> None:
    torch.manual_seed(0)
    images = torch.arange(0, 250, 10, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    views = SimCLRViews(2, jitter=0.0, grayscale=0.0)(images)
    assert torch.equal(views, images.expand(2, -1, -1, -1, -1))


def test_shares_and_ranges_of_the_draws() -> None:
    torch.manual_seed(0)
    n = 4000
    red = torch.tensor([100, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(n, 3, 4, 4)
    plain = SimCLRViews(1, jitter=0.0)(red)[0, :, :, 0, 0]
    gray = (plain == 30).all(1)
    assert (gray | (plain == torch.tensor([100, 0, 0])).all(1)).all()
    assert abs(gray.float().mean() - 0.2) < 5 * (0.16 / n) ** 0.5
    same = (SimCLRViews(1, grayscale=0.0)(red)[0, :, :, 0, 0] == torch.tensor([100, 0, 0])).all(1)
    assert 0.2 - 5 * (0.16 / n) ** 0.5 < same.float().mean() < 0.25  # some jitter changes nothing


def test_crops_hold_the_areas_asked_for() -> None:
    torch.manual_seed(0)
    n, side = 1500, 64
    ramp = torch.linspace(0, 252, side).round().byte()
    wide = ramp.expand(n, 3, side, side)
    width, height = (
        (views.amax((1, 2, 3)) - views.amin((1, 2, 3)) + 252 / (side - 1)).double() / 256
        for images in (wide, wide.transpose(2, 3))
        for views in (_crops(images, seed=1),)
    )
    # Clipping windows to the image only shrinks those of large area, so small ones tell the distribution.
    area = width * height
    assert area.min() > 0.06
    assert abs((area < 0.5).double().mean() - 0.42 / 0.92) < 5 * 0.5 / n**0.5
    aspect = (width / height)[area < 0.5]
    assert 0.72 < aspect.min() < 0.78
    assert 1.28 < aspect.max() < 1.4


def test_jitter_is_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    n = 2000
    image = torch.tensor([[200, 90, 30], [10, 60, 250]], dtype=torch.uint8).T.reshape(3, 1, 2)
    images = image.repeat_interleave(4, 2).expand(n, 3, 8, 8)  # two colours, each half of the image
    ours = SimCLRViews(1, grayscale=0.0, min_area=1.0)(images)[0]
    plain = SimCLRViews(1, grayscale=0.0, min_area=1.0, jitter=0.0)(images)[0]
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8)
    theirs = (torch.stack([jitter(x) for x in plain.float() / 255]) * 255).round()
    mirrored = plain[:, 2, 0, 0] > 128
    assert abs(mirrored.float().mean() - 0.5) < 5 * 0.5 / n**0.5
    for pick in (torch.amax, torch.amin, torch.sum):
        for channel in range(3):
            one, two = (pick(x[:, channel].float(), (1, 2)) for x in (ours, theirs))
            assert ks_2samp(one, two).pvalue > 1e-3


def test_strength_zero_leaves_colours() -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (50, 3, 1, 1), dtype=torch.uint8).expand(-1, -1, 4, 4)
    views = SimCLRViews(1, strength=0.0, jitter=1.0, grayscale=0.0)(images)[0]
    assert (views.int() - images.int()).abs().max() <= 1
