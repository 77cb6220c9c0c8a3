"""Figures over the epochs of training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tailgrad.report.blocks import Figure
from tailgrad.report.figures.style import DASHES, colour, layout, plain, title
from tailgrad.report.wording import number, plot_label


@dataclass(frozen=True, slots=True)
class Curve:
    """One line over the epochs.

    Args:
        label: name of the line; lines of one label share a colour and one legend entry.
        epochs: x values.
        values: y values, None where missing.
        best: the epoch that was kept, marked with a star, or None.

    Example:
        >>> Curve("train", (1, 2), (0.9, 0.5)).best is None
        True
    """

    label: str
    epochs: tuple[int, ...]
    values: tuple[float | None, ...]
    best: int | None = None


def curves(name: str, meaning: str, axis: str, lines: Sequence[Curve]) -> Figure:
    """Lines over epochs.

    Args:
        name: title.
        meaning: how to read it.
        axis: title of the y axis.
        lines: at least one.

    Example:
        >>> curves("Loss", "", "loss", [Curve("train", (1, 2), (0.9, 0.5), best=2)]).alt
        'train: 0.900 at epoch 1, 0.500 at epoch 2.'
    """
    labels = list(dict.fromkeys(line.label for line in lines))
    data = [part for i, line in enumerate(lines) for part in _parts(line, labels, i, lines)]
    drawn = layout(340, {"title": title("epoch")}, {"title": title(axis)})
    firsts = [next(line for line in lines if line.label == label) for label in labels]
    alt = " ".join(map(_ends, firsts))
    return Figure(name, meaning, alt, {"data": data, "layout": drawn | {"showlegend": len(labels) > 1}})


def _parts(line: Curve, labels: Sequence[str], position: int, lines: Sequence[Curve]) -> list[dict[str, Any]]:
    place = labels.index(line.label)
    first = all(other.label != line.label for other in lines[:position])
    drawn: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines" if len(line.epochs) > 1 else "markers",
        "name": plot_label(line.label),
        "legendgroup": line.label,
        "showlegend": first,
        "x": list(line.epochs),
        "y": plain(line.values),
        "line": {"color": colour(place), "dash": DASHES[place % len(DASHES)], "width": 2},
        "hovertemplate": "epoch %{x}: %{y:.3f}",
    }
    if line.best not in line.epochs:
        return [drawn]
    star = {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": line.label,
        "showlegend": False,
        "x": [line.best],
        "y": plain([line.values[line.epochs.index(line.best)]]),
        "marker": {"symbol": "star", "size": 12, "color": colour(place)},
        "hovertemplate": "kept: epoch %{x}, %{y:.3f}<extra></extra>",
    }
    return [drawn, star]


def _ends(line: Curve) -> str:
    known = [
        (epoch, value) for epoch, value in zip(line.epochs, line.values, strict=True) if value is not None
    ]
    if not known:
        return f"{line.label}: no value."
    (first, start), (last, end) = known[0], known[-1]
    return f"{line.label}: {number(start)} at epoch {first}, {number(end)} at epoch {last}."
