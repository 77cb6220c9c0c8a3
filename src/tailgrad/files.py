"""Atomic writes: a file is there whole or not at all, and a failing disk is one clear error."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tailgrad.checks import InputError

Guard = Callable[[Callable[[], object]], object]


def _refusal(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {path}: {error.strerror or error}; free some space or choose a folder you may "
        "write to, then repeat the command (what was written before is kept)"
    )


def write_with(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place in one move.

    The content is on disk before the move: a killed process and a power cut leave the old file or the new.

    Raises:
        InputError: the folder cannot be written, or the disk is full; no partial file stays.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_with(folder / "a.txt", lambda p: p.write_text("whole")).read_text()
        'whole'
    """
    _through[-1](lambda: _write(path, write))
    return path


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Inside, ``guard`` decides who does each write of a file.

    Args:
        guard: given a function that writes; the first of several processes calls it
            (``distributed.first_does``).

    Example:
        >>> with guarded(lambda write: None):
        ...     _ = write_text(Path("nowhere") / "a.txt", "never written")
    """
    _through.append(guard)
    try:
        yield
    finally:
        _through.pop()


_through: list[Guard] = [lambda write: write()]


def _write(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # a link of that name would lead the write elsewhere
        write(partial)
        _on_disk(partial)
        partial.replace(path)
        _on_disk(path.parent)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        with suppress(OSError):  # a folder that may not be searched
            partial.unlink(missing_ok=True)


def clear_partial(folder: Path, *, below: bool = True) -> None:
    """Remove what a killed process was writing; nothing ever reads it.

    Args:
        folder: which nobody else writes into.
        below: in the folders in it too.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / ".a.txt.99.partial").write_text("ha")
        2
        >>> clear_partial(folder)
        >>> list(folder.iterdir())
        []
    """
    for left in folder.glob("**/.*.partial" if below else ".*.partial"):
        with suppress(OSError):
            left.unlink()


def _on_disk(path: Path) -> None:
    """Wait until a file or a folder's entries outlast a power cut."""
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:  # folders cannot be opened everywhere
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno in _FULL:
            raise
    finally:
        os.close(number)


_FULL = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
"""What a disk says that has not kept a file; network folders may know no ``fsync``, which is no failure."""


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
