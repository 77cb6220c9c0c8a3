"""Where a command's words go: results to standard output, everything else to standard error."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tailgrad.files import finite


def err() -> Console:
    """Standard error, for progress and remarks.

    Example:
        >>> err().stderr
        True
    """
    return Console(stderr=True, soft_wrap=True)


def show_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output.

    Example:
        >>> show_json({"a": 1.0})
        {
          "a": 1.0
        }
    """
    print(json.dumps(finite(value), indent=2, ensure_ascii=False))


def show_text(text: str) -> None:
    """Print text on standard output as it is.

    Example:
        >>> show_text("[not markup]")
        [not markup]
    """
    print(text)


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output, numbers to the right.

    Example:
        >>> show_table("", ["name", "n"], [["a", "1"]])  # doctest: +ELLIPSIS
        <BLANKLINE>
        ...
    """
    table = Table(title=Text(title), title_justify="left", show_edge=False, pad_edge=False)
    for place, name in enumerate(header):
        numbers = all(_is_number(row[place]) for row in rows) and bool(rows)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _is_number(text: str) -> bool:
    return not text or text.replace(".", "", 1).lstrip("+-").isdigit()


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
