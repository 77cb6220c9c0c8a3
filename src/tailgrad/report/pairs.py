"""Pairs of classes that oppose most beyond the null, as tables."""

from collections.abc import Sequence

import numpy as np

from tailgrad.evaluate import student_t
from tailgrad.interference import Interference
from tailgrad.report.averages import mean_over
from tailgrad.report.blocks import Table
from tailgrad.report.certainty import Measured
from tailgrad.report.wording import interval, signed

_QUANTITIES = ("conflict", "null", "excess")
_CAPTION = "The six pairs with the lowest excess, chosen for each method on its own measurement"


def worst_pairs(results: Measured) -> Table:
    """The six pairs of the lowest mean excess, each with its interval.

    Args:
        results: measurements of one moment by label. With one run a label the interval is that of the run,
            without its noise; with several it is over seeds.

    Example: see ``conflict_blocks``.
    """
    seeds = any(len(found) > 1 for found in results.values())
    rows = []
    for label, found in results.items():
        matrices = [mean_over([getattr(result, quantity) for result in found]) for quantity in _QUANTITIES]
        excess = matrices[-1]
        a, b = np.triu_indices(len(excess), 1)
        order = [p for p in np.argsort(excess[a, b], kind="stable") if not np.isnan(excess[a[p], b[p]])][:6]
        names = found[0].class_names
        for i, j in zip(a[order], b[order], strict=True):
            figures = tuple(signed(float(matrix[i, j])) for matrix in matrices)
            sure = _over_seeds(found, i, j) if seeds else _within(found[0], i, j)
            rows.append((f"{names[i]} / {names[j]}", label, *figures, sure))
    certain = "excess, 95 % over seeds" if seeds else "noise-free excess, 90 %"
    return Table(_CAPTION, ("pair", "method", *_QUANTITIES, certain), tuple(rows))


def _within(result: Interference, i: int, j: int) -> str:
    ends = result.excess_interval
    if ends is None:
        return interval(None, None)
    low, high = ends[:, i, j].tolist()
    return "unknown" if np.isnan(low) else interval(low, high, sign=True)


def _over_seeds(found: Sequence[Interference], i: int, j: int) -> str:
    values = [float(result.excess[i, j]) for result in found]
    known = student_t([value for value in values if np.isfinite(value)] or [0.0])
    return interval(known.low, known.high, sign=True)


def worst_pairs_alone(results: Measured) -> Table:
    """The same of the first run of each label, for measurements that keep no matrix.

    Example: see ``conflict_blocks``.
    """
    rows = tuple(
        (f"{pair.first} / {pair.second}", label, *map(signed, pair[2:]))
        for label, found in results.items()
        for pair in found[0].worst_pairs(6, by="excess")
    )
    caption = "Six pairs with a low excess, out of the thousand that oppose most, from the first run"
    return Table(caption, ("pair", "method", *_QUANTITIES), rows)
