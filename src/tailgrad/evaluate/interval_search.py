"""One option out of each group such that sums stay within bounds: a search that cuts by intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

# Relative to the bound: sums of a thousand shares err by less, and counts up to 10^8 stay apart.
_TOLERANCE = 1e-9
_OPTIONS_OF_A_STEP = 100


class SearchStoppedError(Exception):
    """The steps are used up.

    Example:
        >>> raise SearchStoppedError
        Traceback (most recent call last):
        ...
        tailgrad.evaluate.interval_search.SearchStoppedError
    """


@dataclass(slots=True)
class Budget:
    """Steps that are left, shared by several searches.

    Args:
        steps: how many choices may still be extended; one with hundreds of options counts more than once.

    Example:
        >>> budget = Budget(1)
        >>> budget.spend(3)
        >>> budget.steps
        0
    """

    steps: int

    def spend(self, options: int) -> None:
        """Count one step, and another for every hundred options.

        Raises:
            SearchStoppedError: none was left.
        """
        if self.steps <= 0:
            raise SearchStoppedError
        self.steps -= 1 + options // _OPTIONS_OF_A_STEP


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one group, each an interval a dimension.

    Args:
        low: smallest contribution of each option to each sum [options, D].
        high: largest contribution [options, D].

    Example:
        >>> Options(np.array([[1.0], [2.0]]), np.array([[1.0], [3.0]])).high.max()
        np.float64(3.0)
    """

    low: Rows
    high: Rows


def search(groups: Sequence[Options], least: Rows, most: Rows, budget: Budget) -> Iterator[tuple[int, ...]]:
    """Choices of one option a group whose summed intervals meet [least, most] in every dimension.

    A choice is given up as soon as the groups that remain cannot bring some sum back into its bounds. Options
    that lead to the middle of the bounds are tried first. Where options are points (low is high), every
    choice found is a solution.

    Args:
        groups: the options of each group.
        least: lower bounds of the sums [D].
        most: upper bounds [D].
        budget: steps to spend.

    Returns:
        Indices of the options, each choice once.

    Raises:
        SearchStoppedError: the budget is used up, maybe before all were found.

    Example:
        >>> coins = Options(np.array([[1.0], [5.0]]), np.array([[1.0], [5.0]]))
        >>> sorted(search([coins, coins], np.array([6.0]), np.array([6.0]), Budget(99)))
        [(0, 1), (1, 0)]
    """
    if any(len(group.low) == 0 for group in groups):
        return
    least, most = _widened(least, -1), _widened(most, 1)
    rest_low = _from_here([group.low.min(0) for group in groups], len(least))
    rest_high = _from_here([group.high.max(0) for group in groups], len(least))
    aim, scale = least + most, 1 + rest_high[0] - rest_low[0]
    stack: list[tuple[tuple[int, ...], Rows, Rows]] = [((), np.zeros(len(least)), np.zeros(len(least)))]
    while stack:
        chosen, low, high = stack.pop()
        place = len(chosen)
        if place == len(groups):
            yield chosen
            continue
        budget.spend(len(groups[place].low))
        lows, highs = low + groups[place].low, high + groups[place].high
        fits = (lows + rest_low[place + 1] <= most).all(1)
        fits &= (highs + rest_high[place + 1] >= least).all(1)
        kept = np.flatnonzero(fits)
        ends = lows[kept] + highs[kept] + rest_low[place + 1] + rest_high[place + 1]
        far = (np.abs(ends - aim) / scale).max(1)
        stack.extend(((*chosen, int(i)), lows[i], highs[i]) for i in kept[np.argsort(-far, kind="stable")])


def _widened(bounds: Rows, sign: int) -> Rows:
    return bounds + sign * _TOLERANCE * np.maximum(1.0, np.abs(bounds))


def _from_here(ends: Sequence[Rows], dimensions: int) -> list[Rows]:
    """Sums over the groups from each one to the last, and 0 after it."""
    sums = [np.zeros(dimensions)]
    for end in reversed(ends):
        sums.append(sums[-1] + end)
    return sums[::-1]
