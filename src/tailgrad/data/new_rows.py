"""Rows to classify: a table with the columns that a run was trained with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from tailgrad.checks import InputError, nearest
from tailgrad.data.table import TableRows, read_table
from tailgrad.data.table_columns import Categories, column_of
from tailgrad.data.table_encoding import Encoded, TableEncoding


class NewRows(NamedTuple):
    """Rows to classify.

    Args:
        encoded: as the network takes them.
        labels: class of each, where the table brings the target column; else empty, as a missing one is.
        remarks: what was made up for them, in sentences.
    """

    encoded: Encoded
    labels: tuple[str, ...]
    remarks: tuple[str, ...]


def open_new_rows(table: Any, encoding: TableEncoding) -> NewRows:
    """Read rows by the encoding of a run; columns that it does not know are passed over and said.

    Args:
        table: as for ``open_table``; the target column may be there or not.
        encoding: of the run.

    Raises:
        InputError: a column of the run is missing or of another kind, or a label that the run does not know.

    Example:
        >>> from tailgrad.data.table import open_table
        >>> source = open_table(pa.table({"town": ["a", "b"], "sick": ["no", "yes"]}), "sick")
        >>> encoding = TableEncoding.fit(source.items, [0, 1], source.class_names)
        >>> found = open_new_rows(pa.table({"town": ["b", "z"]}), encoding)
        >>> found.encoded.categories.tolist(), found.remarks
        ([[2], [0]], ("column 'town': 1 row with a category that training has not seen",))
    """
    read = read_table(table)
    words = [code.name for code in encoding.categories]
    known = [*words, *(code.name for code in encoding.numbers)]
    for name in known:
        if name not in read.column_names:
            raise InputError(
                f"table must have the column {name!r}, which the run was trained with, got "
                f"{', '.join(read.column_names)}; {nearest(name, read.column_names)}"
            )
    columns = [column_of(name, read[name], category=name in words) for name in known]
    for column in columns:
        if isinstance(column, Categories) and column.name not in words:
            raise InputError(
                f"column {column.name!r} must hold numbers, as in training, got {column.words[0][:40]!r}; "
                "leave unknown values empty"
            )
    encoded = encoding.encode(TableRows(columns, encoding.target))
    strangers = [
        name for name in read.column_names if name not in (*known, *encoding.dropped, encoding.target)
    ]
    said = _sentences(encoded.unseen, "with a category that training has not seen")
    said += _sentences(encoded.filled, "without a value, taken as the training median")
    said += tuple(f"column {name!r} was not trained with and is passed over" for name in strangers)
    return NewRows(encoded, _labels(read, encoding), said)


def _sentences(counts: Mapping[str, int], what: str) -> tuple[str, ...]:
    return tuple(f"column {name!r}: {n} row{'s'[: n - 1]} {what}" for name, n in counts.items())


def _labels(table: pa.Table, encoding: TableEncoding) -> tuple[str, ...]:
    if encoding.target not in table.column_names:
        return ()
    column = column_of(encoding.target, table[encoding.target], category=True)
    assert isinstance(column, Categories)  # asked for; this tells the type checker
    for word in column.words:
        if word not in encoding.classes:
            raise InputError(
                f"label in column {encoding.target!r} must be a class of the run, got {word!r}; "
                f"{nearest(word, encoding.classes)}, or leave the column out"
            )
    return tuple(column.words[k] if k >= 0 else "" for k in column.codes)
