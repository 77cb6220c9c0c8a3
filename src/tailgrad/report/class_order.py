"""The order in which classes stand along a matrix, so that neighbours are alike."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tailgrad.report.averages import Matrix
from tailgrad.types import ClassInfo

MOST_CELLS = 60
"""Rows and columns up to which a matrix is drawn class by class."""
_MOST_CLUSTERED = 2500  # the distances of more take seconds

Indices = npt.NDArray[np.intp]


def by_count(classes: ClassInfo) -> Indices:
    """Classes with most training images first.

    Example:
        >>> by_count(ClassInfo(("a", "b"), (1, 5))).tolist()
        [1, 0]
    """
    return np.array(sorted(range(classes.num_classes), key=lambda k: -classes.counts[k]), dtype=np.intp)


def alike(matrix: Matrix) -> Indices:
    """Leaves of average linkage, larger values being nearer; unknown values count as the mean.

    Args:
        matrix: likeness of classes [K, K]; its symmetric part is used.

    Returns:
        Class indices [K]; in class order below 3 classes and above 2,500.

    Example:
        >>> alike(np.array([[1, 0, 0.9], [0, 1, 0], [0.9, 0, 1]])).tolist()
        [1, 0, 2]
    """
    size = len(matrix)
    if size < 3 or size > _MOST_CLUSTERED:
        return np.arange(size)
    from scipy.cluster.hierarchy import leaves_list, linkage  # takes a moment

    near = (matrix + matrix.T)[np.triu_indices(size, 1)] / 2
    known = near[~np.isnan(near)]
    near = np.nan_to_num(near, nan=float(known.mean()) if known.size else 0.0)
    return np.asarray(leaves_list(linkage(near.max() - near, "average")), dtype=np.intp)


def grouped(order: Indices) -> list[Indices]:
    """At most 60 runs of neighbours of about one length.

    Example:
        >>> [len(group) for group in grouped(np.arange(61))][:2], len(grouped(np.arange(61)))
        ([2, 1], 60)
    """
    return np.array_split(order, min(len(order), MOST_CELLS))


def order_of(likeness: Matrix, classes: ClassInfo) -> list[Indices]:
    """Single classes by training count, or above 60 classes groups of like ones.

    Example:
        >>> [group.tolist() for group in order_of(np.eye(2), ClassInfo(("a", "b"), (1, 5)))]
        [[1], [0]]
    """
    small = classes.num_classes <= MOST_CELLS
    return grouped(by_count(classes) if small else alike(likeness))


def places_of_alike(groups: Sequence[Indices], likeness: Matrix) -> list[int]:
    """Where the groups of single classes go when like ones are put together.

    Example:
        >>> likeness = np.array([[1, 0, 0.9], [0, 1, 0], [0.9, 0, 1]])
        >>> places_of_alike([np.array([0]), np.array([1]), np.array([2])], likeness)
        [1, 0, 2]
    """
    place = {int(group[0]): at for at, group in enumerate(groups)}
    return [place[k] for k in alike(likeness).tolist()]
