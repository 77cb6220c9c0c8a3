"""What transforms do to pixels: where windows lie, what channels share, what adds up."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from tailgrad.augment import (
    ColorJitter,
    Crop,
    CutMix,
    Cutout,
    Flip,
    Mixup,
    Normalize,
    RandAugment,
    ResizedCrop,
)
from tailgrad.augment.grouped import by_group
from tailgrad.augment.mixing import draw_share, interpolate, paste
from tailgrad.augment.operation_space import operation_space
from tailgrad.checks import InputError

GEOMETRIC = [Crop(0.25), Cutout(0.5), Flip(), ResizedCrop(0.4)]
each = pytest.mark.parametrize("transform", GEOMETRIC, ids=lambda t: type(t).__name__)


def _seeded(transform: Any, images: Tensor, seed: int = 5) -> Tensor:
    torch.manual_seed(seed)
    found: Tensor = transform(images)
    return found


def _images(n: int = 40, height: int = 8, width: int = 12) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(1))


@each
def test_all_channels_of_an_image_move_together(transform: Any) -> None:
    images, order = _images(), [2, 0, 1]
    assert torch.equal(_seeded(transform, images[:, order]), _seeded(transform, images)[:, order])


@each
def test_moving_pixels_is_linear(transform: Any) -> None:
    one, other = _images(), _images().flip(0)
    mixed = _seeded(transform, 2 * one - 3 * other)
    torch.testing.assert_close(mixed, 2 * _seeded(transform, one) - 3 * _seeded(transform, other))


@each
def test_nothing_is_drawn_by_what_the_images_show(transform: Any) -> None:
    torch.manual_seed(0)
    transform(_images())
    after = torch.rand(3)
    torch.manual_seed(0)
    transform(torch.zeros_like(_images()))
    assert torch.equal(torch.rand(3), after)


def test_crops_lie_at_every_offset_alike() -> None:
    n, height, width = 9000, 8, 16
    places = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    cropped = _seeded(Crop(0.25), places.expand(n, 1, -1, -1))
    # Pixel (4, 8) is never padding: what stands there tells the offset, 2 rows and 4 columns at most.
    seen = cropped[:, 0, 4, 8].long()
    rows, columns = seen // width - 4, seen % width - 8
    assert set(rows.tolist()) == set(range(-2, 3))
    assert set(columns.tolist()) == set(range(-4, 5))
    offsets = np.bincount(((rows + 2) * 9 + columns + 4).numpy(), minlength=45)
    assert chisquare(offsets).pvalue > 1e-4


def test_mirroring_is_an_involution_and_its_chance_is_kept_at_the_ends() -> None:
    images = _images()
    assert torch.equal(Flip(1.0)(Flip(1.0)(images)), images)
    assert torch.equal(Flip(1.0)(images), images.flip(-1))
    assert torch.equal(Flip(0.0)(images), images)
    mirrored = (_seeded(Flip(0.2), _images(5000, 1, 2)) != _images(5000, 1, 2)).flatten(1).any(1)
    assert abs(mirrored.float().mean() - 0.2) < 5 * (0.16 / 5000) ** 0.5


def test_jitter_is_the_affine_map_that_it_says() -> None:
    images = _images()
    shifted = _seeded(ColorJitter(0.4), images + 2.0)
    torch.testing.assert_close(shifted, _seeded(ColorJitter(0.4), images) + 2.0)
    # Contrast: distances of pixels from one another all grow by one factor an image, within its range.
    centred = images - images.mean((1, 2, 3), keepdim=True)
    found = _seeded(ColorJitter(0.4), images)
    factor = (found - found.mean((1, 2, 3), keepdim=True)) / centred
    spread = factor.flatten(1).quantile(0.9, 1) - factor.flatten(1).quantile(0.1, 1)
    assert spread.max() < 1e-3
    middle = factor.flatten(1).median(1).values
    assert middle.min() > 0.6 - 1e-4
    assert middle.max() < 1.4 + 1e-4
    assert middle.std() > 0.1


@given(st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0.05, 0.5)), min_size=3, max_size=3))
def test_normalising_is_undone_by_its_inverse(channels: list[tuple[float, float]]) -> None:
    mean, std = (torch.tensor(values) for values in zip(*channels, strict=True))
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, -1, -1)
    found = Normalize(mean.tolist(), std.tolist())(images)
    back = (found * std[:, None, None] + mean[:, None, None]) * 255
    torch.testing.assert_close(back, images.float(), atol=1e-2, rtol=0)


# Different changes for different images


@given(st.lists(st.tuples(st.integers(-1, 2), st.floats(-5, 5)), min_size=1, max_size=12))
def test_each_group_gets_its_own_change_and_value(members: list[tuple[int, float]]) -> None:
    changes = [
        lambda x, v: x + v.view(-1, 1, 1, 1),
        lambda x, v: x * v.view(-1, 1, 1, 1),
        lambda x, _: x.flip(-1),
    ]
    images = torch.rand(len(members), 2, 3, 4, dtype=torch.float64)
    expected = images.clone()
    for i, (group, value) in enumerate(members):
        if group >= 0:
            one = torch.tensor([value], dtype=torch.float64)
            expected[i : i + 1] = changes[group](images[i : i + 1], one)
    group = torch.tensor([g for g, _ in members])
    value = torch.tensor([v for _, v in members], dtype=torch.float64)
    found = by_group(images, group, value, changes)
    torch.testing.assert_close(found, expected)
    assert found is images


@pytest.mark.parametrize(("name", "signed"), [("Rotate", True), ("Color", True), ("Posterize", False)])
def test_only_signed_operations_are_turned_round(
    name: str, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Tensor] = []
    module = importlib.import_module("tailgrad.augment.operation_space")
    monkeypatch.setitem(module.OPERATIONS, name, lambda x, value: (told.append(value), x)[1])
    space = operation_space("TrivialAugmentWide", 31, 8, 8)
    n, place = 2000, space.names.index(name)
    assert bool(space.signed[place]) == signed
    torch.manual_seed(0)
    images = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)
    space.apply(images, torch.full((n,), place), torch.full((n,), 30))
    values = torch.cat(told)
    assert torch.equal(values.abs(), space.magnitude[place, 30].abs().expand(n))
    negative = float((values < 0).double().mean())
    assert abs(negative - 0.5) < 5 * 0.5 / n**0.5 if signed else negative == 0


def test_no_operation_and_a_negative_one_leave_images_alone() -> None:
    images = (255 * _images()).byte()
    assert torch.equal(RandAugment(num_ops=0)(images), images)
    space, none = operation_space("AutoAugment", 10, 8, 12), torch.full((len(images),), -1)
    assert torch.equal(space.apply(images.clone(), none, torch.zeros_like(none)), images)


# Mixing


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_pasting_keeps_what_it_counts(n: int, height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    images, patches = torch.zeros(n, 2, height, width), torch.ones(n, 2, height, width)
    share = torch.rand(n)
    pasted, kept = paste(images, patches, share)
    for i in range(n):
        shown = pasted[i].bool()
        assert torch.equal(shown[0], shown[1])
        assert float(kept[i]) == pytest.approx(1 - float(shown[0].float().mean()), abs=1e-6)
        side = float((1 - share[i]).sqrt())
        rows, columns = (int(shown[0].any(axis).sum()) for axis in (1, 0))
        assert rows <= side * height + 1e-4
        assert columns <= side * width + 1e-4
    again, whole = paste(images, patches, torch.ones(1))
    assert torch.equal(again, images)
    assert torch.equal(whole, torch.ones(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("per_example", [False, True])
def test_interpolation_is_that_of_wide_numbers(dtype: torch.dtype, per_example: bool) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 3, 4, 4).to(dtype)
    share = draw_share(0.7, first, per_example=per_example)
    assert share.shape == ((5,) if per_example else (1,))
    weight = share.double().view(-1, 1, 1, 1)
    exact = weight * first.double() + (1 - weight) * second.double()
    found = interpolate(first, second, share)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, atol=2 * torch.finfo(dtype).eps * 4 + 1e-7, rtol=0)


@pytest.mark.parametrize("mixer", [Mixup([3, 2], alpha=0.8), CutMix([3, 2], alpha=0.8)])
def test_exchanging_the_partners_exchanges_the_roles(mixer: Any) -> None:
    one, other = (_images(6), torch.tensor([0] * 6)), (_images(6).flip(0), torch.tensor([1] * 6))
    torch.manual_seed(3)
    images, rows = mixer(*one, other)
    torch.manual_seed(3)
    changed, turned = mixer(*other, one)
    torch.testing.assert_close(images + changed, one[0] + other[0])
    torch.testing.assert_close(rows + turned, torch.ones(6, 2))


def test_mixing_bytes_is_refused_by_the_mean_and_not_by_pasting() -> None:
    images, target = (255 * _images(4)).byte(), torch.tensor([0, 1, 0, 1])
    with pytest.raises(InputError, match="floating point to be mixed, got torch.uint8"):
        Mixup([2, 2])(images, target)
    torch.manual_seed(0)
    pasted, _ = CutMix([2, 2])(images, target)
    assert pasted.dtype == torch.uint8
    assert torch.equal(pasted.long().sum(0), images.long().sum(0))
