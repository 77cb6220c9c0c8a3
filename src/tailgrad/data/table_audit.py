"""What an audit says of the columns of a table."""

from dataclasses import dataclass

import numpy as np

from tailgrad.data.column import Numbers
from tailgrad.data.source import Source
from tailgrad.data.table import rows_of


@dataclass(frozen=True)
class TableFacts:
    """The columns of a table.

    Args:
        target: column of the classes.
        numbers: numeric columns.
        categories: number of categories of every other column.
        missing: rows without a value, by column; columns without such are left out.
        constant: columns of one value, which training drops.
        remarks: what is odd about columns, in sentences.

    Example:
        >>> TableFacts("sick", ("age",), {"town": 3}, {}, (), ()).categories
        {'town': 3}
    """

    target: str
    numbers: tuple[str, ...]
    categories: dict[str, int]
    missing: dict[str, int]
    constant: tuple[str, ...]
    remarks: tuple[str, ...]


def table_facts(source: Source) -> TableFacts | None:
    """The columns of a source that is a table; None for images.

    Example:
        >>> from tailgrad.data import open_source
        >>> len(table_facts(open_source("wine-lt")).numbers)
        13
    """
    rows = rows_of(source)
    if rows is None:
        return None
    missing = {column.name: int(column.missing.sum()) for column in rows.columns}
    different = {
        column.name: len(np.unique(column.values if isinstance(column, Numbers) else column.codes))
        for column in rows.columns
    }
    return TableFacts(
        target=rows.target,
        numbers=tuple(column.name for column in rows.columns if isinstance(column, Numbers)),
        categories={
            column.name: len(column.words) for column in rows.columns if not isinstance(column, Numbers)
        },
        missing={name: n for name, n in missing.items() if n},
        constant=tuple(name for name, n in different.items() if n == 1),
        remarks=rows.remarks,
    )
