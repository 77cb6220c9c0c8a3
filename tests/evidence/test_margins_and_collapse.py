"""Margins by class thirds, and how methods and groups compare, from runs whose logits are written by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tailgrad.checks import InputError
from tailgrad.evidence import Lab
from tailgrad.evidence.analyses.margins_and_collapse import analyse, class_margins
from tailgrad.evidence.analyses.stored_logits import Part, stored_logits
from tailgrad.interference import Interference
from tailgrad.interference.geometry import FeatureMeans, Geometry
from tailgrad.interference.observer import Seen
from tailgrad.recipes.run_folder import RunFolder

SETTINGS: dict[str, Any] = {"reference": "small", "balanced": "even", "rank": ["even", "long"]}
COUNTS = [90, 30, 10]


def _run(group: Path, method: str, seed: int, logits: Any, accuracy: float) -> RunFolder:
    place = group / "runs" / f"{method}.seed{seed}"
    place.mkdir(parents=True)
    target = np.arange(len(logits)) % 3
    table = {
        "part": ["test"] * len(logits),
        "target": target,
        "logits": [list(map(float, row)) for row in logits],
    }
    pq.write_table(pa.table(table), place / "predictions.parquet")
    result = {
        "method": method,
        "seed": seed,
        "split_seed": 0,
        "own_test": True,
        "status": "finished",
        "train_images": 130,
        "classes": {"names": list("abc"), "counts": COUNTS},
        "test": {"images": len(logits), "accuracy": {"value": accuracy}},
    }
    (place / "result.json").write_text(json.dumps(result))
    return RunFolder(place)


def _shrunk(tail: float) -> Any:
    """Logits with the right class on top by 1, for the last class by ``tail``."""
    return np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, tail]] * 2)


@pytest.fixture
def groups(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("even", "long")}
    for seed in range(3):
        noise = 0.01 * seed
        _run(found["even"], "small", seed, _shrunk(1.0), 0.5 + noise)
        _run(found["even"], "large", seed, _shrunk(1.0), 0.7 + noise)
        _run(found["long"], "small", seed, _shrunk(1.0), 0.6 + noise)
        _run(found["long"], "large", seed, -_shrunk(1.0), 0.4 + noise)
    return found


def test_margins_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 1.0], [0.0, 0.0, 6.0], [1.0, 5.0, 3.0]]).double()
    found = class_margins(Part(logits, torch.tensor([0, 0, 1])))
    deviations = np.std(logits.numpy(), axis=1)
    assert found[0] == pytest.approx(np.mean([2 / deviations[0], -6 / deviations[1]]))
    assert found[1] == pytest.approx(2 / deviations[2])
    assert np.isnan(found[2])


def test_margins_do_not_change_with_scale_or_shift_of_the_logits() -> None:
    logits, target = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 4
    plain = class_margins(Part(logits, target))
    assert class_margins(Part(5 * logits - 2, target)) == pytest.approx(plain, rel=1e-5)


def test_stored_logits_are_those_of_the_part(tmp_path: Path) -> None:
    run = _run(tmp_path, "small", 0, _shrunk(0.5), 0.5)
    part = stored_logits(run, "test")
    assert torch.equal(part.logits, torch.tensor(_shrunk(0.5)))
    assert part.target.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(InputError, match="predictions of its val part, got none"):
        stored_logits(run, "val")
    with pytest.raises(InputError, match="must hold predictions.parquet"):
        stored_logits(RunFolder(tmp_path), "test")


def test_groups_and_methods_are_compared_seed_by_seed(groups: dict[str, Path], tmp_path: Path) -> None:
    figures = analyse(Lab(tmp_path / "analysis", {}, groups, SETTINGS)).figures
    one = 1 / np.std([1.0, 0, 0])
    assert figures["long.small.margin_tail"].values == pytest.approx((one,) * 3)
    assert figures["long.large.margin_tail"].mean.value == pytest.approx(-one)
    assert figures["long.large.margin_tail.change"].mean.value == pytest.approx(-2 * one)
    # the mean over both methods: (1 - 1) / 2 in the long tail, 1 where it is even
    assert figures["margin_tail.long.even"].mean.value == pytest.approx(-one)
    assert figures["margin_gap.long.even"].mean.value == pytest.approx(0, abs=1e-9)
    assert "margin_gap.even.even" not in figures


def _geometry() -> Geometry:
    """Class c lies at sqrt(8 / 3) from the middle, half of it one way off and half the other."""
    corners, off = 2 * torch.eye(3), torch.tensor([0.0, 0.4, 0.8])
    means = FeatureMeans(num_classes=3)
    for k in range(3):
        aside = off[k] * torch.tensor([1.0, 0, 0]).roll(k + 1)
        features = torch.stack((corners[k] + aside, corners[k] - aside))
        logits = torch.eye(3)[[k, (k + 1) % 3 if k == 2 else k]]  # one of two of the last class is mistaken
        means(Seen(k, features, features, logits))
    found = means.result(torch.tensor([2, 2, 2]))
    assert found is not None
    return found


def test_collapse_is_told_class_by_class(
    groups: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tr Sigma_c is the square of how far the images lie off, |mu_c - mu_G|^2 is 8/3."""
    for group in groups.values():
        for run in (group / "runs").iterdir():
            (run / "interference").mkdir()
            (run / "interference" / "train.json").touch()
    seen = SimpleNamespace(geometry=_geometry())
    monkeypatch.setattr(Interference, "load", lambda _: seen)
    found = analyse(Lab(tmp_path / "analysis", {}, groups, SETTINGS))
    assert found.figures["long.small.scatter_train_head"].values == pytest.approx((0.0,) * 3, abs=1e-9)
    assert found.figures["long.small.scatter_train_tail"].values == pytest.approx((0.64 / (8 / 3),) * 3)
    assert found.figures["long.small.nc4_train_tail"].mean.value == pytest.approx(0.5)
    assert "long.small.scatter_heldout_tail" not in found.figures
    (table,) = [table for table in found.tables if table.title.endswith("by class, long")]
    assert table.header == ("method", "sign", "a", "b", "c")
    rows = {row[:2]: row[2:] for row in table.rows}
    assert rows["small", "scatter train"] == ("0", "0.06", "0.24")
    assert rows["small", "nc4 train"] == ("0", "0", "0.5")
    assert rows["large", "margin"] == tuple(f"{-1 / np.std([1.0, 0, 0]):.3g}" for _ in "abc")


def test_the_ranking_of_two_networks_is_turned_round(groups: dict[str, Path], tmp_path: Path) -> None:
    figures = analyse(Lab(tmp_path / "analysis", {}, groups, SETTINGS)).figures
    assert figures["rank.even.long"].values == pytest.approx((-1.0, -1.0, -1.0))


def test_a_group_that_is_not_there_is_named(groups: dict[str, Path], tmp_path: Path) -> None:
    wrong = {**SETTINGS, "rank": ["even", "wide"]}
    with pytest.raises(InputError, match="'wide'"):
        analyse(Lab(tmp_path / "analysis", {}, groups, wrong))
