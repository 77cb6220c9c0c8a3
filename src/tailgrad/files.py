"""Atomic writes: a file is there whole or not at all, and a failing disk is one clear error."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError


def _refusal(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {path}: {error.strerror or error}; free some space or choose a folder you may "
        "write to, then repeat the command (what was written before is kept)"
    )


def write_with(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place in one move.

    Raises:
        InputError: the folder cannot be written, or the disk is full; no partial file stays.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_with(folder / "a.txt", lambda p: p.write_text("whole")).read_text()
        'whole'
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(path)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        if partial.exists():
            partial.unlink()
    return path


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` atomically as UTF-8.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> write_text(Path(tempfile.mkdtemp()) / "a.txt", "whole").read_text()
        'whole'
    """
    # File names that are not UTF-8 reach Python as lone surrogates, which become escapes here.
    return write_with(path, lambda partial: partial.write_text(text, "utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> Path:
    r"""Write ``value`` atomically as indented JSON; numbers that are not finite become ``null``.

    Raises:
        InputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> write_json(Path(tempfile.mkdtemp()) / "a.json", {"x": float("nan")}).read_text()
        '{\n  "x": null\n}\n'
    """
    return write_text(path, json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """A copy of nested lists and dicts with numbers that are not finite replaced by None.

    Example:
        >>> finite({"x": [1.0, float("inf")]})
        {'x': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and value - value != 0.0:
        return None
    return value
