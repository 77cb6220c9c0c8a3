"""Rows to classify: a table with the columns that a run was trained with."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tailgrad.checks import InputError, nearest
from tailgrad.data.column import Categories, Column, Numbers
from tailgrad.data.table import TableRows, class_words, read_table
from tailgrad.data.table_columns import column_of
from tailgrad.data.table_encoding import Encoded, TableEncoding

_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)


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

    A file says of its own rows alone what is a number: ``007`` is 7 in one and a word in another. So a word
    that training has not seen is taken for one that it has where both are the same number or truth value.

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
    words = {code.name: code.words for code in encoding.categories}
    known = [*words, *(code.name for code in encoding.numbers)]
    for name in known:
        if name not in read.column_names:
            raise InputError(
                f"table must have the column {name!r}, which the run was trained with, got "
                f"{', '.join(read.column_names)}; {nearest(name, read.column_names)}"
            )
    columns = [_column(name, read[name], category=name in words) for name in known]
    for column in columns:
        if isinstance(column, Categories) and column.name not in words:
            raise InputError(
                f"column {column.name!r} must hold numbers, as in training, got {column.words[0][:40]!r}; "
                "leave unknown values empty"
            )
    columns = [_as_in_training(column, words.get(column.name, ())) for column in columns]
    encoded = encoding.encode(TableRows(columns, encoding.target))
    strangers = [
        name for name in read.column_names if name not in (*known, *encoding.dropped, encoding.target)
    ]
    said = _sentences(encoded.unseen, "with a category that training has not seen")
    said += _sentences(encoded.filled, "without a value, taken as the training median")
    said += tuple(f"column {name!r} was not trained with and is passed over" for name in strangers)
    return NewRows(encoded, _labels(read, encoding), said)


def open_new_tables(
    tables: Sequence[str | Path], encoding: TableEncoding, say: Callable[[str], None]
) -> list[tuple[str, NewRows]]:
    """The name and the rows of each file, in the order given; what was made up for them is said.

    A file that is given twice is there twice, as an image is.

    Args:
        tables: CSV or parquet files.
        encoding: of the run.
        say: told the remarks, each behind the name of its file.

    Raises:
        InputError: there is no file, or as ``open_new_rows``.

    Example:
        >>> encoding = TableEncoding(target="sick", classes=("no", "yes"), numbers=(), categories=())
        >>> open_new_tables([], encoding, print)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: tables must hold at least one file, got none; give a CSV or parquet file
    """
    opened = [(str(table), open_new_rows(table, encoding)) for table in tables]
    if not opened:
        raise InputError("tables must hold at least one file, got none; give a CSV or parquet file")
    for name, rows in opened:
        for remark in rows.remarks:
            say(f"{name}: {remark}")
    return opened


def row_places(opened: Iterable[tuple[str, NewRows]]) -> list[tuple[str, str]]:
    """``file#i`` of every row, counted from 0 below the header, and its label, empty where it has none.

    Example:
        >>> import numpy as np
        >>> rows = Encoded(np.zeros((2, 1), np.float32), np.zeros((2, 0), np.int64), {}, {})
        >>> row_places([("new.csv", NewRows(rows, (), ()))])
        [('new.csv#0', ''), ('new.csv#1', '')]
    """
    return [
        (f"{name}#{i}", rows.labels[i] if rows.labels else "")
        for name, rows in opened
        for i in range(len(rows.encoded.numbers))
    ]


def _sentences(counts: Mapping[str, int], what: str) -> tuple[str, ...]:
    return tuple(f"column {name!r}: {n} row{'s'[: n - 1]} {what}" for name, n in counts.items())


def _column(name: str, values: pa.ChunkedArray, *, category: bool) -> Column:
    found = column_of(name, values, category=category)
    if category or not isinstance(found, Categories) or found.words:
        return found
    return Numbers(name, np.full(len(values), np.nan))  # texts that are all blank: nothing is known of any


def _as_in_training(column: Column, known: Iterable[str]) -> Column:
    if not isinstance(column, Categories):
        return column
    spelled = _spellings(known)
    return replace(
        column, words=tuple(spelled.get(word, spelled.get(_meant(word), word)) for word in column.words)
    )


def _spellings(known: Iterable[str]) -> dict[Decimal | str, str]:
    """Every known word by itself, and by what it means."""
    words = tuple(known)
    return {**{_meant(word): word for word in reversed(words)}, **{word: word for word in words}}


def _meant(word: str) -> Decimal | str:
    if _NUMBER.fullmatch(word):
        return Decimal(word)
    return word.lower() if word.lower() in ("true", "false") else word


def _labels(table: pa.Table, encoding: TableEncoding) -> tuple[str, ...]:
    if encoding.target not in table.column_names:
        return ()
    spelled, found = _spellings(encoding.classes), []
    for word in class_words(table[encoding.target]):
        label = spelled.get(word or "", spelled.get(_meant(word or ""), ""))
        if word and not label:
            raise InputError(
                f"label in column {encoding.target!r} must be a class of the run, got {word!r}; "
                f"{nearest(word, encoding.classes)}, or leave the column out"
            )
        found.append(label)
    return tuple(found)
