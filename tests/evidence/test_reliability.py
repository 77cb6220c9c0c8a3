"""The analysis of reliability: its figures on made-up runs, against direct computation."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailgrad.checks import InputError
from tailgrad.evaluate import ReliabilityOptions, evaluate_reliability
from tailgrad.evaluate.softmax import softmax
from tailgrad.evidence.analyses.reliability import _figures, analyse, values_of, weighted_ece
from tailgrad.evidence.lab import Lab
from tailgrad.evidence.measured import measured
from tailgrad.types import ClassInfo

INFO = ClassInfo(("often", "some", "rare"), (90, 30, 6))
SETTINGS = {
    "reference": "ce",
    "posthoc": {"ce": {"scaled": {"name": "temperature_scaling", "options": {"balanced": True}}}},
    "alpha": 0.2,
    "splits": 3,
}


def part(seed: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know the frequent classes better than the rare one."""
    random = np.random.default_rng(seed)
    target = np.repeat(np.arange(3), sizes)
    logits = random.normal(size=(len(target), 3)) + np.diag([4.0, 3.0, 0.5])[target]
    return logits.astype(np.float32) + np.array([1.0, 0.5, 0.0], np.float32), target


def write_run(folder: Path, method: str, split: int) -> None:
    tables = []
    for name, (logits, target) in {"val": part(split, (30, 10, 3)), "test": part(9, (20, 20, 20))}.items():
        columns = {"part": [name] * len(target), "target": target, "logits": logits.tolist()}
        tables.append(pa.table(columns))
    folder.mkdir(parents=True)
    pq.write_table(pa.concat_tables(tables), folder / "predictions.parquet")
    result = {"method": method, "seed": 0, "split_seed": split, "own_test": True, "status": "finished"}
    classes = {"names": list(INFO.names), "counts": list(INFO.counts)}
    result |= {"classes": classes, "test": {"images": 60, "accuracy": {"value": 0.5, "low": 0.4}}}
    (folder / "result.json").write_text(json.dumps(result))


def lab(folder: Path) -> Lab:
    for method in ("ce", "other"):
        for split in range(2):
            write_run(folder / "group" / "runs" / f"{method}{split}", method, split)
    return Lab(folder / "analysis", {}, {"runs": folder / "group"}, SETTINGS)


def test_figures_are_means_over_runs_with_changes_against_the_reference(tmp_path: Path) -> None:
    found = analyse(lab(tmp_path))
    rates = [
        evaluate_reliability(part(split, (30, 10, 3)), part(9, (20, 20, 20)), INFO).false_head.rate.value
        for split in range(2)
    ]
    assert found.figures["ce.fhr"].mean.value == pytest.approx(np.mean(rates))
    assert found.figures["ce.fhr"].values == pytest.approx(rates)
    assert found.figures["other.fhr.change"].values == pytest.approx((0.0, 0.0))
    assert found.figures["scaled.fhr.change"].values == pytest.approx((0.0, 0.0)), "a temperature moves none"
    assert found.figures["scaled.ece.change"].mean.value != 0
    assert "ce.accuracy" not in found.figures
    assert [row[0] for row in found.tables[0].rows] == ["ce", "scaled", "other"]
    for claimed in ("ce.half.marginal.tail", "other.half.larger", "ce.val.class.size", "ce.gain_tail"):
        assert claimed in found.figures


def test_a_figure_that_the_first_split_lacks_is_that_of_the_others() -> None:
    """Where no tail image is answered there is no gain of the tail, in whichever split that is."""
    gains = [float("nan"), 0.1, 0.3]
    runs = [
        measured({"seed": 0, "split_seed": split, "own_test": True, "test": {}}, {"gain_tail": gain})
        for split, gain in enumerate(gains)
    ]
    for own in (runs, runs[::-1]):
        assert sorted(_figures({"ce": own}, "ce")["ce.gain_tail"].values) == pytest.approx([0.1, 0.3])


def test_values_follow_from_the_evaluation() -> None:
    val, test = part(0, (30, 10, 3)), part(1, (20, 20, 20))
    found = values_of(val, test, INFO, ReliabilityOptions(alpha=0.2), 2)
    whole = evaluate_reliability(val, test, INFO, ReliabilityOptions(alpha=0.2))
    tail = whole.abstention.groups["tail"]
    assert found["answered_gap"] == pytest.approx(
        whole.abstention.groups["head"].answered.value - tail.answered.value
    )
    assert tail.after is not None
    assert found["gain_tail"] == pytest.approx(tail.after.value - tail.before.value)
    assert found["val.class.size"] == whole.conformal[2].size.value
    assert found["val.larger"] == pytest.approx(whole.conformal[2].size.value - whole.conformal[0].size.value)
    assert found["half.class.tail"] > found["half.marginal.tail"]
    assert found["half.larger"] == pytest.approx(found["half.class.size"] - found["half.marginal.size"])


def test_where_sets_cannot_be_made_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crepes", None)
    monkeypatch.setitem(sys.modules, "crepes.extras", None)
    with pytest.raises(InputError, match="must have the package crepes"):
        values_of(part(0, (30, 10, 3)), part(1, (20, 20, 20)), INFO, ReliabilityOptions(alpha=0.2), 2)


@pytest.mark.parametrize("seed", range(3))
def test_weighted_error_is_that_of_repeated_images(seed: int) -> None:
    logits, target = part(seed, (6, 6, 6))
    p = softmax(logits)
    times = np.array([5, 2, 1])[target]
    many = weighted_ece(np.repeat(p, times, axis=0), np.repeat(target, times), np.array([30, 12, 6]))
    assert weighted_ece(p, target, np.array([5, 2, 1])) == pytest.approx(many)
    whole = evaluate_reliability((logits, target), (logits, target), INFO)
    assert weighted_ece(p, target, np.ones(3)) == pytest.approx(whole.ece)


def test_a_second_call_computes_nothing_anew(tmp_path: Path) -> None:
    place: Any = lab(tmp_path)
    first = analyse(place)
    for path in (tmp_path / "group").rglob("predictions.parquet"):
        path.unlink()
    assert analyse(place).figures == first.figures
