"""Which method wins, by how much and how surely, in a sentence or two."""

from typing import Any

from tailgrad.report.folders import Fields, Study
from tailgrad.report.wording import interval, metric_name, number, p_value, signed


def winner(comparison: Fields, study: Study) -> str:
    """The best mean, and which differences to the first method are more than chance.

    Args:
        comparison: what ``comparison.json`` holds, or what is left of it.
        study: the study.

    Example: see ``write_report``.
    """
    metric = str(comparison.get("metric", "macro_f1"))
    rows = [row for row in comparison.get("rows", ()) if row.get("metric", metric) == metric]
    if not rows:
        return "There is nothing to compare yet."
    best = max(rows, key=lambda row: float(row["mean"]))
    first = f"Highest mean {metric_name(metric)}: {best['method']}, {number(best['mean'])}."
    paired = [row for row in comparison.get("paired", ()) if row.get("metric", metric) == metric]
    if study.seeds == 1:
        return f"{first} With one seed this says nothing about the methods."
    if not paired:
        return f"{first} There is no other method to compare it with."
    return f"{first} {_sure(paired, str(paired[0]['against']))}"


def _sure(paired: list[dict[str, Any]], against: str) -> str:
    told = [row for row in paired if row["verdict"] in ("better", "worse")]
    if not told:
        return f"No method can be told from {against}: every difference may be chance."
    said = "; ".join(
        f"{row['method']} {row['verdict']} by {signed(row['mean'])} ({_ends(row)})" for row in told[:4]
    )
    if len(told) > 4:
        said += "; also " + ", ".join(f"{row['method']} {row['verdict']}" for row in told[4:])
    rest = [str(row["method"]) for row in paired if row not in told]
    more = f" Not to be told from it: {', '.join(rest)}." if rest else ""
    return f"Beyond chance, against {against}: {said}.{more}"


def _ends(row: dict[str, Any]) -> str:
    return f"{interval(row['low'], row['high'], sign=True)}, p {p_value(row.get('p_holm', row['p']))}"
