"""From finished runs to rows, paired differences and a sentence."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tailgrad.checks import InputError
from tailgrad.evaluate import (
    ONE_SEED,
    Units,
    critical_difference,
    holm,
    mcnemar_exact,
    minimum_detectable_difference,
    paired_difference,
    pairs_needed,
    probability_of_improvement,
    student_t,
    units_of,
    wilcoxon,
)
from tailgrad.recipes.run_folder import RunFolder

_NO_SPREAD = 1e-12
METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "worst_f1", "tuned_macro_f1")
GROUP_METRICS = ("recall_many", "recall_medium", "recall_few")
"""Mean recall of the classes with many, medium and few training images, where all runs have such."""
LABEL_METRICS = (
    "mean_average_precision",
    "macro_auc",
    "macro_f1",
    "micro_f1",
    "macro_f1_at_half",
    "tail_average_precision",
    "tail_auc",
)
"""Of runs whose images have several labels; tail is the third of the labels with fewest training images."""
GRADIENT_METRICS = (
    "positive_share",
    "tail_positive_share",
    "mean_excess",
    "early_positive_share",
    "early_tail_positive_share",
)
"""Of their label gradients on held-out images, or after the first epoch, where those were measured."""
Results = Mapping[str, Sequence[Mapping[str, Any]]]


def figure(result: Mapping[str, Any], metric: str) -> float:
    """One test figure of a run's result.

    ``focus_f1`` is the F1 of the class in focus at its threshold; ``tuned_`` figures are those with one
    threshold a class, tuned on validation data; ``recall_few`` and the like are the mean recall of a group of
    classes by training count.

    Raises:
        KeyError: the run has no such figure.

    Example:
        >>> figure({"test": {"macro_f1": {"value": 0.5}}}, "macro_f1")
        0.5
    """
    if metric == "focus_f1":
        return float(result["focus"]["f1"]["value"])
    if metric.startswith("tuned_"):
        return float(result["tuned"][metric.removeprefix("tuned_")])
    test = result["test"]
    if metric in GRADIENT_METRICS:
        return _of_gradients(result, metric)
    if metric.startswith("tail_"):
        tail = next(group for group in test["groups"] if group["name"] == "tail")
        return float(tail[metric.removeprefix("tail_")]["value"])
    if metric in GROUP_METRICS:
        return _group_recalls(result)[metric]
    if metric == "worst_f1":
        return min(float(row["f1"]["value"]) for row in test["classes"] if row["support"])
    return float(test[metric]["value"])


def _of_gradients(result: Mapping[str, Any], metric: str) -> float:
    moment = "early" if metric.startswith("early_") else "heldout"
    return float(result["label_gradients"][moment][metric.removeprefix("early_")])


def conclude(
    results: Results,
    *,
    own_test: bool,
    focus: str | None = None,
    dropped: Sequence[str] = (),
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Compare every method with the first one, by seed, or by split where seeds do not tell runs apart.

    Args:
        results: results of each method, runs in the same order; the first method is the reference.
        own_test: whether all runs share one test set, brought by the source or fixed by ``split_seed``;
            otherwise splits are drawn anew and intervals take the Nadeau-Bengio variance.
        focus: the class in focus, if any; its F1 is then the headline.
        dropped: methods that were compared before and are not any more; Holm's correction counts them.
        left_out: names of finished runs, of other seeds or splits, that are not compared.

    Returns:
        ``metric`` (the headline), ``unit`` (``seed`` or ``split``: what one pair is), ``rows`` (means with
        intervals), ``paired`` (differences to the first method, Holm-corrected over methods within a
        metric, and what could have been seen), ``conclusion`` (a sentence or two); ``ranks`` of the headline
        from three methods and six pairs on; ``dropped`` and ``left_out`` where there are such.

    Raises:
        InputError: methods that did not run the same seeds and splits.

    Source: design rules of evaluation; Nadeau and Bengio 2003; Holm 1979.

    Example:
        >>> one = {"test": {m: {"value": 0.5} for m in METRICS[:3]} | {"classes": [
        ...        {"f1": {"value": 0.4}, "support": 9}], "images": 9}, "train_images": 30,
        ...        "tuned": {"macro_f1": 0.5}}
        >>> conclude({"a": [one], "b": [one]}, own_test=True)["conclusion"]
        'With one seed nothing can be concluded: run at least three (--seeds 3).'
    """
    metrics = (("focus_f1",) if focus else ()) + _metrics(results) + _groups(results)
    first, units = next(iter(results)), _units(results)
    ratio = None if own_test else _ratio(results[first])
    values = {metric: _values(results, metric, units) for metric in metrics}
    content = {
        "metric": metrics[0],
        "focus": focus,
        "unit": units.name,
        "rows": [
            _row(name, metric, figures, ratio, units.name)
            for metric, found in values.items()
            for name, figures in found.items()
        ],
        "paired": [
            row
            for metric, found in values.items()
            for row in _paired(found, metric, ratio, units.name, len(dropped))
        ],
        **({"dropped": list(dropped)} if dropped else {}),
        **({"left_out": list(left_out)} if left_out else {}),
        **_ranks(values[metrics[0]], own_test),
    }
    told = _sentence(content, units, _words(results[first], units))
    told += _also_tested(dropped) + _also_ran(left_out)
    return content | {"conclusion": told}


