"""Rows of a run as its network takes them, where its table is still at hand."""

import numpy as np

from tailgrad.checks import InputError
from tailgrad.data.column import Numbers
from tailgrad.data.table import TableRows, rows_of
from tailgrad.data.table_encoding import TableEncoding
from tailgrad.recipes.run_folder import RunFolder
from tailgrad.ship.examples import Examples
from tailgrad.ship.feed import row_feed
from tailgrad.ship.run_part import nothing_left, places, source_of


def run_rows(folder: RunFolder, encoding: TableEncoding, part: str, most: int) -> Examples:
    """Up to ``most`` rows of a part of a run, evenly spread, encoded as in training.

    Args:
        folder: of a finished run.
        encoding: of its columns.
        part: ``"train"``, ``"val"`` or ``"test"``.
        most: number of rows.

    Raises:
        InputError: the table is not at hand, has other columns or labels than it had, or no row of the part
            is there.

    Example: see ``ship.export``.
    """
    config = folder.config()
    source = source_of(config, "rows")
    rows = rows_of(source)
    if rows is None:
        raise nothing_left(folder, source, part)
    _check_columns(rows, encoding, source.name)
    chosen = places(folder, source, part, most)
    index, target = (np.array(one, np.int64) for one in zip(*chosen, strict=True))
    replaced = part == "train" and config.data.label_noise > 0  # those were not the table's
    if source.class_names != encoding.classes or not (replaced or (source.labels[index] == target).all()):
        raise InputError(
            f"table of the run must hold the labels that it held, got others in {source.name}: rows were "
            "added, removed or changed; export where the data are"
        )
    return Examples(row_feed(encoding.encode(rows.chosen(index))), target)


def _check_columns(rows: TableRows, encoding: TableEncoding, name: str) -> None:
    kinds = {column.name: isinstance(column, Numbers) for column in rows.columns}
    wanted = {code.name: True for code in encoding.numbers} | {
        code.name: False for code in encoding.categories
    }
    other = [column for column, kind in wanted.items() if kinds.get(column) is not kind]
    if other:
        raise InputError(
            f"table of the run must have the columns that it had, got {name} without {other[0]!r} or with "
            "another kind of values in it; export where the data are"
        )
