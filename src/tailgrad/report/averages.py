"""Means over matrices that hold NaN where a class could not be measured, and intervals over runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tailgrad.evaluate import Units, student_t
from tailgrad.report.wording import interval

Matrix = npt.NDArray[np.float64]


def mean_over(matrices: Sequence[Matrix]) -> Matrix:
    """Elementwise mean of equally shaped arrays, NaN left out (NaN where nothing is left).

    Example:
        >>> mean_over([np.array([1.0, np.nan]), np.array([3.0, np.nan])])
        array([ 2., nan])
    """
    stack = np.stack(matrices)
    seen = (~np.isnan(stack)).sum(0)
    total = np.nansum(stack, axis=0)
    mean: Matrix = np.divide(total, seen, out=np.full(total.shape, np.nan), where=seen > 0)
    return mean


def pair_mean(matrix: Matrix) -> float:
    """Mean over the pairs of different classes [K, K], NaN left out.

    Example:
        >>> pair_mean(np.array([[1.0, -0.5], [-0.5, 1.0]]))
        -0.5
    """
    return _known_mean(matrix[~np.eye(len(matrix), dtype=bool)])


def _known_mean(values: Matrix) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def pooled(matrix: Matrix, groups: Sequence[npt.NDArray[np.intp]]) -> Matrix:
    """Mean of every block of a matrix whose rows and columns are grouped.

    Example:
        >>> pooled(np.arange(16.0).reshape(4, 4), [np.array([0, 1]), np.array([2, 3])])
        array([[ 2.5,  4.5],
               [10.5, 12.5]])
    """
    member = np.zeros((len(matrix), len(groups)))
    for g, places in enumerate(groups):
        member[places, g] = 1
    total, known = (member.T @ cells @ member for cells in (np.nan_to_num(matrix), ~np.isnan(matrix)))
    means: Matrix = np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)
    return means


@dataclass(frozen=True)
class OverRuns:
    """Intervals of means over runs: those of one split are one figure, and splits drawn anew overlap.

    Args:
        units: label -> which of its runs make one figure; every run is one where a label is missing.
        extra: the Nadeau-Bengio term n_test / n_train where splits are drawn anew, else 0.

    Example:
        >>> OverRuns().what, OverRuns().interval("csba", [0.1, 0.2])
        ('seeds', '-0.485 to +0.785')
    """

    units: Mapping[str, Units] = field(default_factory=dict)
    extra: float = 0.0

    @property
    def what(self) -> str:
        """What the figures are."""
        return f"{next((one.name for one in self.units.values()), 'seed')}s"

    def interval(self, label: str, values: Sequence[float]) -> str:
        """The interval of the mean of one value a run, NaN left out."""
        units = self.units.get(label)
        if units is not None and sum(map(len, units.members)) == len(values):
            values = units.means(values)
        known = [value for value in values if np.isfinite(value)]
        found = student_t(known, extra_variance=self.extra) if known else None
        return interval(found.low, found.high, sign=True) if found else interval(None, None)
