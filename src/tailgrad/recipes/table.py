"""A study as a table to paste: Markdown, CSV or LaTeX."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError, one_of
from tailgrad.recipes.run_folder import read_json
from tailgrad.untrusted import of_shape

FORMATS = ("md", "csv", "latex")
HEADER = (
    "method",
    "seeds",
    "{metric}",
    "low",
    "high",
    "difference",
    "difference low",
    "difference high",
    "p (Holm)",
    "verdict",
)


def table(study: str | Path, style: str = "md", metric: str | None = None) -> str:
    """Means with intervals and paired differences of a study.

    Args:
        study: folder of a finished study.
        style: "md", "csv" or "latex".
        metric: "macro_f1", "balanced_accuracy", "accuracy", "worst_f1", "tuned_macro_f1" (one
            threshold a class, tuned on validation data) or "focus_f1"; default the headline.

    Raises:
        InputError: the folder is not a finished study, or a name is unknown.

    Example:
        >>> table("missing", "html")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: format must be a known name, got 'html'; choose from md, csv, latex
    """
    one_of("format", style, FORMATS)
    path = Path(study) / "comparison.json"
    if not path.is_file():
        raise InputError(
            f"study must be the folder of a finished study, got {study}; run `tailgrad compare` first"
        )
    with of_shape(path, "restore it, or repeat the study with --resume"):
        comparison = read_json(path)
        known = dict.fromkeys(str(row["metric"]) for row in comparison["rows"])
        wanted = one_of("metric", metric or comparison["metric"], known)
        rows = table_rows(comparison, wanted)
    return {"md": _markdown, "csv": _csv, "latex": _latex}[style]([*rows])


def table_rows(comparison: Mapping[str, Any], metric: str) -> list[list[str]]:
    """Header and one row a method, as text.

    Example:
        >>> table_rows({"rows": [{"method": "a", "metric": "accuracy", "n": 1, "mean": 0.5, "low": None,
        ...                       "high": None}], "paired": []}, "accuracy")[1][:3]
        ['a', '1', '0.500']
    """
    differences = {row["method"]: row for row in comparison["paired"] if row["metric"] == metric}
    header = [name.format(metric=metric_title(metric)) for name in HEADER]
    return [
        header,
        *(_row(row, differences.get(row["method"])) for row in comparison["rows"] if row["metric"] == metric),
    ]


def metric_title(metric: str) -> str:
    """A metric's name as people write it.

    Example:
        >>> metric_title("macro_f1"), metric_title("balanced_accuracy")
        ('macro-F1', 'balanced accuracy')
    """
    return metric.replace("macro_f1", "macro-F1").replace("_", " ")


def _row(row: Mapping[str, Any], difference: Mapping[str, Any] | None) -> list[str]:
    own = [str(row["method"]), str(row["n"]), *(_number(row[key]) for key in ("mean", "low", "high"))]
    if difference is None:
        return [*own, "", "", "", "", "reference"]
    signed = [_number(difference[key], "+.3f") for key in ("mean", "low", "high")]
    return [*own, *signed, _number(difference.get("p_holm")), str(difference["verdict"])]


def _number(value: float | None, style: str = ".3f") -> str:
    return "" if value is None else format(value, style)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")


def _latex(rows: Sequence[Sequence[str]]) -> str:
    escape = str.maketrans(
        {c: rf"\{c}" for c in "&%$#_{}"}
        | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    )
    lines = [" & ".join(cell.translate(escape) for cell in row) + r" \\" for row in rows]
    columns = "l" + "r" * (len(rows[0]) - 2) + "l"
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:]]
    return "\n".join([*body, r"\bottomrule", r"\end{tabular}"])
