"""Pairs of classes that oppose most beyond the null, as tables."""

import numpy as np

from tailgrad.interference import Interference
from tailgrad.report.averages import Matrix, OverRuns, mean_over
from tailgrad.report.blocks import Figure, Table
from tailgrad.report.certainty import Measured
from tailgrad.report.figures import heat_map
from tailgrad.report.wording import interval, signed
from tailgrad.types import ClassInfo

_QUANTITIES = ("conflict", "null", "excess")
_MOST_CLASSES = 24
_STRONGEST = (
    "Excess between the classes of the pairs that oppose most, out of all classes: in means over many "
    "classes single pairs cannot be seen."
)
_CAPTION = "The six pairs with the lowest excess, chosen for each method on its own measurement"


def worst_pairs(results: Measured, over: OverRuns | None = None) -> Table:
    """The six pairs of the lowest mean excess, each with its interval.

    Args:
        results: measurements of one moment by label. With one run a label the interval is that of the run,
            without its noise; with several it is over seeds or splits.
        over: which runs make one figure, and whether splits overlap; None makes every run one.

    Example: see ``conflict_blocks``.
    """
    over = over or OverRuns()
    several = any(len(found) > 1 for found in results.values())
    rows = []
    for label, found in results.items():
        matrices = [mean_over([getattr(result, quantity) for result in found]) for quantity in _QUANTITIES]
        excess = matrices[-1]
        a, b = np.triu_indices(len(excess), 1)
        order = [p for p in np.argsort(excess[a, b], kind="stable")[:6] if not np.isnan(excess[a[p], b[p]])]
        names = found[0].class_names
        for i, j in zip(a[order], b[order], strict=True):
            figures = tuple(signed(float(matrix[i, j])) for matrix in matrices)
            each = [float(result.excess[i, j]) for result in found]
            sure = over.interval(label, each) if several else _within(found[0], i, j)
            rows.append((f"{names[i]} / {names[j]}", label, *figures, sure))
    certain = f"excess, 95 % over {over.what}" if several else "noise-free excess, 90 %"
    return Table(_CAPTION, ("pair", "method", *_QUANTITIES, certain), tuple(rows))


def _within(result: Interference, i: int, j: int) -> str:
    ends = result.excess_interval
    if ends is None:
        return interval(None, None)
    low, high = ends[:, i, j].tolist()
    return "unknown" if np.isnan(low) else interval(low, high, sign=True)


def strongest_map(label: str, excess: Matrix, classes: ClassInfo) -> Figure:
    """The excess between at most 24 classes: those of the pairs with the lowest one, class by class.

    Args:
        label: of the measurement.
        excess: of all classes [K, K].
        classes: K names and training counts.

    Example:
        >>> excess = np.array([[0, -0.1, 0.2], [-0.1, 0, 0.3], [0.2, 0.3, 0]])
        >>> strongest_map("csba", excess, ClassInfo(("a", "b", "c"), (9, 5, 1))).title
        'Strongest conflicts, class by class: csba'
    """
    a, b = np.triu_indices(len(excess), 1)
    lowest = np.argsort(excess[a, b], kind="stable")[:_MOST_CLASSES]  # NaN comes last
    ends = np.stack([a[lowest], b[lowest]], axis=1).ravel().tolist()
    chosen = list(dict.fromkeys(k for k in ends if not np.isnan(excess[k]).all()))[:_MOST_CLASSES]
    part = ClassInfo(tuple(classes.names[k] for k in chosen), tuple(classes.counts[k] for k in chosen))
    title = f"Strongest conflicts, class by class: {label}"
    return heat_map(title, _STRONGEST, excess[np.ix_(chosen, chosen)], part)


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
