"""From the columns of a table to what a network takes, fitted on training rows only."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tailgrad.checks import InputError
from tailgrad.data.column import MISSING, Categories, Indices, Numbers
from tailgrad.files import write_text
from tailgrad.untrusted import json_text

if TYPE_CHECKING:
    from tailgrad.data.table import TableRows

FAR = 1e6
"""Deviations from the mean at which numbers end; of N training rows none lies beyond the root of N."""

ENCODING = "encoding.json"
"""Name of the file in the folder of a run on a table."""

UNSEEN = 0
"""Position of a category that training has not seen."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NumberCode(_Part):
    """How a numeric column is encoded: ``(x - mean) / std``, missing values first made the median.

    Example:
        >>> NumberCode(name="age", median=40, mean=42, std=10).indicator
        False
    """

    name: str
    median: Finite
    mean: Finite
    std: Positive
    indicator: bool = False
    """whether a further column says where a value was missing: some were in training"""


class CategoryCode(_Part):
    """How a column of categories is encoded: position in ``words`` plus 1; 0 for a word unseen in training.

    Example:
        >>> CategoryCode(name="town", words=("a", "b"), missing=True).cardinality
        3
    """

    name: str
    words: tuple[str, ...]
    missing: bool = False
    """whether a missing value is a category of its own, the last one: some were in training"""

    @property
    def cardinality(self) -> int:
        """Categories that training has seen, the missing one included."""
        return len(self.words) + self.missing


class Encoded(NamedTuple):
    """Rows as a network takes them, and what had to be made up for them.

    Args:
        numbers: [N, F] float32.
        categories: [N, C] int64.
        unseen: rows with a category that training has not seen, by column.
        filled: rows whose missing number became the median, by column.
    """

    numbers: NDArray[np.float32]
    categories: Indices
    unseen: Mapping[str, int]
    filled: Mapping[str, int]


