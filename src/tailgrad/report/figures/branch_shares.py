"""How much of a class's gradient each branch of the head takes."""

import numpy as np

from tailgrad.report.averages import Matrix
from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import colour, layout, plain, title
from tailgrad.report.wording import plot_label, short
from tailgrad.types import ClassInfo

_MOST_CLASSES = 40
_MEANING = (
    "Share of each branch in a class's gradient. The dashed line is 1/B, what branches that are only "
    "summed show whatever the data: a share away from it means that the branch serves this class more, or"
    " less, than others."
)


def branch_shares(label: str, shares: Matrix, classes: ClassInfo) -> Figure:
    """Grouped bars with the null 1/B marked; above 40 classes, those with most and fewest training images.

    Args:
        label: what was measured.
        shares: [B, K], columns sum to 1, NaN where nothing is known.
        classes: K names and training counts.

    Example:
        >>> figure = branch_shares("csba", np.array([[0.7, 0.5], [0.3, 0.5]]), ClassInfo(("a", "b"), (9, 3)))
        >>> figure.alt
        'Largest share: branch 1 on a, 0.70, where 1/B is 0.50.'
    """
    branches = len(shares)
    order = sorted(range(classes.num_classes), key=lambda k: -classes.counts[k])
    if len(order) > _MOST_CLASSES:
        order = order[: _MOST_CLASSES // 2] + order[-_MOST_CLASSES // 2 :]
    data = [
        {
            "type": "bar",
            "name": f"branch {b + 1}",
            "x": list(range(len(order))),
            "y": plain(shares[b, order].tolist()),
            "marker": {"color": colour(b)},
            "customdata": [plot_label(classes.names[k], 60) for k in order],
            "hovertemplate": "%{customdata}: %{y:.3f}",
        }
        for b in range(branches)
    ]
    labels = [plot_label(classes.names[k], 14) for k in order]
    x = {"tickvals": list(range(len(order))), "ticktext": labels, "tickangle": -60}
    null = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1 / branches, "y1": 1 / branches}
    line = {"dash": "dash", "width": 1.5, "color": "#888888"}
    drawn = layout(340, x, {"title": title("share of the gradient"), "rangemode": "tozero"})
    spec = {"data": data, "layout": drawn | {"barmode": "group", "shapes": [null | {"line": line}]}}
    return Figure(f"Branch shares: {label}", _MEANING, _largest(shares, classes), spec)


def _largest(shares: Matrix, classes: ClassInfo) -> str:
    if np.isnan(shares).all():
        return "No share could be measured."
    b, k = np.unravel_index(np.nanargmax(shares), shares.shape)
    name, null = short(classes.names[k]), 1 / len(shares)
    return f"Largest share: branch {b + 1} on {name}, {shares[b, k]:.2f}, where 1/B is {null:.2f}."
