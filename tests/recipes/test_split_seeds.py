"""Splits crossed with seeds, and splits that let copies leak."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console

from tailgrad.checks import InputError
from tailgrad.data import open_source
from tailgrad.recipes import Config, compare
from tailgrad.recipes.compare import _pairs
from tailgrad.recipes.copies import duplicates_of
from tailgrad.recipes.prepare import prepare
from tailgrad.recipes.study_runs import StudyRuns
from tailgrad.recipes.talk import Talk


def test_every_seed_meets_every_split() -> None:
    assert _pairs(2, None) == [{"seed": 0}, {"seed": 1}]
    assert _pairs(2, [3, 1]) == [{"seed": s, "split_seed": i} for i in (3, 1) for s in (0, 1)]
    assert _pairs(1, 2) == [{"seed": 0, "split_seed": 0}, {"seed": 0, "split_seed": 1}]


@pytest.mark.parametrize(
    "splits", [0, -1, [], [1, 1], [-1, 2], True, [True], [0, False], 2.5, [1.0], "12", [None, 1]]
)
def test_splits_that_are_none(splits: Any) -> None:
    with pytest.raises(InputError, match="split_seeds must be"):
        _pairs(1, splits)


def test_true_is_no_number_of_seeds() -> None:
    with pytest.raises(InputError, match="seeds must be a whole number, got True"):
        _pairs(True, None)


@pytest.mark.parametrize("splits", [np.int64(2), np.array([0, 1]), (i for i in range(2)), range(2)])
def test_splits_may_be_numbers_of_any_kind(splits: Any) -> None:
    found = _pairs(1, splits)
    assert found == [{"seed": 0, "split_seed": 0}, {"seed": 0, "split_seed": 1}]
    assert {type(pair["split_seed"]) for pair in found} == {int}


def test_a_crossed_study_names_its_runs_and_compares_by_split(
    photos: Path, fast: dict[str, Any], tmp_path: Path
) -> None:
    small = fast | {"data": {"size": 8, "near_duplicates": False}, "model": {"name": "resnet8"}}
    small["train"] = fast["train"] | {"epochs": 1}
    out = tmp_path / "study"
    study = compare(
        photos, ["ce", "focal"], seeds=2, split_seeds=[4, 7], regime="quick", overrides=small, out=out
    )
    names = {path.name for path in (out / "runs").iterdir()}
    wanted = {(m, i, s) for m in ("ce", "focal") for i in (4, 7) for s in (0, 1)}
    assert names == {f"photos.quick.{m}.split{i}.seed{s}" for m, i, s in wanted}
    about = yaml.safe_load((out / "study.yaml").read_text())
    assert (about["seeds"], about["split_seeds"], about["own_test"]) == (2, [4, 7], False)
    assert study.comparison["unit"] == "split"
    row = next(row for row in study.comparison["rows"] if row["metric"] == "accuracy")
    assert row["n"] == 2
    by_split: dict[int, list[float]] = {4: [], 7: []}
    for _, split, seed in sorted(key for key in wanted if key[0] == row["method"]):
        run = out / "runs" / f"photos.quick.{row['method']}.split{split}.seed{seed}"
        by_split[split].append(json.loads((run / "result.json").read_text())["test"]["accuracy"]["value"])
    assert row["per_seed"] == pytest.approx([np.mean(by_split[4]), np.mean(by_split[7])])
    hashes = {name: json.loads((out / "runs" / name / "split.json").read_text())["sha256"] for name in names}
    assert len(set(hashes.values())) == 2, "one split for every seed and method"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten pictures, each stored three times."""
    root = tmp_path_factory.mktemp("data") / "copies"
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (root / name).mkdir(parents=True)
        for i in range(10):
            path = root / name / f"{i}.png"
            Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path)
            for copy in ("x", "y"):
                shutil.copy(path, path.with_name(f"{i}{copy}.png"))
    return root


def parts_of_pictures(copies: Path, *, grouped: bool) -> tuple[list[set[str]], list[str]]:
    """Of every picture the parts of the split that hold a copy of it, and what was said."""
    said: list[str] = []
    config = Config.model_validate(
        {"source": str(copies), "regime": "quick", "data": {"near_duplicates": False, "size": 8}}
        | ({} if grouped else {"data": {"near_duplicates": False, "size": 8, "group_duplicates": False}})
    )
    source = open_source(copies)
    groups = duplicates_of(source, config, said.append)
    split = prepare(config, source, Talk(None), groups).split
    found: dict[str, set[str]] = {}
    for part in ("train", "val", "test"):
        for i in getattr(split, part):
            picture = source.items.name(int(i)).removesuffix(".png").rstrip("xy")
            found.setdefault(picture, set()).add(part)
    return list(found.values()), said


def test_copies_stay_on_one_side_unless_they_are_let_leak(copies: Path) -> None:
    together, said = parts_of_pictures(copies, grouped=True)
    assert all(len(parts) == 1 for parts in together)
    assert said == []
    apart, said = parts_of_pictures(copies, grouped=False)
    assert any({"train", "test"} <= parts for parts in apart), "a copy of a test image was trained on"
    assert said == ["warning: copies of training images may be tested on (data.group_duplicates=false)"]


def test_a_study_that_lets_copies_leak_says_so(copies: Path, tmp_path: Path) -> None:
    config = Config.model_validate({"source": str(copies), "data": {"group_duplicates": False}})
    said = io.StringIO()
    talk = Talk(Console(file=said, width=200))
    groups = StudyRuns(tmp_path, open_source(copies), talk, {})._duplicates(config)
    assert len(set(groups.tolist())) == 90, "every image is a group of its own"
    assert said.getvalue().startswith("warning: copies of training images may be tested on")
