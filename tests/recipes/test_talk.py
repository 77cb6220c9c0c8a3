"""Lines, bars and durations."""

import io
import re
import time
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tailgrad.recipes.talk import Talk, duration
from tailgrad.types import StepRecord


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=80), stream


def in_seconds(words: str) -> float:
    units = {"s": 1, "min": 60, "h": 3600}
    return sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+) (s|min|h)", words))


@given(st.floats(0, 1e6))
def test_durations_read_back_within_half_a_unit(seconds: float) -> None:
    words = duration(seconds)
    slack = 0.5 if words.endswith(" s") else 30
    assert abs(in_seconds(words) - seconds) <= slack + 1e-6
    assert re.fullmatch(r"\d+ s|\d+ min|\d+ h \d+ min", words)


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_longer_durations_are_never_said_shorter(a: float, b: float) -> None:
    short, long = sorted((a, b))
    # Rounding to minutes at the border of 90 seconds goes up to half a minute below or above.
    assert in_seconds(duration(short)) <= in_seconds(duration(long)) + 30


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (149, "2 min"),
        (151, "3 min"),
        (89 * 60, "89 min"),
        (90 * 60, "1 h 30 min"),
        (3 * 3600 + 29, "3 h 0 min"),
        (49 * 3600, "49 h 0 min"),
    ],
)
def test_durations_at_their_borders(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", "a [class] & 3.14", "\u96ea \u2028 x"])
def test_lines_are_said_as_they_are(text: str) -> None:
    where, stream = console()
    Talk(where)(text)
    assert stream.getvalue().rstrip("\n") == text


def warn(*texts: str) -> str:
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=2)
    return "result"


def test_warnings_become_lines_said_once() -> None:
    where, stream = console()
    talk = Talk(where)
    assert talk.warn_of(lambda: warn("low", "low", "high")) == "result"
    assert talk.warn_of(lambda: warn("high", "new")) == "result"
    assert stream.getvalue().splitlines() == ["warning: low", "warning: high", "warning: new"]
    again = Talk(where)
    again.warn_of(lambda: warn("low"))
    assert stream.getvalue().splitlines()[-1] == "warning: low"


def test_warnings_stay_warnings_where_nobody_listens() -> None:
    with pytest.warns(UserWarning, match="low"):
        assert Talk(None).warn_of(lambda: warn("low")) == "result"


def test_errors_pass_through_and_filters_come_back() -> None:
    where, stream = console()
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError):
        Talk(where).warn_of(lambda: 1 / 0)
    assert warnings.filters == before
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("terminal", "kinds"), [(None, []), (False, ["ProgressLines"]), (True, ["ProgressBar"])]
)
def test_bars_are_drawn_on_terminals_only(terminal: Any, kinds: list[str]) -> None:
    where = None if terminal is None else console(terminal=terminal)[0]
    with Talk(where).progress(5, "training") as observers:
        assert [type(one).__name__ for one in observers] == kinds


def test_a_log_gets_a_line_when_the_last_one_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    where, stream = console(terminal=False)
    with Talk(where).progress(4, "training") as (lines,):
        now = time.monotonic()
        for epoch, later in ((1, 30), (2, 61), (3, 100), (4, 125)):
            monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
            lines.on_step(StepRecord(step=epoch, epoch=epoch, loss=1.0))
            lines.on_epoch({"epoch": epoch, "train_loss": 1.0, "val_macro_f1": 0.5})
    assert [line.split(":")[0] for line in stream.getvalue().splitlines()] == [
        "epoch 2, 50 % of the steps", "epoch 4, 100 % of the steps"
    ]  # fmt: skip
