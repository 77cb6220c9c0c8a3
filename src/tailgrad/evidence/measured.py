"""Figures of what an analysis measured run by run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tailgrad.evidence.figures import Figure, RunResult, difference, pair_of
from tailgrad.recipes.run_folder import RunFolder


def cell_name(run: RunFolder) -> str:
    """The name of a run's cell: with its group, for groups hold runs of the same name.

    Example:
        >>> from pathlib import Path
        >>> cell_name(RunFolder(Path("study/grouped/runs/pv.quick.csba.split0.seed0")))
        'grouped.pv.quick.csba.split0.seed0'
    """
    return f"{run.path.parents[1].name}.{run.path.name}"


def measured(result: RunResult, values: Mapping[str, float | None]) -> dict[str, Any]:
    """A run's result with further test figures, by their own names; None and NaN are left out.

    Example:
        >>> measured({"test": {}}, {"gap": 0.5, "none": None})["test"]
        {'gap': {'value': 0.5}}
    """
    known = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
    return {**result, "test": {**result["test"], **{name: {"value": v} for name, v in known.items()}}}


def figure_of(
    runs: Sequence[RunResult], metric: str, against: Sequence[RunResult] | None = None
) -> Figure | None:
    """The mean of a measured figure over units, or of its difference to other runs; None where there is none.

    Args:
        runs: as ``measured`` gives them.
        metric: a name given there.
        against: runs of another method; units that both have are compared.

    Example:
        >>> run = {"seed": 0, "split_seed": 0, "own_test": True, "test": {}}
        >>> figure_of([measured(run, {"gap": 0.5})], "gap").mean.value, figure_of([run], "gap")
        (0.5, None)
    """
    sides = [_with(runs, metric), None if against is None else _with(against, metric)]
    if not _share_a_unit(sides[0] or [], sides[1]):
        return None
    return difference(sides[0] or [], sides[1], metric, own_test=bool(runs[0]["own_test"]))


def _with(runs: Sequence[RunResult], metric: str) -> list[RunResult]:
    return [run for run in runs if metric in run["test"]]


def _share_a_unit(runs: Sequence[RunResult], against: Sequence[RunResult] | None) -> bool:
    units = {pair_of(run) for run in runs}
    return bool(units if against is None else units & {pair_of(run) for run in against})