class TableEncoding(_Part):
    """What training rows say of every column, as it is kept in ``encoding.json``.

    Numbers are standardised, missing ones become the training median and, where training has some, a further
    column of 0 and 1 says so. Categories become positions; 0 is a category that training has not seen, and a
    missing one is a category of its own. A column with one value in training is dropped.

    Args:
        target: name of the column of classes.
        classes: their names, in order.
        numbers: codes of the numeric columns that are kept.
        categories: codes of the columns of categories that are kept.
        dropped: columns with one value in training.

    Example:
        >>> from tailgrad.data.table import TableRows
        >>> rows = TableRows([Numbers("age", np.array([30.0, np.nan, 50.0, 70.0]))], "sick")
        >>> encoding = TableEncoding.fit(rows, [0, 1, 2], ("no", "yes"))
        >>> encoding.encode(rows).numbers.round(2).tolist()[:2]
        [[-1.2200000286102295, 0.0], [0.0, 1.0]]
    """

    format: Literal["tailgrad table 1"] = "tailgrad table 1"
    target: str
    classes: tuple[str, ...]
    numbers: tuple[NumberCode, ...]
    categories: tuple[CategoryCode, ...]
    dropped: tuple[str, ...] = ()

    @classmethod
    def fit(cls, rows: "TableRows", train: Sequence[int] | Indices, classes: Sequence[str]) -> Self:
        """The encoding that training rows give.

        Args:
            rows: all of them.
            train: positions of those for training, at least one.
            classes: names of the classes.

        Raises:
            InputError: every column has one value in training.
        """
        numbers: list[NumberCode] = []
        categories: list[CategoryCode] = []
        dropped: list[str] = []
        index = np.asarray(train, dtype=np.int64)
        for column in rows.columns:
            seen = column.chosen(index)
            if _is_constant(seen):
                dropped.append(column.name)
            elif isinstance(seen, Numbers):
                numbers.append(_number_code(seen))
            else:
                words = tuple(seen.words[k] for k in np.unique(seen.codes[~seen.missing]))
                categories.append(CategoryCode(name=seen.name, words=words, missing=bool(seen.missing.any())))
        if not numbers and not categories:
            raise InputError(
                f"table must have a column whose training rows differ, got one value in each of "
                f"{', '.join(dropped)}; add features"
            )
        return cls(
            target=rows.target,
            classes=tuple(classes),
            numbers=tuple(numbers),
            categories=tuple(categories),
            dropped=tuple(dropped),
        )

    @model_validator(mode="after")
    def _every_column_once(self) -> Self:
        names = [code.name for code in self.numbers] + [code.name for code in self.categories]
        if len(set(names)) != len(names):
            raise ValueError("two columns of one name")
        return self

    def __str__(self) -> str:
        n, c = len(self.numbers), len(self.categories)
        return f"{n} numeric column{'s'[: n != 1]}, {c} column{'s'[: c != 1]} of categories"

    @property
    def width(self) -> int:
        """F, numeric columns after encoding, those that say where a value was missing included."""
        return len(self.numbers) + sum(code.indicator for code in self.numbers)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Categories of every such column that training has seen, [C]."""
        return tuple(code.cardinality for code in self.categories)

    @property
    def columns(self) -> dict[str, Any]:
        """What a network for these columns is built with."""
        return {"numbers": self.width, "categories": list(self.cardinalities)}

    @property
    def size(self) -> tuple[int, int]:
        """Numeric columns after encoding, and columns of categories."""
        return self.width, len(self.categories)

    @property
    def discrete(self) -> tuple[int, ...]:
        """Columns of 0 and 1 among the F numeric ones."""
        return tuple(range(len(self.numbers), self.width))

    @property
    def sha256(self) -> str:
        """Hash of all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def encode(self, rows: "TableRows") -> Encoded:
        """Rows as a network takes them; they have the columns, and their kinds, that it was fitted to."""
        known = {column.name: column for column in rows.columns}
        values, flags, filled, unseen = [], [], {}, {}
        for code in self.numbers:
            column = known[code.name]
            assert isinstance(column, Numbers)  # this tells the type checker
            filled_in = np.where(column.missing, code.median, column.values)
            values.append(np.clip((filled_in - code.mean) / code.std, -FAR, FAR))
            flags += [column.missing.astype(np.float64)] if code.indicator else []
            filled[code.name] = int(column.missing.sum())
        positions = []
        for category in self.categories:
            words = known[category.name]
            assert isinstance(words, Categories)
            positions.append(_positions(category, words))
            unseen[category.name] = int((positions[-1] == UNSEEN).sum())
        none = np.zeros((len(rows), 0))
        return Encoded(
            np.column_stack([none, *values, *flags]).astype(np.float32),
            np.column_stack([none.astype(np.int64), *positions]).astype(np.int64),
            {name: n for name, n in unseen.items() if n},
            {name: n for name, n in filled.items() if n},
        )

    def save(self, path: Path) -> None:
        """Write ``encoding.json``.

        Raises:
            InputError: it cannot be written.
        """
        write_text(path, self.model_dump_json(indent=1) + "\n")


def load_encoding(path: Path) -> TableEncoding:
    """Read ``encoding.json``.

    Raises:
        InputError: it is missing or damaged.

    Example:
        >>> load_encoding(Path("missing.json"))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: missing.json must be the encoding of a run on a table, got [Errno 2] ...
    """
    try:
        return TableEncoding.model_validate_json(json_text(path))
    except (OSError, ValueError, ValidationError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} must be the encoding of a run on a table, got {said}; restore it"
        ) from error


def is_of_rows(run: str | Path) -> bool:
    """Whether a run was trained on a table.

    Args:
        run: its folder.

    Example:
        >>> is_of_rows("missing")
        False
    """
    return (Path(run) / ENCODING).is_file()


def _is_constant(column: Numbers | Categories) -> bool:
    """One value in all rows; some missing and some not are two."""
    if column.missing.any():
        return bool(column.missing.all())
    values = column.values if isinstance(column, Numbers) else column.codes
    return bool((values == values[0]).all())


def _number_code(column: Numbers) -> NumberCode:
    present = column.values[~column.missing]
    filled = np.where(column.missing, np.median(present), column.values)
    std = float(filled.std()) if np.ptp(filled) > 0 else 0.0  # rounding spreads equal numbers
    return NumberCode(
        name=column.name,
        median=float(np.median(present)),
        mean=float(filled.mean()),
        std=std if std > 0 else 1.0,
        indicator=bool(column.missing.any()),
    )


def _positions(code: CategoryCode, column: Categories) -> Indices:
    place = {word: k for k, word in enumerate(code.words, start=1)}
    positions = np.array([*(place.get(word, UNSEEN) for word in column.words), UNSEEN], dtype=np.int64)
    if code.missing:
        positions[MISSING] = len(code.words) + 1
    return positions[column.codes]
