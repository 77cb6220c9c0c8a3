"""The choice is made on validation data, whatever the test data say."""

import json
from pathlib import Path
from typing import Any

import pytest

from tailgrad.evidence import Lab, read_study, study
from tailgrad.evidence.analyses.chosen_on_validation import analyse

pytestmark = pytest.mark.long


def _run(folder: Path, method: str, seed: int, val: float, test: float, split: int = 0) -> None:
    place = folder / "runs" / f"{method}.seed{seed}"
    place.mkdir(parents=True)
    parts: dict[str, dict[str, Any]] = {
        part: {"balanced_accuracy": {"value": value}, "accuracy": {"value": value}}
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


def test_smoke_size_runs_on_digits(tmp_path: Path) -> None:
    found = study("recommended", {"cifar10": "digits-lt"}, size="smoke", out=tmp_path / "study")
    rows = found.content["groups"]["cifar10"]["comparison"]["rows"]
    accuracy = [row["mean"] for row in rows if row["metric"] == "accuracy"]
    assert found.content["figures"]["cifar10"]["value"] in accuracy
    assert read_study("recommended").claims
