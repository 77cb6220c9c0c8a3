"""A CSV list of images to classify."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tailgrad.checks import InputError, nearest
from tailgrad.data.files import existing
from tailgrad.untrusted import read_text

MAX_LIST = 2**28
"""Bytes of a list."""
KNOWN = ("path", "label", "split")
"""Columns that a list may have; only the paths are read."""


def unlisted(images: Sequence[str | Path]) -> list[Path]:
    """The paths given, each CSV list replaced by the images that it names.

    A list has a column ``path``, relative to its folder, and may have ``label`` and ``split`` as lists for
    training do.

    Raises:
        InputError: a list cannot be read, has no column ``path`` or one that is not known, or names a file
            that is missing.

    Example:
        >>> unlisted(["a.png", "b"])
        [PosixPath('a.png'), PosixPath('b')]
    """
    found: list[Path] = []
    for path in map(Path, images):
        found += _listed(path) if path.suffix.lower() == ".csv" and path.is_file() else [path]
    return found


def _listed(file: Path) -> list[Path]:
    try:
        text = read_text(file, MAX_LIST).removeprefix("\ufeff")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader if any(row)]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"list {str(file)!r} must be a CSV in UTF-8, got: {error}; save it so") from error
    head = [name.strip() for name in rows[0][1]] if rows else []
    _check_columns(file, head)
    place = head.index("path")
    for line, row in rows[1:]:
        if len(row) != len(head):
            raise InputError(
                f"line {line} of {file.name} must have {len(head)} fields, got {len(row)}; put fields with "
                "commas into double quotes"
            )
    return [
        file.parent / existing(file.parent, row[place], f"line {line} of {file.name}")
        for line, row in rows[1:]
    ]


def _check_columns(file: Path, head: Sequence[str]) -> None:
    for name in head:
        if name not in KNOWN:
            raise InputError(
                f"list {file.name} must have the columns {', '.join(KNOWN)} and no other, got {name[:80]!r}; "
                f"{nearest(name, KNOWN)}"
            )
    if "path" not in head or len(set(head)) != len(head):
        raise InputError(
            f"list {file.name} must have one column path, got {', '.join(head) or 'no header'}; name the "
            "column of the image files path"
        )
