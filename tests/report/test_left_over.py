"""A study with failed runs: which, why, and what is left."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tailgrad.report import write_report
from tailgrad.report.blocks import Check, Checks
from tailgrad.report.folders import Study, read_study
from tailgrad.report.left_over import compared
from tailgrad.report.study_report import study_page


@pytest.fixture
def broken(tmp_path: Path, study_folder: Path) -> Path:
    """Two runs of CSBA are lost, each in its own way, and nothing was compared."""
    copy = tmp_path / "a study 雪"
    shutil.copytree(study_folder, copy)
    for seed in (1, 2):
        (copy / "runs" / f"panels.quick.csba.seed{seed}" / "result.json").unlink()
    said = {"kind": "diverged", "text": "loss is nan <b>at</b> step 3"}
    (copy / "runs" / "panels.quick.csba.seed1" / "failure.json").write_text(json.dumps(said))
    job = copy / "jobs" / "panels.quick.csba.seed2"
    job.mkdir(parents=True)
    (job / "status.json").write_text(json.dumps({"kind": "died", "text": "killed for memory"}))
    (copy / "comparison.json").unlink()
    return copy


def values(study: Study, method: str) -> list[float]:
    return [run.test.macro_f1.value for run in study.runs[method]]


def test_failed_runs_are_named_with_their_reasons(broken: Path) -> None:
    study = read_study(broken)
    assert study.unfinished == {
        "panels.quick.csba.seed1": "loss is nan <b>at</b> step 3",
        "panels.quick.csba.seed2": "killed for memory",
    }
    trust = study_page(study).sections[-1].blocks[0]
    assert isinstance(trust, Checks)
    found = next(row for row in trust.rows if row.title == "Runs")
    assert isinstance(found, Check)
    assert (found.verdict, found.tone) == ("2 not finished", "warn")
    assert "4 runs" in found.text
    assert "killed for memory" in found.text
    html = write_report(broken).read_text(encoding="utf-8")
    assert "loss is nan &lt;b&gt;at&lt;/b&gt; step 3" in html


def test_what_is_left_is_compared_over_common_seeds(broken: Path) -> None:
    (broken / "runs" / "panels.quick.csba.seed1" / "result.json").write_text(
        (broken / "runs" / "panels.quick.baseline.seed1" / "result.json")
        .read_text(encoding="utf-8")
        .replace('"baseline"', '"csba"'),
        encoding="utf-8",
    )
    study = read_study(broken)
    found = compared(study)
    rows = {row["method"]: row for row in found["rows"] if row["metric"] == "macro_f1"}
    baseline, csba = values(study, "baseline"), values(study, "csba")
    assert (rows["baseline"]["n"], rows["csba"]["n"]) == (3, 2)
    assert rows["baseline"]["mean"] == pytest.approx(np.mean(baseline))
    (paired,) = [row for row in found["paired"] if row["metric"] == "macro_f1"]
    difference = np.subtract(csba, baseline[:2])
    assert paired["mean"] == pytest.approx(difference.mean())
    assert paired["n"] == 2
    ratio = study.test_train_ratio
    assert ratio is not None
    half = stats.t.ppf(0.975, 1) * difference.std(ddof=1) * (1 / 2 + ratio) ** 0.5
    assert paired["high"] - paired["mean"] == pytest.approx(half)


def test_a_finished_comparison_is_taken_as_it_is(study_folder: Path) -> None:
    study = read_study(study_folder)
    assert compared(study) is study.comparison


def test_one_method_left_has_nothing_to_be_compared_with(broken: Path) -> None:
    shutil.rmtree(broken / "runs" / "panels.quick.csba.seed0")
    study = read_study(broken)
    assert compared(study)["paired"] == []
    assert "There is no other method" in study_page(study).sections[0].lead


def test_methods_that_wait_to_be_run_count_as_tests(broken: Path) -> None:
    csba, baseline = (
        broken / "runs" / f"panels.quick.{name}.seed1" / "result.json" for name in ("csba", "baseline")
    )
    csba.write_text(baseline.read_text(encoding="utf-8").replace('"baseline"', '"csba"'), encoding="utf-8")

    def headline() -> dict[str, Any]:
        rows = compared(read_study(broken))["paired"]
        return next(row for row in rows if row["metric"] == "macro_f1")

    alone = headline()
    assert alone["p_holm"] == alone["p"] < 1
    settings = broken / "study.yaml"
    settings.write_text(settings.read_text().replace("- csba", "- csba\n- waits\ndropped:\n- gone"))
    assert headline()["p"] == alone["p"]
    assert headline()["p_holm"] == pytest.approx(min(1, 3 * alone["p"]))
