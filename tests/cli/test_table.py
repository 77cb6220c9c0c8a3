"""tailgrad table on comparisons and on studies with groups, and compare with all in place of names."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def grouped(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with two groups of runs."""
    folder = tmp_path_factory.mktemp("studies") / "mine.full"
    for name in ("even", "tail"):
        (folder / name).mkdir(parents=True)
        shutil.copy(study / "comparison.json", folder / name)
    return folder


def test_metrics_between_commas_are_columns(cli: Any, study: Path) -> None:
    lines = cli("table", study, "--metric", "accuracy, recall_few").out.splitlines()
    assert lines[0] == "| method | seeds | accuracy | recall, few |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| baseline", "| csba"]
    error = cli("table", study, "--metric", "accuracy,recal_few").error
    assert "metric must be a known name, got 'recal_few'; did you mean 'recall_few'?" in error


def test_a_study_of_groups_is_told_group_by_group(cli: Any, study: Path, grouped: Path) -> None:
    alone = cli("table", study).out
    assert cli("table", grouped, "--group", "tail").out == f"**tail**\n\n{alone}"
    assert cli("table", grouped).out.count(alone) == 2
    found = json.loads(cli("table", grouped, "--json").out)
    assert set(found) == {"table", "groups"}
    assert set(found["groups"]) == {"even", "tail"}
    assert json.loads(cli("table", study, "--json").out)["metric"] == "macro_f1"


def test_what_is_no_study_is_refused_with_the_remedy(
    cli: Any, study: Path, grouped: Path, here: Path
) -> None:
    assert "run `tailgrad compare` or `tailgrad study` first" in cli("table", here).error
    assert (
        "group must be left out where there is one comparison" in cli("table", study, "--group", "tail").error
    )
    assert "did you mean 'tail'" in cli("table", grouped, "--group", "tial").error


def test_all_with_a_wrong_kind_or_own_regimes_is_refused(cli: Any, photos: Path, here: Path) -> None:
    error = cli("compare", photos, "--methods", "ce,all:los").error
    assert "kind of methods must be a known name, got 'los'; did you mean 'loss'?" in error
    error = cli("compare", photos, "--methods", "all", "--own-regime").error
    assert "--own-regime must come with methods by name, got 'all'" in error
    assert not list(here.iterdir())
