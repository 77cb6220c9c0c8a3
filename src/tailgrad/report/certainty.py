"""How surely classes interfere, and who hurts whom: the blocks beside the matrices."""

from collections.abc import Mapping, Sequence

import numpy as np

from tailgrad.interference import Interference
from tailgrad.interference.findings import beyond_noise
from tailgrad.interference.tiles import TiledInterference
from tailgrad.report.averages import Matrix, mean_over
from tailgrad.report.blocks import Block, Figure, Folded, Grid, Table
from tailgrad.report.class_order import MOST_CELLS
from tailgrad.report.figures import HARM, ClassValues, heat_map, reliability
from tailgrad.report.tables import matrix_table
from tailgrad.report.wording import number
from tailgrad.types import ClassInfo

_HARM = (
    "What each class (column) does to the loss of another (row) under a plain gradient step, as a share of "
    "what that class does for itself: -1 takes all of it back. Frequent classes pull harder, so this is not "
    "the conflict, in which every class pulls alike."
)
Measured = Mapping[str, Sequence[Interference]]


def classes_of(found: Sequence[Interference]) -> ClassInfo:
    """Names and training counts of a measurement (the measured counts in files that hold no others).

    Example: see ``conflict_blocks``.
    """
    first = found[0]
    counts = first.counts if first.train_counts is None else first.train_counts
    return ClassInfo(first.class_names, tuple(int(n) for n in counts))


def likeness_of(results: Measured) -> Matrix:
    """What puts like classes together in every map: the mean excess over all measurements [K, K].

    Example: see ``conflict_blocks``.
    """
    return mean_over([result.excess for found in results.values() for result in found])


def noise_table(found: Mapping[str, Measured], words: Mapping[str, str]) -> tuple[Block, ...]:
    """Pairs of classes beyond null and noise, by label and moment; nothing where no interval was measured.

    Args:
        found: measurements by moment, then by label.
        words: how a moment is called.

    Example:
        >>> noise_table({}, {})
        ()
    """
    rows = [
        row
        for moment, by_label in found.items()
        for label, results in by_label.items()
        for row in _noise_row(label, words[moment], results)
    ]
    if not rows:
        return ()
    seeds = any(len(results) > 1 for by_label in found.values() for results in by_label.values())
    header = ("method", "measured", "pairs", "opposed", "agreeing", "by chance on either side", "unknown")
    each = ", mean over seeds" if seeds else ""
    caption = f"Pairs of classes whose 90 % interval leaves out 0 beyond the null{each}"
    last = ("opposed with every seed",) if seeds else ()
    cut = slice(None) if seeds else slice(-1)
    return (Table(caption, (*header, *last), tuple(row[cut] for row in rows)),)


def _noise_row(label: str, moment: str, results: Sequence[Interference]) -> list[tuple[str, ...]]:
    kept = [result for result in results if not isinstance(result, TiledInterference)]
    told = [found for found in map(beyond_noise, kept) if found is not None]
    if not told:
        return []
    digits = 0 if len(told) == 1 else 1
    figures = [[one.pairs, one.opposed, one.allied, one.by_chance, one.unknown] for one in told]
    pairs, opposed, allied, by_chance, unknown = np.mean(figures, axis=0).tolist()
    ends = [result.excess_interval for result in kept if result.excess_interval is not None]
    always = int(np.triu(np.all([high < 0 for _, high in ends], axis=0), 1).sum())
    means = (number(value, digits) for value in (pairs, opposed, allied))
    return [(label, moment, *means, number(by_chance, 1), number(unknown, digits), str(always))]


def certainty_blocks(results: Measured) -> tuple[Block, ...]:
    """Reliability of every class, and who hurts whom; files without these give nothing.

    Args:
        results: measurements of one moment by label.

    Example:
        >>> certainty_blocks({})
        ()
    """
    return (*_reliability(results), *_harm(results))


def _reliability(results: Measured) -> tuple[Block, ...]:
    series = {
        label: mean_over([result.reliability for result in found if result.reliability is not None])
        for label, found in results.items()
        if any(result.reliability is not None for result in found)
    }
    if not series:
        return ()
    classes = classes_of(next(iter(results.values())))
    rows = tuple(
        (name, str(classes.counts[k]), *(number(float(values[k]), 2) for values in series.values()))
        for k, name in enumerate(classes.names)
    )
    table = Table("Reliability of each class's gradient", ("class", "training images", *series), rows)
    drawn = reliability(classes, [ClassValues(*one) for one in series.items()])
    return (drawn, Folded("Reliability: table", (table,)))


def _harm(results: Measured) -> tuple[Block, ...]:
    figures: list[Figure] = []
    tables: list[Folded] = []
    like = likeness_of(results) if results else None
    for label, found in results.items():
        shares = [_shares(result.contributions) for result in found if result.contributions is not None]
        if shares:
            classes, mean = classes_of(found), mean_over(shares)
            title = f"Who helps and who hurts whom: {label}"
            figures.append(heat_map(title, _HARM, mean, classes, scale=HARM, likeness=like))
            if classes.num_classes <= MOST_CELLS:
                tables.append(
                    matrix_table(f"Who hurts whom, {label} (rows: whose loss changes)", mean, classes, 2)
                )
    return (Grid(tuple(figures)), *tables) if figures else ()


def _shares(parts: Matrix) -> Matrix:
    """Contributions as a share of the class's own; NaN where it does nothing for itself."""
    own = np.diagonal(parts)[:, None]
    shares: Matrix = parts / np.where(own > 0, own, np.nan)
    return shares
