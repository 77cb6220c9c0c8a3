"""Prior collapse: predictions of finished runs on images that lose their content."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tailgrad.checks import InputError
from tailgrad.evidence import Lab, reproduce
from tailgrad.evidence.analyses.finished_runs import class_figures, logits_of, with_given_runs
from tailgrad.evidence.analyses.shift import analyse, class_means, distance, divergence, images_of_test
from tailgrad.recipes import compare
from tailgrad.recipes.restore import restore
from tailgrad.recipes.run_folder import RunFolder

pytestmark = pytest.mark.long

SETTINGS = {"kinds": ["noise", "brightness"], "severities": [0, 0.5, 1], "per_class": 6}


class Constant(nn.Module):
    """Gives every image the same logits."""

    def __init__(self, probabilities: np.ndarray) -> None:
        super().__init__()
        self.logits = torch.tensor(np.log(probabilities), dtype=torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two methods with two seeds."""
    tiny: dict[str, Any] = {
        "data": {"size": 8, "near_duplicates": False},
        "model": {"name": "resnet8"},
        "train": {"epochs": 1, "batch_size": 128, "precision": "float32", "channels_last": False},
        "interference": {"enabled": False},
    }
    folder = tmp_path_factory.mktemp("comparisons") / "fixed"
    return compare("digits-lt", ["ce", "focal"], seeds=2, overrides=tiny, out=folder).folder


@pytest.fixture
def lab(whole: Path, tmp_path: Path) -> Lab:
    return Lab(tmp_path, {"images": "digits-lt"}, {"fixed": whole}, SETTINGS)


@pytest.fixture(scope="module")
def run(whole: Path) -> RunFolder:
    return RunFolder(next(iter(sorted((whole / "runs").glob("*.ce.*")))))


def test_clean_images_give_the_run_s_own_predictions_and_recalls(run: RunFolder) -> None:
    network = restore(run.path)
    images, target = images_of_test(run, network)
    logits = logits_of(network, images)
    kept = pq.read_table(run.path / "predictions.parquet").to_pandas().query("part == 'test'")
    assert (logits.argmax(1).numpy() == kept["predicted"].to_numpy()).all()
    assert np.allclose(logits.numpy(), np.stack(kept["logits"]), atol=1e-4)
    recalls = class_means(torch.softmax(logits.double(), 1).numpy(), target)["recall"]
    assert recalls == pytest.approx(class_figures(run.result(), "recall").tolist(), abs=0)


def test_few_images_of_each_class_can_be_asked_for(run: RunFolder) -> None:
    images, target = images_of_test(run, restore(run.path), per_class=7)
    assert len(images) == 70
    assert np.bincount(target).tolist() == [7] * 10


def test_a_constant_network_stays_at_its_constant(run: RunFolder) -> None:
    constant = np.arange(1.0, 11) / 55
    network: Any = replace(restore(run.path), model=Constant(constant))
    images, target = images_of_test(run, network)
    found = class_means(torch.softmax(logits_of(network, images).double(), 1).numpy(), target)
    assert found["mean"] == pytest.approx(constant.tolist(), abs=1e-6)
    assert found["recall"] == [0.0] * 9 + [1.0]
    expected = np.maximum(constant - 0.1, 0).sum()
    assert distance(found["mean"], np.full(10, 0.1)) == pytest.approx(expected, abs=1e-6)


def test_classes_count_the_same_whatever_their_images() -> None:
    probabilities = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]])
    found = class_means(probabilities, np.array([0] * 9 + [1]))
    assert found["mean"] == [0.5, 0.5]
    assert class_means(probabilities[:9], np.zeros(9, np.int64))["recall"] == [1.0, None]


def test_distances_are_the_textbook_s() -> None:
    p, q = np.random.default_rng(0).dirichlet(np.ones(6), size=2)
    assert distance(p, q) == pytest.approx(max(abs(p[list(s)].sum() - q[list(s)].sum()) for s in _subsets(6)))
    assert divergence(p, q) == pytest.approx(float(stats.entropy(p, q)))
    assert divergence([1.0, 0.0], [0.25, 0.75]) == pytest.approx(np.log(4))


def _subsets(size: int) -> list[list[int]]:
    return [[i for i in range(size) if mask >> i & 1] for mask in range(1, 2**size)]


def test_the_analysis_measures_every_run_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = analyse(lab)
    wanted = {"ce.own_nearest", "ce.to_prior", "focal.own_distance", "ce.tail_minus_head_loss"}
    assert wanted <= set(found.figures)
    assert len(found.figures["ce.to_prior"].values) == 2
    assert len(list((lab.folder / "cells").iterdir())) == 4
    monkeypatch.setattr("tailgrad.evidence.analyses.shift.restore", None)
    again = analyse(lab)
    assert {name: figure.to_dict() for name, figure in again.figures.items()} == {
        name: figure.to_dict() for name, figure in found.figures.items()
    }


def test_black_images_get_one_prediction(lab: Lab) -> None:
    """So that recall is 1 for one class and 0 for the others."""
    tables = {table.title: table for table in analyse(lab).tables}
    last = [row for row in tables["By severity of brightness"].rows if row[1] == "1"]
    for _, _, _, _, head, tail in last:
        assert float(head) + float(tail) <= 1 / 3 + 1e-3


def test_figures_follow_from_cells(lab: Lab, whole: Path) -> None:
    """``own_nearest`` of cross-entropy recomputed from what was kept of each run."""
    figures = analyse(lab).figures
    expected = []
    for seed in (0, 1):
        run = next((whole / "runs").glob(f"*.ce.*seed{seed}"))
        cell = lab.cell(f"fixed.{run.name}", dict)
        counts = np.array(RunFolder(run).result()["classes"]["counts"])
        ends = [rows[-1]["mean"] for rows in cell["kinds"].values()]
        candidates = (np.full(10, 0.1), counts / counts.sum())
        far, near = (np.mean([distance(end, q) for end in ends]) for q in candidates)
        expected.append(far - near)
    assert figures["ce.own_nearest"].values == pytest.approx(expected)


def test_runs_made_elsewhere_can_be_named(whole: Path, tmp_path: Path) -> None:
    given = with_given_runs(Lab(tmp_path, {"runs": str(whole)}))
    assert sorted(given.runs("runs")) == ["ce", "focal"]
    with pytest.raises(InputError, match="folder of a finished comparison"):
        with_given_runs(Lab(tmp_path, {"runs": str(tmp_path)}))


@pytest.mark.slow
def test_the_study_runs_at_its_smallest(tmp_path: Path) -> None:
    evidence = reproduce("shift", size="smoke", out=tmp_path / "shift")
    assert evidence.verdicts.keys() == {"ce"}
    given = reproduce("shift", str(tmp_path / "shift" / "main"), size="given", out=tmp_path / "given")
    assert "balanced_softmax.own_nearest" in given.content["figures"]
