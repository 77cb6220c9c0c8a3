"""One small run for all tests of shipping, and artefacts of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tailgrad.files import write_json
from tailgrad.recipes import RunFolder
from tailgrad.ship import Exported, export

QUICK: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 16, "precision": "float32", "channels_last": False},
    "interference": {"max_per_class": 3},
}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "photos"
    random = np.random.default_rng(0)
    for k, (name, count) in enumerate({"round": 18, "square": 12, "thin": 8}.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise = random.integers(0, 90, (32, 32, 3), dtype=np.uint8)
            noise[:, :, k] += 120
            Image.fromarray(noise).save(root / name / f"{i:02d}.png")
    return root


@pytest.fixture(scope="session")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of csba, whose loss weights correct the prior."""
    from tailgrad.recipes import train

    return train(photos, "quick", overrides=QUICK, out=tmp_path_factory.mktemp("runs") / "one").folder


@pytest.fixture(scope="session")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export(run, tmp_path_factory.mktemp("shipped") / "model.onnx")


@pytest.fixture(scope="session")
def artefact(exported: Exported) -> Path:
    return exported.file


@pytest.fixture
def altered(run: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the run with other entries in its result."""

    def make(**entries: Any) -> Path:
        copy = Path(shutil.copytree(run, tmp_path / "altered"))
        write_json(copy / "result.json", RunFolder(copy).result() | entries)
        return copy

    return make
