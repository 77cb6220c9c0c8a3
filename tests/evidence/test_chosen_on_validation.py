"""The choice is made on validation data, whatever the test data say."""

import json
from pathlib import Path
from typing import Any

import pytest

from tailgrad.evidence import Lab, read_study, study
from tailgrad.evidence.analyses.chosen_on_validation import analyse
from tailgrad.recipes.compose import overlay

pytestmark = pytest.mark.long


def _run(folder: Path, method: str, seed: int, val: float, test: float, split: int = 0) -> None:
    place = folder / "runs" / f"{method}.seed{seed}"
    place.mkdir(parents=True)
    parts: dict[str, dict[str, Any]] = {
        part: {name: {"value": value} for name in ("balanced_accuracy", "accuracy", "macro_f1")}
        for part, value in {"val": val, "test": test}.items()
    }
    parts["test"] |= {"images": 20}
    about = {"method": method, "seed": seed, "split_seed": split, "status": "finished"}
    (place / "result.json").write_text(json.dumps(about | parts | {"own_test": False, "train_images": 80}))


def test_the_test_data_do_not_choose(tmp_path: Path) -> None:
    for seed in range(3):
        _run(tmp_path, "plain", seed, val=0.5 + 0.01 * seed, test=0.7)
        _run(tmp_path, "fancy", seed, val=0.6 + 0.01 * seed, test=0.6 + 0.01 * seed)
    found = analyse(Lab(tmp_path / "analysis", {}, {"group": tmp_path}, {}))
    assert found.figures["group"].values == pytest.approx((0.60, 0.61, 0.62))
    assert found.figures["group regret"].values == pytest.approx((0.10, 0.09, 0.08))
    chosen = [row for row in found.tables[0].rows if row[-1] == "chosen"]
    assert [row[0] for row in chosen] == ["fancy"]


def test_redrawn_splits_widen_the_interval(tmp_path: Path) -> None:
    for seed in range(3):
        _run(tmp_path, "plain", seed, val=0.5, test=0.6 + 0.01 * seed, split=seed)
    found = analyse(Lab(tmp_path / "analysis", {}, {"group": tmp_path}, {}))
    assert found.figures["group"].extra_variance == pytest.approx(20 / 80)


def test_redrawn_splits_choose_by_their_own_validation_images(tmp_path: Path) -> None:
    """Over both splits together ``fancy`` is the better one on validation images."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for split, (plain, fancy) in enumerate([(0.6, 0.5), (0.5, 0.9)]):
        _run(ours, "plain", split, val=plain, test=0.7 + 0.01 * split, split=split)
        _run(ours, "fancy", split, val=fancy, test=0.4 + 0.1 * split, split=split)
        _run(theirs, "usual", split, val=0.1, test=0.3, split=split)
    settings = {"against": {"group": "theirs", "method": "usual"}}
    found = analyse(Lab(tmp_path / "analysis", {}, {"ours": ours, "theirs": theirs}, settings))
    assert found.figures["ours"].values == pytest.approx((0.7, 0.5))
    assert found.figures["ours"].extra_variance == pytest.approx(20 / 80)
    assert found.figures["ours regret"].values == pytest.approx((0.0, 0.21))
    assert found.figures["ours gain"].values == pytest.approx((0.4, 0.2))
    assert "theirs gain" not in found.figures
    assert [row[-1] for row in found.tables[0].rows] == ["chosen in 1 of 2"] * 2


def test_photographs_are_chosen_for_under_the_recipe_and_held_against_the_default(tmp_path: Path) -> None:
    groups = read_study("recommended-photographs").expanded()
    recipe, usual = overlay("recipes", "recommended"), overlay("recipes", "folder")
    assert groups["chosen"].regime == recipe["regime"]
    assert recipe["method"] in groups["chosen"].overlays()
    assert (groups["default"].regime, *groups["default"].overlays()) == (usual["regime"], usual["method"])
    found = study("recommended-photographs", size="smoke", out=tmp_path / "study").content
    assert found["claims"][0]["found"]["value"] == found["figures"]["chosen gain"]["value"]


def test_smoke_size_runs_on_digits(tmp_path: Path) -> None:
    found = study("recommended", {"cifar10": "digits-lt"}, size="smoke", out=tmp_path / "study")
    rows = found.content["groups"]["cifar10"]["comparison"]["rows"]
    accuracy = [row["mean"] for row in rows if row["metric"] == "accuracy"]
    assert found.content["figures"]["cifar10"]["value"] in accuracy
    assert read_study("recommended").claims
