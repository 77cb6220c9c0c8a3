"""Folders of strangers: nothing is written outside them, and no file in them ends in a traceback."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

WRONG: tuple[Any, ...] = (None, 3, "x", [], {}, [[]], {"test": 3}, 1e308, "\x1b[31m")


@pytest.fixture
def copy(run: Path, here: Path) -> Path:
    return Path(shutil.copytree(run, here / "given"))


@pytest.fixture
def studied(study: Path, here: Path) -> Path:
    return Path(shutil.copytree(study, here / "given"))


@pytest.fixture
def outside(here: Path) -> Path:
    (here / "outside").mkdir()
    (here / "outside" / "precious").write_text("mine")
    return here / "outside"


def held(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["checkpoint", "interference", "split.json", ".lock", "checkpoint/stage1-crt"]
)
def test_a_run_with_links_is_not_gone_on_with(
    cli: Any, copy: Path, outside: Path, photos: Path, fast: list[str], name: str
) -> None:
    place = copy / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.symlink_to(outside / "precious" if "." in name else outside)
    (copy / "result.json").unlink()
    before = held(outside)
    measured = ["--set", "interference.enabled=true", "--set", "interference.max_per_class=4"]
    refused = cli("train", photos, "--recipe", "quick", *fast, *measured, "--out", copy, "--resume")
    assert f"must hold its own files, got {name}, a link to" in refused.error
    assert held(outside) == before


def test_a_study_with_links_is_not_gone_on_with(
    cli: Any, studied: Path, outside: Path, photos: Path, fast: list[str]
) -> None:
    shutil.rmtree(studied / "runs")
    (studied / "runs").symlink_to(outside)
    before = held(outside)
    words = ["compare", photos, "--regime", "quick", "--seeds", 1, *fast, "--out", studied, "--resume"]
    assert "must hold its own files, got runs, a link to" in cli(*words).error
    assert held(outside) == before


def test_a_report_replaces_a_link_and_not_what_it_leads_to(cli: Any, copy: Path, outside: Path) -> None:
    for name in ("report.html", f".report.html.{os.getpid()}.partial"):
        (copy / name).unlink(missing_ok=True)
        (copy / name).symlink_to(outside / "precious")
    before = held(outside)
    assert cli("report", copy).status == 0
    assert held(outside) == before
    assert not (copy / "report.html").is_symlink()


@pytest.mark.parametrize("where", ["method", "regime"])
def test_names_that_lead_out_of_the_folder_of_runs(
    cli: Any, photos: Path, fast: list[str], here: Path, where: str
) -> None:
    name = "../../../evil"
    files = {
        "method": {"regime": "quick", "method": {"name": name, "head": {"name": "csba"}}},
        "regime": {"regime": "mine.yaml", "method": "csba"},
    }
    (here / "recipe.yaml").write_text(yaml.safe_dump(files[where]))
    (here / "mine.yaml").write_text(yaml.safe_dump({"regime": name, "train": {"epochs": 1}}))
    refused = cli("train", photos, "--recipe", "recipe.yaml", *fast)
    wanted = "names that can name a folder" if where == "method" else "regime must be a known name"
    assert wanted in refused.error
    assert {path.name for path in here.iterdir()} == {"recipe.yaml", "mine.yaml"}


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("name", ["result.json", "config.yaml", "metrics.jsonl", "split.json"])
def test_files_of_another_kind_in_a_run(cli: Any, copy: Path, name: str, value: Any) -> None:
    (copy / name).write_text(yaml.safe_dump(value) if name.endswith("yaml") else json.dumps(value))
    for words in (["report", copy], ["predict", copy, copy.parent / "x.png"]):
        shutil.copy(next(Path(copy).parents[0].glob("*.png"), _picture(copy.parent)), copy.parent / "x.png")
        done = cli(*words)
        assert done.status in (0, 2), done.err
        assert "Traceback" not in done.err
        assert "\x1b" not in done.err + done.out
    if name in ("result.json", "config.yaml"):
        assert (
            "must" in cli("report" if name == "result.json" else "predict", copy, *_image(name, copy)).error
        )


def _image(name: str, copy: Path) -> list[Path]:
    return [] if name == "result.json" else [copy.parent / "x.png"]


def _picture(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (48, 48)).save(folder / "first.png")
    return folder / "first.png"


@pytest.mark.parametrize("name", ["comparison.json", "study.yaml"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_files_of_another_kind_in_a_study(cli: Any, studied: Path, name: str, value: Any) -> None:
    (studied / name).write_text(yaml.safe_dump(value) if name.endswith("yaml") else json.dumps(value))
    for words in (["report", studied], ["table", studied], ["table", studied, "--json"]):
        done = cli(*words)
        assert done.status in (0, 2), done.err
        assert "Traceback" not in done.err
    if name == "comparison.json":
        assert "must" in cli("table", studied).error


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model", "wrn28_10", "weights must fit the network"),
        ("model", "timm/vit_giant_patch14_dinov2", "weights must fit the network"),
        ("model", "timm/hf-hub:nobody/nothing", "must hold what tailgrad writes|must"),
        ("head", {"name": "csba", "options": {"branches": 10**4}}, "weights must fit the network"),
        ("head", {"name": 3, "options": []}, "must"),
        ("size", [10**6, 10**6], "images of side 1000000 where 1 to 4096"),
        ("size", 3, "must hold what tailgrad writes"),
        ("mean", ["x"] * 3, "must"),
        ("classes", {"names": [1, 2, 3], "counts": [1, 1, 1]}, "class names that are no texts"),
        ("classes", {"names": ["a"], "counts": [1, 1, 1]}, "must"),
        ("classes", None, "must"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_weights_that_say_something_else(
    cli: Any, copy: Path, photos: Path, key: str, value: Any, said: str
) -> None:
    path = copy / "checkpoint" / "weights.safetensors"
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()["tailgrad"])
    del meta["crc32"]  # who changes a file changes that too
    save_file(load_file(path), path, {"tailgrad": json.dumps(meta | {key: value})})
    import re

    assert re.search(said, cli("predict", copy, photos / "round").error)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(cli: Any, copy: Path, photos: Path, value: float) -> None:
    path = copy / "checkpoint" / "weights.safetensors"
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()["tailgrad"])
    del meta["crc32"]
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = torch.tensor(value)
    save_file(tensors, path, {"tailgrad": json.dumps(meta)})
    assert f"got NaN, infinity or a complex number in {name}" in cli("predict", copy, photos / "round").error
