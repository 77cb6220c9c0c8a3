"""Homes that cannot be written, no home at all, no terminal, no colour, difficult names."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tailgrad.recipes.run_folder import read_json

pytestmark = pytest.mark.long

COMMAND = [sys.executable, "-m", "tailgrad"]


def tailgrad(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, words)], env=env, capture_output=True, text=True, timeout=300, check=False
    )


def locked(folder: Path) -> Path:
    """A folder that cannot be written, not by root either: a file is in the way of everything below it."""
    folder.write_text("no folder")
    return folder


@pytest.fixture
def homeless(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody whose home is read-only, or who has none."""
    gone = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "TORCH_HOME", "MPLCONFIGDIR")
    env = {key: value for key, value in os.environ.items() if key not in gone}
    return env | ({"HOME": str(locked(tmp_path / "home"))} if request.param == "read-only" else {})


@pytest.mark.parametrize(
    "homeless", ["read-only", pytest.param("unset", marks=pytest.mark.slow)], indirect=True
)
def test_a_home_that_cannot_be_written_stops_nothing(
    photos: Path, fast: list[str], homeless: dict[str, str], here: Path
) -> None:
    measured = ["--set", "interference.enabled=true", "--set", "interference.max_per_class=2"]
    made = tailgrad("train", photos, "--recipe", "quick", *fast, *measured, "--out", "run", env=homeless)
    assert made.returncode == 0, made.stderr
    assert "Traceback" not in made.stderr
    for words in (["report", "run"], ["predict", "run", photos / "thin"], ["watch", "run"]):
        done = tailgrad(*words, env=homeless)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


@pytest.mark.parametrize("homeless", ["read-only"], indirect=True)
def test_the_doctor_says_which_folders_cannot_be_written(homeless: dict[str, str], here: Path) -> None:
    done = tailgrad("doctor", "--json", env=homeless)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    told = " ".join(finding["what"] for finding in found["findings"] if finding["level"] == "note")
    assert f"The folder for speeds measured before cannot be written: {homeless['HOME']}" in told
    assert found["facts"]["folders"]["working folder"]["writable"]


def test_a_pipe_gets_no_colour_and_no_bars(photos: Path, fast: list[str], here: Path) -> None:
    env = {**os.environ, "COLUMNS": "60"}
    done = tailgrad("train", photos, "--recipe", "quick", *fast, "--out", "run", env=env)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr


def test_no_color_is_heard(here: Path) -> None:
    env = {**os.environ, "NO_COLOR": "1", "FORCE_COLOR": "", "COLUMNS": "60"}
    for words in (["--help"], ["train", "--help"], ["trane"]):
        done = tailgrad(*words, env=env)
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", done.stdout + done.stderr)
        assert max(map(len, (done.stdout + done.stderr).splitlines())) <= 60


def test_every_command_takes_difficult_names(cli: Any, make_photos: Any, fast: list[str], here: Path) -> None:
    place = "Größe & 写真 ñ"
    photos = make_photos(here / place / "bilder", {"über uns": 9, "quer #1": 6})
    run, study = here / place / "run 1", here / place / "study 1"
    called = [
        ["audit", photos, "--no-near"],
        ["new", photos, "--no-near", "--out", here / place / "a b.yaml"],
        ["train", photos, "--recipe", "quick", *fast, "--out", run],
        ["train", photos, "--recipe", "quick", *fast, "--out", run, "--resume"],
        ["watch", run],
        ["report", run],
        ["predict", run, photos],
        ["compare", photos, "--regime", "quick", "--methods", "ce", "--seeds", 1, *fast, "--out", study],
        ["report", study],
        ["table", study],
        ["watch", study],
    ]
    for words in called:
        done = cli(*words)
        assert done.status == 0, (words, done.err)
    assert read_json(run / "result.json")["classes"]["names"] == ["quer #1", "über uns"]


QUIET = ("audit", "new", "train", "compare", "diagnose", "predict")


@pytest.mark.parametrize("name", QUIET)
def test_quiet_says_the_result_and_nothing_else(
    cli: Any, photos: Path, fast: list[str], run: Path, here: Path, name: str
) -> None:
    words: dict[str, list[object]] = {
        "audit": [photos, "--no-near"],
        "new": [photos, "--no-near"],
        "train": [photos, "--recipe", "quick", *fast, "--out", "run"],
        "compare": [photos, "--regime", "quick", "--methods", "ce", "--seeds", 1, *fast, "--out", "study"],
        "diagnose": [run],
        "predict": [run, photos / "thin"],
    }
    done = cli(name, *words[name], "--quiet")
    assert (done.status, done.err) == (0, "")
    assert done.out


def test_an_unknown_logger_is_refused_before_anything_is_read(cli: Any, here: Path) -> None:
    refused = cli("train", "nowhere", "--logger", "tensorbord").error
    assert refused.endswith("--logger must be a known name, got 'tensorbord'; did you mean 'tensorboard'?")
    assert cli("train", "nowhere", "--logger", "x").error.endswith("choose from tensorboard, mlflow, wandb")
