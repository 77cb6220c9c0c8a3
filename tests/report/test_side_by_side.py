from dataclasses import replace
from pathlib import Path

import pytest

from tailgrad.report.blocks import Picker
from tailgrad.report.folders import read_study
from tailgrad.report.side_by_side import side_by_side_blocks


def test_every_run_can_be_picked_and_brings_its_figures(study_folder: Path) -> None:
    study = read_study(study_folder)
    picker, _ = side_by_side_blocks(study)
    assert isinstance(picker, Picker)
    assert len(picker.labels) == len(picker.content["runs"]) == 6
    assert picker.labels[picker.content["second"]].startswith("csba, seed 0")
    order = sorted(range(6), key=lambda k: -study.first.classes.counts[k])
    for run, drawn in zip(study.all_runs, picker.content["runs"], strict=True):
        assert drawn["f1"] == pytest.approx([run.test.classes[k].f1.value for k in order], abs=5.1e-4)
        assert drawn["figures"][0][2] == pytest.approx(run.test.macro_f1.value, abs=6e-5)
        heldout = run.interference["heldout"].excess
        assert drawn["excess"][0][1] == pytest.approx(heldout[order[0], order[1]], abs=6e-4)


def test_one_run_has_nothing_beside_it(study_folder: Path) -> None:
    study = read_study(study_folder)
    assert side_by_side_blocks(replace(study, runs={"csba": study.runs["csba"][:1]})) == ()
