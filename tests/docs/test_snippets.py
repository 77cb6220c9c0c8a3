"""Every example of the documentation runs, and prints what the page says it prints."""

import contextlib
import doctest
import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tailgrad.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNS = ("python", "pycon", "console")
SHOWS = ("text", "yaml", "csv", "latex", "mermaid", "makefile")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block: its place, its language, the file it is to be written to, why it is not run."""

    place: str
    language: str
    title: str
    text: str
    reason: str | None


def blocks(page: Path) -> list[Block]:
    found, lines = [], page.read_text(encoding="utf-8").split("\n")
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        language, _, info = lines[start].removeprefix("```").partition(" ")
        title = re.search(r'title="([^"]+)"', info)
        note = re.fullmatch(r"<!-- not run:(.*)-->", lines[start - 1].strip()) if start else None
        text = "\n".join(lines[start + 1 : number]) + "\n"
        place = f"{page.name}, line {start + 1}"
        found.append(
            Block(place, language, title[1] if title else "", text, note[1].strip() if note else None)
        )
        start = None
    assert start is None, f"{page.name}: the block of line {(start or 0) + 1} is not closed"
    return found


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each ``$`` line of a console block (joined with the lines it continues on) with the output below."""
    joined = text.replace("\\\n", " ")
    for part in re.split(r"(?m)^\$ ", joined)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.rstrip("\n")


def run_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit status of a command, and what it printed on either stream."""
    said = io.StringIO()
    monkeypatch.setattr(sys, "argv", words)
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        pytest.raises(SystemExit) as stop,
    ):
        main()
    return int(stop.value.code or 0), said.getvalue()


def check_output(wanted: str, got: str, place: str) -> None:
    checker = doctest.OutputChecker()
    assert not wanted or checker.check_output(wanted + "\n", got.rstrip() + "\n", OPTIONS), (
        f"{place} should print\n{wanted}\nand prints\n{got}"
    )


def run_console(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for command, output in commands(block.text):
        words = shlex.split(command, comments=True)
        if words[:1] == ["tailgrad"]:
            status, said = run_command(words, monkeypatch)
            expected = 2 if re.search("(?m)^error:", output) else 0
            assert status == expected, f"{block.place}: {command} ended with {status}:\n{said}"
            check_output(output, said, f"{block.place}: {command}")


def run_session(block: Block, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, names, block.place, block.place, 0)
    said: list[str] = []
    failed = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append, clear_globs=False).failed
    names.update(test.globs)
    assert not failed, "".join(said)


def run(block: Block, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if block.title:
        Path(block.title).parent.mkdir(parents=True, exist_ok=True)
        Path(block.title).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.text, block.place, "exec"), names)
    elif block.language == "pycon":
        run_session(block, names)
    elif block.language == "console":
        run_console(block, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as in a session that was started in that folder
    monkeypatch.setenv("COLUMNS", "100")
    shutil.copytree(photos, tmp_path / "photos")
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        if block.reason is None:
            run(block, names, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_known_language_and_every_exception_a_reason(page: Path) -> None:
    for block in blocks(page):
        assert block.language in RUNS + SHOWS, (
            f"{block.place}: write {' or '.join(RUNS)} for what runs, {', '.join(SHOWS)} for what does not"
        )
        assert block.reason is None or len(block.reason.split()) > 1, f"{block.place}: say why it is not run"
    notes = len(re.findall(r"(?m)^<!-- not run", page.read_text(encoding="utf-8")))
    assert notes == sum(block.reason is not None for block in blocks(page)), (
        f"{page.name}: a note that something is not run stands on the line above the block: "
        "<!-- not run: reason -->"
    )


def test_an_example_that_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {
        "python": "assert 1 == 2",
        "pycon": ">>> 1 + 1\n3",
        "console": "$ tailgrad audit nothing-here\n",
    }
    monkeypatch.chdir(tmp_path)
    for language, text in wrong.items():
        page = tmp_path / "page.md"
        page.write_text(f"# Page\n\n```{language}\n{text}\n```\n")
        with pytest.raises(AssertionError):
            run(blocks(page)[0], {}, monkeypatch)
