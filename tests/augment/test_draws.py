"""What the transforms of a batch draw, against what torchvision draws for one image after another.

Seeds are fixed, so that no test comes out otherwise on another day. Counts are compared with their exact
chances where these can be enumerated; torchvision's own draws have to pass the same comparison.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.stats import binom, chi2_contingency, chisquare, ks_2samp, kstest
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from tailgrad import augment
from tailgrad.augment import (
    CMO,
    AutoAugment,
    ColorJitter,
    Crop,
    CutMix,
    Cutout,
    Flip,
    Mixup,
    Normalize,
    RandAugment,
    Remix,
    ResizedCrop,
    TrivialAugment,
    operation_space,
)
from tailgrad.augment.mixing import partner_of, paste

RARE = 1e-4
Draw = tuple[tuple[str, float], ...]
Chances = dict[Draw, float]


def _fits(counts: Counter[Any], chances: dict[Any, float]) -> bool:
    """Whether outcomes came as often as their chances say; none that cannot come did."""
    chances = {outcome: chance for outcome, chance in chances.items() if chance > 0}
    assert set(counts) <= set(chances)
    n = sum(counts.values())
    pooled: dict[Any, list[float]] = {}
    for outcome, chance in chances.items():
        row = pooled.setdefault(outcome if n * chance >= 5 else "rare", [0.0, 0.0])
        row[0] += counts[outcome]
        row[1] += n * chance
    found, expected = np.array(list(pooled.values())).T
    assert len(found) > 1
    return bool(chisquare(found, expected).pvalue > RARE)


def _pictures(n: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


# Crop and flip


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(32, 32), (16, 24)])
def test_each_crop_is_torchvisions_at_its_offset(
    layout: torch.memory_format, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    height, width = shape
    top, left = height // 8, width // 8
    images = (_pictures(600, height, width) | 1).to(dtype)  # no pixel is zero: padding tells the offset
    torch.manual_seed(0)
    found = Crop()(images.contiguous(memory_format=layout))
    assert found.is_contiguous(memory_format=layout)
    offsets = set()
    for image, crop in zip(images, found, strict=True):
        row, column = (_shift(crop[0] != 0, axis, pad) for axis, pad in ((1, top), (0, left)))
        offsets |= {(row, column)}
        expected = vision.crop(vision.pad(image, [left, top]), row, column, height, width)
        assert torch.equal(crop, expected)
    assert offsets == {(r, c) for r in range(2 * top + 1) for c in range(2 * left + 1)}


def _shift(shown: Tensor, axis: int, pad: int) -> int:
    """The offset of a window whose border outside the image is false."""
    line = shown.any(axis)
    before, after = int(line.long().argmax()), int(line.flip(0).long().argmax())
    return pad - before + after


def _offsets(n: int) -> Tensor:
    places = torch.arange(32 * 32, dtype=torch.float32).view(1, 1, 32, 32)
    seen = Crop()(places.expand(n, 1, -1, -1))[:, 0, 16, 16].long()
    return torch.stack([seen // 32 - 12, seen % 32 - 12], 1)


def test_crops_lie_at_81_offsets_alike_each_image_for_itself() -> None:
    torch.manual_seed(0)
    ours = [tuple(pair) for pair in _offsets(20_000).tolist()]
    theirs = [v2.RandomCrop(32, padding=4).make_params([torch.zeros(3, 32, 32)]) for _ in range(4000)]
    alike = {(r, c): 1 / 81 for r in range(9) for c in range(9)}
    assert _fits(Counter(ours), alike)
    assert _fits(Counter((each["top"], each["left"]) for each in theirs), alike)
    rows = [row for row, _ in ours]
    assert _fits(Counter(zip(rows[::2], rows[1::2], strict=True)), alike)


def test_mirrored_images_of_a_batch_are_as_many_as_tosses_of_a_coin() -> None:
    torch.manual_seed(0)
    image = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2)
    mirrored = [Flip()(image.expand(16, -1, -1, -1))[:, 0, 0, 0] == 2 for _ in range(1500)]
    numbers = Counter(int(each.sum()) for each in mirrored)
    assert _fits(numbers, {k: float(binom.pmf(k, 16, 0.5)) for k in range(17)})
    neighbours = Counter(tuple(pair) for pair in torch.cat(mirrored).view(-1, 2).tolist())
    assert _fits(neighbours, dict.fromkeys([(a, b) for a in (False, True) for b in (False, True)], 0.25))


# Automatic augmentation: which operations of which strength


def _ours(transform: Callable[[Tensor], Tensor], n: int, monkeypatch: pytest.MonkeyPatch) -> list[Draw]:
    """What each of n images went through, from what the groups are told."""
    told: list[list[tuple[str, float] | None]] = []
    space = {}

    def record(images: Tensor, group: Tensor, value: Tensor, _: Any) -> Tensor:
        names = space["names"]
        pairs = zip(group.tolist(), value.tolist(), strict=True)
        told.append([(names[g], round(v, 6)) if g >= 0 else None for g, v in pairs])
        return images

    make = operation_space.operation_space
    for module in ("auto_augment", "rand_augment", "trivial_augment"):
        monkeypatch.setattr(
            f"tailgrad.augment.{module}.operation_space",
            lambda *args: space.setdefault("space", _noted(space, make(*args))),
        )
    monkeypatch.setattr(operation_space, "by_group", record)
    torch.manual_seed(0)
    transform(torch.zeros(n, 3, 32, 32, dtype=torch.uint8))
    return [tuple(one for one in each if one is not None) for each in zip(*told, strict=True)]


def _noted(space: dict[str, Any], made: Any) -> Any:
    space["names"] = made.names
    return made


def _theirs(transform: Any, n: int, monkeypatch: pytest.MonkeyPatch) -> list[Draw]:
    draws: list[Draw] = []

    def record(image: Tensor, name: str, magnitude: float, **_: Any) -> Tensor:
        draws[-1] += ((name, round(float(magnitude), 6)),)
        return image

    monkeypatch.setattr(transform, "_apply_image_or_video_transform", record)
    torch.manual_seed(0)
    for _ in range(n):
        draws.append(())
        transform(torch.zeros(3, 32, 32, dtype=torch.uint8))
    return draws


def _strengths(transform: Any, name: str, bins: int, steps: Iterable[int | None]) -> Chances:
    """Chances of an operation's magnitudes where each of ``steps`` is as likely."""
    make, signed = transform._AUGMENTATION_SPACE[name]
    table, steps = make(bins, 32, 32), list(steps)
    chances: Counter[Draw] = Counter()
    for step in steps:
        value = 0.0 if table is None or step is None else float(table[step])
        for sign in (1, -1) if signed else (1,):
            chances[((name, round(sign * value, 6) + 0.0),)] += 1 / len(steps) / (2 if signed else 1)
    return chances


