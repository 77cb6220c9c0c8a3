"""The finished runs of a group that its comparison is made of."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tailgrad.recipes.run_folder import RunFolder
from tailgrad.untrusted import of_shape

_NAMED_BY = ("method", "seed", "split_seed")


def group_runs(group: Path) -> list[tuple[RunFolder, dict[str, Any]]]:
    """Runs with their results, by name; those of a larger edition that the folder once held are left out.

    Args:
        group: folder of a comparison; without its ``results.parquet`` every finished run counts.

    Raises:
        InputError: a result or the table of results is damaged.

    Example:
        >>> group_runs(Path("missing"))
        []
    """
    folders = [RunFolder(path) for path in sorted((group / "runs").glob("*"))]
    ended = [(folder, folder.result()) for folder in folders if folder.finished]
    finished = [pair for pair in ended if pair[1].get("status") == "finished"]
    table = group / "results.parquet"
    if not table.exists():
        return finished
    with of_shape(table, "repeat the study with --resume"):
        rows = pq.read_table(table, columns=list(_NAMED_BY)).to_pylist()
    compared = {tuple(row[key] for key in _NAMED_BY) for row in rows}
    return [pair for pair in finished if tuple(pair[1].get(key) for key in _NAMED_BY) in compared]
