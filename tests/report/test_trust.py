from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tailgrad.report.folders import Run, Study, read_run, read_study
from tailgrad.report.run_report import run_page
from tailgrad.report.study_report import study_page
from tailgrad.report.trust import missing, run_checks, study_checks


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    return read_run(run_folder)


@pytest.fixture(scope="module")
def study(study_folder: Path) -> Study:
    return read_study(study_folder)


def check(run: Run, title: str) -> tuple[str, str, str]:
    (found,) = [one for one in run_checks(run) if one.title == title]
    return found.verdict, found.tone, found.text


def test_one_run_is_one_seed(run: Run) -> None:
    assert check(run, "Seeds")[:2] == ("one", "warn")


@pytest.mark.parametrize(
    ("data", "split", "verdict", "tone"),
    [
        ({"group_duplicates": True}, {"sha256": "a"}, "kept apart", "fine"),
        ({"group_duplicates": False}, {"sha256": "a"}, "may leak", "warn"),
        ({"drop_leaks": False}, {"leakage": [["a", "b"]]}, "leak", "warn"),
        ({"drop_leaks": True}, {"leakage": [["a", "b"]]}, "kept apart", "fine"),
        ({}, {"sha256": "a"}, "not recorded", "missing"),
    ],
)
def test_duplicates_are_judged_by_configuration_and_split(
    run: Run, data: dict[str, Any], split: dict[str, Any], verdict: str, tone: str
) -> None:
    assert check(replace(run, config={"data": data}, split=split), "Duplicates")[:2] == (verdict, tone)


def test_wrong_labels_and_unreadable_images_are_counted(run: Run) -> None:
    assert check(run, "Images and labels")[:2] == ("as given", "fine")
    changed = replace(run, result=run.result | {"wrong_labels": 7, "unreadable": {"count": 2}})
    verdict, tone, text = check(changed, "Images and labels")
    assert (verdict, tone) == ("not as given", "warn")
    assert "7 training labels" in text
    assert "2 images" in text


def test_classes_with_few_test_images_are_counted(run: Run) -> None:
    few = [row.support for row in run.test.classes if row.support < 30]
    verdict, _, text = check(run, "Test images")
    assert verdict == "few in some classes"
    assert text.startswith(f"{len(few)} of {len(run.test.classes)} classes")
    assert f"the fewest {min(few)}" in text


def test_every_missing_piece_is_named(run: Run, tmp_path: Path) -> None:
    bare = replace(
        run, config={}, environment={}, split={}, epochs=(), interference={}, path=tmp_path, records=()
    )
    told = " ".join(missing(bare))
    for piece in (
        "config.yaml",
        "environment.json",
        "split.json",
        "metrics.jsonl",
        "interference/",
        "predictions",
    ):
        assert piece in told
    page = run_page(bare)
    assert page.missing == missing(bare)
    tones = {one.title: one.tone for one in run_checks(bare)}
    assert [tones[title] for title in ("Split", "Duplicates", "Environment")] == ["missing"] * 3


def test_a_study_whose_methods_saw_other_images_is_not_to_be_trusted(study: Study) -> None:
    titles = {one.title: one for one in study_checks(study)}
    assert titles["Splits"].verdict == "shared"
    assert titles["Runs"].verdict == "all 6 finished"
    first, *rest = study.runs["csba"]
    other = replace(first, split={"sha256": "other"})
    mixed = replace(study, runs=study.runs | {"csba": (other, *rest)})
    assert {one.title: one.tone for one in study_checks(mixed)}["Splits"] == "warn"
    bare = replace(study, runs=study.runs | {"csba": (replace(first, split={}), *rest)})
    assert {one.title: one.tone for one in study_checks(bare)}["Splits"] == "missing"


@pytest.mark.parametrize(("seeds", "tone"), [(1, "warn"), (2, "warn"), (3, "fine")])
def test_few_seeds_are_warned_of(study: Study, seeds: int, tone: str) -> None:
    fewer = replace(study, runs={name: runs[:seeds] for name, runs in study.runs.items()})
    assert study_checks(fewer)[0].tone == tone


@pytest.mark.parametrize(
    ("epochs", "kept", "status", "verdict"),
    [
        (11, 1, "finished", "kept an early epoch"),
        (40, 9, "finished", "kept an early epoch"),
        (40, 10, "finished", "run to its end"),
        (5, 1, "finished", "run to its end"),
        (11, 10, "stopped", "stopped early"),
    ],
)
def test_a_network_from_an_early_epoch_is_no_trained_one(
    run: Run, epochs: int, kept: int, status: str, verdict: str
) -> None:
    result = run.result | {"epochs": epochs, "best_epoch": kept, "status": status}
    found = check(replace(run, result=result), "Training")
    assert found[0] == verdict
    assert (found[1] == "fine") == (verdict == "run to its end")
    assert str(kept) in found[2]
    assert str(epochs) in found[2]


@pytest.mark.parametrize(
    ("seeds", "verdict", "pairs", "drawn"),
    [
        ((0, 1, 2), "3 seeds", "runs of the same seed", "every seed draws its own split"),
        ((0, 0, 0), "3 splits", "runs of the same split", "splits are drawn anew"),
    ],
)
def test_pairs_are_called_what_they_are(
    study: Study, seeds: tuple[int, ...], verdict: str, pairs: str, drawn: str
) -> None:
    runs = {
        method: tuple(
            replace(run, result=run.result | {"seed": seed}) for run, seed in zip(found, seeds, strict=True)
        )
        for method, found in study.runs.items()
    }
    changed = replace(study, runs=runs)
    (found,) = [one for one in study_checks(changed) if one.title == "Seeds"]
    assert found.verdict == verdict
    assert pairs in found.text
    facts = study_page(changed).facts
    assert verdict in facts
    assert drawn in facts
