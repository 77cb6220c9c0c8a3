"""A confusion matrix as its non-empty cells: at most N of the K^2 that K classes have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tailgrad.evaluate.confusion import Integers, Values, class_indices

ROWS_UP_TO = 200
"""Classes up to which a file holds the whole matrix, for whoever reads it without this library."""


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Counts of images by target and predicted class; ``numpy.asarray`` makes the matrix [K, K] of it.

    Args:
        num_classes: K.
        targets: target of each non-empty cell [M], ascending.
        predictions: predicted class of each [M], ascending within a target.
        counts: images of each [M], at least 1.

    Example:
        >>> found = Confusion.counted([0, 1, 1], [0, 0, 1], 2)
        >>> np.asarray(found).tolist(), found.support.tolist()
        ([[1, 1], [0, 1]], [2, 1])
    """

    num_classes: int
    targets: Integers
    predictions: Integers
    counts: Integers

    @classmethod
    def counted(cls, predicted: Values, target: Values, num_classes: int) -> "Confusion":
        """Count images.

        Args:
            predicted: predicted class indices [N].
            target: true class indices [N].
            num_classes: K.

        Raises:
            InputError: the two differ in length, are empty, or leave [0, K-1].
        """
        rows = class_indices(target, num_classes, "target")
        columns = class_indices(predicted, num_classes, "predicted", len(rows))
        places, counts = np.unique(rows * num_classes + columns, return_counts=True)
        return cls(num_classes, *np.divmod(places, num_classes), counts.astype(np.int64))

    @classmethod
    def of(cls, matrix: NDArray[Any]) -> "Confusion":
        """The cells of counts [K, K]."""
        rows, columns = np.nonzero(matrix)
        return cls(len(matrix), rows, columns, np.asarray(matrix[rows, columns]))

    @property
    def images(self) -> int:
        """N."""
        return int(self.counts.sum())

    @property
    def correct(self) -> Integers:
        """Images of each class that are predicted right [K]."""
        return self._summed(self.targets, self.counts * (self.targets == self.predictions))

    @property
    def support(self) -> Integers:
        """Images of each class [K]."""
        return self._summed(self.targets, self.counts)

    @property
    def predicted(self) -> Integers:
        """Images predicted as each class [K]."""
        return self._summed(self.predictions, self.counts)

    def to_json(self) -> list[list[int]] | dict[str, Any]:
        """Rows of counts, or beyond 200 classes the cells as (target, predicted, images)."""
        if self.num_classes <= ROWS_UP_TO:
            rows: list[list[int]] = np.asarray(self).tolist()
            return rows
        cells = np.stack([self.targets, self.predictions, self.counts], axis=1)
        return {"num_classes": self.num_classes, "cells": cells.tolist()}

    @classmethod
    def from_json(cls, value: Sequence[Sequence[int]] | Mapping[str, Any]) -> "Confusion":
        """Inverse of `to_json`."""
        if not isinstance(value, Mapping):
            return cls.of(np.array(value, dtype=np.int64))
        cells = np.array(value["cells"], dtype=np.int64).reshape(-1, 3)
        return cls(int(value["num_classes"]), *np.ascontiguousarray(cells.T))

    def _summed(self, classes: Integers, counts: Integers) -> Integers:
        return np.bincount(classes, weights=counts, minlength=self.num_classes).astype(np.int64)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        matrix = np.zeros((self.num_classes, self.num_classes), dtype or np.int64)
        matrix[self.targets, self.predictions] = self.counts
        return matrix

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Confusion):
            return NotImplemented
        mine, theirs = ((c.targets, c.predictions, c.counts) for c in (self, other))
        return self.num_classes == other.num_classes and all(map(np.array_equal, mine, theirs))

    __hash__ = None  # type: ignore[assignment]  # holds arrays
