"""A study as a table to paste: Markdown, CSV or LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError, one_of
from tailgrad.recipes.run_folder import read_json
from tailgrad.recipes.table_text import as_csv, as_latex, as_markdown
from tailgrad.untrusted import of_shape

FORMATS = ("md", "csv", "latex")
HEADER = (
    "method",
    "{units}",
    "{metric}",
    "low",
    "high",
    "difference",
    "difference low",
    "difference high",
    "p (Holm)",
    "verdict",
)
_GROUPS = ("recall_many", "recall_medium", "recall_few")


def table(
    study: str | Path, style: str = "md", metric: str | Sequence[str] | None = None, group: str | None = None
) -> str:
    """Means with intervals and paired differences of a study, or several metrics side by side.

    Args:
        study: folder of a finished comparison, or of a study with groups of them.
        style: "md", "csv" or "latex" (booktabs, with the best mean in bold).
        metric: "macro_f1", "balanced_accuracy", "accuracy", "worst_f1", "tuned_macro_f1" (one threshold a
            class, tuned on validation data), "focus_f1", or the mean recall of classes by training count,
            "recall_many" (over 100), "recall_medium" and "recall_few" (under 20); default the headline.
            Several give a column each, and no differences.
        group: of a study with groups, the one meant; default all of them.

    Raises:
        InputError: the folder is not a finished study, or a name is unknown.

    Example:
        >>> table("missing", "html")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: format must be a known name, got 'html'; choose from md, csv, latex
    """
    one_of("format", style, FORMATS)
    found = comparisons(study, group)
    rows = {}
    for name, (path, comparison) in found.items():
        with of_shape(path, "restore it, or repeat the study with --resume"):
            rows[name] = _rows(comparison, metric)
    notes = {name: dropped_note(comparison) for name, (_, comparison) in found.items()}
    label = Path(study).resolve().name
    return {"md": as_markdown, "csv": as_csv, "latex": as_latex}[style](rows, notes, label)


def comparisons(study: str | Path, group: str | None = None) -> dict[str, tuple[Path, dict[str, Any]]]:
    """File and content of every ``comparison.json`` of a study, by group; one without groups has the name "".

    Args:
        study: folder of a comparison, or of a study with groups.
        group: the only one wanted.

    Raises:
        InputError: there is none, or no such group.

    Example:
        >>> comparisons("missing")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: study must be the folder of a finished study, got missing; run ...
    """
    path = Path(study) / "comparison.json"
    if path.is_file():
        if group is not None:
            raise InputError(
                f"group must be left out where there is one comparison, got {group!r}; {study} has no groups"
            )
        return {"": (path, read_json(path))}
    found = {place.parent.name: place for place in sorted(Path(study).glob("*/comparison.json"))}
    if not found:
        raise InputError(
            f"study must be the folder of a finished study, got {study}; run `tailgrad compare` or "
            "`tailgrad study` first, or finish it by --resume"
        )
    names = list(found) if group is None else [one_of("group", group, found)]
    return {name: (found[name], read_json(found[name])) for name in names}


def _rows(comparison: Mapping[str, Any], metric: str | Sequence[str] | None) -> list[list[str]]:
    known = dict.fromkeys(str(row["metric"]) for row in comparison["rows"])
    wanted = [metric] if isinstance(metric, str) else list(metric or ())
    wanted = [name for name in wanted if name] or [comparison["metric"]]
    for name in wanted:
        if name in _GROUPS and name not in known:
            raise InputError(
                f"metric {name} needs classes with that many training images in every run, got none, or a "
                "study compared before there was such a figure; repeat it with --resume to see"
            )
        one_of("metric", name, known)
    return table_rows(comparison, wanted[0]) if len(wanted) == 1 else _columns(comparison, wanted)


def table_rows(comparison: Mapping[str, Any], metric: str) -> list[list[str]]:
    """Header and one row a method, as text.

    Example:
        >>> table_rows({"rows": [{"method": "a", "metric": "accuracy", "n": 1, "mean": 0.5, "low": None,
        ...                       "high": None}], "paired": []}, "accuracy")[1][:3]
        ['a', '1', '0.500']
    """
    differences = {row["method"]: row for row in comparison["paired"] if row["metric"] == metric}
    header = [name.format(metric=metric_title(metric), units=_units(comparison)) for name in HEADER]
    return [
        header,
        *(_row(row, differences.get(row["method"])) for row in comparison["rows"] if row["metric"] == metric),
    ]


def _columns(comparison: Mapping[str, Any], metrics: Sequence[str]) -> list[list[str]]:
    """One row a method with its mean and interval in every metric."""
    cells = {(row["method"], row["metric"]): row for row in comparison["rows"]}
    methods = dict.fromkeys(str(row["method"]) for row in comparison["rows"])
    header = ["method", _units(comparison), *map(metric_title, metrics)]
    return [
        header,
        *(
            [name, str(cells[name, metrics[0]]["n"]), *(_interval(cells[name, metric]) for metric in metrics)]
            for name in methods
        ),
    ]


def _units(comparison: Mapping[str, Any]) -> str:
    """What the values of a mean are, in words."""
    return f"{comparison.get('unit', 'seed')}s"


def metric_title(metric: str) -> str:
    """A metric's name as people write it.

    Example:
        >>> metric_title("macro_f1"), metric_title("worst_f1"), metric_title("recall_few")
        ('macro-F1', 'worst F1', 'recall, few')
    """
    title = metric.replace("macro_f1", "macro-F1").replace("recall_", "recall, ")
    return title.replace("_f1", " F1").replace("_", " ")


def _row(row: Mapping[str, Any], difference: Mapping[str, Any] | None) -> list[str]:
    own = [str(row["method"]), str(row["n"]), *(_number(row[key]) for key in ("mean", "low", "high"))]
    if difference is None:
        return [*own, "", "", "", "", "reference"]
    signed = [_number(difference[key], "+.3f") for key in ("mean", "low", "high")]
    return [*own, *signed, _number(difference.get("p_holm")), str(difference["verdict"])]


def _interval(row: Mapping[str, Any]) -> str:
    mean, low, high = (_number(row[key]) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" if low else mean


def _number(value: float | None, style: str = ".3f") -> str:
    return "" if value is None else format(value, style)


def dropped_note(comparison: Mapping[str, Any]) -> str:
    """What the p values count beside the rows; empty where that is nothing.

    Example:
        >>> dropped_note({"dropped": ["focal"]})
        "Holm's correction counts focal too, compared before and left out now."
    """
    dropped = [str(name) for name in comparison.get("dropped", ())]
    if not dropped:
        return ""
    return f"Holm's correction counts {', '.join(dropped)} too, compared before and left out now."
