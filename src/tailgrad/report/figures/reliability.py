"""How far the gradient of each class can be told from noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tailgrad.report.averages import Matrix
from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import SYMBOLS, colour, layout, plain, title
from tailgrad.report.wording import number, plot_label, short
from tailgrad.types import ClassInfo

_MEANING = (
    "Share of a class's squared gradient that is not the noise of few examples, over the number of its "
    "training images. Near 1 the gradient is known; near 0 nothing can be said about the conflict of this "
    "class; where a mark is missing the gradient cannot be told from noise."
)


@dataclass(frozen=True, slots=True)
class ClassValues:
    """One number a class under one label, NaN where there is none.

    Example:
        >>> ClassValues("csba", np.array([0.9, 0.2])).label
        'csba'
    """

    label: str
    values: Matrix


def reliability(classes: ClassInfo, series: Sequence[ClassValues]) -> Figure:
    """Marks over the training count, one a class and label.

    Args:
        classes: K names and training counts.
        series: one a method, K values each.

    Example:
        >>> figure = reliability(ClassInfo(("a", "b"), (9, 3)), [ClassValues("csba", np.array([0.9, 0.2]))])
        >>> figure.spec["data"][0]["x"], figure.alt
        ([9, 3], 'csba: least reliable b (0.20), most a (0.90).')
    """
    order = sorted(range(classes.num_classes), key=lambda k: -classes.counts[k])
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": plot_label(one.label),
            "x": [max(1, classes.counts[k]) for k in order],
            "y": plain(one.values[order].tolist()),
            "marker": {"color": colour(place), "symbol": SYMBOLS[place % len(SYMBOLS)], "size": 9},
            "customdata": [plot_label(classes.names[k], 60) for k in order],
            "hovertemplate": "%{customdata} (%{x}): %{y:.2f}<extra></extra>",
        }
        for place, one in enumerate(series)
    ]
    x = {"type": "log", "dtick": "D2", "title": title("training images of the class")}
    drawn = layout(320, x, {"title": title("reliability"), "rangemode": "tozero"})
    alt = " ".join(_extremes(classes, one) for one in series)
    spec = {"data": data, "layout": drawn | {"showlegend": len(series) > 1}}
    return Figure("Reliability of each class's gradient", _MEANING, alt, spec)


def _extremes(classes: ClassInfo, one: ClassValues) -> str:
    known = np.flatnonzero(~np.isnan(one.values)).tolist()
    if not known:
        return f"{one.label}: no class's gradient can be told from noise."
    low, high = (pick(known, key=lambda k: one.values[k]) for pick in (min, max))
    ends = [f"{short(classes.names[k])} ({number(float(one.values[k]), 2)})" for k in (low, high)]
    return f"{one.label}: least reliable {ends[0]}, most {ends[1]}."
