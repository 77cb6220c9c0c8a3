"""The columns of a table as Arrow holds them, read by their type."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tailgrad.checks import InputError
from tailgrad.data.column import MISSING, Categories, Column, Floats, Indices, Numbers

_ALIKE = 0.95
"""Share of different values above which a column of words looks like an identifier."""

_SOME = 20
_MOST = 1e100
"""Size above which a number measures nothing, and its square overflows."""

_A_DAY = {"s": 86_400.0, "ms": 86_400e3, "us": 86_400e6, "ns": 86_400e9}


def column_of(name: str, values: pa.ChunkedArray, *, category: bool = False) -> Column:
    """A column of a table by its type: numbers and dates (in days); else categories, and what is encoded so.

    Args:
        name: of the column.
        values: of any plain Arrow type.
        category: take numbers as names of categories.

    Raises:
        InputError: a nested or binary column, or a number that is infinite or above 1e100 in size; column and
            row are named.

    Example:
        >>> column_of("colour", pa.chunked_array([["red", None, "blue"]])).codes
        array([ 1, -1,  0])
        >>> column_of("age", pa.chunked_array([[1.5, float("inf")]]))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: column 'age' must be finite, got inf in row 1; leave the value empty ...
    """
    encoded, values = pa.types.is_dictionary(values.type), decoded(values)
    if _is_word(values.type) or category or encoded:
        return _categories(name, values)
    numbers = _numbers(name, values)
    wrong = np.flatnonzero(np.abs(numbers) > _MOST)
    if len(wrong):
        first = numbers[wrong[0]]
        wanted = "finite" if np.isinf(first) else f"at most {_MOST:g} in size"
        raise InputError(
            f"column {name!r} must be {wanted}, got {first} in row {wrong[0]}{_more(wrong)}; leave "
            "the value empty where it is unknown, cap it, or leave the column out with --drop"
        )
    return Numbers(name, numbers)


def decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values one by one, where they are positions in a dictionary; a missing one is null, not NaN.

    Example:
        >>> decoded(pa.chunked_array([pa.array(["b", "a", "b"]).dictionary_encode()])).to_pylist()
        ['b', 'a', 'b']
    """
    if pa.types.is_dictionary(values.type):
        kind = values.type.value_type
        held = pa.large_string() if pa.types.is_string_view(kind) else kind  # of views Arrow takes none
        chunks = [pa.array(chunk.dictionary.to_pylist(), held).take(chunk.indices) for chunk in values.chunks]
        values = pa.chunked_array(chunks, held)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values


def _is_word(kind: pa.DataType) -> bool:
    types = pa.types
    texts = (types.is_string, types.is_large_string, types.is_string_view, types.is_boolean)
    return any(is_kind(kind) for is_kind in texts)


def _categories(name: str, values: pa.ChunkedArray) -> Categories:
    try:
        texts = pc.utf8_trim_whitespace(values.cast(pa.large_string()))
    except pa.ArrowException as error:
        raise _nested(name, values.type) from error
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.large_string()), texts)
    found = texts.combine_chunks().dictionary_encode()
    words = [str(word) for word in found.dictionary.to_pylist()]
    order = np.argsort(np.array(words, dtype=object), kind="stable") if words else np.empty(0, np.int64)
    place = np.empty(len(words) + 1, np.int64)
    place[order], place[-1] = np.arange(len(words)), MISSING
    codes = pc.fill_null(found.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Categories(name, place[codes], tuple(words[i] for i in order))


def _numbers(name: str, values: pa.ChunkedArray) -> Floats:
    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan)
    if pa.types.is_date(kind):
        values, kind = values.cast(pa.timestamp("ms")), pa.timestamp("ms")
    if pa.types.is_timestamp(kind):
        return _floats(values.cast(pa.int64())) / _A_DAY[kind.unit]
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise _nested(name, kind)
    return _floats(values)


def _floats(values: pa.ChunkedArray) -> Floats:
    found: Any = values.cast(pa.float64(), safe=False).to_numpy()
    return np.asarray(found, dtype=np.float64)


def _nested(name: str, kind: pa.DataType) -> InputError:
    return InputError(
        f"column {name!r} must hold one number, date or word (in UTF-8) a row, got {kind}; flatten it into "
        "columns of its own, or leave it out with --drop"
    )


def _more(rows: Indices) -> str:
    return f" and {len(rows) - 1} more rows" if len(rows) > 1 else ""


def remarks_on(column: Column) -> tuple[str, ...]:
    """What is odd about a column, in sentences; a look at all its values.

    Example:
        >>> words = tuple(f"p{i:02d}" for i in range(30))
        >>> remarks_on(Categories("patient", np.arange(30), words))
        ("column 'patient' has 30 categories in 30 rows: an identifier tells nothing of new rows; ...",)
    """
    if not column.name:
        return ("column '' has no name, as an index that was saved along: leave it out with --drop ''",)
    n = int((~column.missing).sum())
    if isinstance(column, Numbers):
        said = f"column {column.name!r} numbers the rows: leave it out with --drop, or figures may flatter"
        return (said,) if n >= _SOME and _counts_rows(column.values[~column.missing]) else ()
    different = len(np.unique(column.codes[~column.missing]))
    if n >= _SOME and different >= _ALIKE * n:
        return (
            f"column {column.name!r} has {different} categories in {n} rows: an identifier tells nothing of "
            "new rows; leave it out with --drop",
        )
    return _mixed(column)


def _counts_rows(values: Floats) -> bool:
    whole = bool((values == np.floor(values)).all())
    return whole and values.max() - values.min() == len(values) - 1 == len(np.unique(values)) - 1


def _mixed(column: Categories) -> tuple[str, ...]:
    """Words among numbers make categories of a column that was meant to be numeric."""
    words = [word for word in column.words if not _is_number(word)]
    if len(column.words) < _SOME or not words or len(words) > 0.1 * len(column.words):
        return ()
    return (
        f"column {column.name!r} is taken as categories: {words[0][:40]!r} stands among its numbers; leave "
        "such values empty to make it numeric",
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
