"""The CSBA paper's tables from two tiny runs, recomputed from the files of those runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailgrad.checks import InputError
from tailgrad.evidence import Evidence, Lab, study
from tailgrad.evidence.analyses import csba_tables
from tailgrad.evidence.analyses.csba_tables import analyse
from tailgrad.interference import Interference
from tailgrad.recipes.run_folder import RunFolder

pytestmark = pytest.mark.long

SETTINGS = {"reference": {"group": "grouped", "method": "baseline"}, "leave_out": "9", "together": ["8", "9"]}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return study("csba-pv", size="smoke", out=tmp_path_factory.mktemp("evidence") / "study")


@pytest.fixture(scope="module")
def runs(evidence: Evidence) -> dict[str, RunFolder]:
    folders = [RunFolder(path) for path in (evidence.folder / "grouped" / "runs").iterdir()]
    return {folder.result()["method"]: folder for folder in folders}


def _figure(evidence: Evidence, name: str) -> float:
    return float(evidence.content["figures"][name]["value"])


def _seen(folder: RunFolder, stage: str) -> Interference:
    return Interference.load(folder.path / "interference" / f"{stage}.json")


def _upper(matrix: Any) -> Any:
    return np.asarray(matrix)[np.triu_indices(len(matrix), 1)]


def test_parameters_are_those_of_the_networks(evidence: Evidence) -> None:
    assert _figure(evidence, "grouped.baseline.parameters") == 1_359_454
    assert _figure(evidence, "grouped.csba.parameters") == 1_801_822
    assert _figure(evidence, "grouped.csba.parameters.added") == pytest.approx(442_368 / 1_359_454)


def test_branches_of_the_baseline_do_the_same_and_those_of_csba_do_not(
    evidence: Evidence, runs: dict[str, RunFolder]
) -> None:
    assert _figure(evidence, "grouped.baseline.share") == pytest.approx(1 / 3, abs=1e-6)
    branches = _seen(runs["csba"], "train").branches
    assert branches is not None
    largest = [max(column) / sum(column) for column in branches.norms.T]
    assert _figure(evidence, "grouped.csba.share") == pytest.approx(np.mean(largest))
    assert _figure(evidence, "grouped.csba.share") > 1 / 3 + 1e-4
    same = np.argmax(branches.norms[:, 8]) == np.argmax(branches.norms[:, 9])
    assert _figure(evidence, "grouped.csba.together") == float(same)


def test_conflict_is_of_the_parameters_and_images_that_it_says(
    evidence: Evidence, runs: dict[str, RunFolder]
) -> None:
    for method, folder in runs.items():
        train, heldout = _seen(folder, "train"), _seen(folder, "heldout")
        stem = f"grouped.{method}"
        assert _figure(evidence, f"{stem}.all_train") == pytest.approx(_upper(train.groups["all"]).mean())
        assert _figure(evidence, f"{stem}.spread_train") == pytest.approx(_upper(train.groups["all"]).std())
        excess = _upper(heldout.conflict) - _upper(heldout.null)
        assert _figure(evidence, f"{stem}.excess_heldout") == pytest.approx(excess.mean())
    before, after = (_figure(evidence, f"grouped.{m}.all_train") for m in ("baseline", "csba"))
    assert _figure(evidence, "grouped.csba.all_train.change") == pytest.approx(after - before)


def test_the_worst_pairs_are_chosen_on_either_run(evidence: Evidence, runs: dict[str, RunFolder]) -> None:
    before, after = (_upper(_seen(runs[m], "train").conflict) for m in ("baseline", "csba"))
    for rule, chosen_on in (("worst_of_reference", before), ("worst_of_method", after)):
        worst = np.argsort(chosen_on)[:6]
        moved = float((after - before)[worst].mean())
        assert _figure(evidence, f"grouped.csba.{rule}.conflict") == pytest.approx(moved)


def test_named_pairs_are_followed_whatever_they_were_before(
    evidence: Evidence, runs: dict[str, RunFolder], tmp_path: Path
) -> None:
    groups, pairs = {"grouped": evidence.folder / "grouped"}, [["0", "9"], ["2", "7"], ["4", "1"]]
    found = analyse(Lab(tmp_path / "analysis", {}, groups, {**SETTINGS, "pairs": pairs}))
    before, after = (_seen(runs[m], "train") for m in ("baseline", "csba"))
    for what in ("conflict", "excess"):
        moved = [
            getattr(after, what)[int(a), int(b)] - getattr(before, what)[int(a), int(b)] for a, b in pairs
        ]
        assert found.figures[f"grouped.csba.named.{what}"].mean.value == pytest.approx(np.mean(moved))
    (table,) = [table for table in found.tables if table.title.startswith("Pairs: csba in grouped")]
    assert [row[0] for row in table.rows] == ["0 and 9", "2 and 7", "4 and 1"]
    none = analyse(Lab(tmp_path / "none", {}, groups, SETTINGS))
    assert "grouped.csba.named.conflict" not in none.figures


def test_a_pair_of_classes_that_are_not_there_is_named(evidence: Evidence, tmp_path: Path) -> None:
    groups = {"grouped": evidence.folder / "grouped"}
    with pytest.raises(InputError, match=r"settings\.pairs must be .*got 'ship'"):
        analyse(Lab(tmp_path / "analysis", {}, groups, {**SETTINGS, "pairs": [["0", "ship"]]}))


def test_the_gap_weighs_classes_by_the_training_prior(evidence: Evidence, runs: dict[str, RunFolder]) -> None:
    folder = runs["baseline"]
    counts = np.array(folder.result()["classes"]["counts"])
    rise = _seen(folder, "heldout").loss - _seen(folder, "train").loss
    assert _figure(evidence, "grouped.baseline.gap") == pytest.approx((rise * counts).sum() / counts.sum())


def test_one_class_is_left_out_of_the_others(evidence: Evidence, runs: dict[str, RunFolder]) -> None:
    rows = runs["csba"].result()["test"]["classes"]
    mean = np.mean([row["f1"]["value"] for row in rows if row["name"] != "9"])
    assert _figure(evidence, "grouped.csba.f1_of_others") == pytest.approx(mean)


def test_tables_hold_every_class_and_pair(evidence: Evidence) -> None:
    tables = {table["title"]: table for table in evidence.content["tables"]}
    assert len(tables["Per class: csba in grouped"]["rows"]) == 10
    branches = tables["Branch gradients of csba in grouped, first run"]
    assert (len(branches["rows"]), len(branches["header"])) == (3, 11)
    pairs = [table for title, table in tables.items() if title.startswith("Most opposed pairs: csba")]
    assert [len(table["rows"]) for table in pairs] == [6, 6]


def test_runs_of_the_same_name_in_two_groups_stay_apart(evidence: Evidence, tmp_path: Path) -> None:
    """Another group may hold a run of the same name; its figures must not be those of the first."""
    other = tmp_path / "study" / "leaking"
    (other / "runs").mkdir(parents=True)
    for place in (evidence.folder / "grouped" / "runs").iterdir():
        copy = other / "runs" / place.name
        copy.mkdir()
        text = (place / "result.json").read_text()
        (copy / "result.json").write_text(text.replace('"accuracy": {', '"accuracy": {"was": 1,'))
        (copy / "config.yaml").write_text((place / "config.yaml").read_text())
    groups = {"grouped": evidence.folder / "grouped", "leaking": other}
    found = analyse(Lab(tmp_path / "analysis", {}, groups, SETTINGS)).figures
    assert "grouped.csba.share" in found
    assert "leaking.csba.share" not in found
    assert "leaking.csba.parameters" in found


def test_an_interval_of_two_runs_ends_where_shares_do() -> None:
    def run(split: int, value: float) -> dict[str, Any]:
        figures = {"name": "cat", "recall": {"value": value}}
        return {"seed": 0, "split_seed": split, "own_test": True, "test": {"classes": [figures]}}

    runs = [run(0, 0.1), run(1, 0.9)]
    assert csba_tables._mean(runs, "recall of cat") == "0.500 [0.000, 1.000]"
