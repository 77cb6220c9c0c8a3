"""A planted shortcut: where the square is, and classifiers whose reliance on it is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from tailgrad.evidence import reproduce
from tailgrad.evidence.analyses.planted_patch import given_away, other_classes, patterns, planted
from tailgrad.evidence.analyses.shortcut import rarity, reliance, strengths, with_shortcut
from tailgrad.recipes.compose import compose
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.prepared import Prepared

pytestmark = pytest.mark.long

TARGET = np.arange(60) % 10
IMAGES = torch.randint(0, 256, (60, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
Classes = NDArray[np.int64]


def squares(images: Tensor) -> Tensor:
    """What lies where the square would be, one pixel a cell [N, 4, 4]."""
    return images[:, 0, 4:12:2, 4:12:2].float() / 255


def read(images: Tensor) -> Classes:
    """The class whose square an image carries; -1 without one."""
    apart = (squares(images)[:, None] - patterns(10).float()).abs().sum((2, 3))
    found: Classes = torch.where(apart.min(1).values == 0, apart.argmin(1), -1).numpy()
    return found


@pytest.fixture(scope="module")
def ready() -> Prepared:
    data: dict[str, Any] = {"near_duplicates": False, "resident": "memory"}
    return prepare(compose("digits-lt", "digits", "ce", {"data": data}))


def test_squares_differ_from_one_another_and_from_their_mirror_images() -> None:
    seen = {square.numpy().tobytes() for square in patterns(100)}
    mirrored = {np.ascontiguousarray(square.numpy()[:, ::-1]).tobytes() for square in patterns(100)}
    own = {s.numpy().tobytes() for s in patterns(100) if (s == s.flip(1)).all()}
    assert len(seen) == 100
    assert seen & mirrored == own, "a square that is its own mirror image is nobody else's"


def test_the_square_is_where_it_should_be_and_nowhere_else() -> None:
    marked = planted(IMAGES, np.where(TARGET < 5, TARGET, -1))
    assert (read(marked) == np.where(TARGET < 5, TARGET, -1)).all()
    assert torch.equal(marked[TARGET >= 5], IMAGES[TARGET >= 5])
    changed = (marked != IMAGES).any(1)
    assert not changed[:, :4].any()
    assert not changed[:, 12:].any()
    assert not changed[:, :, :4].any()
    assert not changed[:, :, 12:].any()


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (48, 80), (128, 128)])
def test_it_fits_every_size(size: tuple[int, int]) -> None:
    images = torch.full((1, 3, *size), 100, dtype=torch.uint8)
    assert (planted(images, np.array([3])) != 100).any()


def test_it_is_given_with_each_class_s_strength() -> None:
    target = np.arange(4000) % 2
    found = given_away(target, [0.9, 0.3], seed=1)
    for k, strength in enumerate((0.9, 0.3)):
        assert set(found[target == k]) == {-1, k}
        assert stats.binomtest(int((found[target == k] == k).sum()), 2000, strength).pvalue > 0.001


def test_another_class_is_never_the_own_one() -> None:
    found = other_classes(TARGET, 10, seed=0)
    assert (found != TARGET).all()
    assert set(found) <= set(range(10))


def test_training_images_carry_it_and_test_images_do_not(ready: Prepared) -> None:
    strength = strengths(ready.classes.counts, "tail", 0.9)
    marked = with_shortcut(ready, strength, seed=0)
    assert ready.images is not None
    assert marked.images is not None
    assert torch.equal(marked.images["test"], ready.images["test"])
    target = ready.source.labels[ready.index("train")]
    carried = read(marked.images["train"])
    assert (carried[target < 7] == -1).all()
    tail = target >= 7
    assert set(carried[tail] - target[tail]) <= set(np.r_[0, -1 - target[tail]].tolist())
    assert stats.binomtest(int((carried[tail] == target[tail]).sum()), int(tail.sum()), 0.9).pvalue > 0.001


def test_who_reads_nothing_but_the_square_relies_on_it_wholly() -> None:
    found = reliance(read, IMAGES, TARGET, 10, seed=0)
    assert np.subtract(found["with"], found["another"]).tolist() == [1.0] * 10
    assert found["without"] == [0.0] * 10
    assert found["followed"] == [1.0] * 10


def test_who_does_not_see_the_square_does_not_rely_on_it() -> None:
    def blind(images: Tensor) -> Classes:
        """The class was written into the last row."""
        found: Classes = images[:, 0, -1, -1].numpy().astype(np.int64)
        return found

    images = IMAGES.clone()
    images[:, 0, -1, -1] = torch.as_tensor(TARGET).to(torch.uint8)
    found = reliance(blind, images, TARGET, 10, seed=0)
    assert found["with"] == found["without"] == found["another"] == [1.0] * 10
    assert found["followed"] == [0.0] * 10


def test_head_and_tail_are_the_same_classes_in_every_condition() -> None:
    even, tailed = [100] * 10, rarity([100] * 10, [1, 20])
    assert rarity(even, [1, 20]) == tailed == rarity(tailed, [1, 20])
    assert strengths(tailed, "tail", 0.5) == [0.0] * 7 + [0.5] * 3
    assert strengths(tailed, "head", 0.5) == [0.5] * 3 + [0.0] * 7
    assert strengths(tailed, "none", 0.5) == [0.0] * 10


def test_the_study_runs_at_its_smallest_and_goes_on(tmp_path: Path) -> None:
    first = reproduce("shortcut", size="smoke", out=tmp_path / "shortcut")
    assert first.verdicts.keys() == {"csba"}
    figures = first.content["figures"]
    assert len(figures["baseline.if20.all.tail_above_head"]["values"]) == 2
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "shortcut").rglob("cells/*.json")}
    assert len(cells) == 8
    again = reproduce("shortcut", size="smoke", out=tmp_path / "shortcut", resume=True)
    assert again.content["figures"] == figures
    assert {path: path.stat().st_mtime_ns for path in cells} == cells
