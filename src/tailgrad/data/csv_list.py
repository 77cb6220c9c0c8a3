"""A CSV file that lists images and their labels."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, nearest
from tailgrad.data.files import ImageFiles, existing
from tailgrad.data.label_lists import LabelLists, Where, indicator_columns, listed_labels
from tailgrad.data.labels import class_indices
from tailgrad.data.parts import PARTS
from tailgrad.data.source import Source, brought_split, safe_name


def open_csv(
    file: Path,
    root: Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    several: LabelLists | None = None,
) -> Source:
    r"""Open a CSV list of images (tab-separated where the name ends in ``.tsv``), UTF-8, with a header.

    Labels are class names, or integers without gaps. An optional column ``split`` holds train, val or test
    (or nothing).

    Args:
        file: the list.
        root: folder that the paths are relative to; by default the folder of the list.
        image_column: column of the paths, by default ``path``.
        label_column: column of the labels, by default ``label``.
        several: how the list gives several labels to an image, in place of one.

    Raises:
        InputError: no such column, two columns of one name, no rows, a file that is missing, a label that is
            blank or out of range, an unknown split; the row is named by its line in the list.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as name:
        ...     Image.new("L", (4, 4)).save(Path(name) / "1.png")
        ...     _ = (Path(name) / "list.csv").write_text("path,label\n1.png,cat\n1.png,dog\n")
        ...     open_csv(Path(name) / "list.csv").class_names
        ('cat', 'dog')
    """
    columns, lines = _columns(file, _read(file))
    folder = file.parent if root is None else root
    paths = _column(file, columns, image_column or "path")
    places = [f"line {line} of {file.name}" for line in lines]
    names = [existing(folder, path, place) for path, place in zip(paths, places, strict=True)]

    def where(i: int) -> str:
        return f"{places[i]} ({names[i]!r})"

    indicators = None
    if several is not None and several.is_read:
        indicators, class_names = _indicators(file, columns, several, where)
        labels = np.zeros(len(names), np.int64)
    else:
        labels, class_names = class_indices(_column(file, columns, label_column or "label"), where=where)
    parts = columns.get("split", [""] * len(lines))
    return Source(
        name=safe_name(f"{file.resolve().parent.name}-{file.stem}"),
        items=ImageFiles(folder, names),
        labels=labels,
        class_names=class_names,
        given=brought_split([_part(part, place) for part, place in zip(parts, places, strict=True)]),
        indicators=indicators,
    )


def _indicators(
    file: Path, columns: dict[str, list[str]], several: LabelLists, where: Where
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    if several.column is not None:
        values = _column(file, columns, several.column, "labels_column")
        return listed_labels(values, several.separator, where)
    found = {name: _column(file, columns, name, "label_columns") for name in several.columns}
    return indicator_columns(found, where), several.columns


def _read(file: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line on which it ends."""
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            return [(reader.line_num, row) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"source list {str(file)!r} must be a CSV in UTF-8, got: {error}; save it so"
        ) from error


def _columns(file: Path, rows: list[tuple[int, list[str]]]) -> tuple[dict[str, list[str]], list[int]]:
    """The columns by name, and the line on which each row ends."""
    if len(rows) < 2:
        raise InputError(
            f"source list {str(file)!r} must hold a header and a row for each image, got {len(rows)} rows; "
            "write the columns path and label"
        )
    head = [name.strip() for name in rows[0][1]]
    twice = [name for name, count in Counter(head).items() if name and count > 1]
    if twice:
        raise InputError(
            f"columns of {file.name} must have different names, got {twice[0]!r} twice; rename one"
        )
    for line, row in rows[1:]:
        if len(row) != len(head):
            raise InputError(
                f"line {line} of {file.name} must have {len(head)} fields, got {len(row)}; put fields with "
                "commas into double quotes"
            )
    return {name: [row[j] for _, row in rows[1:]] for j, name in enumerate(head)}, [n for n, _ in rows[1:]]


def _column(file: Path, columns: dict[str, list[str]], name: str, key: str = "") -> Sequence[str]:
    if name not in columns:
        keys = f"data.{key}" if key else "data.image_column or data.label_column"
        raise InputError(
            f"{file.name} must have a column {name!r}, got {', '.join(columns)}; {nearest(name, columns)} "
            f"(name it with {keys}; where images have several labels, with --labels-column; where the rows "
            "are a table, name its classes with --target)"
        )
    return columns[name]


def _part(text: str, place: str) -> str:
    part = text.strip().lower()
    if part and part not in PARTS:
        raise InputError(f"split of {place} must be train, val, test or blank, got {text!r}; correct it")
    return PARTS.get(part, "")
