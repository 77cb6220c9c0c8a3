"""How text, tables and JSON come out on terminals, pipes and narrow encodings."""

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tailgrad.cli.app import main
from tailgrad.cli.output import err, show_json, show_table, show_text
from tailgrad.cli.resume import resume_command


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function that calls another one on a terminal of 40 columns and gives the lines there."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")

    def lines(call: Callable[..., None], *arguments: Any) -> list[str]:
        with contextlib.redirect_stdout(Terminal()) as terminal:
            call(*arguments)
        return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()

    return lines


LONG = "  1. Check the labels of three pictures that occur with different labels listed above."


def test_text_is_wrapped_at_words_on_a_terminal_with_a_hanging_indent(on_terminal: Any) -> None:
    lines = on_terminal(show_text, LONG)
    assert max(map(len, lines)) <= 40
    assert " ".join(line.strip() for line in lines) == LONG.strip()
    assert all(line.startswith("     ") for line in lines[1:])


def test_commands_and_paths_stay_whole_to_be_copied(on_terminal: Any) -> None:
    command = "  2. Then run: tailgrad compare 'a folder with spaces' --methods baseline,csba --seeds 3"
    assert on_terminal(show_text, command) == [command]
    assert on_terminal(show_text, "x " + "long/path" * 9) == ["x", "long/path" * 9]


def test_text_is_left_alone_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    show_text(LONG)
    assert capsys.readouterr().out == f"{LONG}\n"


ROWS = [["a rather long name of a class that goes on", "0.46 [.19-.75]", "3"], ["b", "0.10 [.01-.20]", "12"]]


def test_a_narrow_terminal_breaks_names_and_never_numbers(on_terminal: Any) -> None:
    shown = on_terminal(show_table, "Test set", ["class", "F1", "n"], ROWS)
    assert max(map(len, shown)) <= 40
    assert all(row[1] in "\n".join(shown) for row in ROWS)


def test_a_narrow_terminal_breaks_headings_over_numbers_before_names(on_terminal: Any) -> None:
    header = ["network", "noise of the head", "noise of the tail", "batches without"]
    shown = on_terminal(show_table, "", header, [["trained", "0.050", "0.287", "0.083"]])
    assert shown[-1].split() == ["trained", "0.050", "0.287", "0.083"]
    assert max(map(len, shown)) <= 40


def test_a_pipe_gets_a_row_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [["word " * 60, "1"], ["b", "12"]]
    show_table("", ["class", "n"], rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert [line.split()[-1] for line in lines[2:]] == ["1", "12"]
    assert lines[2].endswith("  1")
    assert lines[3].endswith(" 12")


def test_json_has_no_numbers_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"nan": float("nan"), "deep": [{"inf": -float("inf")}], "name": "雪\udcff"}
    show_json(value)
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == {"nan": None, "deep": [{"inf": None}], "name": "雪\udcff"}


def test_a_terminal_without_unicode_gets_escapes(
    make_photos: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(here / "photos", {"Schnee 雪": 4, "klar": 4})
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    monkeypatch.setattr(sys, "argv", ["tailgrad", "audit", "photos", "--no-near"])
    with pytest.raises(SystemExit, match="0"):
        main()
    ascii_only.flush()
    assert b"Schnee \\u96ea" in ascii_only.buffer.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/bin/tailgrad", "train", "a b"], "tailgrad train 'a b' --resume"),
        (["tailgrad", "train", "x", "--resume"], "tailgrad train x --resume"),
        (["/x/tailgrad/__main__.py", "compare", "x"], f"{sys.executable} -m tailgrad compare x --resume"),
        (["tailgrad", "train", "x", "--focus", "it's"], """tailgrad train x --focus 'it'"'"'s' --resume"""),
    ],
)
def test_the_command_that_resumes_can_be_pasted(argv: list[str], command: str) -> None:
    assert resume_command(argv) == command


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_names_and_figures_stay_however_narrow_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [[name, "325", "50", *["0.14 [.05-.33]"] * 3] for name in ("Soiling", "Hot-Spot-Multi")]
    show_table("", ["class", "train", "test", "precision", "recall", "F1"], rows)
    said = capsys.readouterr().out
    assert said.count("0.14") == said.count("[.05-.33]") == 6
    assert all(name in said for name in ("Soiling", "Hot-Spot-Multi"))
    assert max(map(len, said.splitlines())) <= columns


def test_remarks_break_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    console = err()
    monkeypatch.setattr(console, "file", io.StringIO())
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "_width", 30)
    words = "error: imbalance factor of the classes that were found, use --methods baseline,csba instead"
    console.print(words, highlight=False)
    lines = console.file.getvalue().splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 30
    assert " ".join(lines).split() == words.split()
