"""The benchmark of streaming: it generates what it says, can be gone on with, and memory stays."""

import importlib.util
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tailgrad.data import open_source

pytestmark = pytest.mark.long

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("streaming", BENCHMARKS / "streaming.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(streaming: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(streaming, "save", lambda name, content: kept.update({name: content}))
    monkeypatch.setattr(sys, "argv", ["streaming.py", *words])
    streaming.main()
    (content,) = kept.values()
    return json.loads(json.dumps(content))


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_the_set_has_the_classes_and_images_it_is_said_to_have(
    streaming: Any, tmp_path: Path, kind: str
) -> None:
    streaming.generate(tmp_path, 600, 200, kind)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    source = open_source(tmp_path)
    assert {part: source.given.count(part) for part in ("train", "val", "test")} == {
        "train": 540, "val": 30, "test": 30
    }  # fmt: skip
    counts = np.bincount(source.labels[np.array(source.given) == "train"], minlength=200)
    assert counts.min() == 1
    assert counts[0] == counts.max() > 5
    assert source.items.load(0).shape == (32, 32, 3)
    streaming.generate(tmp_path, 600, 200, kind)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_small_run_and_what_was_done_is_not_done_again(
    streaming: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = (str(tmp_path), "--images", "300", "--classes", "40", "--steps", "6")
    found = run(streaming, monkeypatch, *words)
    one = found["by_images"]["300"]
    assert (one["images"], one["classes_measured"]) == (300, 40)
    assert list(one["peak_bytes"]) == ["start", "prepare", "split written", "normalise", "train", "measure"]
    peaks = list(one["peak_bytes"].values())
    assert all(later > before - 2**20 for before, later in pairwise(peaks))  # the kernel counts by batches
    run_any = subprocess.run

    def run_git(words: list[str], **options: Any) -> Any:
        assert words[0] == "git", "nothing is left to run"
        return run_any(words, **options)

    monkeypatch.setattr(subprocess, "run", run_git)
    assert run(streaming, monkeypatch, *words)["by_images"] == found["by_images"]


def test_growth_is_by_image_between_the_fewest_and_the_most(streaming: Any) -> None:
    made = {
        str(n): {"images": n, "peak_bytes": {"train": 1000 + 3 * n, "measure": 5000 + n // 10}}
        for n in (200, 1000, 50)
    }
    assert streaming.growth(made) == {"train": 3.0, "measure": 0.1}
    assert streaming.growth({"50": made["50"]}) == {}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(
    streaming: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = run(
        streaming, monkeypatch, str(tmp_path), "--images", "2000,20000", "--classes", "500", "--steps", "20"
    )
    # decoded, an image is 3,072 bytes, and prepared for the network 12,288
    assert found["bytes_an_image"]["measure"] < 1500
