"""Which of several methods validation data choose, and how that one does on the test data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tailgrad.evidence.analyses.finished_runs import extra_variance
from tailgrad.evidence.figures import Figure, difference, units
from tailgrad.evidence.lab import Analysis, Lab, Table

Results = Mapping[str, Sequence[Mapping[str, Any]]]


def analyse(lab: Lab) -> Analysis:
    """Choose a method in every group by ``settings.choose_by`` on validation data; report it on test data.

    The test figures of the methods that were not chosen play no part. Figures: ``GROUP`` is the test
    accuracy of the chosen method, ``GROUP regret`` is how far it lies below the best method on the test
    data, the price of an honest choice, ``GROUP gain`` its macro-F1 less that of ``settings.against``.

    Args:
        lab: with finished groups; ``settings.choose_by`` is a metric, ``balanced_accuracy`` by default,
            ``settings.against`` the group and the method that the choice is to be better than, if any.

    Example: see ``tests/evidence/test_chosen_on_validation.py``.
    """
    metric = str(lab.settings.get("choose_by", "balanced_accuracy"))
    figures: dict[str, Figure] = {}
    tables = []
    groups = {group: _results(lab, group) for group in lab.groups}
    for group, results in groups.items():
        taken = picked(results, metric)
        of = ", ".join(dict.fromkeys(str(run["method"]) for run in taken))
        own = difference(taken, None, "accuracy", own_test=not extra_variance(taken))
        figures[group] = replace(own, what=f"test accuracy of {of}")
        figures[f"{group} regret"] = _regret(results, taken)
        if gain := _gain(group, taken, groups, lab.settings.get("against")):
            figures[f"{group} gain"] = gain
        tables.append(_table(group, results, metric, taken))
    return Analysis(figures, tables)


def _results(lab: Lab, group: str) -> dict[str, list[dict[str, Any]]]:
    return {name: [run.result() for run in runs] for name, runs in lab.runs(group).items()}


def picked(results: Results, metric: str) -> list[Mapping[str, Any]]:
    """The runs of the chosen method; where every split has test images of its own, chosen split by split.

    Over all such splits together it would see test images: those of one are validation images of another.

    Args:
        results: of every run of each method.
        metric: of the validation part.

    Example:
        >>> def run(split, value):
        ...     part = {"accuracy": {"value": value}, "images": 20}
        ...     return {"split_seed": split, "own_test": False, "train_images": 80, "val": part, "test": part}
        >>> runs = {"a": [run(0, 0.5), run(1, 0.9)], "b": [run(0, 0.6), run(1, 0.4)]}
        >>> [found["val"]["accuracy"]["value"] for found in picked(runs, "accuracy")]
        [0.6, 0.9]
    """
    everything = [run for runs in results.values() for run in runs]
    if not extra_variance(everything):
        return list(results[chosen(results, metric)])
    found: list[Mapping[str, Any]] = []
    for split in sorted({run["split_seed"] for run in everything}):
        own = {name: [run for run in runs if run["split_seed"] == split] for name, runs in results.items()}
        there = {name: runs for name, runs in own.items() if runs}
        found += there[chosen(there, metric)]
    return found


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


def _regret(results: Results, taken: Sequence[Mapping[str, Any]]) -> Figure:
    """Chosen by validation against chosen by the test data themselves, unit by unit."""
    accuracy = {name: units(runs, "accuracy") for name, runs in results.items()}
    highest = max(accuracy, key=lambda name: float(np.mean(list(accuracy[name].values()))))
    found = difference(results[highest], taken, "accuracy", own_test=not extra_variance(taken))
    return replace(found, what=f"test accuracy of {highest} above what was chosen")


def _gain(
    group: str,
    taken: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Results],
    against: Mapping[str, str] | None,
) -> Figure | None:
    """What is chosen less what it is held against, in macro-F1; nothing for the group of the latter."""
    if against is None or against["group"] == group:
        return None
    other = groups[against["group"]][against["method"]]
    return difference(taken, other, "macro_f1", own_test=not extra_variance(taken))


def _table(group: str, results: Results, metric: str, taken: Sequence[Mapping[str, Any]]) -> Table:
    times = Counter(run["method"] for run in taken)
    rows = [
        (
            name,
            str(len(runs)),
            f"{_mean(runs, 'val', metric):.3f}",
            f"{_mean(runs, 'test', 'accuracy'):.3f}",
            _chosen(times[name], len(taken)),
        )
        for name, runs in results.items()
    ]
    header = ("method", "runs", f"validation {metric.replace('_', ' ')}", "test accuracy", "")
    return Table(f"{group}: chosen by validation", header, tuple(rows))


def _chosen(times: int, runs: int) -> str:
    if not times:
        return ""
    return "chosen" if times == runs else f"chosen in {times} of {runs}"
