"""Class-by-class matrices: conflict, null and excess on one scale, and confusion."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tailgrad.report.averages import Matrix, pooled
from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import layout, plain, title
from tailgrad.report.wording import plot_label, short
from tailgrad.types import ClassInfo

_MOST_CLASSES, _MOST_NUMBERS = 60, 10
# ColorBrewer's RdBu and Blues, both safe for any colour vision; red for classes that pull apart.
_COSINES = ("#b2182b", "#ef8a62", "#fddbc7", "#f7f7f7", "#d1e5f0", "#67a9cf", "#2166ac")
_SHARES = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5", "#08306b")
_SCALE = {
    "orientation": "h",
    "thickness": 6,
    "outlinewidth": 0,
    "y": 1,
    "yanchor": "bottom",
    "xpad": 0,
    "ypad": 4,
}


def heat_map(name: str, meaning: str, matrix: Matrix, classes: ClassInfo, *, share: bool = False) -> Figure:
    """A heat map [K, K], classes with most training images first; above 60 classes, means of neighbours.

    Args:
        name: title.
        meaning: how to read it.
        matrix: values [K, K], NaN where there is none; in [-1, 1], or [0, 1] with ``share``.
        classes: K names and training counts.
        share: shares of a target class (rows) by prediction (columns) instead of cosines.

    Example:
        >>> classes = ClassInfo(("a", "b"), (1, 2))
        >>> figure = heat_map("Conflict", "", np.array([[1.0, -0.5], [-0.5, 1.0]]), classes)
        >>> figure.spec["data"][0]["z"], figure.alt
        ([[1.0, -0.5], [-0.5, 1.0]], 'Lowest value off the diagonal: b and a, -0.50.')
    """
    order = np.array(sorted(range(classes.num_classes), key=lambda k: -classes.counts[k]))
    groups = np.array_split(order, min(len(order), _MOST_CLASSES))
    whole = len(groups) == len(order)
    drawn = matrix[np.ix_(order, order)] if whole else pooled(matrix if share else _pairs(matrix), groups)
    labels = _labels(classes, groups)
    spec = {"data": [_cells(drawn, labels, share)], "layout": _layout(labels, share)}
    meaning += "" if whole else " Each cell is the mean over classes with similar numbers of training images."
    meaning += " Blank: could not be measured." if np.isnan(matrix).any() else ""
    return Figure(name, meaning, _extreme(matrix, classes, share), spec)


def _labels(classes: ClassInfo, groups: Sequence[npt.NDArray[np.intp]]) -> list[str]:
    """Categories of the axes: Plotly merges equal ones, so cut names that coincide get a number."""
    labels: list[str] = []
    for group in groups:
        more = "" if len(group) == 1 else f" +{len(group) - 1}"
        label = plot_label(classes.names[group[0]], 14) + more
        labels.append(label if label not in labels else f"{label} #{len(labels) + 1}")
    return labels


def _pairs(matrix: Matrix) -> Matrix:
    """Without the diagonal, on which every class agrees with itself."""
    return np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)


def _extreme(matrix: Matrix, classes: ClassInfo, share: bool) -> str:
    others = _pairs(matrix)
    if np.isnan(others).all():
        return "No value off the diagonal."
    i, j = np.unravel_index((np.nanargmax if share else np.nanargmin)(others), others.shape)
    if not share:
        i, j = sorted((i, j), key=lambda k: -classes.counts[k])
    a, b, value = short(classes.names[i]), short(classes.names[j]), matrix[i, j]
    if share:
        return f"Most frequent error: {a} taken for {b}, {value:.0%} of its images."
    return f"Lowest value off the diagonal: {a} and {b}, {value:+.2f}."


def _cells(matrix: Matrix, labels: Sequence[str], share: bool) -> dict[str, Any]:
    rows = [plain(row, 3) for row in matrix.tolist()]
    hover = "%{y} taken for %{x}" if share else "%{y} and %{x}"
    value = "%{z:.0%}" if share else "%{z:.2f}"
    cells: dict[str, Any] = {
        "type": "heatmap",
        "z": rows,
        "x": list(labels),
        "y": list(labels),
        "zmin": 0 if share else -1,
        "zmax": 1,
        "colorscale": _colours(_SHARES if share else _COSINES),
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": f"{hover}: {value}<extra></extra>",
        "colorbar": _SCALE
        | ({"tickformat": ".0%", "tickvals": [0, 0.5, 1]} if share else {"tickvals": [-1, -0.5, 0, 0.5, 1]}),
    }
    if len(labels) <= _MOST_NUMBERS:
        cells |= {"texttemplate": value, "textfont": {"size": 10}}
    return cells


def _colours(steps: Sequence[str]) -> list[list[float | str]]:
    return [[place / (len(steps) - 1), step] for place, step in enumerate(steps)]


def _layout(labels: Sequence[str], share: bool) -> dict[str, Any]:
    # Names of digits would otherwise make a numeric axis.
    ticks: dict[str, Any] = {"type": "category", "showgrid": False}
    if len(labels) <= _MOST_NUMBERS:
        ticks |= {"dtick": 1}
    x = ticks | {"tickangle": -60} | ({"title": title("predicted")} if share else {})
    y = ticks | {"autorange": "reversed"} | ({"title": title("true class")} if share else {})
    return layout(max(300, min(680, 190 + 32 * len(labels))), x, y)
