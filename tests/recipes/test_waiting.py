"""How far a piece of work is: a bar on a terminal, lines off it, silence where nobody listens."""

from io import StringIO

import pytest
from rich.console import Console

from tailgrad.recipes import waiting
from tailgrad.recipes.talk import Talk
from tailgrad.recipes.waiting import counting, each


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    return now


def test_off_a_terminal_a_line_now_and_then_says_how_long_it_takes(clock: list[float]) -> None:
    out = StringIO()
    with counting(Console(file=out, width=200), "looking at [every] image") as told:
        for done in range(1, 101):
            clock[0] += 1.0
            told(done, 100)
    assert out.getvalue().splitlines() == [
        "looking at [every] image: 10 of 100, about 2 min left",
        "looking at [every] image: 70 of 100, about 30 s left",
    ]


def test_on_a_terminal_a_bar_that_leaves_nothing_behind() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system=None)
    with counting(console, "looking") as told:
        told(1, 4)
    shown = out.getvalue()
    assert "looking" in shown
    assert "1/4" in shown
    assert shown.endswith("\x1b[2K"), "the line is cleared"


def test_nobody_listens() -> None:
    with counting(None, "looking") as told:
        told(1, 2)


def test_under_the_bar_of_a_run_there_is_no_second_one() -> None:
    out = StringIO()
    talk = Talk(Console(file=out, force_terminal=True, width=60, color_system=None))
    with talk.progress(10, "csba"), talk.counting("measuring") as told:
        told(1, 2)
    assert "measuring" not in out.getvalue()
    with talk.counting("measuring") as told:
        told(1, 2)
    assert "measuring" in out.getvalue()


def test_a_batch_counts_once_it_is_done_with() -> None:
    seen: list[tuple[int, int]] = []
    batches = each(["a", "b", "c"], lambda done, total: seen.append((done, total)))  # type: ignore[arg-type]
    assert next(batches) == "a"
    assert seen == []
    assert list(batches) == ["b", "c"]
    assert seen == [(1, 3), (2, 3), (3, 3)]
