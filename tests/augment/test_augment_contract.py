"""What every transform, mixer and view owes, for each class that the folder exports."""

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tailgrad import augment
from tailgrad.checks import InputError
from tailgrad.recipes.components import components

COUNTS = [30, 10, 2]
TARGET = torch.tensor([0, 1, 2, 0, 0])
ALL: dict[str, Any] = {
    name: item for name in augment.__all__ if inspect.isclass(item := getattr(augment, name))
}
MIXERS: dict[str, Any] = components("mixers")
TRANSFORMS = {name: item for name, item in ALL.items() if item.kind != "mixer"}

each = pytest.mark.parametrize("name", ALL)
each_transform = pytest.mark.parametrize("name", TRANSFORMS)
each_mixer = pytest.mark.parametrize("name", MIXERS)


def transform(name: str) -> Any:
    return augment.Normalize([0.5] * 3, [0.2] * 3) if name == "Normalize" else TRANSFORMS[name]()


def pictures(name: str, n: int = 5, height: int = 9, width: int = 14) -> Tensor:
    images = torch.randint(256, (n, 3, height, width), generator=torch.Generator().manual_seed(0))
    wants_bytes = name == "Normalize" or getattr(TRANSFORMS.get(name), "on", "") == "bytes"
    return images.byte() if wants_bytes else images.float() / 255


def mixed(name: str, n: int = 5, seed: int = 0, **options: Any) -> tuple[Tensor, Tensor]:
    images, other = pictures(name, n), pictures(name, n).flip(0) + 1
    torch.manual_seed(seed)
    return MIXERS[name](COUNTS, **options)(images, TARGET[:n], (other, TARGET[:n].flip(0)))


@each
def test_what_is_stated(name: str) -> None:
    assert ALL[name].kind in {"transform", "mixer", "views"}
    assert getattr(ALL[name], "on", "any") in {"bytes", "any"}
    assert "[N, " in (inspect.getdoc(ALL[name].__call__) or "")


def test_each_kind_is_found_under_one_part() -> None:
    parts = [set(components(part).values()) for part in ("augment", "mixers")]
    views = {item for item in ALL.values() if item.kind == "views"}
    assert set(ALL.values()) == parts[0] | parts[1] | views
    assert not parts[0] & parts[1]


@each_transform
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("n", [1, 5])
def test_images_keep_their_shape_in_every_layout(name: str, layout: torch.memory_format, n: int) -> None:
    images = pictures(name, n).to(memory_format=layout)
    torch.manual_seed(0)
    found = transform(name)(images)
    torch.manual_seed(0)
    torch.testing.assert_close(found, transform(name)(images.contiguous()))
    assert found.shape[-4:] == images.shape
    assert found.device == images.device
    assert (found.dtype == torch.float32) if name == "Normalize" else (found.dtype == images.dtype)


@each_transform
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_images_stay_on_a_gpu(name: str) -> None:
    assert transform(name)(pictures(name).cuda()).is_cuda


@each
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_a_gpu(name: str) -> None:
    """PyTorch raises where the processor would wait; the first call may, to bring constants over."""
    images, target = pictures(name).cuda(), TARGET.cuda()
    if name in MIXERS:
        run = MIXERS[name](COUNTS, **({"probability": 1.0} if name == "CMO" else {}))
        given = (images, target, (images.flip(0), target.flip(0)))
    else:
        run, given = transform(name), (images,)
    run(*given)
    torch.cuda.set_sync_debug_mode("error")
    try:
        run(*given)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@each_transform
def test_every_image_has_chances_of_its_own(name: str) -> None:
    """Forty copies of one image do not all fare alike, nor does the next batch; Normalize has no chance."""
    torch.manual_seed(0)
    made, images = transform(name), pictures(name, 1).expand(40, -1, -1, -1)
    first, second = made(images), made(images)
    different = len(first.flatten(-3).flatten(0, -2).unique(dim=0))
    assert (different == 1) == (name == "Normalize")
    assert torch.equal(first, second) == (name == "Normalize")


@pytest.mark.parametrize(
    "name", [name for name, item in TRANSFORMS.items() if getattr(item, "on", "") == "bytes"]
)
def test_transforms_on_bytes_refuse_other_images(name: str) -> None:
    for wrong in (torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8).byte()):
        with pytest.raises(
            InputError, match=rf"uint8 .*got {wrong.dtype}.*\[{', '.join(map(str, wrong.shape))}\]"
        ):
            transform(name)(wrong)


@each_mixer
@pytest.mark.parametrize("n", [1, 5])
def test_mixed_targets_are_probabilities(name: str, n: int) -> None:
    for seed in range(8):
        images, rows = mixed(name, n, seed)
        assert images.shape == (n, 3, 9, 14)
        assert images.dtype == rows.dtype == torch.float32
        assert rows.shape == (n, 3)
        assert (rows >= 0).all()
        torch.testing.assert_close(rows.sum(1), torch.ones(n))
        labels = F.one_hot(TARGET[:n], 3) + F.one_hot(TARGET[:n].flip(0), 3)
        assert (rows[labels == 0] == 0).all(), "only classes of the pair take part"


@each_mixer
def test_the_seed_decides_the_mix(name: str) -> None:
    runs = [mixed(name, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert torch.equal(runs[0][0], runs[1][0])
    assert torch.equal(runs[0][1], runs[1][1])
    assert any(not torch.equal(runs[0][0], run[0]) for run in runs[2:])


@each_mixer
def test_batches_that_do_not_fit_are_refused(name: str) -> None:
    images, mixer = pictures(name), MIXERS[name](COUNTS)
    with pytest.raises(InputError, match=r"5, 3, 9, 14.*got \[4, 3, 9, 14\]"):
        mixer(images, TARGET, (images[:4], TARGET[:4]))
    with pytest.raises(InputError, match=r"got 0\.\.3"):
        mixer(images, TARGET + (TARGET == 2), (images, TARGET))
    with pytest.raises(InputError, match="class_counts"):
        MIXERS[name](None)
    if mixer.needs_partner:
        with pytest.raises(InputError, match="partner must be"):
            mixer(images, TARGET)
    else:
        assert mixer(images, TARGET)[1].shape == (5, 3)
