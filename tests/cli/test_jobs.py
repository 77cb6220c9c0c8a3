"""``compare --jobs`` and ``--engine`` on the command line: what is refused, and what it looks like."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--jobs", "0"), "jobs must be a whole number of at least 1, or auto, got '0'; give --jobs 2"),
        (("--jobs", "two"), "jobs must be a whole number of at least 1, or auto, got 'two'"),
        (("--engine", "rays"), "engine must be a known name, got 'rays'; did you mean 'ray'?"),
        (("--address", "auto"), "address must come with engine=ray, got 'auto' with 'local'"),
        (("--jobs", "2", "--set", "train.devices=2"), "got jobs=2, engine=local with train.devices=2"),
    ],
)
def test_a_wrong_option(
    cli: Any, photos: Path, fast: list[str], here: Path, words: tuple[str, ...], said: str
) -> None:
    refused = cli("compare", photos, "--regime", "quick", *fast, *words)
    assert said in refused.error
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_two_jobs_in_a_pipe(photos: Path, fast: list[str], here: Path) -> None:
    words = ["compare", str(photos), "--regime", "quick", "--methods", "ce,focal", "--seeds", "1", *fast]
    words += ["--set", "model.name=resnet32", "--jobs", "2", "--out", "s", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tailgrad", *words], capture_output=True, text=True, check=True, timeout=600
    )
    assert json.loads(done.stdout)["folder"] == "s"
    lines = done.stderr.splitlines()
    assert (
        sum(bool(re.fullmatch(r"\w+ seed 0: test macro-F1 0\.\d{3} \(\d of 2\)", line)) for line in lines)
        == 2
    )
    assert not [line for line in lines if "\x1b" in line or "Warning" in line]


def test_a_focus_that_does_not_exist_is_refused_before_any_run(
    cli: Any, photos: Path, fast: list[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one worker that prepares the data says it, and nothing stays."""
    from tailgrad.recipes.children import Children
    from tailgrad.recipes.worker import work

    ended: list[Any] = []

    def start(_: Any, place: Path, __: int) -> None:
        ended.append((place, work(place)))

    monkeypatch.setattr(Children, "start", start)
    monkeypatch.setattr(Children, "ended", lambda _: [ended.pop()] if ended else [])
    monkeypatch.setattr(Children, "running", property(lambda _: [place for place, _ in ended]))
    refused = cli("compare", photos, "--regime", "quick", *fast, "--focus", "thn", "--jobs", "2")
    assert "focus must be a known name, got 'thn'; did you mean 'thin'" in refused.error
    assert list(here.iterdir()) == []
