"""A run that looks at its class gradients while it trains."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tailgrad.recipes import RunFolder, train
from tailgrad.report import write_report
from tailgrad.report.folders import read_run


@pytest.fixture(scope="module")
def runs(photos: Path, fast: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    base = tmp_path_factory.mktemp("monitored")
    for every in (0, 2):
        above = fast | {"interference": {"enabled": False, "monitor_every": every}}
        train(photos, "quick", overrides=above, out=base / str(every))
    return {every: base / str(every) for every in (0, 2)}


def test_records_stand_among_the_epochs(runs: dict[int, Path]) -> None:
    lines = [json.loads(line) for line in (runs[2] / "metrics.jsonl").read_text().splitlines()]
    records = [line for line in lines if line.get("kind") == "interference"]
    assert records
    assert all(b["step"] - a["step"] == 2 for a, b in pairwise(records))
    names = RunFolder(runs[2]).result()["classes"]["names"]
    assert set(records[0]["count"]) <= set(names)
    assert sum(records[0]["count"].values()) > 0
    assert [line["epoch"] for line in lines if "kind" not in line] == [1, 2]


def test_training_is_the_same_with_and_without(runs: dict[int, Path]) -> None:
    states = [load_file(runs[every] / "checkpoint" / "last.safetensors") for every in (0, 2)]
    assert states[0].keys() == states[1].keys()
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert not any("kind" in line for line in (runs[0] / "metrics.jsonl").read_text().splitlines())


def test_reports_leave_the_records_out(runs: dict[int, Path]) -> None:
    assert [row["epoch"] for row in read_run(runs[2]).epochs] == [1, 2]
    assert write_report(runs[2]).is_file()
