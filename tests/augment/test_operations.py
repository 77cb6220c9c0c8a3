"""Automatic augmentation against torchvision: every operation bit for bit, every policy in distribution."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chi2_contingency
from torch import Tensor
from torchvision.transforms import v2

from tailgrad.augment import AutoAugment, Crop, Cutout, Flip, RandAugment, SimCLRViews, TrivialAugment
from tailgrad.augment.operations import OPERATIONS

SPACES = [(v2.AutoAugment, 10), (v2.RandAugment, 31), (v2.TrivialAugmentWide, 31)]


def _pictures(n: int, height: int, width: int) -> Tensor:
    """Noise, colourless noise, one colour and a ramp: what truncation and equalising are sensitive to."""
    torch.manual_seed(1)
    images = torch.randint(256, (n, 3, height, width), dtype=torch.uint8)
    images[1::4] = images[1::4, :1]
    images[2::4] = images[2::4, :, :1, :1]
    images[3::4] = torch.linspace(30, 220, width).byte()
    return images


def _reference(image: Tensor, name: str, magnitude: float) -> Tensor:
    transform = v2.TrivialAugmentWide()
    nearest = v2.InterpolationMode.NEAREST
    changed: Tensor = transform._apply_image_or_video_transform(
        image, name, magnitude, interpolation=nearest, fill=transform._fill
    )
    return changed


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [(32, 32), (33, 20), (2, 5)])
def test_each_operation_equals_torchvision_image_by_image(name: str, size: tuple[int, int]) -> None:
    magnitudes = set()
    for transform, bins in SPACES:
        make, signed = transform._AUGMENTATION_SPACE.get(name, (lambda *_: None, False))
        values = make(bins, *size)
        values = [0.0] if values is None else values.tolist()
        magnitudes |= {sign * value for value in values for sign in ((1, -1) if signed else (1,))}
    images = _pictures(4 * len(magnitudes), *size)
    each = [m for m in sorted(magnitudes) for _ in range(4)]
    expected = torch.stack([_reference(image, name, m) for image, m in zip(images, each, strict=True)])
    assert torch.equal(OPERATIONS[name](images.clone(), torch.tensor(each, dtype=torch.float64)), expected)


def _official_cutout(image: Tensor) -> Tensor:
    y, x = int(torch.randint(8, ())), int(torch.randint(8, ()))
    image = image.clone()
    image[:, max(y - 2, 0) : y + 2, max(x - 2, 0) : x + 2] = 0
    return image


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Flip(), v2.RandomHorizontalFlip()),
        (Crop(0.125), v2.RandomCrop(8, padding=1)),
        (Cutout(0.5), _official_cutout),
        (TrivialAugment(), v2.TrivialAugmentWide()),
        (TrivialAugment(bins=3), v2.TrivialAugmentWide(3)),
        (RandAugment(1), v2.RandAugment(1)),
        (RandAugment(2, 5, 11), v2.RandAugment(2, 5, 11)),
        (AutoAugment(), v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)),
        (AutoAugment("svhn"), v2.AutoAugment(v2.AutoAugmentPolicy.SVHN)),
        (AutoAugment("imagenet"), v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)),
    ],
)
def test_results_are_distributed_as_torchvisions(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor]
) -> None:
    n, image = 2000, _pictures(1, 8, 8)[0]
    torch.manual_seed(0)
    found = Counter(out.numpy().tobytes() for out in ours(image.repeat(n, 1, 1, 1)))
    expected = Counter(theirs(image).numpy().tobytes() for _ in range(n))
    common = [key for key in found | expected if found[key] + expected[key] >= 20]
    assert len(common) > 1
    table = [[counts[key] for key in common] for counts in (found, expected)]
    rare = [n - sum(row) for row in table]
    if sum(rare) >= 20:
        table = [[*row, rest] for row, rest in zip(table, rare, strict=True)]
    assert chi2_contingency(table).pvalue > 1e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("make", [AutoAugment, RandAugment, TrivialAugment, SimCLRViews])
def test_an_accelerator_gives_what_the_cpu_gives(make: Callable[[], Callable[[Tensor], Tensor]]) -> None:
    images, transform = _pictures(200, 32, 32), make()
    if isinstance(transform, SimCLRViews):  # its crops are drawn on the device
        assert transform(images.cuda()).device.type == "cuda"
        return
    torch.manual_seed(0)
    expected = transform(images)
    torch.manual_seed(0)
    found = transform(images.cuda()).cpu()
    assert (found != expected).float().mean() < 1e-4  # a sum may round otherwise there


def test_images_of_a_batch_are_drawn_apart() -> None:
    torch.manual_seed(0)
    image = _pictures(1, 16, 16)
    alike = TrivialAugment()(image.repeat(300, 1, 1, 1))
    assert len({out.numpy().tobytes() for out in alike}) > 100


@pytest.mark.parametrize("transform", [AutoAugment(), RandAugment(), TrivialAugment()])
def test_an_image_does_not_depend_on_its_neighbours(transform: Callable[[Tensor], Tensor]) -> None:
    images = _pictures(40, 16, 16)
    other = images.clone()
    other[1:] = 255 - other[1:]
    torch.manual_seed(3)
    first = transform(images)
    torch.manual_seed(3)
    assert torch.equal(transform(other)[0], first[0])
