"""A folder of one's own while one works, of which nothing stays when the work cannot begin."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailgrad.checks import InputError
from tailgrad.recipes.folder_lock import folder_lock, holds_files


@contextmanager
def fresh_folder(path: Path) -> Iterator[None]:
    """Keep others out, and take back what was written into a new folder that fails before its first epoch.

    A folder that held anything before, or that holds a checkpoint or a result by then, is left as it is.

    Args:
        path: folder of a run or a study; it may not exist yet.

    Raises:
        Held: another process writes into it.
        InputError: whatever the block raises; so with OSError.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "a" / "run"
        >>> try:
        ...     with fresh_folder(folder):
        ...         (folder / "config.yaml").touch()
        ...         raise InputError("data must be readable, got none; add some")
        ... except InputError:
        ...     folder.parent.exists()
        False
    """
    missing = _missing(path)
    with folder_lock(path):
        is_new = _is_new(path)  # asked only now: somebody else may have been here before the lock was ours
        try:
            yield
        except (InputError, OSError):
            if is_new and not _holds_work(path):
                _take_back(path, missing)
            raise


def _is_new(path: Path) -> bool:
    try:
        return not holds_files(path)
    except FileNotFoundError:
        return True
    except OSError:  # a file in the way, a folder that may not be read, a name too long
        return False


def _holds_work(path: Path) -> bool:
    """Whether a run came to a checkpoint, or to its result, which is all that an estimator leaves."""
    return any(any(path.rglob(name)) for name in ("*.safetensors", "result.json"))


def _missing(path: Path) -> list[Path]:
    """Folders that would have to be made, innermost first."""
    return [place for place in (path, *path.parents) if _is_new(place) and not place.exists()]


def _take_back(path: Path, missing: list[Path]) -> None:
    for content in path.glob("*"):
        if content.is_dir() and not content.is_symlink():
            shutil.rmtree(content, ignore_errors=True)
        else:
            content.unlink(missing_ok=True)
    for folder in missing:
        try:
            folder.rmdir()
        except OSError:  # somebody else has put something there, or it was never made
            return