def _metrics(results: Results) -> tuple[str, ...]:
    """Figures of the runs' task; those that a run has not are left out."""
    runs = [run for found in results.values() for run in found]
    if "mean_average_precision" not in runs[0]["test"]:
        return METRICS
    return tuple(metric for metric in LABEL_METRICS if all(_has(run, metric) for run in runs))


def _has(result: Mapping[str, Any], metric: str) -> bool:
    try:
        figure(result, metric)
    except (KeyError, StopIteration, TypeError):
        return False
    return True


def _groups(results: Results) -> tuple[str, ...]:
    """Groups of classes that every run has."""
    shared = set.intersection(*(set(_group_recalls(run)) for runs in results.values() for run in runs))
    return tuple(metric for metric in GROUP_METRICS if metric in shared)


def _group_recalls(result: Mapping[str, Any]) -> dict[str, float]:
    groups = result["test"].get("groups", ())
    recalls = {f"recall_{group['name']}": float(group["recall"]["value"]) for group in groups}
    return {metric: value for metric, value in recalls.items() if isfinite(value)}


def _units(results: Results) -> Units:
    (first, pairs), *others = ((name, _seeds_and_splits(runs)) for name, runs in results.items())
    for name, found in others:
        if found != pairs:
            raise InputError(
                f"methods must have run the same seeds and splits, got {found} for {name} and {pairs} for "
                f"{first}; run what is missing with --resume"
            )
    return units_of(pairs)


