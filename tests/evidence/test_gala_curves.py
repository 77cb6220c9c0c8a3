"""GALA's curves against sums by hand; whole runs are in test_study_files."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tailgrad.evidence.analyses import gala_curves
from tailgrad.evidence.analyses.gala_curves import negatives_from_frequent
from tailgrad.evidence.analyses.stored_logits import Part
from tailgrad.recipes.run_folder import RunFolder

COUNTS = np.array([90, 30, 10])
# The example of the methods reference: arg-max by tau.
ROWS = [(0.7, 0.2, 0.1), (0.6, 0.35, 0.05), (0.5, 0.1, 0.4), (0.55, 0.05, 0.4)]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Test and validation images with the same logits; the labels are what tau = 1 predicts."""
    rows = [np.log(row).tolist() for row in ROWS]
    target = [0, 1, 2, 2]
    table = {"part": ["val"] * 4 + ["test"] * 4, "target": target * 2, "logits": rows * 2}
    pq.write_table(pa.table(table), tmp_path / "predictions.parquet")
    (tmp_path / "result.json").write_text(json.dumps({"classes": {"counts": COUNTS.tolist()}}))
    return RunFolder(tmp_path)


def test_negatives_are_summed_by_the_class_of_the_example() -> None:
    random = torch.Generator().manual_seed(1)
    logits, target = torch.randn(30, 4, generator=random), torch.randint(4, (30,), generator=random)
    counts = [5, 80, 40, 20]  # four classes: the frequent third is class 1
    found = negatives_from_frequent(Part(logits, target), counts)
    shares = torch.softmax(logits.double(), 1).numpy()
    for j in range(4):
        pushes = [(shares[i, j], int(target[i]) == 1) for i in range(30) if int(target[i]) != j]
        total = sum(push for push, _ in pushes)
        assert found[j] == pytest.approx(sum(push for push, frequent in pushes if frequent) / total)


def test_rebalancing_is_that_of_the_released_code(run: RunFolder) -> None:
    found = gala_curves._accuracies(run, COUNTS)
    assert found["transductive"] == 1.0  # the example's predictions at tau = 1
    assert found["transductive_gain"] == pytest.approx(0.75)  # plain: class 0 four times, right once
    # inductive: columns by class-balanced means of the same rows
    columns = np.mean([ROWS[0], ROWS[1], np.mean(ROWS[2:], axis=0)], axis=0)
    predicted = (np.array(ROWS) / columns).argmax(1)
    assert found["inductive"] == pytest.approx(np.mean(predicted == [0, 1, 2, 2]))


@pytest.mark.parametrize("seed", range(3))
def test_tau_tuned_on_a_long_tail_is_right_for_balanced_test_images(seed: int) -> None:
    """Classifiers that still lean to frequent classes; the best tau is found on the test images by trying."""
    random, counts = np.random.default_rng(seed), np.round(1000 * 100 ** (-np.arange(10) / 9)).astype(int)
    val, test = (_leaning(np.repeat(np.arange(10), n), counts, random) for n in (counts, 400))
    tried = {tau / 10: _right(_divided(test.logits, tau / 10), test) for tau in range(31)}
    tuned = gala_curves.rebalanced(val, counts)["transductive_tuned"]
    assert _right(tuned.transform(test.logits), test) > max(tried.values()) - 0.008
    assert min(float(tuned.tau), max(tried, key=lambda tau: tried[tau])) >= 1, "it leans to frequent classes"


def _leaning(target: np.ndarray, counts: np.ndarray, random: np.random.Generator) -> Part:
    logits = 1.6 * random.normal(size=(len(target), 10)) + 0.3 * np.log(counts)
    logits[np.arange(len(target)), target] += 3.2
    return Part(torch.tensor(logits), torch.tensor(target))


def _divided(logits: torch.Tensor, tau: float) -> torch.Tensor:
    shares = logits.softmax(1)
    return shares / shares.sum(0) ** tau


def _right(scores: torch.Tensor, part: Part) -> float:
    return float((scores.argmax(1) == part.target).double().mean())


@pytest.mark.parametrize(
    ("curve", "slope"),
    [((3.0, 2.0, 1.0), 1.0), ((1.0, 2.0, 3.0), -1.0), ((2.0, 2.0, 2.0), 0.0), ((np.nan, 2.0, 1.0), 1.0)],
)
def test_slopes_are_rank_correlations_with_the_counts(curve: tuple[float, ...], slope: float) -> None:
    assert gala_curves._slope(np.array(curve), COUNTS) == pytest.approx(slope)


def test_cosines_by_hand() -> None:
    found = gala_curves._cosines(np.array([[1.0, 0], [0, 2], [0, 0]]), np.array([[1.0, 1], [0, 3], [1, 0]]))
    assert found[:2] == pytest.approx([2**-0.5, 1.0])
    assert np.isnan(found[2])