def _mixture(parts: Iterable[tuple[float, Chances]]) -> Chances:
    total: Counter[Draw] = Counter()
    for share, chances in parts:
        for draw, chance in chances.items():
            total[draw] += share * chance
    return total


def _then(first: Chances, second: Chances) -> Chances:
    return _mixture((p, {(*draw, *other): q for other, q in second.items()}) for draw, p in first.items())


def _uniform(transform: Any, bins: int, steps: Iterable[int]) -> Chances:
    names, steps = list(transform._AUGMENTATION_SPACE), list(steps)
    return _mixture((1 / len(names), _strengths(transform, name, bins, steps)) for name in names)


def _policy(name: str) -> Chances:
    reference = v2.AutoAugment(v2.AutoAugmentPolicy(name))
    parts = []
    for pair in reference._policies:
        one, two = (
            _mixture([(1 - p, {(): 1.0}), (p, _strengths(reference, operation, 10, [step]))])
            for operation, p, step in pair
        )
        parts.append((1 / len(reference._policies), _then(one, two)))
    return _mixture(parts)


def _without_sign_of_zero(draws: list[Draw]) -> list[Draw]:
    return [tuple((name, value + 0.0) for name, value in draw) for draw in draws]


@pytest.mark.parametrize(
    ("ours", "theirs", "chances"),
    [
        (AutoAugment(), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10), _policy("cifar10")),
        (AutoAugment("svhn"), v2.AutoAugment(v2.AutoAugmentPolicy.SVHN), _policy("svhn")),
        (AutoAugment("imagenet"), v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET), _policy("imagenet")),
        (RandAugment(1), v2.RandAugment(1), _uniform(v2.RandAugment, 31, [9])),
        (RandAugment(), v2.RandAugment(), _then(*[_uniform(v2.RandAugment, 31, [9])] * 2)),
        (TrivialAugment(), v2.TrivialAugmentWide(), _uniform(v2.TrivialAugmentWide, 31, range(31))),
        (TrivialAugment(5), v2.TrivialAugmentWide(5), _uniform(v2.TrivialAugmentWide, 5, range(5))),
    ],
    ids=["cifar10", "svhn", "imagenet", "rand-1", "rand-2", "trivial", "trivial-5"],
)
def test_operations_and_strengths_have_torchvisions_chances(
    ours: Any, theirs: Any, chances: Chances, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(chances.values()) == pytest.approx(1)
    assert _fits(Counter(_without_sign_of_zero(_ours(ours, 20_000, monkeypatch))), chances)
    assert _fits(Counter(_without_sign_of_zero(_theirs(theirs, 1500, monkeypatch))), chances)


# Cutout, jitter, resized crops, normalising


def test_holes_have_the_sizes_that_all_centres_give() -> None:
    torch.manual_seed(0)
    holes = Cutout(0.5)(torch.ones(20_000, 3, 32, 24))[:, 0] == 0
    sides = zip(holes.any(2).sum(1).tolist(), holes.any(1).sum(1).tolist(), strict=True)
    chances: Counter[tuple[int, int]] = Counter()
    for row in range(32):
        for column in range(24):
            tall, wide = (
                min(c + half, length) - max(c - half, 0)
                for c, half, length in ((row, 8, 32), (column, 6, 24))
            )
            chances[tall, wide] += 1 / (32 * 24)
    assert _fits(Counter(sides), chances)


def test_brightness_and_contrast_are_uniform_and_know_nothing_of_one_another() -> None:
    torch.manual_seed(0)
    images = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2).expand(5000, -1, -1, -1)
    found = ColorJitter(0.4)(images)[:, 0, 0].double()
    contrast, shift = (found[:, 1] - found[:, 0]) / 2, found.mean(1)
    theirs = [v2.ColorJitter(contrast=0.4).make_params([])["contrast_factor"] for _ in range(2000)]
    assert kstest(contrast.numpy(), "uniform", (0.6, 0.8)).pvalue > RARE
    assert ks_2samp(contrast.numpy(), np.array(theirs)).pvalue > RARE
    assert kstest(shift.numpy(), "uniform", (-0.4, 0.8)).pvalue > RARE
    table = [[int(((contrast > 1) == a).logical_and((shift > 0) == b).sum()) for a in (0, 1)] for b in (0, 1)]
    assert chi2_contingency(table).pvalue > RARE


