"""One picture of a study: its claims beside what was measured, and the headline of every group."""

import html
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tailgrad.evidence.claim import CONFIRMED, NOT_CONFIRMED
from tailgrad.recipes.table import metric_title

WIDTH, ROW, LEFT, RIGHT = 760, 34, 250, 40
_SPAN = WIDTH - LEFT - RIGHT
INK, FAINT, BLUE, ORANGE, GREY = "#1a1a1a", "#c9c9c9", "#0072b2", "#d55e00", "#767676"
_COLOURS = {CONFIRMED: BLUE, NOT_CONFIRMED: ORANGE}
_LONGEST = 34
Piece = tuple[str, int]
"""A part of the picture and its height."""


def chart(content: Mapping[str, Any]) -> str:
    """The chart of a study as SVG.

    A claim's row has a scale of its own, with what is claimed as the line in its middle and a band for its
    tolerance; the dot is what was measured, with its 95 % interval, and the diamond what was printed. A
    group's rows share a scale from 0 to 1: means with intervals, and a ring for every seed or split.

    Args:
        content: of ``evidence.json``.

    Example:
        >>> chart({"study": "mine", "size": "full", "claims": [], "groups": {}}).count("<svg")
        1
    """
    title = f"{content['study']}, {content['size']}"
    parts, height = [], 0
    for part, tall in (
        (_text(16, 28, title, 15, "bold"), 44),
        *_claims(content["claims"]),
        *_groups(content["groups"]),
    ):
        parts.append(f'<g transform="translate(0 {height})">{part}</g>')
        height += tall
    label = html.escape(f"{title}: claims, and means with 95 % intervals")
    size = f'width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {size} role="img"'
    frame = f'<rect {size} fill="#ffffff"/>'
    return "\n".join([f'{head} aria-label="{label}">', frame, *parts, "</svg>\n"])


def _claims(claims: list[dict[str, Any]]) -> Iterator[Piece]:
    measured = [claim for claim in claims if claim["found"] is not None]
    if measured:
        yield _text(16, 14, "Claims, each on a scale of its own around what is claimed", 13, "bold"), 22
    for claim in measured:
        yield _claim(claim), ROW


def _claim(claim: Mapping[str, Any]) -> str:
    found, printed = claim["found"], claim.get("printed")
    middle: float = next(claim[key] for key in ("above", "below", "near") if claim.get(key) is not None)
    within = float(claim.get("within") or 0.0)
    known = [v for v in (found["value"], found["low"], found["high"], printed) if v is not None]
    reach: float = max(within, *(abs(value - middle) for value in known)) or 1.0

    def x(value: float) -> float:
        return LEFT + _SPAN / 2 * (1 + (value - middle) / reach)

    colour = _COLOURS.get(claim["verdict"], GREY)
    parts = [
        _text(32, 24, claim["id"], 12),
        _line(LEFT, WIDTH - RIGHT, FAINT),
        _band(x(middle - within), x(middle + within)),
        f'<line x1="{x(middle):.1f}" x2="{x(middle):.1f}" y1="10" y2="30" stroke="{INK}"/>',
        *_measured(x, found, colour),
    ]
    if printed is not None:
        diamond = f"M{x(printed):.1f} 14l6 6l-6 6l-6 -6z"
        parts.append(f'<path d="{diamond}" fill="none" stroke="{INK}" stroke-width="1.5"/>')
    return "".join(parts)


def _band(left: float, right: float) -> str:
    if left == right:
        return ""
    return f'<rect x="{left:.1f}" y="12" width="{right - left:.1f}" height="16" fill="{FAINT}"/>'


def _groups(groups: Mapping[str, Mapping[str, Any]]) -> Iterator[Piece]:
    for name, record in groups.items():
        comparison = record["comparison"]
        rows = [row for row in comparison["rows"] if row["metric"] == comparison["metric"]]
        yield _text(16, 20, f"{name}: {metric_title(comparison['metric'])}", 13, "bold"), 26
        for row in rows:
            yield _method(row, BLUE if row is rows[0] else ORANGE), ROW
        yield "".join(_text(int(_share(i / 5)) - 9, 10, f"{i / 5:.1f}", 11) for i in range(6)), 24


def _share(value: float) -> float:
    return LEFT + _SPAN * min(1.0, max(0.0, value))


def _method(row: Mapping[str, Any], colour: str) -> str:
    rings = [
        f'<circle cx="{_share(v):.1f}" cy="20" r="3.5" fill="none" stroke="{INK}"/>' for v in row["per_seed"]
    ]
    found = {"value": row["mean"], "low": row["low"], "high": row["high"]}
    line = _line(LEFT, WIDTH - RIGHT, FAINT)
    return "".join([_text(32, 24, row["method"], 12), line, *rings, *_measured(_share, found, colour)])


def _measured(x: Callable[[float], float], found: Mapping[str, Any], colour: str) -> Iterator[str]:
    if found["low"] is not None and found["high"] is not None:
        yield _line(x(found["low"]), x(found["high"]), colour, 3)
    yield f'<circle cx="{x(found["value"]):.1f}" cy="20" r="5.5" fill="{colour}"/>'
    yield _text(int(x(found["value"])) - 14, 9, f"{found['value']:.3g}", 11)


def _line(begin: float, end: float, colour: str, width: int = 1) -> str:
    return f'<line x1="{begin:.1f}" x2="{end:.1f}" y1="20" y2="20" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: int, y: int, text: str, size: int, weight: str = "normal") -> str:
    style = f'font-family="sans-serif" font-size="{size}" font-weight="{weight}" fill="{INK}"'
    short = text if len(text) <= _LONGEST or weight == "bold" else f"{text[: _LONGEST - 3]}..."
    return f'<text x="{x}" y="{y}" {style}>{html.escape(short)}</text>'
