"""Class-by-class matrices: conflict, null and excess on one scale, confusion, and who hurts whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailgrad.report.averages import Matrix, pooled
from tailgrad.report.blocks import Figure
from tailgrad.report.class_order import Indices, order_of, places_of_alike
from tailgrad.report.figures.style import layout, plain, title
from tailgrad.report.wording import plot_label, short
from tailgrad.types import ClassInfo

_MOST_NUMBERS, _MOST_LABELS, _FEWEST_TO_ORDER = 10, 24, 4
# ColorBrewer's RdBu and Blues, both safe for any colour vision; red for classes that pull apart.
_RED_BLUE = ("#b2182b", "#ef8a62", "#fddbc7", "#f7f7f7", "#d1e5f0", "#67a9cf", "#2166ac")
_SHARES = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5", "#08306b")
_BAR = {
    "orientation": "h",
    "thickness": 6,
    "outlinewidth": 0,
    "y": 1,
    "yanchor": "bottom",
    "xpad": 0,
    "ypad": 4,
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of a matrix are drawn and said.

    Args:
        colours: from the lowest to the highest.
        low: value of the first colour.
        joined: what stands between row and column in words.
        form: d3 format of a number.
        axes: titles of columns and rows.
        is_symmetric: whether [i, j] and [j, i] say the same.

    Example:
        >>> COSINES.low, CONFUSION.low
        (-1, 0)
    """

    colours: tuple[str, ...]
    low: int
    joined: str
    form: str
    axes: tuple[str, str] = ("", "")
    is_symmetric: bool = False


COSINES = Scale(_RED_BLUE, -1, "and", ".2f", is_symmetric=True)
CONFUSION = Scale(_SHARES, 0, "taken for", ".0%", ("predicted", "true class"))
HARM = Scale(_RED_BLUE, -1, "from", ".2f", ("the class that pulls", "the class whose loss it changes"))


def heat_map(
    name: str,
    meaning: str,
    matrix: Matrix,
    classes: ClassInfo,
    *,
    scale: Scale = COSINES,
    likeness: Matrix | None = None,
) -> Figure:
    """A heat map [K, K], classes with most training images first; above 60 classes, means of like ones.

    Args:
        name: title.
        meaning: how to read it.
        matrix: values [K, K], NaN where there is none; colours end at the scale's ends.
        classes: K names and training counts.
        scale: ``COSINES`` between classes, ``CONFUSION`` (shares of a target class, rows, by prediction,
            columns), or ``HARM`` (what a class, column, does to the loss of another, row).
        likeness: what puts like classes together [K, K], so that several maps share one order; default the
            matrix itself.

    Example:
        >>> classes = ClassInfo(("a", "b"), (1, 2))
        >>> figure = heat_map("Conflict", "", np.array([[1.0, -0.5], [-0.5, 1.0]]), classes)
        >>> figure.spec["data"][0]["z"], figure.alt
        ([[1.0, -0.5], [-0.5, 1.0]], 'Lowest value off the diagonal: b and a, -0.50.')
    """
    like = matrix if likeness is None else likeness
    groups = order_of(like, classes)
    order, whole = np.concatenate(groups), len(groups) == classes.num_classes
    cells = matrix if whole or scale is CONFUSION else _pairs(matrix)
    drawn = cells[np.ix_(order, order)] if whole else pooled(cells, groups)
    labels = _labels(classes, groups)
    around = _layout(labels, scale)
    if whole and len(groups) >= _FEWEST_TO_ORDER:  # the reader may put like classes together
        around["meta"] = {"alike": places_of_alike(groups, like)}
    spec = {"data": [_cells(drawn, labels, scale)], "layout": around}
    meaning += "" if whole else " Each cell is the mean over a few classes that are alike."
    meaning += " Blank: could not be measured." if np.isnan(matrix).any() else ""
    return Figure(name, meaning, _extreme(matrix, classes, scale), spec)


def _labels(classes: ClassInfo, groups: Sequence[Indices]) -> list[str]:
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


def _extreme(matrix: Matrix, classes: ClassInfo, scale: Scale) -> str:
    others = _pairs(matrix)
    if np.isnan(others).all():
        return "No value off the diagonal."
    pick = np.nanargmax if scale is CONFUSION else np.nanargmin
    i, j = np.unravel_index(pick(others), others.shape)
    if scale.is_symmetric:
        i, j = sorted((i, j), key=lambda k: -classes.counts[k])
    a, b, value = short(classes.names[i]), short(classes.names[j]), matrix[i, j]
    if scale is CONFUSION:
        return f"Most frequent error: {a} taken for {b}, {value:.0%} of its images."
    if scale is HARM:
        hurt = value < 0
        return f"Most hurt: {a} by {b}, {value:+.2f}." if hurt else "No class hurts another."
    return f"Lowest value off the diagonal: {a} and {b}, {value:+.2f}."


def _cells(matrix: Matrix, labels: Sequence[str], scale: Scale) -> dict[str, Any]:
    rows = [plain(row, 3) for row in matrix.tolist()]
    value = f"%{{z:{scale.form}}}"
    places = [0, 0.5, 1] if scale.low == 0 else [-1, -0.5, 0, 0.5, 1]
    cells: dict[str, Any] = {
        "type": "heatmap",
        "z": rows,
        "x": list(labels),
        "y": list(labels),
        "zmin": scale.low,
        "zmax": 1,
        "colorscale": _colours(scale.colours),
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "hovertemplate": f"%{{y}} {scale.joined} %{{x}}: {value}<extra></extra>",
        "colorbar": _BAR | {"tickvals": places} | ({"tickformat": ".0%"} if scale is CONFUSION else {}),
    }
    if len(labels) <= _MOST_NUMBERS:
        cells |= {"texttemplate": value, "textfont": {"size": 10}}
    return cells


def _colours(steps: Sequence[str]) -> list[list[float | str]]:
    return [[place / (len(steps) - 1), step] for place, step in enumerate(steps)]


def _layout(labels: Sequence[str], scale: Scale) -> dict[str, Any]:
    # Names of digits would otherwise make a numeric axis.
    ticks: dict[str, Any] = {"type": "category", "showgrid": False}
    if len(labels) <= _MOST_LABELS:
        ticks |= {"dtick": 1}
    x, y = ({"title": title(text)} if text else {} for text in scale.axes)
    x |= ticks | {"tickangle": -60}
    y |= ticks | {"autorange": "reversed"}
    return layout(max(300, min(680, 190 + 32 * len(labels))), x, y)
