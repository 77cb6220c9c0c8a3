"""``tailgrad reliability``: tables that fit a narrow terminal, one CSV row a class, one JSON object."""

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tailgrad
from tailgrad.recipes.config import Config
from tailgrad.recipes.run_folder import config_text

NAMES = ["often seen and long of name", "some", "rare"]


def part(name: str, sizes: tuple[int, ...]) -> Any:
    target = np.repeat(np.arange(3), sizes)
    logits = np.random.default_rng(0).normal(size=(len(target), 3)) + 2 * np.eye(3)[target]
    return pa.table({"part": [name] * len(target), "target": target, "logits": logits.tolist()})


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The files of a finished run that the command reads."""
    (tmp_path / "config.yaml").write_text(config_text(Config(source="x")))
    (tmp_path / "environment.json").write_text("{}")
    classes = {"names": NAMES, "counts": [90, 30, 5]}
    (tmp_path / "result.json").write_text(json.dumps({"classes": classes, "status": "finished"}))
    parts = [part("val", (20, 12, 4)), part("test", (10, 10, 10))]
    pq.write_table(pa.concat_tables(parts), tmp_path / "predictions.parquet")
    return tmp_path


def test_tables_fit_sixty_columns_and_tell_what_the_call_returns(
    cli: Any, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    done = cli("reliability", finished)
    assert (done.status, done.err) == (0, "")
    found = tailgrad.reliability(finished)
    drawn = [line for line in done.out.splitlines() if re.search(r"─|\[[.+-]", line)]
    assert sum(line.startswith("─") for line in drawn) == 5
    assert max(map(len, drawn)) <= 60
    rate = found.false_head.rate
    assert f"{rate.value:.2f} [" in done.out
    assert " 4*" in done.out
    assert all(word in done.out for name in NAMES for word in name.split())


def test_csv_is_one_row_a_class(cli: Any, finished: Path) -> None:
    done = cli("reliability", finished, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["class"] for row in rows] == NAMES
    wanted = tailgrad.reliability(finished).calibration[2].gap_true
    assert wanted is not None
    assert float(rows[2]["gap_true"]) == wanted.value


def test_json_is_what_the_call_returns(cli: Any, finished: Path) -> None:
    done = cli("reliability", finished, "--alpha", "0.3", "--answered", "0.5", "--json")
    wanted = tailgrad.reliability(finished, alpha=0.3, answered=0.5).to_dict()
    assert json.loads(done.out) == json.loads(json.dumps(wanted))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--alpha", "2"], "alpha must be in (0, 1), got 2.0"),
        (["--alpha", "0.001"], "alpha must be at least 0.027 with 36 validation images, got 0.001"),
        (["--score", "aps"], "score must be a known name, got 'aps'"),
        (["--answered", "0"], "answered must be in (0, 1], got 0.0"),
    ],
)
def test_bad_options_end_with_status_two(cli: Any, finished: Path, words: list[str], said: str) -> None:
    assert said in cli("reliability", finished, *words).error


def test_a_folder_that_is_no_run_is_named(cli: Any, here: Path) -> None:
    assert "got nowhere without config.yaml" in cli("reliability", "nowhere").error


def test_without_crepes_the_rest_is_shown_and_the_extra_named(
    cli: Any, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "crepes", None)
    monkeypatch.setitem(sys.modules, "crepes.extras", None)
    done = cli("reliability", finished)
    assert done.status == 0
    assert "No conformal sets: " in done.out
    assert "pip install 'tailgrad[conformal]'" in done.out
    assert "pip install 'tailgrad[conformal]'" in cli("reliability", finished, "--alpha", "0.2").error
