from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tailgrad.recipes import predictions as module
from tailgrad.recipes.predictions import ALL_LOGITS_UP_TO, KEPT, save_predictions


class Named:
    def name(self, i: int) -> str:
        return f"image {i}"


def saved(folder: Path, images: int, classes: int) -> tuple[torch.Tensor, torch.Tensor, Any]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, classes, generator=generator)
    target = torch.randint(classes, (images,), generator=generator)
    part = logits, target, torch.arange(images) + 5
    path = folder / "predictions.parquet"
    save_predictions(path, Named(), {"val": part, "test": part})
    return logits, target, pq.ParquetFile(path)


@pytest.mark.parametrize("cells", [7, 2**22])
def test_few_classes_keep_every_logit(tmp_path: Path, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS", cells)
    logits, target, file = saved(tmp_path, 5, 3)
    rows = file.read().to_pylist()
    assert [row["part"] for row in rows] == ["val"] * 5 + ["test"] * 5
    assert [row["logits"] for row in rows] == 2 * logits.tolist()
    assert [row["target"] for row in rows] == 2 * target.tolist()
    assert [row["predicted"] for row in rows] == 2 * logits.argmax(1).tolist()
    assert [row["name"] for row in rows[:5]] == [f"image {i}" for i in range(5, 10)]
    assert file.num_row_groups == (6 if cells == 7 else 2)


def test_many_classes_keep_what_probabilities_and_likelihood_follow_from(tmp_path: Path) -> None:
    logits, target, file = saved(tmp_path, 30, ALL_LOGITS_UP_TO + 1)
    rows = file.read().to_pylist()[:30]
    assert "logits" not in rows[0]
    probabilities = logits.double().softmax(1)
    for n, row in enumerate(rows):
        assert len(row["top_classes"]) == KEPT
        assert row["top_classes"][0] == row["predicted"] == int(logits[n].argmax())
        kept = np.exp(np.array(row["top_logits"]) - row["log_sum_exp"])
        np.testing.assert_allclose(kept, probabilities[n, row["top_classes"]], rtol=1e-6)
        assert kept[-1] >= np.delete(probabilities[n].numpy(), row["top_classes"]).max() - 1e-9
        likelihood = row["log_sum_exp"] - row["target_logit"]
        assert likelihood == pytest.approx(-float(probabilities[n, target[n]].log()), rel=1e-6)