def _windows(n: int, min_area: float) -> tuple[Tensor, Tensor]:
    """The draws of ``ResizedCrop`` again: extents and centres [n, 2], x first, in halves of the image."""
    area = min_area + (1 - min_area) * torch.rand(n)
    aspect = torch.exp((2 * torch.rand(n) - 1) * np.log(4 / 3))
    extent = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], 1).clamp(max=1)
    return extent, (1 - extent) * (2 * torch.rand(n, 2) - 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("size", [None, 10])
def test_resized_crops_are_looked_up_bilinearly_in_their_window(dtype: torch.dtype, size: int | None) -> None:
    n, height, width = 12, 20, 16
    images = _pictures(n, height, width)
    torch.manual_seed(3)
    found = ResizedCrop(0.3, size)(images.to(dtype))
    torch.manual_seed(3)
    extent, centre = _windows(n, 0.3)
    assert found.dtype == dtype
    for image, crop, (wide, tall), (x, y) in zip(images, found, extent.numpy(), centre.numpy(), strict=True):
        axes = [
            ((middle + side * ((2 * np.arange(k) + 1) / k - 1) + 1) * length - 1) / 2
            for middle, side, k, length in ((y, tall, crop.shape[1], height), (x, wide, crop.shape[2], width))
        ]
        grid = np.meshgrid(*axes, indexing="ij")
        for channel, seen in zip(image.numpy().astype(float), crop.numpy().astype(float), strict=True):
            expected = map_coordinates(channel, grid, order=1, mode="nearest")
            assert abs(seen - expected).max() < (0.51 if dtype == torch.uint8 else 0.01)


def test_windows_have_torchvisions_areas_and_aspects() -> None:
    """Measured on ramps, where clipping cannot have touched them: areas below one half."""
    torch.manual_seed(0)
    n, side = 4000, 64
    ramp = (torch.arange(side) + 0.5) / side
    images = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])
    found = ResizedCrop(0.2)(images.expand(n, -1, -1, -1)).double()
    # away from the border a crop of a ramp is a ramp, whose slope is the window's extent
    wide, tall = (
        (found[:, c].select(axis, 40) - found[:, c].select(axis, 20)).mean(1) * side / 20
        for c, axis in ((0, 2), (1, 1))
    )
    small = wide * tall < 0.5
    area, aspect = (wide * tall)[small].numpy(), (wide / tall)[small].log().numpy()
    make = v2.RandomResizedCrop(1000, scale=(0.2, 1.0)).make_params
    params = [make([torch.zeros(1, 1000, 1000)]) for _ in range(3000)]
    theirs = np.array([(p["height"] * p["width"] / 1e6, np.log(p["width"] / p["height"])) for p in params])
    theirs = theirs[theirs[:, 0] < 0.5]
    assert kstest(area, "uniform", (0.2, 0.3)).pvalue > RARE
    assert kstest(aspect, "uniform", (-np.log(4 / 3), 2 * np.log(4 / 3))).pvalue > RARE
    assert ks_2samp(area, theirs[:, 0]).pvalue > RARE
    assert ks_2samp(aspect, theirs[:, 1]).pvalue > RARE


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalising_a_batch_is_normalising_its_images(layout: torch.memory_format) -> None:
    images = _pictures(9, 12, 7).contiguous(memory_format=layout)
    mean, std = [0.49, 0.45, 0.41], [0.25, 0.2, 0.27]
    make = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    found = Normalize(mean, std)(images)
    torch.testing.assert_close(found, torch.stack([make(image) for image in images]), atol=1e-6, rtol=1e-6)
    assert found.is_contiguous(memory_format=layout)


