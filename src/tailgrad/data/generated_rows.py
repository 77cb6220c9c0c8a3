"""A generated table of mixed columns with one rare class: as many rows, and as rare, as one likes."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import in_range
from tailgrad.data.column import MISSING, Categories, Column, Floats, Numbers
from tailgrad.data.source import Source
from tailgrad.data.table import TableRows

SIZES = {"generated-rows": (100_000, 1000), "generated-rows-small": (3_000, 30)}
"""Rows, and how many common ones there are to each rare one, of the sources with a name."""

_NUMBERS, _INFORMATIVE, _KINDS = 12, 6, 3
_WORDS = (4, 8, 20)
_EMPTY = 0.05
"""Share of values that are missing in one column of either kind."""


def open_generated_rows(
    name: str = "generated-rows", rows: int = 100_000, factor: int = 1000, seed: int = 0
) -> Source:
    """Rows of 12 numbers and 3 columns of categories; one in ``factor + 1`` is of the class "rare".

    Common rows are normal with correlated columns. Rare rows are of three kinds; each kind shifts its own two
    of six columns, by 3 deviations in directions of its own, and prefers its own words in two of the
    columns of categories. The other columns say nothing. A twentieth of the values of one numeric column and
    of one column of categories is missing, and one numeric column is heavily skewed.

    Args:
        name: of the source.
        rows: in all, at least 100.
        factor: common rows to each rare one, at least 1.
        seed: fixes everything.

    Raises:
        InputError: a number is out of its range.

    Source: ours.

    Example:
        >>> source = open_generated_rows(rows=1000, factor=99)
        >>> source.class_names, source.counts, len(source.items.columns)
        (('common', 'rare'), (990, 10), 15)
    """
    in_range("rows", rows, 100)
    in_range("factor", factor, 1)
    random = np.random.default_rng(seed)
    labels = np.zeros(rows, np.int64)
    labels[random.permutation(rows)[: max(2, round(rows / (factor + 1)))]] = 1
    kind = np.where(labels == 1, random.integers(0, _KINDS, rows), -1)
    columns = [*_numbers(random, kind), *_categories(random, kind)]
    return Source(name, TableRows(columns, "class"), labels, ("common", "rare"), ("",) * rows, regime="table")


def _numbers(random: np.random.Generator, kind: NDArray[np.int64]) -> list[Column]:
    mixing = np.eye(_NUMBERS) + 0.3 * random.normal(size=(_NUMBERS, _NUMBERS)) / np.sqrt(_NUMBERS)
    values: Floats = random.normal(size=(len(kind), _NUMBERS)) @ mixing
    for k in range(_KINDS):
        sides = np.array([1.0, -1.0 if k % 2 else 1.0])
        values[np.ix_(kind == k, [2 * k, 2 * k + 1])] += 3.0 * sides
    values[:, _INFORMATIVE] = np.exp(values[:, _INFORMATIVE])
    values[random.random(len(kind)) < _EMPTY, 0] = np.nan
    return [Numbers(f"number_{j}", values[:, j].round(4)) for j in range(_NUMBERS)]


def _categories(random: np.random.Generator, kind: NDArray[np.int64]) -> list[Column]:
    columns: list[Column] = []
    for j, n in enumerate(_WORDS):
        codes = np.minimum(random.geometric(2 / n, len(kind)) - 1, n - 1)
        if j < 2:
            preferred = (kind >= 0) & (random.random(len(kind)) < 0.8)
            codes = np.where(preferred, n - 1 - kind % n, codes)
        if j == 1:
            codes = np.where(random.random(len(kind)) < _EMPTY, MISSING, codes)
        words = tuple(f"word_{k:02d}" for k in range(n))
        columns.append(Categories(f"words_{j}", codes.astype(np.int64), words))
    return columns
