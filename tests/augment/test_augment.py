import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad import augment
from tailgrad.augment import ColorJitter, Crop, Cutout, Flip, Normalize, ResizedCrop
from tailgrad.checks import InputError

TRANSFORMS = [
    name
    for name in augment.__all__
    if getattr(getattr(augment, name), "kind", "") == "transform" and name != "Normalize"
]
ON_EITHER = ["ColorJitter", "Crop", "Cutout", "Flip", "ResizedCrop"]


def _images(shape: tuple[int, ...], bytes_: bool) -> torch.Tensor:
    images = torch.randint(256, shape, dtype=torch.uint8)
    return images if bytes_ else images.float() / 255


@pytest.mark.parametrize(
    ("name", "bytes_"),
    [(name, getattr(getattr(augment, name), "on", "") == "bytes") for name in TRANSFORMS]
    + [(name, True) for name in ON_EITHER],
)
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (5, 3, 12, 20), (3, 3, 33, 2)])
def test_shape_dtype_and_seed(name: str, bytes_: bool, shape: tuple[int, ...]) -> None:
    transform, images = getattr(augment, name)(), _images(shape, bytes_)
    before = images.clone()
    torch.manual_seed(1)
    first = transform(images)
    torch.manual_seed(1)
    assert torch.equal(first, transform(images))
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert torch.equal(images, before)


def test_cutout_clears_each_pixel_as_often_as_counted_over_all_centres() -> None:
    torch.manual_seed(0)
    n, height, width = 4000, 6, 10
    found = (Cutout(0.5)(torch.ones(n, 3, height, width)) == 0)[:, 0].double().mean(0)
    chance = torch.zeros(height, width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):  # half sides of 3 // 2 and 5 // 2 pixels
            chance[max(row - 1, 0) : row + 1, max(column - 2, 0) : column + 2] += 1 / (height * width)
    assert ((found - chance).abs() < 5 * (chance * (1 - chance) / n).sqrt()).all()


def test_cutout_at_32_pixels_is_the_fields_square_of_16() -> None:
    torch.manual_seed(0)
    holes = Cutout()(torch.ones(2000, 3, 32, 32))[:, 0] == 0
    areas = holes.sum((1, 2))
    assert areas.max() == 16 * 16
    assert areas.min() == 8 * 8  # around a corner
    assert set((holes.any(2).sum(1)).tolist()) == set(range(8, 17))


@given(st.integers(0, 2**31))
def test_crop_is_a_window_of_the_padded_image(seed: int) -> None:
    torch.manual_seed(seed)
    image = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    windows = [padded[..., r : r + 8, c : c + 8] for r in range(3) for c in range(3)]
    cropped = Crop(0.125)(image)
    assert any(torch.equal(cropped, window) for window in windows)


def test_resized_crop_keeps_constants() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 3, 8, 8)
    out = ResizedCrop(1.0)(images)
    exact = torch.isclose(out, images, atol=1e-5).flatten(1).all(1)
    assert not exact.all()  # an aspect other than 1 still cuts one side
    constant = torch.full((4, 3, 8, 8), 0.3)
    assert torch.allclose(ResizedCrop(0.3)(constant), constant)


def test_resized_crop_gives_the_size_asked_for() -> None:
    assert ResizedCrop(0.5, size=6)(torch.rand(2, 3, 12, 20)).shape == (2, 3, 6, 6)


def test_resized_crop_zooms_in() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 32).expand(64, 1, 32, 32)
    out = ResizedCrop(0.25)(ramp)
    width = out[..., -1].mean((1, 2)) - out[..., 0].mean((1, 2))
    assert width.min() > 0.35
    assert width.max() <= 1.0001


def test_jitter_moves_brightness_within_its_range() -> None:
    torch.manual_seed(0)
    images = torch.rand(500, 3, 4, 4)
    shift = (ColorJitter(0.3)(images) - images).mean((1, 2, 3))
    assert shift.abs().max() <= 0.3 + 1e-5
    assert shift.abs().max() > 0.25


def test_normalize_measures_what_it_removes() -> None:
    torch.manual_seed(0)
    images = torch.randint(256, (50, 3, 8, 8), dtype=torch.uint8)
    out = Normalize.of(images)(images)
    assert torch.allclose(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(out.std((0, 2, 3)), torch.ones(3), atol=1e-3)


def test_constant_channel_does_not_divide_by_zero() -> None:
    assert Normalize.of(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)).std == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Flip(1.5), r"p must be in \[0, 1\], got 1.5"),
        (lambda: Crop(-1), "share must be in"),
        (lambda: ResizedCrop(0), "min_area must be in"),
        (lambda: ResizedCrop(0.5, 0), "size must be in .*got 0"),
        (lambda: Cutout(2), "share must be in .*got 2"),
        (lambda: augment.RandAugment(-1), "num_ops must be in .*got -1"),
        (lambda: augment.RandAugment(2, 31), r"magnitude must be in \[0, 30\], got 31"),
        (lambda: augment.TrivialAugment(1), "bins must be in .*got 1"),
        (lambda: augment.AutoAugment("cifar"), "did you mean 'cifar10'"),
        (lambda: augment.AutoAugment()(torch.rand(1, 3, 4, 4)), "uint8 .*got torch.float32"),
        (
            lambda: augment.RandAugment()(torch.zeros(3, 4, 4, dtype=torch.uint8)),
            r"got torch.uint8 \[3, 4, 4\]",
        ),
        (lambda: augment.TrivialAugment()(torch.zeros(1, 1, 4, 4, dtype=torch.uint8)), r"\[1, 1, 4, 4\]"),
        (lambda: augment.SimCLRViews(0), "views must be in .*got 0"),
        (lambda: augment.SimCLRViews(strength=1.3), "strength must be in .*got 1.3"),
        (lambda: augment.SimCLRViews()(torch.rand(1, 3, 4, 4)), "uint8"),
        (lambda: ColorJitter(float("nan")), "strength must be in"),
        (lambda: Normalize([0.5], [0.0]), r"std must be positive, got std\[0\]=0.0"),
        (lambda: Normalize([0.5], [1, 1]), "equally long"),
    ],
)
def test_bad_input(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]
