"""Colours and layout that all figures share."""

import math
from collections.abc import Iterable
from typing import Any

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#999999")
"""Okabe and Ito's colours, told apart with any colour vision."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def colour(position: int) -> str:
    """Colour of the series at a position.

    Example:
        >>> colour(0) == colour(len(PALETTE))
        True
    """
    return PALETTE[position % len(PALETTE)]


def plain(values: Iterable[float | None], digits: int = 4) -> list[float | None]:
    """Rounded numbers that JSON can hold.

    Example:
        >>> plain([0.123456, float("nan"), None])
        [0.1235, None, None]
    """
    return [
        None if value is None or not math.isfinite(value) else round(float(value), digits) for value in values
    ]


def layout(height: int, x: dict[str, Any], y: dict[str, Any]) -> dict[str, Any]:
    """A layout with two axes and the legend above.

    Args:
        height: in pixels.
        x: what the x axis adds to the shared settings.
        y: what the y axis adds.

    Example:
        >>> layout(300, {}, {})["height"]
        300
    """
    axis = {"automargin": True, "fixedrange": True, "zeroline": False}
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "dragmode": False,
        "font": {"size": 12},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": axis | x,
        "yaxis": axis | y,
    }


def title(text: str) -> dict[str, Any]:
    """The title of an axis.

    Example:
        >>> title("F1")
        {'text': 'F1', 'standoff': 8}
    """
    return {"text": text, "standoff": 8}
