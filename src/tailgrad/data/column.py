"""A column of a table: numbers, or categories as positions in a list of words."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MISSING = -1
"""Position of a missing category."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A numeric column.

    Args:
        name: of the column.
        values: [N], NaN where a value is missing; never infinite.

    Example:
        >>> Numbers("age", np.array([31.0, np.nan])).missing.tolist()
        [False, True]
    """

    name: str
    values: Floats

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where a value is missing, [N]."""
        return np.isnan(self.values)

    def chosen(self, rows: Indices) -> "Numbers":
        """Some of the rows, in the order given."""
        return replace(self, values=self.values[rows])


@dataclass(frozen=True, eq=False)
class Categories:
    """A column of categories.

    Args:
        name: of the column.
        codes: positions in ``words`` [N], ``MISSING`` where a value is missing.
        words: the categories, sorted.

    Example:
        >>> Categories("colour", np.array([1, -1]), ("blue", "red")).missing.tolist()
        [False, True]
    """

    name: str
    codes: Indices
    words: tuple[str, ...]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where a value is missing, [N]."""
        found: NDArray[np.bool_] = self.codes == MISSING
        return found

    def chosen(self, rows: Indices) -> "Categories":
        """Some of the rows, in the order given; the words stay."""
        return replace(self, codes=self.codes[rows])


Column = Numbers | Categories
