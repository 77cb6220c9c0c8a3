"""Annotation files of iNaturalist (``train2018.json``), which are those of COCO without boxes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tailgrad.checks import InputError
from tailgrad.data.files import ImageFiles, existing
from tailgrad.data.list_file import image_root, list_name, parts_beside
from tailgrad.data.parts import part_in
from tailgrad.data.source import Source, brought_split
from tailgrad.untrusted import json_text, parse_json


def open_inaturalist(file: Path, root: Path | None = None) -> Source:
    """Open an iNaturalist annotation file, and those of the other parts beside it.

    ``images`` hold ``id`` and ``file_name``, ``annotations`` hold ``image_id`` and ``category_id``, and
    ``categories`` hold ``id`` and ``name``. Classes are in order of their ids. Files without annotations
    (``test2018.json``) are passed over.

    Args:
        file: one of the files.
        root: folder that the file names are relative to; by default the folder of the file.

    Raises:
        InputError: a file of another kind; an image that is missing, has no class or two.

    Example:
        >>> import json, tempfile
        >>> from PIL import Image
        >>> content = {"images": [{"id": 5, "file_name": "1.png"}, {"id": 7, "file_name": "1.png"}],
        ...            "annotations": [{"image_id": 5, "category_id": 1}, {"image_id": 7, "category_id": 0}],
        ...            "categories": [{"id": 0, "name": "fern"}, {"id": 1, "name": "moss"}]}
        >>> with tempfile.TemporaryDirectory() as name:
        ...     Image.new("L", (4, 4)).save(Path(name) / "1.png")
        ...     _ = (Path(name) / "all.json").write_text(json.dumps(content))
        ...     source = open_inaturalist(Path(name) / "all.json")
        >>> source.class_names, source.labels.tolist()
        (('fern', 'moss'), [1, 0])
    """
    folder = image_root(file, root)
    names: list[str] = []
    ids: list[int] = []
    parts: list[str] = []
    ignored: list[str] = []
    categories: dict[int, str] = {}
    for one in parts_beside(file):
        content = _read(one)
        if "annotations" not in content and one != file:
            ignored.append(one.name)
            continue
        categories |= _categories(one, content, categories)
        for name, category in _labelled(one, content):
            names.append(existing(folder, name, f"an image of {one.name}"))
            ids.append(category)
            parts.append(part_in(one.name))
    return Source(
        name=list_name(file),
        items=ImageFiles(folder, names),
        labels=np.searchsorted(sorted(categories), ids).astype(np.int64),
        class_names=tuple(categories[k] for k in sorted(categories)),
        given=brought_split(parts),
        ignored=tuple(ignored),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(json_text(file))
    except (OSError, ValueError) as error:
        raise InputError(
            f"annotations {str(file)!r} must be a readable JSON file, got: {error}; fetch it again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"annotations {str(file)!r} must be an object with images, annotations and categories, got "
            f"{type(content).__name__}; name an iNaturalist or COCO file"
        )
    return content


def _rows(
    file: Path, content: dict[str, Any], key: str, fields: dict[str, type]
) -> Iterator[tuple[Any, ...]]:
    """The fields of every entry of a table, of the types asked for."""
    table = content.get(key)
    if not isinstance(table, list):
        found = "nothing" if table is None else type(table).__name__
        raise InputError(
            f"{file.name} must hold a list {key!r}, got {found}; name an iNaturalist or COCO file"
        )
    for number, row in enumerate(table):
        for field, kind in fields.items():
            value = row.get(field) if isinstance(row, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InputError(
                    f"{key}[{number}] of {file.name} must have a field {field!r} of type {kind.__name__}, "
                    f"got {str(row)[:80]!r}; correct it"
                )
        yield tuple(row[field] for field in fields)


def _categories(file: Path, content: dict[str, Any], before: dict[int, str]) -> dict[int, str]:
    rows = list(_rows(file, content, "categories", {"id": int, "name": str}))
    repeated = _repeated(name for _, name in rows)
    found = {k: f"{name} ({k})" if name in repeated else name for k, name in rows}
    for k, name in found.items():
        if before and before.get(k) != name:
            raise InputError(
                f"annotation files of one source must agree on categories, got {name!r} for {k} in "
                f"{file.name} and {before.get(k)!r} before; open them one by one"
            )
    return found


def _repeated(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}  # type: ignore[func-returns-value]


def _labelled(file: Path, content: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """File name and category of every image."""
    known = {k for (k,) in _rows(file, content, "categories", {"id": int})}
    category: dict[int, int] = {}
    for image, label in _rows(file, content, "annotations", {"image_id": int, "category_id": int}):
        if label not in known:
            raise InputError(
                f"category_id of image {image} in {file.name} must be one of {len(known)} categories, got "
                f"{label}; correct it"
            )
        if category.setdefault(image, label) != label:
            raise InputError(
                f"image {image} of {file.name} must have one class, got {category[image]} and {label}; "
                "keep one"
            )
    for image, name in _rows(file, content, "images", {"id": int, "file_name": str}):
        if image not in category:
            raise InputError(
                f"image {image} ({name!r}) of {file.name} must have a class, got none; remove it"
            )
        yield name, category[image]
