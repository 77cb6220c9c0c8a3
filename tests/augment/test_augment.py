import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tailgrad import augment
from tailgrad.augment import ColorJitter, Crop, Flip, Normalize, ResizedCrop
from tailgrad.checks import InputError


@pytest.mark.parametrize("name", [n for n in augment.__all__ if n != "Normalize"])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (5, 3, 12, 20)])
def test_shape_dtype_and_seed(name: str, shape: tuple[int, ...]) -> None:
    transform, images = getattr(augment, name)(), torch.rand(shape)
    before = images.clone()
    torch.manual_seed(1)
    first = transform(images)
    torch.manual_seed(1)
    assert torch.equal(first, transform(images))
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert torch.equal(images, before)


def test_flip_mirrors_about_half() -> None:
    torch.manual_seed(0)
    images = torch.arange(4.0).repeat(2000, 1, 1, 1)
    flipped = Flip()(images)[:, 0, 0, 0] == 3
    assert 0.45 < flipped.float().mean() < 0.55


@given(st.integers(0, 2**31))
def test_crop_is_a_window_of_the_padded_image(seed: int) -> None:
    torch.manual_seed(seed)
    image = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))
    windows = [padded[..., r : r + 8, c : c + 8] for r in range(3) for c in range(3)]
    cropped = Crop(0.125)(image)
    assert any(torch.equal(cropped, window) for window in windows)


def test_crop_reaches_every_place() -> None:
    torch.manual_seed(0)
    corner = Crop(0.125)(torch.ones(500, 1, 8, 8))
    assert len({tuple(image.flatten().tolist()) for image in corner}) == 9


def test_resized_crop_keeps_constants() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 3, 8, 8)
    out = ResizedCrop(1.0)(images)
    exact = torch.isclose(out, images, atol=1e-5).flatten(1).all(1)
    assert not exact.all()  # an aspect other than 1 still cuts one side
    constant = torch.full((4, 3, 8, 8), 0.3)
    assert torch.allclose(ResizedCrop(0.3)(constant), constant)


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
        (lambda: ColorJitter(float("nan")), "strength must be in"),
        (lambda: Normalize([0.5], [0.0]), r"std must be positive, got std\[0\]=0.0"),
        (lambda: Normalize([0.5], [1, 1]), "equally long"),
    ],
)
def test_bad_input(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]
