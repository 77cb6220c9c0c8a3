"""A folder of small textured images in three classes, and options that make a run take a second."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

QUICK: dict[str, Any] = {
    "data": {"size": 48, "near_duplicates": False},
    "train": {"epochs": 2, "batch_size": 16, "precision": "float32", "channels_last": False},
    "interference": {"max_per_class": 4},
}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "photos"
    random = np.random.default_rng(0)
    for k, (name, count) in enumerate({"round": 24, "square": 16, "thin": 10}.items()):
        for i in range(count):
            noise = random.integers(0, 90, (48, 48, 3), dtype=np.uint8)
            noise[:, :, k] += 120
            path = root / name / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise).save(path)
    return root


@pytest.fixture
def quick() -> dict[str, Any]:
    return {key: dict(value) for key, value in QUICK.items()}


@pytest.fixture(scope="session")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tailgrad.recipes import train

    return train(photos, "quick", overrides=QUICK, out=tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="session")
def fast() -> dict[str, Any]:
    """Like ``quick``, without measurements."""
    return {**QUICK, "interference": {"enabled": False}}