def test_bytes_are_jittered_as_numbers_from_0_to_1() -> None:
    images = _pictures(50, 6, 6)
    torch.manual_seed(1)
    expected = ColorJitter(0.4)(images.float() / 255).clamp(0, 1) * 255
    torch.manual_seed(1)
    found = ColorJitter(0.4)(images)
    assert found.dtype == torch.uint8
    assert (found.float() - expected).abs().max() < 0.501


# Mixing


def _shares(mixer: Any, batches: int) -> np.ndarray:
    """The share of the own image in each of many batches, as their labels tell it."""
    pair = torch.zeros(2, 1, 32, 32), torch.tensor([0, 0])
    other = torch.ones(2, 1, 32, 32), torch.tensor([1, 1])
    torch.manual_seed(0)
    return np.array([float(mixer(*pair, other)[1][0, 0]) for _ in range(batches)])


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("make", [Mixup, Remix])
def test_batches_are_mixed_by_a_beta_variable(make: Any, alpha: float) -> None:
    options = {"tau": 0.0} if make is Remix else {}
    shares = _shares(make([5, 5], alpha=alpha, **options), 1500)
    theirs = v2.MixUp(alpha=alpha, num_classes=2)
    images, target = torch.zeros(2, 1, 1, 1), torch.tensor([0, 1])
    expected = [float(theirs(images, target)[1][0, 0]) for _ in range(1500)]
    assert kstest(shares, "beta", (alpha, alpha)).pvalue > RARE
    assert ks_2samp(shares, np.array(expected)).pvalue > RARE


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("make", [CutMix, CMO])
def test_batches_keep_as_many_pixels_as_torchvisions(make: Any, alpha: float) -> None:
    options = {"probability": 1.0} if make is CMO else {}
    shares = _shares(make([5, 5], alpha=alpha, **options), 800)
    theirs = v2.CutMix(alpha=alpha, num_classes=2)
    images, target = torch.zeros(2, 1, 32, 32), torch.tensor([0, 1])
    expected = [float(theirs(images, target)[1][0, 0]) for _ in range(800)]
    assert ks_2samp(shares, np.array(expected)).pvalue > RARE


