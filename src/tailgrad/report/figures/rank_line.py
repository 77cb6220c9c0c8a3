"""Mean ranks of several methods, with bars that join those that cannot be told apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import SYMBOLS, colour, layout, plain, title
from tailgrad.report.wording import number, plot_label

_MEANING = (
    "Rank 1 is the best of its seed or split. Methods that a bar at the right joins cannot be told apart: "
    "their mean ranks differ by less than the critical difference, or Friedman's test finds nothing at all."
)


def rank_line(
    metric: str, mean_ranks: Mapping[str, float], cliques: Sequence[Sequence[str]], critical_difference: float
) -> Figure:
    """Mean rank of each method, best first.

    Args:
        metric: its name.
        mean_ranks: of each method, best first.
        cliques: groups of methods, each a run of neighbours.
        critical_difference: that Nemenyi's test asks for.

    Example:
        >>> rank_line("macro-F1", {"a": 1.2, "b": 1.8}, [["a", "b"]], 0.8).alt
        'a: 1.20. b: 1.80. Critical difference 0.80. Not to be told apart: a, b.'
    """
    names = list(mean_ranks)
    joined = [clique for clique in cliques if len(clique) > 1]
    data = [_mark(mean_ranks[name], place) for place, name in enumerate(names)]
    bars = [_bar(names, clique, lane) for lane, clique in enumerate(joined)]
    labels = [plot_label(name, 18) for name in names]
    last = len(names) + _LANE * (len(joined) + 1)
    x = {"title": title(f"mean rank in {metric}"), "range": [0.8, last], "dtick": 1}
    y = {"tickvals": list(range(len(names))), "ticktext": labels, "range": [len(names) - 0.5, -0.5]}
    drawn = layout(90 + 32 * len(names), x, y) | {"showlegend": False, "shapes": bars}
    alt = _words(mean_ranks, joined, critical_difference)
    return Figure(f"Mean ranks in {metric}", _MEANING, alt, {"data": data, "layout": drawn})


_LANE = 0.15


def _mark(rank: float, place: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": plain([rank]),
        "y": [place],
        "marker": {"color": colour(place), "symbol": SYMBOLS[place % len(SYMBOLS)], "size": 12},
        "hovertemplate": "mean rank: %{x:.2f}<extra></extra>",
    }


def _bar(names: Sequence[str], clique: Sequence[str], lane: int) -> dict[str, Any]:
    at = len(names) + _LANE * (lane + 0.5)
    first, last = names.index(clique[0]), names.index(clique[-1])
    ends = {"x0": at, "x1": at, "y0": first - 0.2, "y1": last + 0.2}
    return {"type": "line", "line": {"color": "#999999", "width": 5}, **ends}


def _words(ranks: Mapping[str, float], joined: Sequence[Sequence[str]], width: float) -> str:
    means = " ".join(f"{name}: {number(rank, 2)}." for name, rank in ranks.items())
    groups = "; ".join(", ".join(clique) for clique in joined) or "none"
    return f"{means} Critical difference {number(width, 2)}. Not to be told apart: {groups}."
