"""Plotly figures of a measurement: matrices with their certainty, and bars by class, layer and pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from tailgrad.checks import InputError, one_of
from tailgrad.interference.bar_figures import layers, pairs, reliability, update
from tailgrad.interference.heat_maps import Cells, heat_map

if TYPE_CHECKING:
    from collections.abc import Callable

    from tailgrad.interference.gram import Array
    from tailgrad.interference.result import Interference


def figure(result: Interference, which: str) -> go.Figure:
    """Draw one kind of figure, classes with most training examples first.

    Args:
        result: a measurement.
        which: a name of `available`.

    Raises:
        InputError: an unknown kind, or one that was not measured; what can be drawn is named.

    Example:
        >>> import torch
        >>> from tailgrad.interference import measure
        >>> result = measure(torch.nn.Linear(4, 4), [(torch.eye(4), torch.arange(4))], "all")
        >>> figure(result, "conflict").data[0].z.shape
        (4, 4)
    """
    one_of("which", which, _DRAWN)
    drawn = available(result)
    if which not in drawn:
        raise InputError(
            f"which must have been measured, got {which!r} of which there is nothing here; choose from "
            f"{', '.join(drawn)}, or measure again ({_NEEDED.get(which, 'with at most 2,000 classes')})"
        )
    return _DRAWN[which](result)


def available(result: Interference) -> tuple[str, ...]:
    """The kinds of figures that this measurement can give.

    Example:
        >>> import torch
        >>> from tailgrad.interference import measure
        >>> result = measure(torch.nn.Linear(4, 4), [(torch.eye(4), torch.arange(4))], "all")
        >>> available(result)
        ('conflict', 'null', 'excess', 'disattenuated', 'contributions', 'layers', 'reliability', 'pairs')
    """
    has_matrices = "conflict" in vars(result)  # above 2,000 classes there are none
    has = {
        **dict.fromkeys(("conflict", "null", "excess"), has_matrices),
        "disattenuated": result.disattenuated is not None,
        "contributions": result.contributions is not None,
        "layers": has_matrices and bool(result.blocks or result.layers),
        "reliability": result.reliability is not None,
        "update": result.effect is not None,
        "pairs": True,
    }
    return tuple(which for which, is_there in has.items() if is_there)


def _conflict(result: Interference) -> go.Figure:
    words = "Cosine between the mean gradients of two classes; read it against the null."
    return heat_map(result, Cells("Conflict", words, result.conflict))


def _null(result: Interference) -> go.Figure:
    words = "The cosine if every class sent the same features: what softmax and the class prior alone give."
    return heat_map(result, Cells("Null", words, result.null))


def _excess(result: Interference) -> go.Figure:
    words = "Conflict minus null; below 0 two classes oppose more than softmax and prior explain."
    ends = result.excess_interval
    if ends is None:
        return heat_map(result, Cells("Excess", f"{words} No interval was measured.", result.excess))
    # a comparison with NaN is False
    beyond = (ends[0] > 0) | (ends[1] < 0)
    marked = f"{words} * beyond noise (90 %)."
    more = [[_certainty(result, ends, i, j) for j in range(len(beyond))] for i in range(len(beyond))]
    return heat_map(result, Cells("Excess", marked, result.excess, more=more, marked=beyond))


def _certainty(result: Interference, ends: Array, i: int, j: int) -> str:
    known = not np.isnan(ends[0, i, j])
    interval = (
        f"{ends[0, i, j]:+.2f} to {ends[1, i, j]:+.2f}, "
        f"{'beyond noise' if ends[0, i, j] > 0 or ends[1, i, j] < 0 else 'within noise'}"
    )
    lines = [f"noise-free, 90 %: {interval if known else 'cannot be told from noise'}"]
    if result.reliability is not None:
        lines.append(f"reliability {result.reliability[i]:.2f} and {result.reliability[j]:.2f}")
    return "<br>".join(lines)


def _disattenuated(result: Interference) -> go.Figure:
    words = "Conflict without the noise of few examples. Blank: cannot be told from noise."
    ends, matrix = result.interval, result.disattenuated
    if ends is None or matrix is None:
        return heat_map(result, Cells("Conflict without noise", words, np.asarray(matrix)))
    size = range(len(matrix))
    more = [[f"90 %: {ends[0, i, j]:+.2f} to {ends[1, i, j]:+.2f}" for j in size] for i in size]
    return heat_map(result, Cells("Conflict without noise", words, matrix, more=more))


def _contributions(result: Interference) -> go.Figure:
    parts = np.asarray(result.contributions)
    own = np.diagonal(parts)[:, None]
    words = (
        "Part of each class (column) in what a plain step does to the loss of a class (row), as a share of "
        "that class's own part: below 0 it hurts."
    )
    more = [[f"contribution {value:.3g}" for value in row] for row in parts.tolist()]
    cells = Cells("Who helps and who hurts whom", words, _ratio(parts, own), more=more, joined=" from ")
    return heat_map(result, cells, axes=("the class that pulls", "the class whose loss it changes"))


def _ratio(parts: Array, own: Array) -> Array:
    result: Array = parts / np.where(own > 0, own, np.nan)
    return result


_DRAWN: dict[str, Callable[[Interference], go.Figure]] = {
    "conflict": _conflict,
    "null": _null,
    "excess": _excess,
    "disattenuated": _disattenuated,
    "contributions": _contributions,
    "layers": layers,
    "reliability": reliability,
    "update": update,
    "pairs": pairs,
}
_NEEDED = {
    "disattenuated": "with folds",
    "reliability": "with folds",
    "layers": "exact gradients of at most 256 classes",
    "update": "with update=Update.of_step(...)",
}
