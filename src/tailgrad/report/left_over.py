"""What can be compared of a study that has no comparison: the finished runs of its methods."""

from collections.abc import Sequence
from typing import Any

from tailgrad.evaluate import holm, paired_difference, student_t, units_of
from tailgrad.report.folders import Fields, Run, Study

METRICS = ("macro_f1", "balanced_accuracy", "accuracy")
_TOLD = ("better", "worse")


def compared(study: Study) -> Fields:
    """The study's comparison, or where it has none one of the runs that are left.

    Methods are compared over the seeds and splits that both they and the first method have. The p values
    are corrected for all methods of the study: one that waits to be run is a test too.

    Args:
        study: the study.

    Example: see ``write_report``.
    """
    if study.comparison.get("rows"):
        return study.comparison
    rows = [_row(study, method, metric) for metric in METRICS for method in study.runs]
    paired = [row for metric in METRICS for row in _paired(study, metric)]
    return {"metric": METRICS[0], "unit": study.units.name, "rows": rows, "paired": paired}


def _value(run: Run, metric: str) -> float:
    return float(getattr(run.test, metric).value)


def _row(study: Study, method: str, metric: str) -> Fields:
    runs = study.runs[method]
    units = units_of(run.seed_and_split for run in runs)
    values = units.means([_value(run, metric) for run in runs])
    mean = student_t(values, extra_variance=study.test_train_ratio or 0.0)
    ends = {"mean": mean.value, "low": mean.low, "high": mean.high}
    return {"method": method, "metric": metric, **ends, "n": len(values), "per_seed": values}


def _paired(study: Study, metric: str) -> list[Fields]:
    first, *others = study.runs
    both = {name: _both(study.runs[name], study.runs[first]) for name in others}
    found = {
        name: paired_difference(*_means(pairs, metric), test_train_ratio=study.test_train_ratio).to_dict()
        for name, pairs in both.items()
        if pairs
    }
    raw = {name: one["p"] for name, one in found.items()}
    tests = dict.fromkeys(_methods(study), 1.0) | {n: 1.0 if p is None else p for n, p in raw.items()}
    tests.pop(first, None)
    corrected = dict(zip(tests, holm(list(tests.values())), strict=True))
    rows: list[dict[str, Any]] = []
    for name, one in found.items():
        p = None if one["p"] is None else corrected[name]
        open_still = one["verdict"] in _TOLD and p is not None and p >= 0.05
        verdict = "cannot be told" if open_still else one["verdict"]
        rows.append(
            {"method": name, "against": first, "metric": metric, **one, "p_holm": p, "verdict": verdict}
        )
    return rows


def _methods(study: Study) -> list[str]:
    """Every method that the study has or had, whether it has a run or not."""
    listed = (study.settings.get(key) or () for key in ("methods", "dropped"))
    return [str(name) for names in listed for name in names]


def _both(runs: Sequence[Run], reference: Sequence[Run]) -> list[tuple[Run, Run]]:
    known = {run.seed_and_split: run for run in reference}
    return [(run, known[run.seed_and_split]) for run in runs if run.seed_and_split in known]


def _means(pairs: Sequence[tuple[Run, Run]], metric: str) -> tuple[list[float], list[float]]:
    units = units_of(run.seed_and_split for run, _ in pairs)
    ours, theirs = ([_value(run, metric) for run in side] for side in zip(*pairs, strict=True))
    return units.means(ours), units.means(theirs)
