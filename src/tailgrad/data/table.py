"""Tables: rows of numbers and categories in a CSV or parquet file, one column of which is the class."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tailgrad.checks import InputError, nearest
from tailgrad.data.column import Categories, Column, Indices, Numbers
from tailgrad.data.labels import class_indices, is_integer
from tailgrad.data.parts import PARTS
from tailgrad.data.source import Source, brought_split, safe_name
from tailgrad.data.table_columns import column_of, decoded, remarks_on

SUFFIXES = (".csv", ".tsv", ".parquet")
SPLIT = "split"
"""Column that holds train, val or test, where all its values are such."""

_MISSING = dict.fromkeys([*pyarrow.csv.ConvertOptions().null_values, "?"])
# Arrow passes over blanks around a number, but not around a word for a missing one.
_BLANK = [
    *(" " * n for n in range(65)),
    *(
        " " * before + word + " " * after
        for word in _MISSING
        if word
        for before in range(9)
        for after in range(3)
    ),
]
_INDEX = re.compile(r"__index_level_\d+__")
_CONTINUOUS = 50
"""Different fractional or whole values above which, where most rows have their own, a target is no class."""


class TableRows:
    """The items of a source whose examples are rows of a table.

    Args:
        columns: the features, of one length.
        target: name of the column of classes.
        rows: number of every row in the file, from 0 below the header; by default 0 ... N - 1.
        remarks: what is odd about the columns, in sentences.

    Example:
        >>> rows = TableRows([Numbers("age", np.array([31.0, 40.0]))], "sick")
        >>> len(rows), rows.name(1), rows.chosen([1]).name(0)
        (2, 'row 1', 'row 1')
    """

    def __init__(
        self,
        columns: Sequence[Column],
        target: str,
        rows: Indices | None = None,
        remarks: tuple[str, ...] = (),
    ) -> None:
        self.columns, self.target, self.remarks = tuple(columns), target, remarks
        length = len(columns[0].missing) if columns else 0
        self.rows: Indices = np.arange(length, dtype=np.int64) if rows is None else rows
        self._numbers = np.column_stack(
            [np.zeros((length, 0)), *(c.values for c in self.columns if isinstance(c, Numbers))]
        )
        self._words = [c for c in self.columns if isinstance(c, Categories)]

    def __len__(self) -> int:
        return len(self.rows)

    def chosen(self, rows: Sequence[int] | Indices) -> "TableRows":
        """Some of the rows, in the order given."""
        index = np.asarray(rows, dtype=np.int64)
        columns = [column.chosen(index) for column in self.columns]
        return TableRows(columns, self.target, self.rows[index], self.remarks)

    def alike(self) -> Indices:
        """A number for every row [N], the same for rows that are equal in all features."""
        codes = [c.codes for c in self._words]
        together = np.ascontiguousarray(np.column_stack([self._numbers + 0.0, *codes]))  # -0 is 0
        as_bytes = together.view(np.dtype((np.void, together.dtype.itemsize * together.shape[1])))
        found: Indices = np.unique(as_bytes.ravel(), return_inverse=True)[1].astype(np.int64)
        return found

    def load(self, i: int) -> NoReturn:
        """Refused: a row is no image."""
        raise InputError(f"source must hold images here, got {self.name(i)} of a table; leave it out")

    def name(self, i: int) -> str:
        """``row i``, counted from 0 below the header."""
        return f"row {self.rows[i]}"

    def stored(self, i: int) -> bytes:
        """Every feature of row i, missing values alike."""
        words = (c.words[c.codes[i]] if c.codes[i] >= 0 else "" for c in self._words)
        numbers: bytes = self._numbers[i].tobytes()
        return numbers + "\x1f".join(words).encode("utf-8", "backslashreplace")

    def format(self, i: int) -> str:  # noqa: ARG002 - all are the same
        """``row``."""
        return "row"

    def size(self, i: int) -> tuple[int, int]:  # noqa: ARG002 - all are the same
        """(1, columns)."""
        return 1, len(self.columns)


def rows_of(source: Source) -> TableRows | None:
    """The rows of a table, or None where a source holds images.

    Example:
        >>> from tailgrad.data import open_source
        >>> rows_of(open_source("digits-lt")) is None
        True
    """
    return source.items if isinstance(source.items, TableRows) else None


def open_table(
    table: Any, target: str, *, drop: Sequence[str] = (), categories: Sequence[str] = ()
) -> Source:
    """Open a table whose rows are examples.

    Columns of numbers and dates (in days) are numeric, columns of words and of true and false are categories,
    and so is what a data frame holds as categories. The nameless index of a pandas frame is no column. An
    empty or blank field, NA, NaN, null and ? are missing. A column ``split`` that holds train, val and test
    is the split; a row left blank there counts as training. Classes are in sorted order, those that are all
    whole numbers in that of the numbers.

    Args:
        table: path of a CSV (``.csv``, tab-separated ``.tsv``) or parquet file with a header, a PyArrow
            table, or a data frame that PyArrow reads (pandas, Polars).
        target: column of the classes.
        drop: columns that are left out.
        categories: columns of numbers that are names of categories.

    Raises:
        InputError: no such column, two columns of one name, no rows, a nested column, an infinite number, a
            column ``split`` with parts and other words, a target that is blank somewhere, continuous or of
            one class.

    Example:
        >>> frame = pa.table({"age": [31, 40, 52], "town": ["a", "b", "a"], "sick": ["no", "no", "yes"]})
        >>> source = open_table(frame, "sick")
        >>> source.class_names, source.counts, [column.name for column in source.items.columns]
        (('no', 'yes'), (2, 1), ['age', 'town'])
    """
    read = read_table(table)
    name = "table" if not isinstance(table, str | Path) else _name(Path(table))
    _check_names(read.column_names, {"target": [target], "drop": drop, "categories": categories})
    if target in drop:
        raise InputError(f"drop must leave the target column, got {target!r}; take it off")
    labels, class_names = _classes(read[target], target)
    given = [] if SPLIT in (target, *drop) else _given(read)
    left_out = {target, *drop} | ({SPLIT} if given else set())
    wanted = [column for column in read.column_names if column not in left_out]
    if not wanted:
        raise InputError(
            f"table must have columns besides the target, got {', '.join(read.column_names)}; add features"
        )
    columns = [column_of(column, read[column], category=column in categories) for column in wanted]
    remarks = tuple(remark for column in columns for remark in remarks_on(column))
    return Source(
        name=name,
        items=TableRows(columns, target, remarks=remarks),
        labels=labels,
        class_names=class_names,
        given=brought_split(given or [""] * len(labels)),
        regime="table",
    )


def read_table(table: Any) -> pa.Table:
    """A CSV or parquet file, or what is a table already, as a PyArrow table with distinct column names.

    The index that pandas saves along under a name of its own, ``__index_level_0__``, is left out.

    Raises:
        InputError: a file that cannot be read or is of another kind, without rows, or with two columns of
            one name.

    Example:
        >>> read_table(pa.table({" a ": [1]})).column_names
        ['a']
    """
    found = _from_file(Path(table)) if isinstance(table, str | Path) else _from_object(table)
    found = found.rename_columns([name.strip() for name in found.column_names])
    found = found.select([i for i, name in enumerate(found.column_names) if not _INDEX.fullmatch(name)])
    twice = [name for name in dict.fromkeys(found.column_names) if found.column_names.count(name) > 1]
    if twice:
        raise InputError(f"columns must have different names, got {twice[0]!r} twice; rename one")
    if found.num_columns == 1 and any(mark in found.column_names[0] for mark in ";\t|"):
        raise InputError(
            "columns must be separated by commas (by tabs in .tsv), got the header "
            f"{found.column_names[0]!r}; export the table so, with a point in decimal numbers"
        )
    if not found.num_rows:
        raise InputError(f"table must hold a header and rows, got no rows in {_said(table)}; fill it")
    return found


def _from_file(file: Path) -> pa.Table:
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"table must be a file ending in {', '.join(SUFFIXES)}, got {str(file)!r}; export it so"
        )
    try:
        if file.suffix.lower() == ".parquet":
            return _named(pq.ParquetFile(file).read())
        found = pyarrow.csv.read_csv(
            file,
            parse_options=pyarrow.csv.ParseOptions(
                delimiter="\t" if file.suffix.lower() == ".tsv" else ",", newlines_in_values=True
            ),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True, null_values=_BLANK),
        )
        return _named(found)
    except (OSError, ValueError, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"table {str(file)!r} must be a readable {file.suffix.lower()} file with a header, got: {said}; "
            "save it as CSV in UTF-8 with as many fields in every line, or as parquet"
        ) from error


def _named(table: pa.Table) -> pa.Table:
    """The table, once its column names have been decoded: where they are not UTF-8 that is an error."""
    return table.rename_columns(table.column_names)


def _from_object(table: Any) -> pa.Table:
    if isinstance(table, pa.Table):
        return table
    try:
        return _named(pa.table(table))
    except (TypeError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"table must be a file, a PyArrow table or a data frame, got {type(table).__name__} ({error}); "
            "give one of these, with one kind of value in each column"
        ) from error


def _said(table: Any) -> str:
    return repr(str(table)) if isinstance(table, str | Path) else f"a {type(table).__name__}"


def _name(file: Path) -> str:
    return safe_name(f"{file.resolve().parent.name}-{file.stem}")


def _check_names(known: Sequence[str], asked: dict[str, Sequence[str]]) -> None:
    for argument, names in asked.items():
        for name in names:
            if name not in known:
                raise InputError(
                    f"{argument} must name a column of the table, got {name!r}; {nearest(str(name), known)}"
                )


def _given(table: pa.Table) -> list[str]:
    """The part of every row or blank, where the table has a column of parts.

    Raises: InputError: some of its values are parts and another is not.
    """
    if SPLIT not in table.column_names:
        return []
    words = [str(word or "").strip().lower() for word in table[SPLIT].to_pylist()]
    if not any(word in PARTS for word in words):
        return []
    for row, word in enumerate(words):
        if word and word not in PARTS:
            raise InputError(
                f"column {SPLIT} must hold train, val, test or blank, got {word[:40]!r} in row {row}, "
                "counted from 0; correct it, or rename the column if it is a feature"
            )
    return [PARTS.get(word, "") for word in words]


def _classes(values: pa.ChunkedArray, target: str) -> tuple[Indices, tuple[str, ...]]:
    values = decoded(values)
    wrong = (pa.types.is_nested, pa.types.is_binary, lambda kind: isinstance(kind, pa.BaseExtensionType))
    if any(is_wrong(values.type) for is_wrong in wrong):
        raise InputError(
            f"target {target!r} must hold one class a row, got {values.type}; name another column"
        )
    present = values.drop_null().unique().to_pylist()
    if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
        _check_classes(present, len(values), target)
    labels, class_names = class_indices(
        class_words(values),
        _in_order(present) or ("none",),
        lambda i: f"row {i} (column {target!r})",
    )
    if len(class_names) < 2:
        raise InputError(
            f"target {target!r} must hold at least 2 classes, got only {', '.join(class_names)}; name "
            "another column, or add rows of another class"
        )
    return labels, class_names


def _in_order(present: list[Any]) -> tuple[str, ...]:
    """Names of the values of a target; texts by name, those that are all whole numbers by the numbers."""
    names = tuple(dict.fromkeys(_word(value) for value in sorted(present)))
    if not all(isinstance(value, str) for value in present):
        return names
    return tuple(sorted(names, key=int if all(map(is_integer, names)) else None))


def class_words(values: pa.ChunkedArray) -> list[str | None]:
    """The class of every row as it is named: whole numbers without a point, None where it is missing.

    Example:
        >>> class_words(pa.chunked_array([[1.0, None]])), class_words(pa.chunked_array([[True]]))
        (['1', None], ['True'])
    """
    return [None if value is None else _word(value) for value in decoded(values).to_pylist()]


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _check_classes(present: list[Any], rows: int, target: str) -> None:
    fractional = (
        [value for value in present if value != int(value)] if all(map(_finite, present)) else present
    )
    many = len(present) > _CONTINUOUS and 2 * len(present) > rows
    if fractional or many:
        some = fractional[0] if fractional else present[0]
        raise InputError(
            f"target {target!r} must hold classes, got {len(present)} different numbers in {rows} rows such "
            f"as {some}: it is continuous; cut it into ranges with names, or name another column"
        )


def _finite(value: float) -> bool:
    return bool(np.isfinite(value))
