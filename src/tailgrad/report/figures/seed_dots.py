"""One dot a seed, and the mean of every method with its interval."""

from collections.abc import Sequence
from typing import Any

from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import SYMBOLS, colour, layout, plain, title
from tailgrad.report.wording import interval, number, plot_label

_MEANING = (
    "Small marks: one seed each, or one split (the mean over its seeds). Large mark and line: their"
    " mean and its interval. Marks that mix freely mean that the seed or split matters more than the method."
)


def seed_dots(metric: str, rows: Sequence[dict[str, Any]]) -> Figure:
    """Dots by method.

    Args:
        metric: its name, for the axis.
        rows: ``method``, ``mean``, ``low``, ``high`` and ``per_seed`` of each method.

    Example:
        >>> row = {"method": "csba", "mean": 0.6, "low": None, "high": None, "per_seed": [0.6]}
        >>> seed_dots("macro-F1", [row]).alt
        'csba: 0.600.'
    """
    data = [part for place, row in enumerate(rows) for part in _parts(row, place)]
    places = list(range(len(rows)))
    labels = [plot_label(str(row["method"]), 18) for row in rows]
    y = {"tickvals": places, "ticktext": labels, "range": [len(rows) - 0.5, -0.5]}
    x = {"title": title(metric), "range": _range(rows)}
    drawn = layout(90 + 56 * len(rows), x, y) | {"showlegend": False}
    return Figure(
        f"{metric} of every run", _MEANING, " ".join(map(_words, rows)), {"data": data, "layout": drawn}
    )


def _range(rows: Sequence[dict[str, Any]]) -> list[float]:
    """From the lowest to the highest mark; an interval over two seeds can reach far outside [0, 1]."""
    marks = [
        value for row in rows for value in (row["low"], row["high"], *row["per_seed"]) if value is not None
    ]
    return [max(0.0, min(marks)) - 0.02, min(1.0, max(marks)) + 0.02]


def _parts(row: dict[str, Any], place: int) -> list[dict[str, Any]]:
    shape = {"color": colour(place), "symbol": SYMBOLS[place % len(SYMBOLS)]}
    runs = {
        "type": "scatter",
        "mode": "markers",
        "x": plain(row["per_seed"]),
        "y": [place + 0.18] * len(row["per_seed"]),
        "marker": {**shape, "size": 7, "opacity": 0.6},
        "hovertemplate": "one run: %{x:.3f}<extra></extra>",
    }
    mean: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": plain([row["mean"]]),
        "y": [place - 0.12],
        "marker": {**shape, "size": 12},
        "hovertemplate": "mean: %{x:.3f}<extra></extra>",
    }
    if row["low"] is not None and row["high"] is not None:
        up, down = plain([row["high"] - row["mean"]]), plain([row["mean"] - row["low"]])
        mean["error_x"] = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "width": 5}
    return [runs, mean]


def _words(row: dict[str, Any]) -> str:
    ends = "" if row["low"] is None else f" ({interval(max(0.0, row['low']), min(1.0, row['high']))})"
    return f"{row['method']}: {number(row['mean'])}{ends}."
