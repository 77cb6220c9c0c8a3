"""From finished runs to rows, paired differences and a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tailgrad.checks import InputError
from tailgrad.evaluate import ONE_SEED, holm, mcnemar_exact, paired_difference, student_t, wilcoxon
from tailgrad.recipes.run_folder import RunFolder

METRICS = ("macro_f1", "balanced_accuracy", "accuracy", "worst_f1", "tuned_macro_f1")
Results = Mapping[str, Sequence[Mapping[str, Any]]]


def figure(result: Mapping[str, Any], metric: str) -> float:
    """One test figure of a run's result.

    ``focus_f1`` is the F1 of the class in focus at its threshold; ``tuned_`` figures are those with one
    threshold a class, tuned on validation data.

    Example:
        >>> figure({"test": {"macro_f1": {"value": 0.5}}}, "macro_f1")
        0.5
    """
    if metric == "focus_f1":
        return float(result["focus"]["f1"]["value"])
    if metric.startswith("tuned_"):
        return float(result["tuned"][metric.removeprefix("tuned_")])
    test = result["test"]
    if metric == "worst_f1":
        return min(float(row["f1"]["value"]) for row in test["classes"] if row["support"])
    return float(test[metric]["value"])


def conclude(results: Results, *, own_test: bool, focus: str | None = None) -> dict[str, Any]:
    """Compare every method with the first one, by seed.

    Args:
        results: results of each method in seed order; the first method is the reference.
        own_test: whether all seeds share one test set, brought by the source or fixed by ``split_seed``;
            otherwise every seed drew its own split and intervals take the Nadeau-Bengio variance.
        focus: the class in focus, if any; its F1 is then the headline.

    Returns:
        ``metric`` (the headline), ``rows`` (means with intervals), ``paired`` (differences to the first
        method, Holm-corrected over methods within a metric), ``conclusion`` (one sentence).

    Source: design rules of evaluation; Nadeau and Bengio 2003; Holm 1979.

    Example:
        >>> one = {"test": {m: {"value": 0.5} for m in METRICS[:3]} | {"classes": [
        ...        {"f1": {"value": 0.4}, "support": 9}], "images": 9}, "train_images": 30,
        ...        "tuned": {"macro_f1": 0.5}}
        >>> conclude({"a": [one], "b": [one]}, own_test=True)["conclusion"]
        'With one seed nothing can be concluded: run at least three (--seeds 3).'
    """
    metrics = (("focus_f1",) if focus else ()) + METRICS
    first = next(iter(results))
    ratio = None if own_test else _ratio(results[first])
    rows, paired = [], []
    for metric in metrics:
        values = {name: [figure(result, metric) for result in runs] for name, runs in results.items()}
        rows += [_row(name, metric, found, ratio) for name, found in values.items()]
        paired += _paired(values, metric, first, ratio)
    content = {"metric": metrics[0], "focus": focus, "rows": rows, "paired": paired}
    return content | {"conclusion": _sentence(content, len(results[first]))}


def _ratio(runs: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([run["test"]["images"] / run["train_images"] for run in runs]))


def _row(name: str, metric: str, values: Sequence[float], ratio: float | None) -> dict[str, Any]:
    mean = student_t(list(values), extra_variance=ratio or 0.0)
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
    values: Mapping[str, Sequence[float]], metric: str, first: str, ratio: float | None
) -> list[dict[str, Any]]:
    others = [name for name in values if name != first]
    found = [paired_difference(values[name], values[first], test_train_ratio=ratio) for name in others]
    corrected = holm([difference.p for difference in found])
    rows = []
    for name, difference, p_holm in zip(others, found, corrected, strict=True):
        verdict = difference.verdict
        if p_holm is not None and p_holm >= 0.05 and verdict in {"better", "worse"}:
            verdict = "cannot be told"
        signed = wilcoxon(values[name], values[first])
        extra = {"verdict": verdict, "p_holm": p_holm, "wilcoxon_p": signed}
        rows.append({"method": name, "against": first, "metric": metric, **difference.to_dict(), **extra})
    return rows


def _sentence(content: Mapping[str, Any], seeds: int) -> str:
    if seeds == 1:
        return f"With one seed {ONE_SEED.removesuffix(' from one seed')}: run at least three (--seeds 3)."
    name = content["metric"].replace("_", "-").replace("f1", "F1")
    parts = [_clause(row, name) for row in content["paired"] if row["metric"] == content["metric"]]
    return (
        f"Over {seeds} seeds, {'; '.join(parts)}."
        if parts
        else f"One method over {seeds} seeds: nothing to compare."
    )


def _clause(row: Mapping[str, Any], metric: str) -> str:
    change = f"{row['mean']:+.3f}"
    if row["low"] is not None:
        change += f" [{row['low']:+.3f}, {row['high']:+.3f}]"
    words = {
        "better": f"{row['method']} has a higher {metric} than {row['against']} by {change}",
        "worse": f"{row['method']} has a lower {metric} than {row['against']} by {change}",
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
