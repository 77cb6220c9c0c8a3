"""Runs with posthoc methods: applied once, whatever is asked, and told of in what is shipped."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from tailgrad.checks import InputError
from tailgrad.recipes import RunFolder
from tailgrad.recipes.after_training import fit_chain, make_chain
from tailgrad.recipes.restore import restore
from tailgrad.ship import export, predict, save_pretrained
from tailgrad.ship.run_facts import own_calibration

Make = Callable[..., Path]


@pytest.fixture
def with_posthoc(run: Path, tmp_path: Path) -> Make:
    """A copy of the run whose posthoc methods were fitted on its own validation logits."""

    def make(*methods: dict[str, Any]) -> Path:
        copy = Path(shutil.copytree(run, tmp_path / "posthoc"))
        config = yaml.safe_load((copy / "config.yaml").read_text()) | {"posthoc": list(methods)}
        (copy / "config.yaml").write_text(yaml.safe_dump(config))
        table = pq.read_table(copy / "predictions.parquet", filters=[("part", "=", "val")])
        folder = RunFolder(copy)
        chain = make_chain(folder.config(), tuple(folder.result()["classes"]["counts"]))
        logits = torch.tensor(table["logits"].to_pylist())
        fit_chain(chain, logits, torch.tensor(table["target"].to_pylist()), folder.weights.parent)
        return copy

    return make


def shares(found: Any) -> np.ndarray:
    return np.array([one.probabilities for one in found])


def test_shift_and_temperature_are_applied_once_and_in_order(
    run: Path, photos: Path, with_posthoc: Make, tmp_path: Path
) -> None:
    folder = with_posthoc(
        {"name": "logit_adjustment", "options": {"tau": 0.5}}, {"name": "temperature_scaling"}
    )
    result, network = RunFolder(folder).result(), restore(folder)
    temperature = float(network.posthoc.steps[1].temperature)
    assert temperature != pytest.approx(1, abs=0.01)
    counts = np.array(result["classes"]["counts"])
    wanted = (shares(predict(run, [photos])) * (counts / counts.sum()) ** -0.5) ** (1 / temperature)
    wanted /= wanted.sum(1, keepdims=True)
    made = export(folder, tmp_path / "m.onnx", calibrate=True)
    for model in (folder, made.file, save_pretrained(folder, tmp_path / "hf")):
        np.testing.assert_allclose(shares(predict(model, [photos])), wanted, atol=1e-5)
    target, prior = np.array([0.1, 0.2, 0.7]), np.array(result["prior"]["prior"])
    moved = wanted / prior * target
    moved /= moved.sum(1, keepdims=True)
    for model in (folder, made.file, tmp_path / "hf"):
        found = predict(model, [photos], target_prior=target.tolist())
        np.testing.assert_allclose(shares(found), moved, atol=1e-5)


def test_a_temperature_of_the_run_is_told_and_not_fitted_again(with_posthoc: Make, tmp_path: Path) -> None:
    folder = with_posthoc({"name": "temperature_scaling"})
    said: list[str] = []
    about = export(folder, tmp_path / "m.onnx", calibrate=True, say=said.append).description
    network = restore(folder)
    assert about.calibration == own_calibration(network).words
    assert f"T = {float(network.posthoc.steps[0].temperature):.4g}, inside the logits" in about.calibration
    assert about.temperature == 1
    assert not any("not calibrated" in line for line in about.limits)
    assert said[0] == f"the run is calibrated already: {about.calibration}"


@pytest.mark.parametrize("name", ["class_thresholds", "prediction_rebalancing"])
def test_methods_that_judge_alone_are_in_the_file(
    photos: Path, with_posthoc: Make, tmp_path: Path, name: str
) -> None:
    folder = with_posthoc({"name": name})
    made = export(folder, tmp_path / "m.onnx")
    wanted = predict(folder, [photos])
    for model in (made.file, save_pretrained(folder, tmp_path / "hf")):
        found = predict(model, [photos])
        assert [one.name for one in found] == [one.name for one in wanted]
        np.testing.assert_allclose(shares(found), shares(wanted), atol=1e-5)


@pytest.mark.parametrize("mode", ["transductive", "streaming"])
def test_methods_that_look_at_all_images_stay_with_pytorch(
    photos: Path, with_posthoc: Make, tmp_path: Path, mode: str
) -> None:
    folder = with_posthoc({"name": "prediction_rebalancing", "options": {"mode": mode}})
    with pytest.raises(InputError, match=r"every image alone to be exported, got PredictionRebalancing"):
        export(folder, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    place = save_pretrained(folder, tmp_path / "hf")
    assert predict(place, [photos]) == predict(folder, [photos])
    with pytest.raises(InputError, match="images must be several"):
        predict(place, photos / "thin" / "00.png")
