"""Every named method trains, is evaluated and comes back from its folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tailgrad.recipes import predict, train
from tailgrad.recipes.compose import named, overlay
from tailgrad.recipes.restore import restore
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.recipes.several_labels import label_methods

SMALL: dict[str, Any] = {
    "data": {"size": 32, "near_duplicates": False},
    "model": {"name": "resnet8"},
    "train": {"epochs": 1, "batch_size": 8, "precision": "float32", "channels_last": False},
    "interference": {"enabled": False},
}


OF_ROWS = {"resample", "estimator"}
OTHERS = label_methods()
OF_IMAGES = [n for n in named("methods") if n not in OTHERS and not OF_ROWS & set(overlay("methods", n))]


@pytest.mark.parametrize("method", sorted(OF_IMAGES))
def test_every_method_trains_and_is_restored(method: str, photos: Path, tmp_path: Path) -> None:
    content = overlay("methods", method)
    stages = [{**stage, "epochs": 1} if "epochs" in stage else stage for stage in content.get("stages", [])]
    run = train(
        photos,
        "quick",
        method={**content, "name": method, "stages": stages},
        overrides=SMALL,
        out=tmp_path / "run",
    )
    assert run.result["status"] == "finished"
    assert 0 <= run.macro_f1 <= 1
    assert len(run.result["stages"]) == len(stages)
    stored = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pylist()
    test = [row for row in stored if row["part"] == "test"]
    logits = np.array([row["logits"] for row in test])
    assert np.isfinite(logits).all()
    assert [row["predicted"] for row in test] == logits.argmax(1).tolist()
    restored = restore(run.folder)
    config = RunFolder(run.folder).config()
    assert [one.name for one in config.posthoc] == [one["name"] for one in content.get("posthoc", [])]
    found = predict(run.folder, [photos / row["name"] for row in test])
    for row, one in zip(test, found, strict=True):
        expected = torch.softmax(torch.tensor(row["logits"], dtype=torch.float64), 0)
        np.testing.assert_allclose(one.probabilities, expected.numpy(), atol=1e-4)
    assert restored.names == ("round", "square", "thin")
