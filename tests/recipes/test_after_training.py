"""Posthoc methods in a run: fitted once, the same in result, file and prediction."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tailgrad.checks import InputError
from tailgrad.engine import load_weights
from tailgrad.recipes import predict, train
from tailgrad.recipes.restore import restore

SMALL: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 8, "precision": "float32", "channels_last": False},
    "interference": {"enabled": False},
}


def _method(*posthoc: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "mine", "loss": {"name": "cross_entropy"}, "posthoc": list(posthoc), **more}


def _rows(folder: Path, part: str) -> list[dict[str, Any]]:
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    return [row for row in rows if row["part"] == part]


def test_a_chain_is_stored_and_used_again(photos: Path, tmp_path: Path) -> None:
    chain = ({"name": "logit_adjustment", "options": {"tau": "tuned"}}, {"name": "temperature_scaling"})
    run = train(photos, "quick", method=_method(*chain), overrides=SMALL, out=tmp_path / "run")
    plain = train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "plain")
    tensors, meta = load_weights(run.folder / "checkpoint" / "posthoc.safetensors")
    assert meta == {"fitted on": "validation", "examples": len(_rows(run.folder, "val"))}
    assert any("shift" in name or "tau" in name for name in tensors)
    found = restore(run.folder).posthoc
    for part in ("val", "test"):
        before = np.array([row["logits"] for row in _rows(plain.folder, part)])
        after = np.array([row["logits"] for row in _rows(run.folder, part)])
        np.testing.assert_allclose(found.transform(before), after, rtol=1e-4, atol=1e-5)
    kinds = {one["name"]: one["kind"] for one in run.result["prior"]["components"]}
    assert kinds["posthoc logit_adjustment"] == "test_shift"  # known once it is fitted


def test_streaming_begins_with_what_it_was_fitted_to_in_every_part(photos: Path, tmp_path: Path) -> None:
    stream = {"name": "prediction_rebalancing", "options": {"mode": "streaming"}}
    run = train(photos, "quick", method=_method(stream), overrides=SMALL, out=tmp_path / "run")
    plain = train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "plain")
    for part in ("val", "test"):
        before = np.array([row["logits"] for row in _rows(plain.folder, part)])
        after = np.array([row["logits"] for row in _rows(run.folder, part)])
        np.testing.assert_allclose(restore(run.folder).posthoc.transform(before), after, rtol=1e-4, atol=1e-5)


def test_one_image_alone_is_refused_where_the_method_looks_at_all(photos: Path, tmp_path: Path) -> None:
    whole = {"name": "prediction_rebalancing", "options": {"mode": "transductive"}}
    run = train(photos, "quick", method=_method(whole), overrides=SMALL, out=tmp_path / "run")
    files = [photos / row["name"] for row in _rows(run.folder, "test")]
    found = [one.name for one in predict(run.folder, files)]
    names = ("round", "square", "thin")
    assert found == [names[row["predicted"]] for row in _rows(run.folder, "test")]
    with pytest.raises(InputError, match=r"images must be several .* alone; give the whole set"):
        predict(run.folder, files[:1])


def test_costs_change_decisions_and_leave_shares_that_sum_to_one(photos: Path, tmp_path: Path) -> None:
    zero_one = [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    cost = {"name": "cost_matrix", "options": {"cost": zero_one}}
    run = train(photos, "quick", method=_method(cost), overrides=SMALL, out=tmp_path / "run")
    plain = train(photos, "quick", method=_method(), overrides=SMALL, out=tmp_path / "plain")
    assert run.result["test"]["ece"] == pytest.approx(plain.result["test"]["ece"], abs=1e-5)
    assert run.macro_f1 == plain.macro_f1
