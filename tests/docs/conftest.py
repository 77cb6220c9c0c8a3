"""The folder of photographs that the documentation talks about, and where its pages are."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Nothing in the documentation may need the network; without this a slip would wait for it, retry by retry.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 24, 16 and 10 images of 48 pixels, with one file copied and one that is no image."""
    folder = tmp_path_factory.mktemp("docs") / "photos"
    random = np.random.default_rng(0)
    for k, (name, count) in enumerate({"clean": 24, "dusty": 16, "broken": 10}.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 90, (48, 48, 3), dtype=np.uint8)
            pixels[:, :, k] += 120
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    shutil.copy(folder / "clean" / "00.png", folder / "clean" / "00-copy.png")
    (folder / "notes.txt").write_text("taken in May")
    return folder
