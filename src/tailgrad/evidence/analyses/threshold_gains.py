"""What methods gain over the first one, with and without thresholds tuned on validation data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailgrad.evidence.analyses.finished_runs import extra_variance
from tailgrad.evidence.figures import Figure, pair_of, units
from tailgrad.evidence.lab import Analysis, Lab, Table

Values = NDArray[np.float64]
TUNED = "tuned_macro_f1"


def analyse(lab: Lab) -> Analysis:
    """Gains in macro-F1 of all methods of group ``runs`` over one of them, untuned and tuned, unit by unit.

    Settings: ``against``, the method that the others are held against.
    """
    results = _shared({name: [run.result() for run in runs] for name, runs in _in_order(lab).items()})
    plain = {name: _values(found, "macro_f1") for name, found in results.items()}
    tuned = {name: _values(found, TUNED) for name, found in results.items()}
    extra = extra_variance(next(iter(results.values())))
    return Analysis(_figures(plain, tuned, extra), [_table(plain, tuned)])


def _in_order(lab: Lab) -> dict[str, Any]:
    """Runs by method, the method that the others are held against first."""
    runs = lab.runs("runs")
    first = str(lab.settings["against"])
    return {first: runs.pop(first), **runs}


def _shared(results: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Runs of splits and seeds that all methods have, so that values of one place are of one unit."""
    common = set.intersection(*({pair_of(run) for run in runs} for runs in results.values()))
    return {name: [run for run in runs if pair_of(run) in common] for name, runs in results.items()}


def _values(results: Sequence[Mapping[str, Any]], metric: str) -> Values:
    return np.array(list(units(results, metric).values()))


def explained(plain: Mapping[str, Values], tuned: Mapping[str, Values]) -> tuple[Values, Values]:
    """Mean gain over the first method of all others by unit, untuned, and what is left of it once tuned.

    Example:
        >>> plain = {"ce": np.array([0.5]), "a": np.array([0.6]), "b": np.array([0.7])}
        >>> tuned = {"ce": np.array([0.6]), "a": np.array([0.62]), "b": np.array([0.7])}
        >>> [values.round(3).tolist() for values in explained(plain, tuned)]
        [[0.15], [0.06]]
    """
    first, *others = plain
    gain: Values = np.mean([plain[name] - plain[first] for name in others], axis=0)
    left: Values = np.mean([tuned[name] - tuned[first] for name in others], axis=0)
    return gain, left


def _figures(plain: Mapping[str, Values], tuned: Mapping[str, Values], extra: float) -> dict[str, Figure]:
    first = next(iter(plain))
    gain, left = explained(plain, tuned)
    words = {
        "gain": (gain, "mean gain in macro-F1 of the methods over cross-entropy"),
        "left": (left, "the same gain once all are tuned"),
        "left_minus_half": (left - gain / 2, "what is left minus half the gain"),
        "tuning_alone": (tuned[first] - plain[first], "what tuning gives cross-entropy"),
    }
    figures = {
        name: Figure.over(values.tolist(), extra_variance=extra, what=what)
        for name, (values, what) in words.items()
    }
    for name in list(plain)[1:]:
        values = (tuned[name] - tuned[first]).tolist()
        what = f"gain of {name}, both tuned"
        figures[f"left.{name}"] = Figure.over(values, extra_variance=extra, what=what)
    return figures


def _table(plain: Mapping[str, Values], tuned: Mapping[str, Values]) -> Table:
    first = next(iter(plain))
    rows = [
        (
            name,
            f"{plain[name].mean():.3f}",
            f"{tuned[name].mean():.3f}",
            f"{(plain[name] - plain[first]).mean():+.3f}",
            f"{(tuned[name] - tuned[first]).mean():+.3f}",
        )
        for name in plain
    ]
    return Table(
        "Macro-F1 with and without tuned thresholds",
        ("method", "untuned", "tuned", f"over {first}, untuned", f"over {first}, tuned"),
        tuple(rows),
        "Means over seeds on test data; thresholds are tuned on validation data.",
    )
