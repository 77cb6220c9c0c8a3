"""Class-by-class matrices as Plotly heat maps, classes with most training examples first."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tailgrad.interference.gram import Array
    from tailgrad.interference.result import Interference

# ColorBrewer's RdBu, safe for any colour vision; red for classes that pull apart.
_COLOURS = ("#b2182b", "#ef8a62", "#fddbc7", "#f7f7f7", "#d1e5f0", "#67a9cf", "#2166ac")
_NUMBERED = 12  # classes up to which the cells hold numbers
_TOLD = 256  # classes up to which every cell has words of its own
_NAMED = 60  # names on an axis


@dataclass(frozen=True, slots=True)
class Cells:
    """What a heat map shows.

    Args:
        title: of the figure.
        words: how to read it.
        matrix: [K, K] in class order, colours end at -1 and 1.
        more: further words on each cell [K][K], shown under the pointer.
        marked: cells that get a star [K, K].
        joined: what stands between the names of row and column.

    Example:
        >>> Cells("Conflict", "Cosines.", np.eye(2)).joined
        ' and '
    """

    title: str
    words: str
    matrix: Array
    more: Sequence[Sequence[str]] | None = None
    marked: npt.NDArray[np.bool_] | None = None
    joined: str = " and "


def order_of(result: Interference) -> npt.NDArray[np.intp]:
    """Class indices, most training examples first.

    Example:
        >>> from types import SimpleNamespace
        >>> order_of(SimpleNamespace(counts=np.array([1, 9, 5]), train_counts=None))
        array([1, 2, 0])
    """
    counts = result.counts if result.train_counts is None else result.train_counts
    return np.argsort(-np.asarray(counts), kind="stable")


def label(name: str, length: int = 18) -> str:
    """A name for Plotly, which reads HTML in every text, cut in the middle where it is long.

    Example:
        >>> label("<b>cat</b>"), len(label("n" * 300))
        ('&lt;b&gt;cat&lt;/b&gt;', 19)
    """
    half = length // 2
    return html.escape(name if len(name) <= length else f"{name[:half]}\u2026{name[-half:]}", quote=False)


def heat_map(result: Interference, cells: Cells, axes: tuple[str, str] = ("", "")) -> go.Figure:
    """Draw a matrix of a measurement.

    Args:
        result: names and counts.
        cells: what to show.
        axes: titles of the columns and of the rows.

    Example:
        >>> from types import SimpleNamespace
        >>> two = SimpleNamespace(class_names=("a", "b"), counts=np.array([1, 9]), train_counts=None)
        >>> list(heat_map(two, Cells("Conflict", "", np.eye(2))).layout.xaxis.ticktext)
        ['b', 'a']
    """
    order = order_of(result)
    size = len(order)
    drawn: dict[str, Any] = {"hovertemplate": "%{z:.2f}<extra></extra>"}
    if size <= _TOLD:
        drawn = {"hovertext": _words(result, cells, order), "hoverinfo": "text"}
    if size <= _NUMBERED:
        drawn |= {"text": _numbers(cells, order), "texttemplate": "%{text}"}
    step = -(-size // _NAMED)
    ticks = {
        "tickvals": list(range(0, size, step)),
        "ticktext": [label(result.class_names[c]) for c in order[::step]],
    }
    trace = go.Heatmap(
        z=cells.matrix[np.ix_(order, order)], zmin=-1, zmax=1, colorscale=_COLOURS, hoverongaps=False, **drawn
    )
    title = {"text": cells.title, "subtitle": {"text": "<br>".join(_lines(cells.words))}}
    pixels = int(np.clip(320 + 34 * size, 420, 900))
    return go.Figure(trace).update_layout(
        title=title,
        xaxis=ticks | {"title": axes[0], "constrain": "domain", "showgrid": False},
        yaxis=ticks | {"title": axes[1], "autorange": "reversed", "scaleanchor": "x", "showgrid": False},
        width=pixels + 60,
        height=pixels,
        template="plotly_white",
    )


def _words(result: Interference, cells: Cells, order: npt.NDArray[np.intp]) -> list[list[str]]:
    names = [label(name, 60) for name in result.class_names]
    return [[_cell(cells, names, i, j) for j in order] for i in order]


def _cell(cells: Cells, names: Sequence[str], i: int, j: int) -> str:
    more = "" if cells.more is None else f"<br>{cells.more[i][j]}"
    return f"{names[i]}{cells.joined}{names[j]}: {cells.matrix[i, j]:+.2f}{more}"


def _numbers(cells: Cells, order: npt.NDArray[np.intp]) -> list[list[str]]:
    marked = np.zeros(cells.matrix.shape, bool) if cells.marked is None else cells.marked
    return [[_number(cells.matrix[i, j], bool(marked[i, j] and i != j)) for j in order] for i in order]


def _number(value: float, is_marked: bool) -> str:
    return "" if np.isnan(value) else f"{value:.2f}{'*' * is_marked}"


def _lines(words: str, width: int = 70) -> list[str]:
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
