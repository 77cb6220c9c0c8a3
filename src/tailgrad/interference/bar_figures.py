"""Figures of a measurement by class, layer and pair: bars and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tailgrad.checks import InputError
from tailgrad.interference.gram import off_diagonal
from tailgrad.interference.heat_maps import label, order_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tailgrad.interference.gram import Array
    from tailgrad.interference.result import Interference

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#999999"
_PAIRS, _LAYERS = 12, 30


def layers(result: Interference) -> go.Figure:
    """Mean conflict, null and excess by layer, or by block where the layers are too many to read.

    Example: see ``figure``.
    """
    by_block = len(result.blocks) > 1 and len(result.layers) > _LAYERS
    conflict, null = (result.blocks, result.block_null) if by_block else (result.layers, result.layer_null)
    names = list(conflict)
    excess = {name: conflict[name] - null[name] for name in names}
    lines: tuple[tuple[str, Mapping[str, Array], dict[str, Any]], ...] = (
        ("excess", excess, {"color": _BLUE, "width": 3}),
        ("conflict", conflict, {"color": _ORANGE, "dash": "dash"}),
        ("null", null, {"color": _GREY, "dash": "dot"}),
    )
    drawn = go.Figure()
    for word, values, line in lines:
        drawn.add_scatter(
            name=word,
            x=list(range(len(names))),
            y=[_pair_mean(values[name]) for name in names],
            mode="lines+markers",
            line=line,
            text=[label(name, 60) for name in names],
            hovertemplate="%{text}: %{y:.3f}",
        )
    ticks = {"tickvals": list(range(len(names))), "ticktext": [label(name) for name in names]}
    title = f"Mean over pairs of classes, by {'block' if by_block else 'layer'}"
    drawn.update_layout(title=title, yaxis_title="cosine", xaxis=ticks, template="plotly_white")
    return drawn


def _pair_mean(matrix: Array) -> float:
    values = off_diagonal(matrix)
    return float(values.mean()) if len(values) else float("nan")


def reliability(result: Interference) -> go.Figure:
    """A bar for the reliability of each class.

    Example: see ``figure``.
    """
    order = order_of(result)
    shares = np.asarray(result.reliability)[order]
    drawn = go.Figure(_bars(result, "reliability", shares, _BLUE))
    drawn.update_layout(
        title="Share of each class's squared gradient that is not the noise of few examples",
        yaxis_title="reliability",
        xaxis={"type": "category", "title": "class (training examples)"},
        template="plotly_white",
    )
    return drawn


def _bars(result: Interference, name: str, values: Array, colour: str) -> go.Bar:
    """One bar a class, in the order of the figure."""
    order = order_of(result)
    trained = result.counts if result.train_counts is None else result.train_counts
    hover = [
        f"{label(result.class_names[c], 60)}, {result.counts[c]} examples measured, {trained[c]} in training"
        for c in order
    ]
    return go.Bar(
        name=name,
        x=[f"{label(result.class_names[c])} ({trained[c]})" for c in order],
        y=values,
        marker_color=colour,
        text=hover,
        textposition="none",
        hovertemplate="%{text}: %{y:.3g}",
    )


def update(result: Interference) -> go.Figure:
    """Alignment, predicted and measured change of the loss of each class under the given update.

    Raises:
        InputError: no update was given.

    Example: see ``figure``.
    """
    effect, order = result.effect, order_of(result)
    if effect is None:
        raise InputError("update must have been measured, got None; pass update= to measure")
    titles = ("Below 0: the update climbs this class's loss", "Change of the class's loss")
    drawn = make_subplots(rows=2, cols=1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.12)
    panels = {
        "alignment": (effect.alignment, _BLUE, 1),
        "predicted change": (effect.predicted_change, _GREY, 2),
        "measured change": (effect.measured_change, _ORANGE, 2),
    }
    for name, (values, colour, row) in panels.items():
        drawn.add_trace(_bars(result, name, values[order], colour), row=row, col=1)
    drawn.update_xaxes(type="category")
    drawn.update_yaxes(title_text="cosine", row=1)
    drawn.update_yaxes(title_text="loss", row=2)
    title = f"What the update ({label(effect.label, 60)}) does to every class"
    drawn.update_layout(title=title, height=620, template="plotly_white")
    return drawn


def pairs(result: Interference) -> go.Figure:
    """Null, conflict and excess of the pairs that are surest to oppose beyond their null.

    Example: see ``figure``.
    """
    worst = result.worst_pairs(_PAIRS)
    names = [f"{label(pair.first)} and {label(pair.second)}" for pair in worst]
    drawn = go.Figure(
        [
            go.Bar(
                name=kind, y=names, x=[getattr(pair, kind) for pair in worst], orientation="h", marker_color=c
            )
            for kind, c in (("null", _GREY), ("conflict", _ORANGE), ("excess", _BLUE))
        ]
    )
    drawn.update_layout(
        title="Pairs of classes that oppose most beyond the null",
        xaxis_title="cosine",
        yaxis={"autorange": "reversed", "type": "category"},
        legend_traceorder="reversed",
        height=160 + 48 * max(1, len(worst)),
        template="plotly_white",
    )
    return drawn