@pytest.mark.parametrize("share", [0.0, 0.1, 0.36, 0.5, 0.75, 0.99])
def test_rectangles_have_the_sizes_that_all_centres_give(share: float) -> None:
    torch.manual_seed(0)
    n, height, width = 4000, 12, 16
    pasted, _ = paste(
        torch.zeros(n, 1, height, width), torch.ones(n, 1, height, width), torch.full((n,), share)
    )
    halves = [int(length * (1 - share) ** 0.5) // 2 for length in (height, width)]
    box = pasted[:, 0].bool()
    sides = zip(box.any(2).sum(1).tolist(), box.any(1).sum(1).tolist(), strict=True)
    chances: Counter[tuple[int, int]] = Counter()
    for row in range(height):
        for column in range(width):
            tall, wide = (
                min(c + half, length) - max(c - half, 0)
                for c, half, length in zip((row, column), halves, (height, width), strict=True)
            )
            chances[(tall, wide) if tall and wide else (0, 0)] += 1 / (height * width)
    if len(chances) == 1:
        assert set(sides) == set(chances)
    else:
        assert _fits(Counter(sides), chances)


def test_every_order_of_partners_is_as_likely() -> None:
    torch.manual_seed(0)
    images, target = torch.zeros(3, 1, 2, 2), torch.arange(3)
    orders = Counter(tuple(partner_of(images, target, None)[1].tolist()) for _ in range(3000))
    assert _fits(orders, dict.fromkeys(permutations(range(3)), 1 / 6))


# Images of a batch


STOCHASTIC = {
    **{name: item for name in augment.__all__ if (item := getattr(augment, name)) is not Normalize},
    "SimCLRViews": lambda: lambda images: augment.SimCLRViews(1)(images)[0],
}
STOCHASTIC.pop("feature_smote")


@pytest.mark.parametrize("name", STOCHASTIC)
def test_neighbours_in_a_batch_know_nothing_of_one_another(name: str) -> None:
    torch.manual_seed(0)
    n, make = 2000, STOCHASTIC[name]
    images = _pictures(1, 12, 12).expand(n, -1, -1, -1)
    if getattr(make, "kind", "") == "mixer":
        options = {"probability": 1.0} if name == "CMO" else {}
        partner = 255 - images.float(), torch.ones(n).long()
        mixer = make([5, 5], per_example=True, **options)
        out = mixer(images.float(), torch.zeros(n).long(), partner)[0]
    else:
        out = make()(images)
    direction = torch.randn(3 * 12 * 12, generator=torch.Generator().manual_seed(2))
    seen = out.float().flatten(1) @ direction
    high = (seen > seen.mean()).view(-1, 2)
    table = [[int(((high[:, 0] == a) & (high[:, 1] == b)).sum()) for a in (0, 1)] for b in (0, 1)]
    assert min(min(row) for row in table) > 100
    assert chi2_contingency(table).pvalue > RARE
