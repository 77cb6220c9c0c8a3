"""A run keeps the split that it began with: changed data would put training images into its test part."""

from pathlib import Path

from tailgrad.checks import InputError
from tailgrad.data import save_split, split_hash
from tailgrad.data.table_encoding import ENCODING, TableEncoding, load_encoding
from tailgrad.recipes.prepared import Prepared
from tailgrad.recipes.run_folder import RunFolder, read_json


def keep_split(folder: RunFolder, ready: Prepared) -> None:
    """Write ``split.json``, and of a table ``encoding.json``, into a new run; check them in a run with them.

    Raises:
        InputError: the split of a run that was started before is another one now.

    Example: see ``recipes.train``.
    """
    if (folder.path / "split.json").exists():
        check_split(folder, ready)
    else:
        save_split(ready.split, ready.source, folder.path / "split.json")
    if ready.encoding is not None:
        _keep_encoding(folder.path / ENCODING, ready.encoding)


def _keep_encoding(path: Path, encoding: TableEncoding) -> None:
    if not path.exists():
        encoding.save(path)
    elif load_encoding(path).sha256 != encoding.sha256:
        raise InputError(
            f"the table must give the encoding that {path} holds, got another one: columns or values "
            "changed; restore them, or begin anew with another --out"
        )


def check_split(folder: RunFolder, ready: Prepared) -> None:
    """Check that the data give the split that a run was started with.

    Raises:
        InputError: they do not: images or labels were added, removed or changed.

    Example: see ``recipes.diagnose``.
    """
    before, now = split_of(folder), split_hash(ready.split, ready.source)
    if before != now:
        raise InputError(
            f"the data must give the split that {folder.path} was started with, sha256 {before[:12]}, got "
            f"{now[:12]}: images, labels or options changed; restore them, or begin anew with another --out"
        )


def split_of(folder: RunFolder) -> str:
    """SHA-256 of a run's split.

    Raises:
        InputError: the run has no readable ``split.json``.

    Example:
        >>> from pathlib import Path
        >>> split_of(RunFolder(Path("missing")))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: missing/split.json must be a readable JSON object, got [Errno 2] ...
    """
    return str(read_json(folder.path / "split.json").get("sha256"))
