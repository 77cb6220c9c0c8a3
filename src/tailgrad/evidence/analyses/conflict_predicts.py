"""C1: does less conflict of a rare class's gradient go with better figures of that class?"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.evaluate import Estimate, holm
from tailgrad.evidence.analyses.finished_runs import (
    class_figures,
    extra_variance,
    tail_of,
    with_given_runs,
)
from tailgrad.evidence.analyses.rank_association import (
    WITHIN,
    Panel,
    by_seed,
    correlation,
    mean_kendall,
    permutation_p,
    seed_interval,
)
from tailgrad.evidence.figures import Figure
from tailgrad.evidence.lab import Analysis, Lab, Table
from tailgrad.interference import Interference
from tailgrad.recipes.run_folder import RunFolder

STAGES = ("early", "train", "heldout")
"""After the first epoch on training images; at the end on training images; at the end on held-out ones."""
KINDS = ("excess", "conflict")
METRICS = ("f1", "recall")
Floats = NDArray[np.float64]
_UNKNOWN = Estimate(0.0, None, None, "nothing varies between runs")
Key = tuple[str, str, str]
"""stage, kind, layer; the layer "" is the whole group of parameters"""


class Runs(NamedTuple):
    """The runs of one group, every method with every unit; figures of the tail's classes only.

    Args:
        methods: M names.
        units: S pairs of split and seed.
        classes: C names.
        figures: metric -> [S, M, C].
        agreement: mean cosine with the other classes' gradients -> [S, M, C].
        extra: the Nadeau-Bengio term of resampled splits, else 0.
    """

    methods: tuple[str, ...]
    units: tuple[tuple[int, int], ...]
    classes: tuple[str, ...]
    figures: dict[str, Floats]
    agreement: dict[Key, Floats]
    extra: float


def analyse(lab: Lab) -> Analysis:
    """Rank correlation of a tail class's mean excess with its recall and F1, in every group.

    The excess of a class is the mean over its partners of ``conflict - null``: higher means that fewer
    classes pull against it. A positive correlation says that less conflict goes with better tails.

    Example: see ``tailgrad study conflict-predicts --size smoke``.
    """
    lab = with_given_runs(lab)
    figures: dict[str, Figure] = {}
    tables: list[Table] = []
    seeds: set[int] = set()
    for group in lab.groups:
        runs = _read(lab, group)
        prefix = "" if len(lab.groups) == 1 else f"{group}."
        figures |= {prefix + name: figure for name, figure in _figures(runs)}
        tables += [_summary(runs, group), _layers(runs, group), _values(runs, group)]
        seeds |= {seed for _, seed in runs.units}
    return Analysis(figures, tables, seeds=sorted(seeds))


def _read(lab: Lab, group: str) -> Runs:
    found: dict[str, dict[tuple[int, int], RunFolder]] = {}
    for method, folders in lab.runs(group).items():
        results = [(folder, folder.result()) for folder in folders]
        found[method] = {(run["split_seed"], run["seed"]): folder for folder, run in results}
    units = sorted(set.intersection(*(set(runs) for runs in found.values()))) if found else []
    if len(found) < 2 or not units:
        raise InputError(
            f"group {group!r} must have two methods with seeds in common, got {', '.join(found) or 'none'}; "
            "run more"
        )
    grid = [[runs[unit] for runs in found.values()] for unit in units]
    extra = extra_variance([row[0].result() for row in grid])
    classes = grid[0][0].result()["classes"]
    tail = tail_of(classes["counts"])
    figures = {
        metric: np.array([[class_figures(run.result(), metric)[tail] for run in row] for row in grid])
        for metric in METRICS
    }
    names = tuple(str(classes["names"][k]) for k in tail)
    return Runs(tuple(found), tuple(units), names, figures, _agreement(grid, tail, group), extra)


def _agreement(grid: Sequence[Sequence[RunFolder]], tail: Sequence[int], group: str) -> dict[Key, Floats]:
    """What all runs have measured: layers that only some methods own cannot be compared."""
    measured = [[dict(_of_run(run)) for run in row] for row in grid]
    common = set.intersection(*(set(each) for row in measured for each in row))
    if not common:
        raise InputError(
            f"group {group!r} must have measurements, got runs without; set interference.enabled=true"
        )
    stages = {stage: place for place, stage in enumerate(STAGES)}
    keys = sorted(common, key=lambda key: (stages[key[0]], key[1:]))
    return {key: np.array([[each[key][list(tail)] for each in row] for row in measured]) for key in keys}


def _of_run(run: RunFolder) -> Iterator[tuple[Key, Floats]]:
    for stage in STAGES:
        place = run.path / "interference" / stage
        if place.with_suffix(".json").exists():
            found = Interference.load(place)
            yield (stage, "conflict", ""), agreement(found.conflict)
            yield (stage, "excess", ""), agreement(found.excess)
            for layer, excess in found.layer_excess.items():
                yield (stage, "excess", layer), agreement(excess)


def agreement(matrix: Floats) -> Floats:
    """Mean of each row over the other classes [K], unknown pairs left out; NaN where none is known.

    Example:
        >>> agreement(np.array([[1.0, 0.5, np.nan], [0.5, 1.0, -0.5], [np.nan, -0.5, 1.0]])).tolist()
        [0.5, 0.0, -0.5]
    """
    known = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    number = known.sum(1)
    sums = np.where(known, matrix, 0.0).sum(1)
    return np.where(number > 0, sums / np.maximum(number, 1), np.nan)


def _panel(runs: Runs, key: Key, metric: str) -> Panel | None:
    """Those classes whose figures are known in all runs; None where there is no such class."""
    x, y = runs.agreement[key], runs.figures[metric]
    kept = np.isfinite(x).all((0, 1)) & np.isfinite(y).all((0, 1))
    return Panel(x[:, :, kept], y[:, :, kept]) if kept.any() else None


def _figures(runs: Runs) -> Iterator[tuple[str, Figure]]:
    for stage, kind, layer in runs.agreement:
        for metric in METRICS if (kind, layer) == ("excess", "") else ():
            panel = _panel(runs, (stage, kind, layer), metric)
            if panel is not None:
                yield from _of_panel(f"{stage}.{metric}", panel, runs.extra)


def _of_panel(name: str, panel: Panel, extra: float) -> Iterator[tuple[str, Figure]]:
    what = "rank correlation of excess and figure of a tail class"
    values = [value for value in by_seed(panel) if np.isfinite(value)]
    words = f"{what}, method against method in a seed"
    found = Figure.over(values, extra_variance=extra, what=words) if values else Figure(_UNKNOWN, what=words)
    yield f"{name}.within_seed", found
    yield f"{name}.within_method", _known(panel, "method", extra, f"{what}, seed against seed of a method")
    yield f"{name}.pooled", _known(panel, "nothing", extra, f"{what}, over all runs")


def _known(panel: Panel, within: str, extra: float, what: str) -> Figure:
    found = seed_interval(panel, within, extra_variance=extra)
    mean = found if np.isfinite(found.value) else _UNKNOWN
    return Figure(mean, extra_variance=extra, what=what, degrees=len(panel.x) - 1)


def _summary(runs: Runs, group: str) -> Table:
    rows = []
    for key in runs.agreement:
        for metric in METRICS if not key[2] else ():
            panel = _panel(runs, key, metric)
            if panel is not None:
                cells = [cell for within in WITHIN for cell in _cells(panel, within, runs.extra)]
                rows.append((key[0], key[1], metric, f"{mean_kendall(panel):.2f}", *cells))
    columns = (f"within {within}{suffix}" for within in WITHIN for suffix in ("", ", p"))
    header = ("measured", "kind", "metric", "Kendall within seed", *columns)
    note = (
        f"Tail classes {', '.join(runs.classes)}; {len(runs.methods)} methods, {len(runs.units)} seeds. "
        "Spearman with an interval over whole seeds; p, which takes seeds for independent, by exchanging "
        "methods within a seed, seeds within a method, or whole methods. 'Within nothing' is pooled: it "
        "mostly compares the methods' means."
    )
    return Table(f"Does less conflict go with better tails? ({group})", header, tuple(rows), note)


def _cells(panel: Panel, within: str, extra: float) -> tuple[str, str]:
    interval = seed_interval(panel, within, extra_variance=extra)
    return str(interval), f"{permutation_p(panel, within):.3f}"


def _layers(runs: Runs, group: str) -> Table:
    """Layer by layer within seeds, p corrected over the layers of a stage."""
    rows = []
    for stage in STAGES:
        keys = [key for key in runs.agreement if key[0] == stage and key[2]]
        panels = {key[2]: panel for key in keys if (panel := _panel(runs, key, METRICS[0])) is not None}
        raw = [permutation_p(panel, "seed") for panel in panels.values()]
        for (layer, panel), p, corrected in zip(panels.items(), raw, holm(raw), strict=True):
            value = correlation(panel, "seed")
            rows.append((stage, layer, f"{value:.2f}", f"{p:.3f}", f"{corrected:.3f}"))
    header = ("measured", "layer", "within seed", "p", "p, Holm over layers")
    note = f"Spearman of excess and {METRICS[0]} of tail classes. Layers that all methods have."
    return Table(f"By layer ({group})", header, tuple(rows), note)


def _values(runs: Runs, group: str) -> Table:
    """The means behind it all, one row a run."""
    keys = [key for key in runs.agreement if key[1:] == ("excess", "")]
    rows = []
    for s, (split, seed) in enumerate(runs.units):
        for m, method in enumerate(runs.methods):
            columns = [*runs.figures.values(), *(runs.agreement[key] for key in keys)]
            shown = (f"{np.mean(values[s, m]):.3f}" for values in columns)
            rows.append((method, str(split), str(seed), *shown))
    header = ("method", "split", "seed", *METRICS, *(f"excess, {key[0]}" for key in keys))
    return Table(f"Tail means of every run ({group})", header, tuple(rows))
