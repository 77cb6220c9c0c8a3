"""Which value of a grid is best on validation data, averaged over seeds, and whether it lies at the edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tailgrad.checks import InputError
from tailgrad.evidence.lab import Table


@dataclass(frozen=True)
class Choice:
    """The value that was chosen.

    Args:
        method: what it was chosen for.
        value: of the grid.
        at_edge: whether it is the smallest or largest of the grid, so that a better one may lie outside.
        score: mean over seeds of what was chosen by.

    Example:
        >>> Choice("sgd", 0.1, False, 0.8).value
        0.1
    """

    method: str
    value: float
    at_edge: bool
    score: float


def choose(method: str, scores: Mapping[float, Sequence[float]], *, highest: bool = True) -> Choice:
    """The value with the best mean score; the first of equals.

    Args:
        method: what it is chosen for.
        scores: value -> validation score of each seed.
        highest: whether more is better.

    Raises:
        InputError: the grid is empty.

    Example:
        >>> choose("sgd", {0.01: [0.5, 0.6], 0.1: [0.7, 0.8], 1.0: [0.1, 0.2]})
        Choice(method='sgd', value=0.1, at_edge=False, score=0.75)
    """
    if not scores:
        raise InputError(f"the grid of {method} must hold a value, got none; give rates in settings")
    means = {value: float(np.mean(found)) for value, found in scores.items()}
    best = (max if highest else min)(means, key=lambda value: means[value])
    edges = (min(means), max(means))
    return Choice(method, best, len(means) > 1 and best in edges, means[best])


def choice_table(choices: Sequence[Choice], what: str) -> Table:
    """What was chosen, with a warning beside values at the edge of their grid.

    Example:
        >>> choice_table([Choice("sgd", 1.0, True, 0.8)], "rate").rows
        (('sgd', '1', '0.800', 'at the edge of the grid'),)
    """
    rows = [(c.method, f"{c.value:g}", f"{c.score:.3f}", _warning(c)) for c in choices]
    return Table(
        f"Chosen on validation data: {what}",
        ("method", "chosen", "validation", "warning"),
        tuple(rows),
        "One value for all seeds, by the mean over seeds; the grid stands in the settings.",
    )


def _warning(choice: Choice) -> str:
    return "at the edge of the grid" if choice.at_edge else ""
