"""The page on files names every file that a study and its runs write, and every key in them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from safetensors import safe_open

from tailgrad.recipes import Study, compare

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "files.md").read_text(encoding="utf-8")
QUICK = {
    "focus": "broken",
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet32"},
    "train": {"epochs": 1, "precision": "float32", "channels_last": False},
    "interference": {"max_per_class": 2},
}


@pytest.fixture(scope="module")
def study(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("studies") / "one"
    return compare(photos, ["baseline", "csba"], seeds=1, regime="quick", overrides=QUICK, out=folder)


def section(title: str) -> str:
    """The text under a heading, down to the next of the same rank."""
    marks, text = re.search(rf"(?m)^(#+) {re.escape(title)}$", PAGE), PAGE
    assert marks is not None, f"files.md has no heading {title}"
    return re.split(rf"(?m)^#{{2,{len(marks[1])}}} ", text[marks.end() :])[0]


def keys(value: Any) -> Iterator[str]:
    """Every key of nested objects; keys that are names of methods or classes are not keys of the format."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key != "evidence":  # names of figures
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def check(title: str, found: Any) -> None:
    text = section(title)
    for key in found:
        assert f"`{key}`" in text, f"files.md does not explain {key} of {title}"


def test_every_file_is_named(study: Study) -> None:
    run = next((study.folder / "runs").iterdir())
    for folder, title in ((study.folder, "A study"), (run, "A run")):
        for path in folder.rglob("*"):
            if "runs" not in path.relative_to(folder).parts[:1] and path.suffix != ".npz":
                name = path.stem if path.parent.name == "interference" else path.name
                assert name in section(title).split("```")[1], f"{title}: {path.name}"


def test_keys_of_a_run(study: Study) -> None:
    run = next((study.folder / "runs").iterdir())
    read = {
        name: json.loads((run / f"{name}.json").read_text()) for name in ("environment", "split", "result")
    }
    check("environment.json", read["environment"])
    check("split.json", keys(read["split"]))
    check("result.json", set(keys(read["result"])) - {"names", "counts"})
    check("config.yaml", yaml.safe_load((run / "config.yaml").read_text()))
    check("metrics.jsonl", json.loads((run / "metrics.jsonl").read_text().splitlines()[0]))
    check("predictions.parquet", pq.read_schema(run / "predictions.parquet").names)
    for name in ("weights", "last"):
        with safe_open(run / "checkpoint" / f"{name}.safetensors", framework="pt") as file:
            check("checkpoint", json.loads(file.metadata()["tailgrad"]))


def test_keys_of_a_study(study: Study) -> None:
    check("study.yaml", yaml.safe_load((study.folder / "study.yaml").read_text()))
    check("results.parquet", pq.read_schema(study.folder / "results.parquet").names)
    comparison = json.loads((study.folder / "comparison.json").read_text())
    check("comparison.json", {key for key in keys(comparison) if not key.startswith("only_")})
    speed = json.loads((study.folder / "speed.json").read_text())
    names = {"precision", "channels_last", "compile", "fused", "threads", "pretrained"}
    assert set(speed) == names, "files.md names them"
