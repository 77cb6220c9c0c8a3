"""Class names that could break a page, a table, a file or a terminal."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tailgrad.interference import Interference
from tailgrad.recipes.run_folder import read_json

pytestmark = pytest.mark.long

NAMES = (
    "<script>alert('x')</script>",
    "quo\"te's & {{ braces }}",
    "../up/and\\down",
    "Straße & Schnee 雪 🌨",
    "n" * 300,
    "[red]markup[/red]",
    "tab\there\x1b[31m",
    "a,b|c&d_e%$",
    "line\nbreak",
    "=cmd()",
)


@pytest.fixture(scope="module")
def labelled(make_photos: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of five images a class, because no file system takes such names for folders."""
    root = tmp_path_factory.mktemp("odd")
    make_photos(root, {f"c{k}": 5 for k in range(len(NAMES))})
    with (root / "odd.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(f"c{k}/{i:02d}.png", name) for k, name in enumerate(NAMES) for i in range(5)]
        csv.writer(file).writerows([("path", "label"), *rows])
    return root / "odd.csv"


@pytest.fixture(scope="module")
def trained(cli: Any, labelled: Path, fast: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "odd"
    measured = ["--set", "interference.enabled=true", "--set", "interference.max_per_class=2"]
    focus = ["--focus", NAMES[0]]
    done = cli("train", labelled, "--recipe", "quick", *fast, *measured, *focus, "--out", folder)
    assert done.status == 0, done.err
    return folder, done.out


def test_every_file_of_a_run_holds_the_names_as_they_are(trained: Any) -> None:
    folder, _ = trained
    assert tuple(read_json(folder / "result.json")["classes"]["names"]) == tuple(sorted(NAMES))
    assert Interference.load(folder / "interference" / "heldout").class_names == tuple(sorted(NAMES))
    assert read_json(folder / "split.json")["classes"] == sorted(NAMES)
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    assert all(json.loads(line)["val_worst_class"] in NAMES for line in lines if line)
    assert pq.read_table(folder / "predictions.parquet").num_rows > 0


def test_a_terminal_gets_no_control_characters_and_no_endless_names(trained: Any) -> None:
    _, out = trained
    assert "\x1b" not in out
    assert "\t" not in out
    assert max(map(len, out.splitlines())) < 140
    for shown in (
        "Straße & Schnee 雪 🌨",
        "[red]markup[/red]",
        "tab?here?[31m",
        "line?break",
        "n" * 57 + "...",
    ):
        assert shown in out


def test_the_report_shows_names_and_runs_none(trained: Any) -> None:
    page = (trained[0] / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "Straße" in page


def test_every_command_takes_such_a_run(cli: Any, trained: Any, labelled: Path) -> None:
    folder, _ = trained
    for words in (
        ["diagnose", folder],
        ["predict", folder, labelled.parent / "c3"],
        ["report", folder],
        ["audit", labelled],
    ):
        done = cli(*words)
        assert done.status == 0, done.err
        assert "\x1b" not in done.out
        assert isinstance(json.loads(cli(*words, "--json").out), dict)


def test_a_study_and_its_tables(cli: Any, labelled: Path, fast: list[str], here: Path) -> None:
    words = ["compare", labelled, "--regime", "quick", *fast, "--seeds", 1, "--out", "study"]
    done = cli(*words, "--focus", NAMES[4])
    assert done.status == 0, done.err
    for style in ("md", "csv", "latex"):
        assert "csba" in cli("table", "study", "--format", style).out
    assert cli(*words, "--focus", NAMES[4], "--resume").out == done.out


def test_file_and_folder_names_that_are_no_utf8(
    cli: Any, make_photos: Any, fast: list[str], here: Path
) -> None:
    odd = b"th\xff\xfen".decode("utf-8", "surrogateescape")
    make_photos(here / "photos", {"round": 6, "square": 6})
    try:
        shutil.move(here / "photos" / "square", here / "photos" / odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (here / "photos" / "round" / "00.png").rename(here / "photos" / "round" / f"{odd}.png")
    measured = ["--set", "interference.enabled=true", "--set", "interference.max_per_class=2"]
    done = cli("train", "photos", "--recipe", "quick", *fast, *measured, "--out", "run")
    assert done.status == 0, done.err
    assert "th??n" in done.out
    for words in (["audit", "photos"], ["report", "run"], ["predict", "run", "photos"], ["diagnose", "run"]):
        for json_too in ([], ["--json"]):
            again = cli(*words, *json_too)
            assert again.status == 0, again.err
            again.out.encode("utf-8")
