"""Results on disk: arrays in an .npz, everything else in a .json beside it, nothing pickled."""

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from tailgrad.checks import InputError
from tailgrad.files import write_text, write_with
from tailgrad.interference.branches import Branches
from tailgrad.interference.collapse import Collapse
from tailgrad.interference.contributions import LogitPull
from tailgrad.interference.control import Control
from tailgrad.interference.descent import Descent
from tailgrad.interference.effect import Effect
from tailgrad.interference.gates import Gates, Overlap
from tailgrad.interference.geometry import Geometry
from tailgrad.interference.noise import DirectionalNoise
from tailgrad.untrusted import json_text, parse_json

_FORMAT = "tailgrad.interference/1"
_ALWAYS_FINE, _MOST_PACKED = 64 * 2**20, 200
"""Bytes of arrays that any file may hold, and how many times its own size a larger one may."""

_ARRAY, _KIND = "$array", "$kind"
_PARTS = {
    kind.__name__: kind
    for kind in (
        Branches,
        Collapse,
        Control,
        Descent,
        DirectionalNoise,
        Effect,
        Gates,
        Geometry,
        LogitPull,
        Overlap,
    )
}
_Arrays = dict[str, npt.NDArray[Any]]


def plain(value: Any) -> Any:
    """Nested dictionaries, lists, numbers and strings; NaN and infinity become None.

    Example:
        >>> plain({"a": np.array([1.0, np.nan])})
        {'a': [1.0, None]}
    """
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save(result: object, path: str | Path, summary: str) -> None:
    """Write the fields of a dataclass to ``path.npz`` and ``path.json``, each in one rename.

    Raises:
        InputError: the place cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Branches(("a",), np.ones((1, 2))), f"{folder}/x", summary="")
        ...     sorted(p.name for p in Path(folder).iterdir())
        ['x.json', 'x.npz']
    """
    arrays: _Arrays = {}
    tree = {"format": _FORMAT, "summary": summary, "result": _packed(result, arrays)}
    npz, text = _paths(path)
    write_with(npz, lambda partial: _save_arrays(partial, arrays))
    write_text(text, json.dumps(tree, indent=1, ensure_ascii=False))


def _save_arrays(path: Path, arrays: _Arrays) -> None:
    with path.open("wb") as file:  # given a path, NumPy would add an ending of its own
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load(kind: Callable[..., Any], path: str | Path) -> Any:
    """Rebuild a ``kind`` from ``path.npz`` and ``path.json``.

    Raises:
        InputError: a file is missing, or holds something else, such as a result of another kind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Branches(("a",), np.ones((1, 2))), f"{folder}/x", summary="")
        ...     load(Branches, f"{folder}/x").norms
        array([[1., 1.]])
    """
    name = kind.__name__
    with _reading(path):
        tree = _tree(path)
        if tree[_KIND] != name:
            raise InputError(
                f"path must hold {name}, got {tree[_KIND]!r}; Interference.load reads either "
                "kind of measurement"
            )
        with _paths(path)[0].open("rb") as file:
            _check_sizes(file)
            with np.load(file, allow_pickle=False) as arrays:
                return _unpacked(tree, _PARTS | {name: kind}, dict(arrays))


def _check_sizes(file: IO[bytes]) -> None:
    """Refuse arrays that would fill the memory: a zip of a megabyte can hold a gigabyte of zeros."""
    with zipfile.ZipFile(file) as members:
        packed, whole = (
            sum(getattr(info, size) for info in members.infolist()) for size in ("compress_size", "file_size")
        )
    if whole > max(_ALWAYS_FINE, _MOST_PACKED * packed):
        raise ValueError(f"{whole} bytes of arrays in {packed} bytes of file")
    file.seek(0)


def kind_of(path: str | Path) -> str:
    """Name of the dataclass that ``path.json`` describes.

    Raises:
        InputError: the file is missing, or holds something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Branches(("a",), np.ones((1, 2))), f"{folder}/x", summary="")
        ...     kind_of(f"{folder}/x")
        'Branches'
    """
    with _reading(path):
        return str(_tree(path)[_KIND])


def _tree(path: str | Path) -> dict[str, Any]:
    tree = parse_json(json_text(_paths(path)[1]), nan=True)
    if tree["format"] != _FORMAT:
        raise InputError(f"path must hold {_FORMAT}, got {tree['format']!r}; measure again")
    result: dict[str, Any] = tree["result"]
    return result


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    # Damaged archives make zipfile and zlib raise almost anything.
    except Exception as error:
        raise InputError(
            f"path must hold a saved result, got {str(path)!r} ({error!r}); save one there"
        ) from error


def _packed(value: Any, arrays: _Arrays) -> Any:
    if isinstance(value, np.ndarray):
        key = f"array{len(arrays)}"
        arrays[key] = value
        return {_ARRAY: key}
    if is_dataclass(value):
        own = {field.name: _packed(getattr(value, field.name), arrays) for field in fields(value)}
        return {_KIND: type(value).__name__, **own}
    if isinstance(value, dict):
        return {key: _packed(item, arrays) for key, item in value.items()}
    return value


def _unpacked(value: Any, kinds: dict[str, Callable[..., Any]], arrays: _Arrays) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    if isinstance(value.get(_ARRAY), str):
        return arrays[value[_ARRAY]]
    items = {key: _unpacked(item, kinds, arrays) for key, item in value.items()}
    # a layer may be called "$kind" too, but what stands under it is then no string
    return kinds[items.pop(_KIND)](**items) if isinstance(value.get(_KIND), str) else items


def _paths(path: str | Path) -> tuple[Path, Path]:
    path = Path(path)
    stem = path.name.removesuffix(".npz").removesuffix(".json")
    return path.with_name(f"{stem}.npz"), path.with_name(f"{stem}.json")
