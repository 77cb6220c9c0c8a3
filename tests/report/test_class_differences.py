from pathlib import Path

import pytest

from tailgrad.evaluate import paired_difference, student_t
from tailgrad.report.blocks import Table
from tailgrad.report.class_differences import class_difference_blocks
from tailgrad.report.folders import Study, read_study


@pytest.fixture(scope="module")
def study(study_folder: Path) -> Study:
    return read_study(study_folder)


def test_differences_by_class_are_paired_by_seed(study: Study) -> None:
    table = next(block for block in class_difference_blocks(study) if isinstance(block, Table))
    assert table.header == ("class", "train", "baseline", "csba", "csba minus baseline")
    name = study.first.classes.names[0]
    a, b = ([run.test.row(name).f1.value for run in study.runs[method]] for method in ("csba", "baseline"))
    wanted = paired_difference(a, b, test_train_ratio=120 / 444)
    assert table.rows[0][4] == f"{wanted.mean:+.3f} ({wanted.low:+.3f} to {wanted.high:+.3f})"
    assert table.rows[0][3].startswith(f"{student_t(a).value:.3f} (")


def test_means_stay_within_what_f1_can_be(study: Study) -> None:
    figure = class_difference_blocks(study)[0]
    for trace in figure.spec["data"]:
        ends = zip(trace["x"], trace["error_x"]["arrayminus"], trace["error_x"]["array"], strict=True)
        assert all(x - low >= -1e-3 and x + high <= 1 + 1e-3 for x, low, high in ends)


def test_runs_without_a_partner_are_left_out_of_the_difference(study: Study) -> None:
    fewer = {"baseline": study.runs["baseline"][:2], "csba": study.runs["csba"][2:]}
    apart = Study(study.name, study.settings, study.comparison, fewer, ())
    blocks = class_difference_blocks(apart)
    assert next(block for block in blocks if isinstance(block, Table)).rows[0][4] == "\u2013"
    assert "one seed" in blocks[1].text
