"""Where a command's words go: results to standard output, everything else to standard error."""

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tailgrad.files import finite

_NAME = 60
"""Characters of a class name before the rest is cut."""


def err() -> Console:
    """Standard error, for progress and remarks.

    Example:
        >>> err().stderr
        True
    """
    return _Remarks(stderr=True, soft_wrap=True)


class _Remarks(Console):
    """Breaks lines between words, which a terminal by itself does not."""

    def print(self, *objects: Any, **settings: Any) -> None:
        """Print; a text alone is wrapped where this is a terminal."""
        if self.is_terminal and len(objects) == 1 and isinstance(objects[0], str | Text):
            text = str(objects[0])
            objects = (Text("\n".join(_filled(line, self.width) for line in text.split("\n"))),)
        super().print(*objects, **settings)


def listener(quiet: bool) -> Console | None:
    """Standard error for a call that says what happens, or None where nobody wants to hear it.

    Example:
        >>> listener(quiet=True) is None
        True
    """
    return None if quiet else err()


@contextmanager
def loading(quiet: bool) -> Iterator[None]:
    """While libraries are loaded, which takes seconds, a terminal says so and forgets it.

    Example:
        >>> with loading(quiet=True):
        ...     import json
    """
    console = listener(quiet)
    if console is None or not console.is_terminal:
        yield
        return
    with console.status("loading"):
        yield


def show_json(value: dict[str, Any]) -> None:
    r"""Print one JSON object on standard output, in ASCII so that any terminal and any pipe can take it.

    Example:
        >>> show_json({"é": float("nan")})
        {
          "\u00e9": null
        }
    """
    print(json.dumps(finite(value), indent=2, allow_nan=False))


def show_text(text: str) -> None:
    r"""Print text on standard output, wrapped at words where that is a terminal.

    Characters that could rewrite a terminal become question marks.

    Example:
        >>> show_text("[not markup]\x1b[31m")
        [not markup]?[31m
    """
    for line in text.split("\n"):
        print(_wrapped(printable(line)))


def show_raw(text: str) -> None:
    """Print text on standard output as it is: paths, and what is meant for pasting.

    Example:
        >>> show_raw("report: runs/a/report.html")
        report: runs/a/report.html
    """
    print(text)


def columns() -> int | None:
    """Columns that output is laid out for: the terminal's, or None where a file or a pipe takes any.

    Example:
        >>> columns() is None or columns() > 0
        True
    """
    if not (sys.stdout.isatty() or "COLUMNS" in os.environ):
        return None
    return shutil.get_terminal_size().columns


_LEAST = 14
"""Characters of a name that keep their place however narrow the terminal is."""
_NEVER_BROKEN = ("kind", "name", "method")
"""Columns of what one copies from the screen."""


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output: numbers to the right and never broken.

    Example:
        >>> show_table("Fruit", ["name", "n"], [["apple", "12"], ["fig", "3"]])
        Fruit
        name    n
        ─────────
        apple  12
        fig     3
    """
    if title:
        show_text(title)
    # Rich takes 80 columns where there is no terminal; a file or a pipe gets every row on one line.
    console = Console(width=None if columns() else 10_000)
    rows = _stacked(header, [[printable(cell) for cell in row] for row in rows], console.width)
    console.width = max(console.width, _narrowest(header, rows))  # a terminal wraps, and nothing is cut
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(_headings(header, rows, console.width)):
        _add_column(table, name, [row[place] for row in rows])
    for row in rows:
        table.add_row(*map(Text, row))
    with console.capture() as lines:
        console.print(table)
    print("\n".join(line.rstrip() for line in lines.get().splitlines()))


def _add_column(table: Table, name: str, cells: Sequence[str]) -> None:
    numbers = bool(cells) and all(map(_is_number, cells))
    plain = numbers and not any("[" in cell for cell in cells)
    whole = numbers or name in _NEVER_BROKEN
    least = min(_LEAST, max(map(len, cells), default=0))
    justify: Literal["right", "left"] = "right" if plain else "left"
    table.add_column(
        name, justify=justify, no_wrap=whole, overflow="fold", min_width=None if whole else least
    )


def _stacked(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Sequence[Sequence[str]]:
    """The rows; where they leave too little room for names, every interval goes under its figure."""
    if _narrowest(header, rows) <= width:
        return rows
    return [[cell.replace(" [", "\n[") for cell in row] for row in rows]


def _narrowest(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Characters that a table needs at least for no figure and no name to be copied to be cut."""
    found = 2 * (len(header) - 1)
    for name, *cells in zip(header, *rows, strict=True):
        lines = [line for cell in cells for line in cell.split("\n")]
        whole = name in _NEVER_BROKEN or all(map(_is_number, cells))
        widest = max(map(len, lines), default=0)
        found += max(widest if whole else min(_LEAST, widest), *map(len, name.split()))
    return found


def _headings(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The headings; where the table is too wide, those over numbers a word a line: names give way."""
    parts = zip(header, *rows, strict=True)
    widest = [max(len(line) for cell in column for line in cell.split("\n")) for column in parts]
    if sum(widest) + 2 * (len(widest) - 1) <= width:
        return list(header)
    return [
        name.replace(" ", "\n") if rows and all(_is_number(row[place]) for row in rows) else name
        for place, name in enumerate(header)
    ]


def _wrapped(line: str) -> str:
    """A line for a terminal; one with a command to copy stays whole."""
    return _filled(line, shutil.get_terminal_size().columns) if sys.stdout.isatty() else line


def _filled(line: str, width: int) -> str:
    if len(line) <= width or "tailgrad " in line:
        return line
    indent = re.match(r"(\s+(\d+\. |\w+: )?)?", line)
    later = " " * (indent.end() if indent else 0)
    return textwrap.fill(line, width, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)


def printable(text: str) -> str:
    r"""One line with question marks for the characters that could rewrite a terminal.

    Example:
        >>> printable("a\x1b[31m")
        'a?[31m'
    """
    return "".join(c if c.isprintable() else "?" for c in text)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+.,0-9\[\] \n]*", text) is not None


def short(name: str) -> str:
    """A class name, cut where it would drown a table.

    Example:
        >>> len(short("n" * 300))
        60
    """
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."


def interval(fields: Mapping[str, Any], style: str = ".3f") -> str:
    """A figure with its interval as text; its value is called "value" or "mean".

    Example:
        >>> interval({"value": 0.5, "low": 0.4, "high": 0.6}, ".2f")
        '0.50 [0.40, 0.60]'
        >>> interval({"mean": 0.5, "low": None, "high": None}, "+.2f")
        '+0.50'
    """
    value = fields.get("value", fields.get("mean"))
    if value is None:
        return ""
    if fields.get("low") is None:
        return format(value, style)
    return f"{value:{style}} [{fields['low']:{style}}, {fields['high']:{style}}]"
