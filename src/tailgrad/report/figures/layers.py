"""Where in the network classes oppose one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import colour, layout, plain, title
from tailgrad.report.wording import plot_label, signed

_MOST_NAMES = 24
_MEANING = (
    "Layers from the input on the left to the output on the right. Solid: excess, the mean cosine between"
    " two classes' gradients minus its null. Dotted: the cosine itself. Below 0 the classes pull the "
    "layer in opposing directions; only what the solid line shows goes beyond softmax competition and the"
    " class prior."
)


@dataclass(frozen=True, slots=True)
class LayerSeries:
    """Mean conflict and excess of each layer under one label.

    Args:
        label: name of the series.
        conflict: layer -> mean cosine over pairs of classes.
        excess: layer -> mean excess over the null.

    Example:
        >>> LayerSeries("csba", {"conv": -0.2}, {"conv": -0.1}).label
        'csba'
    """

    label: str
    conflict: dict[str, float]
    excess: dict[str, float]


def layers(series: Sequence[LayerSeries]) -> Figure:
    """Mean conflict and excess by layer, one pair of lines a series.

    Example:
        >>> figure = layers([LayerSeries("csba", {"a": -0.2, "b": -0.4}, {"a": 0.0, "b": -0.1})])
        >>> len(figure.spec["data"]), figure.alt
        (2, 'csba: lowest excess -0.100 in b, highest +0.000 in a.')
    """
    names = list(dict.fromkeys(name for one in series for name in one.conflict))
    data = [line for place, one in enumerate(series) for line in _lines(one, names, place)]
    x: dict[str, Any] = {"title": title("layer")}
    if len(names) <= _MOST_NAMES:
        labels = [plot_label(_end(name)) for name in names]
        x |= {"tickvals": list(range(len(names))), "ticktext": labels, "tickangle": -60}
    y = {"title": title("mean over pairs"), "zeroline": True}
    alt = " ".join(_extremes(one) for one in series)
    return Figure("Conflict by layer", _MEANING, alt, {"data": data, "layout": layout(400, x, y)})


def _lines(one: LayerSeries, names: Sequence[str], place: int) -> list[dict[str, Any]]:
    pairs = (("excess", one.excess, "solid"), ("cosine", one.conflict, "dot"))
    return [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"{plot_label(one.label)}, {word}",
            "x": list(range(len(names))),
            "y": plain(values.get(name) for name in names),
            "line": {"color": colour(place), "dash": dash, "width": 2 if dash == "solid" else 1.2},
            "marker": {"size": 5 if dash == "solid" else 3},
            "customdata": [plot_label(name, 60) for name in names],
            "hovertemplate": "%{customdata}: %{y:.3f}",
        }
        for word, values, dash in pairs
    ]


def _end(name: str) -> str:
    """The end of a layer's name, which tells it from its neighbours."""
    return name if len(name) <= 18 else f"\u2026{name[-17:]}"


def _extremes(one: LayerSeries) -> str:
    known = {name: value for name, value in one.excess.items() if value == value}
    if not known:
        return f"{one.label}: no layer could be measured."
    low, high = min(known, key=lambda n: known[n]), max(known, key=lambda n: known[n])
    return (
        f"{one.label}: lowest excess {signed(known[low])} in {low}, highest {signed(known[high])} in {high}."
    )
