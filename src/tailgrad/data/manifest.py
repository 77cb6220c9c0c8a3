"""A split written to a file, with enough to tell later whether the data are still the same."""

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from tailgrad.checks import InputError
from tailgrad.data.source import Source
from tailgrad.data.splits import PARTS, Split
from tailgrad.files import write_text
from tailgrad.untrusted import json_text

_SHORT = 8
"""Hexadecimal digits of each item's SHA-256 that are kept: enough to say which item changed."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sha256: str
    counts: list[int]
    names: list[str]
    labels: list[int] | list[list[int]]
    """class of each item, or the positions of its labels where it may have several"""
    digests: str


class _Parts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    train: _Part
    val: _Part
    test: _Part


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["tailgrad split 1"] = "tailgrad split 1"
    source: str
    sha256: str
    seed: int
    method: str
    groups_kept: int
    classes: list[str]
    leakage: list[tuple[str, str]]
    parts: _Parts


def split_hash(split: Split, source: Source) -> str:
    """SHA-256 over the whole content of a split: names, labels and stored bytes of every part, in order.

    Args:
        split: the parts.
        source: what the split indexes.

    Returns:
        64 hexadecimal digits; equal for equal data wherever they lie.

    Example:
        >>> from tailgrad.data import open_source
        >>> source = open_source("digits-lt")
        >>> split = Split(np.array([0]), np.array([1]), np.array([2]), seed=0)
        >>> split_hash(split, source) == split_hash(split.with_train([0]), source)
        True
    """
    return _manifest(split, source).sha256


def save_split(split: Split, source: Source, path: str | PathLike[str]) -> str:
    """Write a split as JSON, whole or not at all.

    Args:
        split: the parts.
        source: what the split indexes; the names of its items must differ.
        path: file to write or replace.

    Returns:
        The SHA-256 over the whole split.

    Raises:
        InputError: two items with one name, or a file that cannot be written.

    Example:
        >>> import tempfile
        >>> from tailgrad.data import open_source
        >>> source = open_source("digits-lt")
        >>> split = Split(np.array([0]), np.array([1]), np.array([2]), seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = save_split(split, source, f"{folder}/split.json")
        ...     load_split(f"{folder}/split.json", source).test.tolist()
        [2]
    """
    _positions(source)
    manifest = _manifest(split, source)
    write_text(Path(path), manifest.model_dump_json() + "\n")
    return manifest.sha256


def load_split(path: str | PathLike[str], source: Source) -> Split:
    """Read a split and check that it fits the source item by item.

    Args:
        path: file written by ``save_split``.
        source: the data, wherever they lie now; it may hold further items.

    Raises:
        InputError: an unreadable file, other classes, missing items, or changed labels or content; the
            first difference is named.

    Example: see ``save_split``.
    """
    manifest = _read(Path(path))
    classes = [_storable(name) for name in source.class_names]
    if manifest.classes != classes:
        raise InputError(
            f"source must have the classes of {str(path)!r}, {_brief(manifest.classes)}, got "
            f"{_brief(classes)}; use the data that the split was made from"
        )
    position = _positions(source)
    parts = {name: _indices(name, getattr(manifest.parts, name), position, path) for name in PARTS}
    for name in PARTS:
        _compare(getattr(manifest.parts, name), _part(parts[name], source), path)
    leakage = tuple(_leak(pair, position, path) for pair in manifest.leakage)
    return Split(
        **parts,
        seed=manifest.seed,
        groups_kept=manifest.groups_kept,
        method=manifest.method,
        leakage=leakage,
    )


def _manifest(split: Split, source: Source) -> _Manifest:
    parts = {name: _part(getattr(split, name), source) for name in PARTS}
    classes = [_storable(name) for name in source.class_names]
    content = [classes, [parts[name].sha256 for name in PARTS]]
    return _Manifest(
        source=source.name,
        sha256=_sha256(content),
        seed=split.seed,
        method=split.method,
        groups_kept=split.groups_kept,
        classes=classes,
        leakage=[(_name(source, i), _name(source, j)) for i, j in split.leakage],
        parts=_Parts(**parts),
    )


def _part(index: NDArray[np.int64], source: Source) -> _Part:
    names = [_name(source, i) for i in index.tolist()]
    digests = [hashlib.sha256(source.items.stored(i)).hexdigest() for i in index.tolist()]
    labels = source.labels[index].tolist()
    if source.indicators is not None:
        labels = [np.flatnonzero(row).tolist() for row in source.indicators[index]]
    return _Part(
        sha256=_sha256([[*item] for item in zip(names, labels, digests, strict=True)]),
        counts=list(source.counts_of(index)),
        names=names,
        labels=labels,
        digests="".join(digest[:_SHORT] for digest in digests),
    )


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def _positions(source: Source) -> dict[str, int]:
    position: dict[str, int] = {}
    for i in range(len(source.items)):
        name = _name(source, i)
        if position.setdefault(name, i) != i:
            raise InputError(
                f"items must have different names, got {name!r} at positions {position[name]} and {i}; "
                "rename one of the two files"
            )
    return position


def _indices(
    name: str, part: _Part, position: dict[str, int], path: str | PathLike[str]
) -> NDArray[np.int64]:
    missing = [item for item in part.names if item not in position]
    if missing:
        raise InputError(
            f"source must hold every item of {str(path)!r}, got none named {missing[0]!r} and "
            f"{len(missing) - 1} more missing from its {name} part; restore the files"
        )
    return np.array([position[item] for item in part.names], dtype=np.int64)


def _leak(pair: tuple[str, str], position: dict[str, int], path: str | PathLike[str]) -> tuple[int, int]:
    missing = [item for item in pair if item not in position]
    if missing:
        raise InputError(
            f"source must hold every item of {str(path)!r}, got none named {missing[0]!r}, which is said to "
            "leak; restore the files"
        )
    return position[pair[0]], position[pair[1]]


def _compare(saved: _Part, found: _Part, path: str | PathLike[str]) -> None:
    if saved.sha256 == found.sha256:
        return
    for i, item in enumerate(saved.names):
        if saved.labels[i : i + 1] != found.labels[i : i + 1]:
            changed = f"another label ({found.labels[i]})"
        elif saved.digests[_SHORT * i :][:_SHORT] != found.digests[_SHORT * i :][:_SHORT]:
            changed = "other content"
        else:
            continue
        raise InputError(
            f"source must be as it was for {str(path)!r}, got {changed} for {item!r}; restore the file or "
            "make a new split"
        )
    raise InputError(
        f"split file must agree with its own SHA-256, got another one from {str(path)!r}; it was edited: "
        "restore it or make a new split"
    )


def _read(path: Path) -> _Manifest:
    try:
        return _Manifest.model_validate_json(json_text(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise InputError(
            f"split file must be one that save_split wrote, got {first['msg']} at {where} in {str(path)!r}; "
            "restore it or make a new split"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"split file must be one that save_split wrote, got no UTF-8 text in {str(path)!r}; restore it "
            "or make a new split"
        ) from error
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise InputError(f"split file must be readable, got {path}: {said}; check the path") from error


def _name(source: Source, i: int) -> str:
    return _storable(source.items.name(i))


def _storable(text: str) -> str:
    """File names that are not UTF-8 reach Python with lone surrogates, which JSON files cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


def _brief(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:6])
    return f"[{shown}{', ...' if len(names) > 6 else ''}] ({len(names)})"
