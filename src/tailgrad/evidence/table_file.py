"""Reading a printed table: a packaged one by name, or a YAML, JSON or CSV file of anybody's."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError, nearest, one_of
from tailgrad.evaluate.printed_table import MEANS, MEASURES, Figures, PrintedColumn, PrintedTable
from tailgrad.untrusted import MAX_YAML, parse_json, parse_yaml, read_text

ABOUT = ("title", "paper", "table", "status", "note")
KEYS = (
    *ABOUT,
    "classes",
    "columns",
    "decimals",
    "percent",
    "supports",
    "test_images",
    "training_counts",
    "profile",
    "cosine_matrix",
    "mean_cosine",
    "parameters",
)
CSV_COLUMNS = ("class", "model", *MEASURES, "support")
_OTHER_NAMES = {"balanced_accuracy": "macro_recall", "weighted_recall": "accuracy"}
_BLANK = ("", "-")
_SAY_PERCENT = "say --percent, or percent: true in the file"


@cache
def published() -> dict[str, Path]:
    """The packaged tables by name.

    Example:
        >>> sorted(published())
        ['csba-cifar10-lt', 'csba-pv']
    """
    folder = Path(str(files("tailgrad.evidence") / "published"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read_table(source: str | Path) -> dict[str, Any]:
    """What a file, or the packaged table of that name, holds.

    Args:
        source: a name of `published`, or a path that ends in .yaml, .yml, .json, .csv or .tsv.

    Raises:
        InputError: no such name or file, or one that is not what its ending says.

    Example:
        >>> read_table("csba-pv")["table"]
        '7, 12, 13'
    """
    path = published().get(str(source)) or Path(source)
    ending = path.suffix.lower()
    if ending not in (".yaml", ".yml", ".json", ".csv", ".tsv") or not path.is_file():
        raise InputError(
            f"table must be a packaged one or a YAML, JSON or CSV file, got {str(source)!r}; "
            f"{nearest(str(source), published())}"
        )
    try:
        text = read_text(path, MAX_YAML).removeprefix("\ufeff")
        if ending in (".csv", ".tsv"):
            return _from_rows(path.name, text, "\t" if ending == ".tsv" else ",")
        content = parse_json(text) if ending == ".json" else parse_yaml(text)
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} must be readable {ending[1:].upper()}, got {error}; mend it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a mapping, got {type(content).__name__}; write key: value lines")
    return content


def _from_rows(name: str, text: str, delimiter: str) -> dict[str, Any]:
    """A CSV of one row a class (and model) in the layout of the YAML files."""
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if any(row)]
    if len(rows) < 2:
        raise InputError(
            f"{name} must hold a header and a row for each class, got {len(rows)} rows; add them"
        )
    head = [cell.strip().lower().replace("f1-score", "f1") for cell in rows[0]]
    for cell in head:
        one_of(f"column of {name}", cell, CSV_COLUMNS)
    if "class" not in head or len(set(head)) < len(head):
        raise InputError(f"{name} must have a column class and none twice, got {', '.join(head)}; correct it")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise InputError(
                f"row {number} of {name} must have {len(head)} fields, got {len(row)}; correct it"
            )
    return _by_model(name, [dict(zip(head, map(str.strip, row), strict=True)) for row in rows[1:]])


def _by_model(name: str, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    models: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        models.setdefault(row.get("model") or "table", []).append(row)
    first = next(iter(models.values()))
    columns = {}
    for model, own in models.items():
        _check_alike(name, model, first, own)
        columns[model] = {m: [row[m] for row in own] for m in MEASURES if m in own[0]}
    content: dict[str, Any] = {"classes": [row["class"] for row in first], "columns": columns}
    return content | ({"supports": [row["support"] for row in first]} if "support" in first[0] else {})


def _check_alike(
    name: str, model: str, first: Sequence[Mapping[str, str]], own: Sequence[Mapping[str, str]]
) -> None:
    for key in ("class", "support"):
        wanted, got = ([row.get(key) for row in rows] for rows in (first, own))
        if wanted != got:
            raise InputError(
                f"{key} in {name} must be the same in every model, got {got} for {model}; "
                "write the same classes in the same order"
            )


def printed_table(content: Mapping[str, Any]) -> PrintedTable:
    """The figures of a table as `PrintedTable`, in shares.

    Args:
        content: ``classes`` and ``columns`` (by model: precision, recall, f1, means), maybe ``supports``,
            ``test_images``, ``training_counts``, ``decimals`` and ``percent``, as in a packaged file.

    Raises:
        InputError: a key or figure that is unknown, missing, no number or out of range; percent without
            ``percent``; lists of different lengths.

    Example:
        >>> printed_table({"classes": ["cat"], "columns": {"ours": {"recall": ["0.50"]}}}).decimals
        2
    """
    classes, columns = _classes_and_columns(content)
    percent = content.get("percent", False) is True
    made = tuple(_column(str(name), own, len(classes), percent) for name, own in columns.items())
    if not percent:
        _refuse_percent(made)
    given = _whole("decimals", content.get("decimals"))
    figures = (figure for column in made for measure in MEASURES for figure in column.figures(measure))
    return PrintedTable(
        classes=tuple(map(str, classes)),
        columns=made,
        decimals=_digits(figures) if given is None else given + 2 * percent,
        supports=_wholes("supports", content.get("supports")),
        test_images=_whole("test_images", content.get("test_images")),
        training_counts=_wholes("training_counts", content.get("training_counts")),
        mean_decimals=_mean_digits(made) if given is None else {},
    )


def _classes_and_columns(content: Mapping[str, Any]) -> tuple[list[Any], Mapping[Any, Any]]:
    for key in content:
        one_of("key of a table", key, KEYS)
    classes, columns = content.get("classes"), content.get("columns")
    if isinstance(classes, list) and isinstance(columns, Mapping) and classes and columns:
        return classes, columns
    raise InputError(
        "a table must have a list classes and a mapping columns, got "
        f"{', '.join(map(str, content)) or 'nothing'}; write both"
    )


def _column(name: str, own: Any, classes: int, percent: bool) -> PrintedColumn:
    if not isinstance(own, Mapping):
        raise InputError(f"column {name!r} must be a mapping, got {own!r}; write precision, recall and f1")
    given = {_OTHER_NAMES.get(str(key), str(key)): value for key, value in own.items()}
    for key in given:
        one_of(f"key of column {name!r}", key, (*MEASURES, *MEANS, *_OTHER_NAMES))
    figures = {m: _figures(f"{m} of {name}", given.get(m), classes, percent) for m in MEASURES}
    means = {key: _figure(f"{key} of {name}", given[key], percent) for key in given if key in MEANS}
    printed = {key: mean for key, mean in means.items() if mean is not None}
    return PrintedColumn(name, figures["precision"], figures["recall"], figures["f1"], printed)


def _figures(what: str, values: Any, classes: int, percent: bool) -> Figures:
    if values is None:
        return (None,) * classes
    if not isinstance(values, list):
        raise InputError(f"{what} must be a list, got {values!r}; write one figure a class")
    return tuple(_figure(f"{what}, class {k + 1}", value, percent) for k, value in enumerate(values))


def _figure(what: str, value: Any, percent: bool) -> Decimal | None:
    if value is None or value in _BLANK:
        return None
    text = str(value).strip()
    if text.endswith("%") and not percent:
        raise InputError(f"{what} must be a share, got {text[:40]!r}; {_SAY_PERCENT}")
    try:
        if isinstance(value, bool):
            raise TypeError
        figure = Decimal(text.removesuffix("%"))
    except (TypeError, InvalidOperation) as error:
        raise InputError(
            f"{what} must be a number, got {text[:40]!r}; leave it blank if it is not printed"
        ) from error
    return figure.scaleb(-2) if percent and figure.is_finite() else figure


def _refuse_percent(columns: Sequence[PrintedColumn]) -> None:
    figures = [f for column in columns for m in MEASURES for f in column.figures(m) if f is not None]
    large = [figure for figure in figures if figure.is_finite() and 1 < figure <= 100]
    if 2 * len(large) > len(figures):
        raise InputError(
            f"figures must be shares from 0 to 1, got {large[0]}, which looks like percent; {_SAY_PERCENT}"
        )


def _digits(figures: Iterable[Decimal | None]) -> int:
    """The most digits after the point: a figure such as 0.920 may have lost its last one."""
    shown = [figure.as_tuple().exponent for figure in figures if figure is not None and figure.is_finite()]
    return max([1, *(-int(exponent) for exponent in shown)])


def _mean_digits(columns: Sequence[PrintedColumn]) -> dict[str, int]:
    names = {name for column in columns for name in column.means}
    return {name: _digits(column.means.get(name) for column in columns) for name in names}


def _whole(what: str, value: Any) -> int | None:
    if value is None or value in _BLANK:
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise InputError(f"{what} must be a whole number, got {text[:40]!r}; correct it")
    return int(text)


def _wholes(what: str, values: Any) -> tuple[int, ...] | None:
    if values is None:
        return None
    if not isinstance(values, list):
        raise InputError(f"{what} must be a list, got {values!r}; write one number a class")
    found = [_whole(f"{what}, class {k + 1}", value) for k, value in enumerate(values)]
    if any(value is None for value in found):
        if all(value is None for value in found):
            return None
        raise InputError(f"{what} must be given for every class or for none, got {values}; complete them")
    return tuple(value for value in found if value is not None)
