"""Which of several methods validation data choose, and how that one does on the test data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tailgrad.evidence.analyses.finished_runs import extra_variance
from tailgrad.evidence.figures import Figure, units
from tailgrad.evidence.lab import Analysis, Lab, Table

Results = Mapping[str, Sequence[Mapping[str, Any]]]


def analyse(lab: Lab) -> Analysis:
    """Choose a method in every group by ``settings.choose_by`` on validation data; report it on test data.

    The test figures of the methods that were not chosen play no part. Figures: ``GROUP`` is the test
    accuracy of the chosen method, ``GROUP regret`` is how far it lies below the best method on the test
    data, the price of an honest choice.

    Args:
        lab: with finished groups; ``settings.choose_by`` is a metric, ``balanced_accuracy`` by default.

    Example: see ``tests/evidence/test_chosen_on_validation.py``.
    """
    metric = str(lab.settings.get("choose_by", "balanced_accuracy"))
    figures: dict[str, Figure] = {}
    tables = []
    for group in lab.groups:
        results = {name: [run.result() for run in runs] for name, runs in lab.runs(group).items()}
        best = chosen(results, metric)
        accuracy = {name: units(runs, "accuracy") for name, runs in results.items()}
        wider = extra_variance(results[best])
        values = list(accuracy[best].values())
        figures[group] = Figure.over(values, extra_variance=wider, what=f"test accuracy of {best}")
        figures[f"{group} regret"] = _regret(accuracy, best, wider)
        tables.append(_table(group, results, metric, best))
    return Analysis(figures, tables)


def chosen(results: Results, metric: str) -> str:
    """The method with the highest mean of a validation metric; of equal ones the first.

    Args:
        results: of every run of each method.
        metric: of the validation part.

    Example:
        >>> def run(value):
        ...     return {"val": {"accuracy": {"value": value}}}
        >>> chosen({"a": [run(0.2), run(0.4)], "b": [run(0.5)]}, "accuracy")
        'b'
    """
    return max(results, key=lambda name: _mean(results[name], "val", metric))


def _mean(runs: Sequence[Mapping[str, Any]], part: str, metric: str) -> float:
    return float(np.mean([run[part][metric]["value"] for run in runs]))


def _regret(accuracy: Mapping[str, Mapping[int, float]], best: str, wider: float) -> Figure:
    """Chosen by validation against chosen by the test data themselves, unit by unit."""
    highest = max(accuracy, key=lambda name: float(np.mean(list(accuracy[name].values()))))
    shared = [unit for unit in accuracy[best] if unit in accuracy[highest]]
    values = [accuracy[highest][unit] - accuracy[best][unit] for unit in shared]
    return Figure.over(values, extra_variance=wider, what=f"test accuracy of {highest} above {best}")


def _table(group: str, results: Results, metric: str, best: str) -> Table:
    rows = [
        (
            name,
            str(len(runs)),
            f"{_mean(runs, 'val', metric):.3f}",
            f"{_mean(runs, 'test', 'accuracy'):.3f}",
            "chosen" if name == best else "",
        )
        for name, runs in results.items()
    ]
    header = ("method", "runs", f"validation {metric.replace('_', ' ')}", "test accuracy", "")
    return Table(f"{group}: chosen by validation", header, tuple(rows))
