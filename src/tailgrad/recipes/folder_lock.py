"""One process at a time writes into the folder of a run or a study."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tailgrad.checks import InputError
from tailgrad.files import write_json
from tailgrad.untrusted import json_text, parse_json

_LOCK, _HOLDER = ".lock", ".lock.json"


class Held(InputError):  # noqa: N818 - it says what the folder is
    """Another process writes into the folder.

    Example:
        >>> issubclass(Held, InputError)
        True
    """


@contextmanager
def folder_lock(path: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder while the block runs; reading stays free.

    The operating system takes the lock back from a process that ends, however it ends, so what a killed one
    leaves behind blocks nobody.

    Args:
        path: folder of a run or a study; made if it is not there.

    Raises:
        Held: another process holds it; told with its number, machine and since when.
        InputError: something in it is a link.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> with folder_lock(folder), folder_lock(folder):
        ...     pass
        Traceback (most recent call last):
        ...
        tailgrad.recipes.folder_lock.Held: ...run must be free, got ... in use by process ...
    """
    from tailgrad.distributed import as_one_process, first_does  # with torch, which reading does not need

    refuse_links(path)
    lock = FileLock(path / _LOCK)
    taken: list[bool] = []
    first_does(lambda: taken.append(_taken(lock, path)))  # of the processes that share a run
    if not any(taken):
        yield
        return
    try:
        with as_one_process():
            _sign(path)
        yield
    finally:
        # Before the release: who waits for a file that is gone by then begins anew with another.
        for name in (_HOLDER, _LOCK):
            with suppress(OSError):
                (path / name).unlink()
        lock.release()


def refuse_links(path: Path) -> None:
    """Make sure that what is written into a folder stays there, whoever the folder comes from.

    The folder itself may be reached by a link, and may be anywhere.

    Raises:
        InputError: something in it, at any depth, is a link.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "checkpoint").symlink_to("/")
        >>> refuse_links(folder)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: ... must hold its own files, got checkpoint, a link to /; ...
    """
    for place, folders, names in os.walk(path):
        for found in (Path(place, name) for name in (*folders, *names)):
            if found.is_symlink():
                raise InputError(
                    f"{path} must hold its own files, got {found.relative_to(path)}, a link to "
                    f"{found.readlink()}; put what it leads to in its place, since nothing is written "
                    "outside the folder"
                )


def holds_files(path: Path) -> bool:
    """Whether a folder holds anything but locks and halves that a killed process left.

    Raises:
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with folder_lock(folder):
        ...     holds_files(folder)
        False
    """
    return any(p.name not in (_LOCK, _HOLDER) and not p.name.endswith(".partial") for p in path.iterdir())


def _taken(lock: FileLock, path: Path) -> bool:
    """Whether the lock is ours now; False where the folder cannot be written, which the first write says."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Held(_refusal(path)) from None
    except OSError:
        return False
    return True


def _sign(path: Path) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(InputError):  # a name is a courtesy
        write_json(path / _HOLDER, {"process": os.getpid(), "machine": platform.node(), "since": now})


def _refusal(path: Path) -> str:
    return (
        f"{path} must be free, got a folder in use by {_holder(path)}; wait until that ends, stop it, or "
        "choose another with --out"
    )


def _holder(path: Path) -> str:
    try:
        found = parse_json(json_text(path / _HOLDER))
        told = f"process {found['process']} on {found['machine']} since {found['since']}"
    except (OSError, ValueError, TypeError, KeyError):  # it has only just begun
        return "another process"
    return "".join(c for c in told if c.isprintable())[:120]
