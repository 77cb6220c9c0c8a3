"""Label noise times imbalance: does a loss that resists wrong labels pay for it in the tail?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tailgrad.checks import InputError
from tailgrad.evidence.analyses.finished_runs import class_figures, over_units, tail_of
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table

REFERENCE = "ce"
Result = Mapping[str, Any]
Unit = tuple[int, int]


class Cell(NamedTuple):
    """One group: what was done to the training labels, and every method's runs by (split, seed).

    Args:
        noise: share of wrong training labels.
        factor: imbalance factor of the training part before the noise.
        runs: method -> unit -> result.
    """

    noise: float
    factor: float
    runs: dict[str, dict[Unit, Result]]


def analyse(lab: Lab) -> Analysis:
    """Head and tail recall of every method in every group, and what noise, imbalance and both cost.

    Head and tail are the same classes in all groups: thirds by the counts of the most imbalanced one
    without noise.

    Example: see ``tailgrad study noise-imbalance --size smoke``.
    """
    cells = [_cell(lab, group) for group in lab.groups]
    counts = _pick(cells, min, max).runs[REFERENCE]
    classes = next(iter(counts.values()))["classes"]["counts"]
    parts = {part: tail_of(classes, part) for part in ("head", "tail")}
    figures: dict[str, Figure] = {}
    for part, members in parts.items():
        figures |= _costs(cells, part, members)
        figures |= _against_reference(cells, part, members)
    return Analysis(figures, [_table(cells, parts)])


def _cell(lab: Lab, group: str) -> Cell:
    found = lab.runs(group)
    if REFERENCE not in found:
        raise InputError(
            f"group {group!r} must have the method {REFERENCE!r}, which the others are compared with, got "
            f"{', '.join(found)}; add it"
        )
    runs: dict[str, dict[Unit, Result]] = {
        method: {(run["split_seed"], run["seed"]): run for run in (folder.result() for folder in folders)}
        for method, folders in found.items()
    }
    data = found[REFERENCE][0].config().data
    return Cell(data.label_noise, data.imb_factor or 1.0, runs)


def _pick(cells: Sequence[Cell], of_noise: Callable[..., float], of_factor: Callable[..., float]) -> Cell:
    """The group with the least or most noise at the least or most imbalance."""
    factor = of_factor(cell.factor for cell in cells)
    noise = of_noise(cell.noise for cell in cells if cell.factor == factor)
    return next(cell for cell in cells if (cell.noise, cell.factor) == (noise, factor))


def recall_of(result: Result, classes: Sequence[int]) -> float:
    """Mean recall of some classes, those without test images left out.

    Example:
        >>> row = {"support": 3, "recall": {"value": 0.5}}
        >>> recall_of({"test": {"classes": [row, {"support": 0}]}}, [0, 1])
        0.5
    """
    return float(np.nanmean(class_figures(result, "recall")[list(classes)]))


def _paired(a: Mapping[Unit, Result], b: Mapping[Unit, Result], classes: Sequence[int]) -> dict[Unit, float]:
    """Recall of ``a`` less that of ``b``, by unit."""
    return {unit: recall_of(a[unit], classes) - recall_of(b[unit], classes) for unit in a if unit in b}


def _figure(values: Mapping[Unit, float], runs: Mapping[Unit, Result], what: str) -> Figure:
    return over_units([runs[unit] for unit in values], list(values.values()), what)


def _costs(cells: Sequence[Cell], part: str, classes: Sequence[int]) -> dict[str, Figure]:
    """What noise costs each method under the most imbalance, and how much more than under the least."""
    found: dict[str, Figure] = {}
    for method, runs in _pick(cells, max, max).runs.items():
        worst = _paired(_pick(cells, min, max).runs[method], runs, classes)
        found[f"{method}.{part}_cost"] = _figure(worst, runs, f"{part} recall lost to noise")
        even = _paired(_pick(cells, min, min).runs[method], _pick(cells, max, min).runs[method], classes)
        more = {unit: worst[unit] - even[unit] for unit in worst if unit in even}
        what = f"{part} recall lost to noise, under the most imbalance less under the least"
        found[f"{method}.{part}_interaction"] = _figure(more, runs, what)
        found |= _shares(cells, method, part, classes)
    return found


def _shares(cells: Sequence[Cell], method: str, part: str, classes: Sequence[int]) -> dict[str, Figure]:
    """The same of the share that is lost: a class that is hardly recognised has little to lose."""
    lost: list[dict[Unit, float]] = []
    for factor in (max, min):
        clean, noisy = (_pick(cells, noise, factor).runs[method] for noise in (min, max))
        both = {unit: recall_of(clean[unit], classes) for unit in clean if unit in noisy}
        lost.append({u: 1 - recall_of(noisy[u], classes) / value for u, value in both.items() if value > 0})
    more = {unit: lost[0][unit] - lost[1][unit] for unit in lost[0] if unit in lost[1]}
    what = f"share of {part} recall lost to noise, under the most imbalance less under the least"
    runs = _pick(cells, max, max).runs[method]
    return {f"{method}.{part}_share_interaction": _figure(more, runs, what)} if more else {}


def _against_reference(cells: Sequence[Cell], part: str, classes: Sequence[int]) -> dict[str, Figure]:
    """Recall above plain cross-entropy, under the most imbalance, without noise and with most of it."""
    found: dict[str, Figure] = {}
    for name, of_noise in (("clean", min), ("noisy", max)):
        cell = _pick(cells, of_noise, max)
        for method, runs in cell.runs.items():
            if method != REFERENCE:
                values = _paired(runs, cell.runs[REFERENCE], classes)
                what = f"{part} recall above {REFERENCE}, {cell.noise:.0%} wrong labels"
                found[f"{method}.{part}_{name}"] = _figure(values, runs, what)
    return found


def _table(cells: Sequence[Cell], parts: Mapping[str, Sequence[int]]) -> Table:
    rows = []
    for cell in sorted(cells, key=lambda cell: (cell.factor, cell.noise)):
        for method, runs in cell.runs.items():
            shown = [
                _figure({unit: recall_of(run, members) for unit, run in runs.items()}, runs, part).mean
                for part, members in parts.items()
            ]
            wrong = np.mean([run["wrong_labels"] / run["train_images"] for run in runs.values()])
            rows.append((f"{cell.factor:g}", f"{cell.noise:g}", f"{wrong:.3f}", method, *map(str, shown)))
    header = ("imbalance", "noise", "wrong labels", "method", "head recall", "tail recall")
    note = "Noise is in training labels only; validation and test labels are as they were. 95 % intervals."
    return Table("Recall by label noise and imbalance", header, tuple(rows), note)
