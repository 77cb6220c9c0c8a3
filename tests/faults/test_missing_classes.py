"""Classes that an epoch, or a part of the data, does not have."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tailgrad.checks import InputError
from tailgrad.recipes import train

pytestmark = pytest.mark.long

SMALL: dict[str, Any] = {
    "data": {"size": 8, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 2, "batch_size": 6, "precision": "float32", "channels_last": False},
    "interference": {"max_per_class": 2, "folds": 0, "monitor_every": 1},
}


def draw(root: Path, counts: Mapping[str, int]) -> Path:
    random = np.random.default_rng(len(str(root.name)))
    for k, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise = random.integers(0, 90, (8, 8, 3), dtype=np.uint8)
            noise[:, :, k % 3] += 120
            Image.fromarray(noise).save(root / name / f"{i:02d}.png")
    return root


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, most with one training image each: draws with replacement leave classes out."""
    return draw(tmp_path_factory.mktemp("many"), {f"c{k}": 6 if k < 2 else 3 for k in range(10)})


STATEFUL = ("ldam_drw", "gala", "seesaw", "equalization", "group_dro", "pcgrad", "gap_weights", "imbsam")


@pytest.mark.parametrize("method", STATEFUL)
def test_a_class_absent_from_a_whole_epoch(many: Path, tmp_path: Path, method: str) -> None:
    above = {**SMALL, "sampler": {"name": "class_balanced"}, "allow_double_correction": True}
    run = train(many, regime="quick", method=method, overrides=above, out=tmp_path / "run")
    found = rows(run.folder)
    records = [row for row in found if row.get("kind") == "interference" and row["epoch"] == 1]
    seen = {name for row in records for name, count in row["count"].items() if count}
    assert records
    assert len(seen) < 10
    epochs = [row for row in found if "kind" not in row]
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert all(np.isfinite([row["train_loss"], row["val_loss"], row["val_macro_f1"]]).all() for row in epochs)


PARTS = {
    "train": {"a": 12, "b": 8, "c": 1},
    "val": {"a": 4, "b": 4, "c": 2},
    "test": {"a": 3, "b": 3, "c": 3},
}


def parted(root: Path, **changed: Mapping[str, int]) -> Path:
    for part, counts in {**PARTS, **changed}.items():
        draw(root / part, counts)
    return root


def test_a_class_with_one_training_image_trains(tmp_path: Path) -> None:
    run = train(parted(tmp_path / "d"), "quick", overrides={**SMALL, "focus": "c"}, out=tmp_path / "run")
    assert run.result["classes"] == {"names": ["a", "b", "c"], "counts": [12, 8, 1]}
    assert run.result["focus"]["class"] == "c"


def test_a_class_without_validation_images_counts_as_zero_there(tmp_path: Path) -> None:
    source = parted(tmp_path / "d", val={"a": 4, "b": 4})
    run = train(source, "quick", overrides=SMALL, out=tmp_path / "run")
    row = next(row for row in run.result["val"]["classes"] if row["name"] == "c")
    assert (row["support"], run.result["val"]["undefined"]["recall"]) == (0, 1)
    epoch = rows(run.folder)[-1]
    scores = [r["f1"]["value"] for r in run.result["val"]["classes"] if r["support"]]
    assert run.result["val"]["macro_f1"]["value"] == pytest.approx(sum(scores) / 3)
    assert epoch["val_worst_class"] in ("a", "b")


def test_a_class_in_focus_without_validation_images_is_refused_before_training(tmp_path: Path) -> None:
    source = parted(tmp_path / "d", val={"a": 4, "b": 4})
    with pytest.raises(InputError, match="focus must be a class with validation images, got 'c' with none"):
        train(source, "quick", overrides={**SMALL, "focus": "c"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_class_without_training_images_is_refused(tmp_path: Path) -> None:
    source = parted(tmp_path / "d", train={"a": 12, "b": 8})
    with pytest.raises(InputError, match="class 'c' must have enough distinct images for train, got 0"):
        train(source, "quick", overrides=SMALL, out=tmp_path / "run")


@pytest.mark.parametrize("images", [1, 2])
def test_a_class_too_small_to_split_is_refused(tmp_path: Path, images: int) -> None:
    source = draw(tmp_path / "d", {"a": 12, "b": 8, "c": images})
    with pytest.raises(
        InputError, match=rf"class 'c' must have enough .* train, val, test, got {images} images"
    ):
        train(source, "quick", overrides=SMALL, out=tmp_path / "run")
