"""Where a command's words go: results to standard output, everything else to standard error."""

import json
from collections.abc import Sequence
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


def estimate(fields: dict[str, Any]) -> str:
    """An ``Estimate`` as text: value and interval.

    Example:
        >>> estimate({"value": 0.5, "low": 0.4, "high": 0.6})
        '0.500 [0.400, 0.600]'
    """
    if fields.get("low") is None:
        return f"{fields['value']:.3f}"
    return f"{fields['value']:.3f} [{fields['low']:.3f}, {fields['high']:.3f}]"
