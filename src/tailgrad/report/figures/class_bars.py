"""F1 of every class, method beside method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tailgrad.evaluate import Estimate
from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import SYMBOLS, colour, layout, plain, title
from tailgrad.report.wording import number, plot_label, short
from tailgrad.types import ClassInfo

_MOST_BARS = 40
_MEANING = (
    "Each bar is the F1 of one class, classes with most training images first; the thin line is its "
    "interval. F1 is high only if images of the class are found and few others are taken for it."
)
_POINTS_MEANING = (
    "Each mark is the F1 of one class over the number of its training images: a cloud that falls to the "
    "left is what imbalance costs. Intervals are in the table."
)


@dataclass(frozen=True, slots=True)
class Series:
    """One figure a class under one label.

    Example:
        >>> Series("csba", (Estimate(0.5), Estimate(0.4))).label
        'csba'
    """

    label: str
    figures: tuple[Estimate, ...]


def class_bars(classes: ClassInfo, series: Sequence[Series]) -> Figure:
    """Horizontal bars with intervals; above 40 classes, points over the number of training images.

    Args:
        classes: K names and training counts.
        series: one a method, K figures each.

    Example:
        >>> series = Series("csba", (Estimate(0.5), Estimate(0.4)))
        >>> figure = class_bars(ClassInfo(("cat", "dog"), (9, 3)), [series])
        >>> figure.spec["data"][0]["type"], figure.alt
        ('bar', 'csba: lowest dog 0.400, highest cat 0.500.')
    """
    order = sorted(range(classes.num_classes), key=lambda k: -classes.counts[k])
    draw = _bars if classes.num_classes <= _MOST_BARS else _points
    alt = " ".join(_extremes(classes, one) for one in series)
    meaning = _MEANING if draw is _bars else _POINTS_MEANING
    return Figure("F1 of every class", meaning, alt, draw(classes, series, order))


def _extremes(classes: ClassInfo, series: Series) -> str:
    ranked = sorted(range(classes.num_classes), key=lambda k: series.figures[k].value)
    low, high = (
        f"{short(classes.names[k])} {number(series.figures[k].value)}" for k in (ranked[0], ranked[-1])
    )
    return f"{series.label}: lowest {low}, highest {high}."


def _error(figures: Sequence[Estimate]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": plain(0.0 if f.high is None else f.high - f.value for f in figures),
        "arrayminus": plain(0.0 if f.low is None else f.value - f.low for f in figures),
        "thickness": 1.2,
        "width": 3,
    }


def _bars(classes: ClassInfo, series: Sequence[Series], order: Sequence[int]) -> dict[str, Any]:
    places = list(range(len(order)))
    data = []
    for position, one in enumerate(series):
        figures = [one.figures[k] for k in order]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": plot_label(one.label),
                "x": plain(f.value for f in figures),
                "y": places,
                "error_x": _error(figures),
                "marker": {"color": colour(position)},
                "customdata": [plot_label(classes.names[k], 60) for k in order],
                "hovertemplate": "%{customdata}: %{x:.3f}<extra></extra>",
            }
        )
    y = {
        "tickvals": places,
        "ticktext": [f"{plot_label(classes.names[k], 20)} ({classes.counts[k]})" for k in order],
        "autorange": "reversed",
    }
    height = 70 + len(order) * (14 + 14 * len(series))
    drawn = layout(height, {"range": [0, 1], "title": title("F1 on test images")}, y)
    return {
        "data": data,
        "layout": drawn | {"barmode": "group", "bargap": 0.25, "showlegend": len(series) > 1},
    }


def _points(classes: ClassInfo, series: Sequence[Series], order: Sequence[int]) -> dict[str, Any]:
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": plot_label(one.label),
            "x": [max(1, classes.counts[k]) for k in order],
            "y": plain(one.figures[k].value for k in order),
            "marker": {"color": colour(position), "symbol": SYMBOLS[position % len(SYMBOLS)], "opacity": 0.7},
            "customdata": [plot_label(classes.names[k], 60) for k in order],
            "hovertemplate": "%{customdata} (%{x}): %{y:.3f}<extra></extra>",
        }
        for position, one in enumerate(series)
    ]
    x = {"type": "log", "title": title("training images of the class")}
    drawn = layout(380, x, {"range": [-0.02, 1.02], "title": title("F1 on test images")})
    return {"data": data, "layout": drawn | {"showlegend": len(series) > 1}}