def _seeds_and_splits(runs: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    return [(run.get("seed"), run.get("split_seed")) for run in runs]


def _words(runs: Sequence[Mapping[str, Any]], units: Units) -> str:
    """How many pairs of what; seeds of one split that was drawn say nothing about another."""
    drawn = runs[0].get("own_test") is False and len({run.get("split_seed") for run in runs}) == 1
    return units.words + (" of one split" if drawn else "")


def _values(results: Results, metric: str, units: Units) -> dict[str, list[float]]:
    return {name: units.means([figure(result, metric) for result in runs]) for name, runs in results.items()}


def _ranks(values: Mapping[str, Sequence[float]], own_test: bool) -> dict[str, Any]:
    found = critical_difference(values)
    return {} if found.reason else {"ranks": {"independent": own_test, **found.to_dict()}}


def _ratio(runs: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([run["test"]["images"] / run["train_images"] for run in runs]))


def _row(name: str, metric: str, values: Sequence[float], ratio: float | None, unit: str) -> dict[str, Any]:
    mean = student_t(list(values), extra_variance=ratio or 0.0, unit=unit)
    return {
        "method": name,
        "metric": metric,
        "mean": mean.value,
        # every metric here is a share: an interval cannot reach beyond 0 and 1
        "low": None if mean.low is None else max(0.0, mean.low),
        "high": None if mean.high is None else min(1.0, mean.high),
        "n": len(values),
        "per_seed": list(values),
        "how": mean.how,
    }


def _paired(
    values: Mapping[str, Sequence[float]], metric: str, ratio: float | None, unit: str, dropped: int
) -> list[dict[str, Any]]:
    """Differences to the first method; what was dropped, or has no p, counts as tests that found nothing."""
    first, *others = values
    found = [
        paired_difference(values[name], values[first], test_train_ratio=ratio, unit=unit) for name in others
    ]
    raw = [1.0 if difference.p is None else difference.p for difference in found]
    corrected = holm([*raw, *[1.0] * dropped])[: len(found)]
    rows = []
    for name, difference, p_corrected in zip(others, found, corrected, strict=True):
        p_holm = None if difference.p is None else p_corrected
        verdict = difference.verdict
        if p_holm is not None and p_holm >= 0.05 and verdict in {"better", "worse"}:
            verdict = "cannot be told"
        signed = wilcoxon(values[name], values[first])
        extra = {"verdict": verdict, "p_holm": p_holm, "wilcoxon_p": signed}
        seen = _seen(values[name], values[first], ratio, tests=len(others) + dropped)
        row = {"method": name, "against": first, "metric": metric}
        rows.append({**row, **difference.to_dict(), **extra, **seen})
    return rows


def _seen(a: Sequence[float], b: Sequence[float], ratio: float | None, tests: int) -> dict[str, Any]:
    """What these pairs could have shown, at the level that Holm asks of the first of its tests."""
    differences = np.subtract(a, b)
    improvement = probability_of_improvement(a, b, test_train_ratio=ratio)
    found: dict[str, Any] = {"detectable": None, "pairs_needed": None, "improvement": improvement.to_dict()}
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if spread <= _NO_SPREAD:
        return found
    level = 1 - 0.05 / tests
    smallest = minimum_detectable_difference(spread, len(a), test_train_ratio=ratio, level=level)
    needed = pairs_needed(float(differences.mean()), spread, test_train_ratio=ratio, level=level)
    return found | {"detectable": smallest, "pairs_needed": needed}


def _sentence(content: Mapping[str, Any], units: Units, words: str) -> str:
    if units.count == 1:
        return f"With one seed {ONE_SEED.removesuffix(' from one seed')}: run at least three (--seeds 3)."
    name = content["metric"].replace("_", "-").replace("f1", "F1")
    rows = [row for row in content["paired"] if row["metric"] == content["metric"]]
    if not rows:
        return f"One method over {words}: nothing to compare."
    parts = "; ".join(_clause(row, name) for row in rows)
    return f"Over {words}, {parts}.{_limit(rows, words)}"


def _also_tested(dropped: Sequence[str]) -> str:
    if not dropped:
        return ""
    names = ", ".join(dropped)
    return f" Compared before and left out now, but counted as tests by Holm's correction: {names}."


def _also_ran(left_out: Sequence[str]) -> str:
    if not left_out:
        return ""
    return f" Finished and left out: {len(left_out)} run{'s'[: len(left_out) - 1]} of other seeds or splits."


def _limit(rows: Sequence[Mapping[str, Any]], words: str) -> str:
    """The smallest difference, in points, that so many pairs find four times of five."""
    smallest = [row["detectable"] for row in rows if row["detectable"] is not None]
    if not smallest:
        return ""
    ends = dict.fromkeys(f"{100 * min(1.0, end):.1f}" for end in (min(smallest), max(smallest)))
    if min(smallest) >= 1:
        return f" With {words} no difference can be seen reliably."
    return f" With {words} nothing under {' to '.join(ends)} points can be seen reliably."


def _clause(row: Mapping[str, Any], metric: str) -> str:
    change = f"{row['mean']:+.3f}"
    if row["low"] is not None:
        change += f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    words = {
        "better": f"{row['method']} has a higher {metric} than {row['against']} by {change}",
        "worse": f"{row['method']} has a lower {metric} than {row['against']} ({change})",
    }
    between = f"whether {row['method']} differs from {row['against']} in {metric} cannot be told ({change})"
    return words.get(row["verdict"], between)


def mcnemar(folders: Mapping[str, RunFolder]) -> list[dict[str, Any]]:
    """Exact McNemar tests of every method against the first one, on the predictions of one seed.

    Example: see ``recipes.compare``.
    """
    right = {name: _right(folder) for name, folder in folders.items()}
    first = next(iter(right))
    for name, found in right.items():
        if found.keys() != right[first].keys():
            raise InputError(
                f"methods must be tested on the same images, got {len(found)} for {name} and "
                f"{len(right[first])} for {first}; begin the study anew"
            )
    rows = []
    for name in right:
        if name != first:
            names = list(right[first])
            test = mcnemar_exact([right[name][i] for i in names], [right[first][i] for i in names])
            counts = {f"only_{name}": test.only_a, f"only_{first}": test.only_b}
            rows.append({"method": name, "against": first, "p": test.p, "images": counts})
    return rows


def _right(folder: RunFolder) -> dict[str, bool]:
    columns = ["part", "name", "target", "predicted"]
    table = pq.read_table(folder.path / "predictions.parquet", columns=columns)
    return {
        row["name"]: row["target"] == row["predicted"] for row in table.to_pylist() if row["part"] == "test"
    }
