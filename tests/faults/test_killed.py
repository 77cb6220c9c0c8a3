"""SIGKILL at any moment: what is there is whole, and what is resumed ends as if nothing had happened."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

Check = Callable[[Path], None]
Kill = dict[str, Any]


class Finished:
    """Watches that nothing of a finished run is ever written again, nor lost."""

    def __init__(self, contents: Any) -> None:
        self.contents = contents
        self.files: dict[Path, tuple[int, int]] = {}

    def __call__(self, made: Path) -> None:
        self.contents(made)  # reads every file: none is half written
        for path, mark in self.files.items():
            assert path.exists(), path
            assert _mark(path) == mark, path
        for run in made.glob("runs/*/result.json"):
            if self.contents(run.parent)["result.json"]["status"] == "finished":
                files = [p for p in run.parent.rglob("*") if p.is_file() and not p.name.startswith(".")]
                self.files |= {path: _mark(path) for path in files}


def _mark(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def survive(
    attempt: Any, words: list[str], root: Path, kills: Iterable[Kill], whole: Any, contents: Any
) -> list[bool]:
    """Kill and resume until no kill is left; every run that ends must hold what ``whole`` holds."""
    struck, left, number = [], list(kills), 0
    while left:
        number += 1
        folder = root / str(number)
        folder.mkdir()
        check = Finished(contents)
        while True:
            kill = left.pop(0) if left else {}
            ended = attempt(folder, *words, "--resume", **kill)
            struck.append(ended.killed)
            check(folder / "made")
            if not ended.killed:
                # It ended before: the machine is faster by now than when it was timed.
                left += [{"seconds": kill["seconds"] / 2}] if "seconds" in kill else []
                break
        assert ended.status == 0, ended.err
        found = contents(folder / "made")
        assert found.keys() == whole.keys()
        assert [name for name in whole if found[name] != whole[name]] == []
        assert not list((folder / "made").rglob("*.partial"))
    return struck


def first_of_each(events: Iterable[str]) -> list[Kill]:
    """Every kind of event once, in the order in which they first happen."""
    return [{"event": [event, 1]} for event in dict.fromkeys(events)]


def at_random(seed: int, n: int, seconds: float) -> list[Kill]:
    drawn = random.Random(seed)
    return [{"seconds": drawn.uniform(0, seconds)} for _ in range(n)]


def test_a_training_survives_kill_9(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, tmp_path: Path
) -> None:
    whole = whole_training[1]
    kills: list[Kill] = [
        {"event": ["after .config.yaml.partial", 1]},
        {"half": "made/checkpoint/.last.safetensors.*.partial"},
        {"event": ["after last.safetensors", 3]},
        {"event": ["move .result.json.partial", 1]},
    ]
    assert all(survive(attempt, training, tmp_path, kills, whole, contents)[: len(kills)])


def test_a_study_survives_kill_9(
    attempt: Any, study: list[str], whole_study: Any, contents: Any, tmp_path: Path
) -> None:
    kills: list[Kill] = [
        {"event": ["after .result.json.partial", 1]},
        {"half": "made/.results.parquet.*.partial"},
    ]
    survive(attempt, study, tmp_path, kills, whole_study[1], contents)


@pytest.mark.slow
def test_a_training_survives_50_kills_at_random_moments(
    attempt: Any, training: list[str], whole_training: Any, contents: Any, tmp_path: Path
) -> None:
    ended, whole = whole_training
    struck = survive(attempt, training, tmp_path, at_random(2, 50, ended.seconds), whole, contents)
    assert sum(struck) >= 50


@pytest.mark.slow
def test_a_study_survives_50_kills_at_random_moments(
    attempt: Any, study: list[str], whole_study: Any, contents: Any, tmp_path: Path
) -> None:
    ended, whole = whole_study
    struck = survive(attempt, study, tmp_path, at_random(3, 50, ended.seconds), whole, contents)
    assert sum(struck) >= 50


@pytest.mark.slow
@pytest.mark.parametrize("what", ["training", "study"])
def test_a_kill_at_every_step_of_every_kind_of_write(
    what: str, attempt: Any, contents: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    words, (ended, whole) = request.getfixturevalue(what), request.getfixturevalue(f"whole_{what}")
    kills = first_of_each(ended.events)
    assert len(kills) >= 60
    assert sum(survive(attempt, words, tmp_path, kills, whole, contents)) >= len(kills) - 4
