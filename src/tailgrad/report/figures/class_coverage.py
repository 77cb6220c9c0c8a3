"""Coverage of each class by conformal sets, with one limit for all classes and with one each."""

from typing import Any

from tailgrad.evaluate import Estimate, Reliability
from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import SYMBOLS, colour, layout, plain, title
from tailgrad.report.wording import number, plot_label, short

_MEANING = (
    "Share of the images of a class whose set holds it, over the number of its training images, with exact "
    "intervals. The line is what was promised. Hollow marks: classes with too few validation images, which "
    "are in every set."
)
_LABELS = {"marginal": "one limit for all classes", "class": "a limit for each class"}
_MOST_INTERVALS = 60


def class_coverage(found: Reliability) -> Figure:
    """Marks over the training count, one a class and way of ranking.

    Args:
        found: with sets.

    Example: see ``report.reliability``.
    """
    tested = [k for k, own in enumerate(found.calibration) if own.images]
    order = sorted(tested, key=lambda k: -found.classes.counts[k])
    data, told = [], []
    for place, (way, label) in enumerate(_LABELS.items()):
        sets = found.way(way)
        if sets is None:
            continue
        data.append(_marks(found, order, sets.by_class, sets.always, (place, label)))
        low = min(order, key=lambda k: sets.by_class[k].value)
        told.append(
            f"{label}: lowest {short(found.classes.names[low])} ({number(sets.by_class[low].value, 2)})."
        )
    wanted = 1 - found.options.alpha
    x = {"type": "log", "dtick": "D2", "title": title("training images of the class")}
    drawn = layout(340, x, {"title": title("share covered"), "range": [-0.02, 1.04]})
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": wanted, "y1": wanted}
    drawn |= {
        "showlegend": True,
        "shapes": [line | {"line": {"color": colour(7), "dash": "dash", "width": 1.5}}],
    }
    return Figure("Coverage of every class", _MEANING, " ".join(told), {"data": data, "layout": drawn})


def _marks(
    found: Reliability,
    order: list[int],
    figures: tuple[Estimate, ...],
    always: tuple[bool, ...],
    style: tuple[int, str],
) -> dict[str, Any]:
    place, label = style
    symbol = SYMBOLS[place]
    marks: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "name": label,
        "x": [max(1, found.classes.counts[k]) * (1 + 0.03 * place) for k in order],
        "y": plain(figures[k].value for k in order),
        "marker": {
            "color": colour(place),
            "size": 9,
            "symbol": [f"{symbol}-open" if always[k] else symbol for k in order],
        },
        "customdata": [plot_label(found.classes.names[k], 60) for k in order],
        "hovertemplate": "%{customdata}: %{y:.2f}<extra></extra>",
    }
    if len(order) <= _MOST_INTERVALS:
        marks["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": plain((figures[k].high or 0.0) - figures[k].value for k in order),
            "arrayminus": plain(figures[k].value - (figures[k].low or 0.0) for k in order),
            "thickness": 1.2,
            "width": 3,
        }
    return marks
