"""A study of two groups on 27 small pictures, whose runs take a second each."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tailgrad.evidence import StudyFile, study

TINY: dict[str, Any] = {
    "data": {"size": 8, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 8, "precision": "float32", "channels_last": False, "threads": 1},
    "interference": {"enabled": False},
}
GAIN = {
    "id": "gain",
    "text": "focal loss beats cross-entropy",
    "source": "a paper",
    "group": "fixed",
    "method": "focal",
    "against": "ce",
    "above": 0,
    "printed": 0.05,
}
FOUND = {
    "id": "found",
    "text": "round things are found",
    "source": "ours",
    "group": "crossed",
    "method": "ce",
    "metric": "recall of round",
    "near": 0.5,
    "within": 0.6,
}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "pictures"
    random = np.random.default_rng(0)
    for k, (name, count) in enumerate({"round": 12, "square": 9, "thin": 6}.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 90, (8, 8, 3), dtype=np.uint8)
            pixels[:, :, k] += 120
            Image.fromarray(pixels).save(root / name / f"{i:02d}.png")
    return root


def keys(pictures: Path) -> dict[str, Any]:
    """A copy through and through: a test that changes a claim changes no other test's."""
    plan = {
        "name": "tiny",
        "question": "Does it work?",
        "data": {"pictures": str(pictures)},
        "regimes": [],
        "set": TINY,
        "groups": {
            "fixed": {"regime": "quick", "methods": ["ce", "focal"], "seeds": 2},
            "crossed": {"regime": "quick", "methods": ["ce"], "seeds": 2, "split_seeds": [4, 7]},
        },
        "claims": [GAIN, FOUND],
    }
    return deepcopy(plan)


@pytest.fixture
def plan(pictures: Path) -> dict[str, Any]:
    """Keys of the study, to be changed."""
    return keys(pictures)


@pytest.fixture(scope="session")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The study after one undisturbed sitting."""
    out = tmp_path_factory.mktemp("studies") / "tiny"
    return study(StudyFile.model_validate(keys(pictures)), out=out)
