"""Classes put into groups, so that those that oppose one another beyond chance part."""

import numpy as np
import numpy.typing as npt

from tailgrad.checks import InputError, in_range
from tailgrad.interference.gram import Array
from tailgrad.interference.result import Interference

_GAIN = 1e-12
Labels = npt.NDArray[np.int64]


def agreement(result: Interference) -> Array:
    """``conflict_ij - sqrt(r_i r_j) null_ij`` [K, K]: excess conflict, as far as it can be told from noise.

    With reliabilities r of 1 this is ``result.excess``. Noise of few examples draws a cosine to 0 and leaves
    the null where it is, so that the plain excess of two rare classes, whose null is large, looks like a
    conflict. Here the null is drawn to 0 as the cosine is: the value is ``sqrt(r_i r_j)`` times the excess of
    the noise-free conflict. The diagonal is 0, and so is all of a class without a gradient that can be told
    from noise.

    Args:
        result: a measurement; without folds every class counts as reliable.

    Source: ours; explained in docs/conflict.md.

    Example:
        >>> from tailgrad.interference import measure
        >>> import torch
        >>> data = [(torch.eye(4), torch.arange(4))]
        >>> agreement(measure(torch.nn.Linear(4, 4), data, "all", folds=0)).shape
        (4, 4)
    """
    reliable = np.ones(len(result.counts)) if result.reliability is None else result.reliability
    root = np.sqrt(np.nan_to_num(np.asarray(reliable, dtype=np.float64)).clip(0, 1))
    weight = root[:, None] * root
    found = np.where(weight > 0, result.conflict - weight * result.null, 0.0)
    np.fill_diagonal(found, 0.0)
    return np.nan_to_num(found)


def group_classes(agreement: Array, groups: int) -> list[int]:
    """A group in 0..B-1 for every class, none empty, with as much agreement inside groups as can be found.

    Classes are joined by average linkage until B groups are left; then single classes move, the largest gain
    first, as long as the sum of agreement over pairs within groups grows. Ties go to the first. Classes that
    are 0 to all others are undecided and join the largest group, unless fewer than B are decided. Groups are
    numbered by their first class. The same matrix gives the same groups.

    Args:
        agreement: symmetric [K, K], above 0 where two classes agree and below where they oppose one another;
            the diagonal is not read.
        groups: B, 1 to K.

    Raises:
        InputError: the matrix is not square or holds NaN, or B is outside its range.

    Source: ours.

    Example:
        >>> group_classes(np.array([[0, -1, 1, -1], [-1, 0, -1, 1], [1, -1, 0, -1], [-1, 1, -1, 0.0]]), 2)
        [0, 1, 0, 1]
    """
    values = np.array(agreement, dtype=np.float64)
    if values.ndim != 2 or len(values) != values.shape[1] or not np.isfinite(values).all():
        raise InputError(
            f"agreement must be finite and [K, K], got {list(values.shape)} with "
            f"{np.count_nonzero(~np.isfinite(values))} that are not finite; see "
            "tailgrad.interference.agreement"
        )
    in_range("groups", groups, 1, len(values))
    np.fill_diagonal(values, 0.0)
    decided = np.flatnonzero(values.any(1))
    if len(decided) < groups:
        decided = np.arange(len(values))
    inner = values[np.ix_(decided, decided)]
    found = np.full(len(values), -1)
    found[decided] = _moved(inner, _linked(inner, groups))
    found[found < 0] = np.bincount(found[decided]).argmax()
    return _numbered(found)


def _linked(values: Array, groups: int) -> Labels:
    """Average linkage: the two groups with the largest mean between them become one, B left."""
    label = np.arange(len(values))
    sums, sizes = values.copy(), np.ones(len(values))
    np.fill_diagonal(sums, -np.inf)
    for _ in range(len(values) - groups):
        first, second = np.unravel_index((sums / (sizes[:, None] * sizes)).argmax(), sums.shape)
        joined = sums[first] + sums[second]
        sums[first], sums[:, first] = joined, joined
        sums[second], sums[:, second] = -np.inf, -np.inf
        sums[first, first] = -np.inf
        sizes[first] += sizes[second]
        label[label == second] = first
    return np.unique(label, return_inverse=True)[1].astype(np.int64)


def _moved(values: Array, label: Labels) -> Labels:
    """Move single classes while the sum within groups grows."""
    label = label.copy()
    everyone = np.arange(len(label))
    member = np.eye(label.max() + 1)[label]
    while True:
        towards = values @ member
        gain = towards - towards[everyone, label][:, None]
        gain[member.sum(0)[label] == 1] = -np.inf  # the last of a group stays
        one, place = np.unravel_index(gain.argmax(), gain.shape)
        if not gain[one, place] > _GAIN:
            return label
        member[one, label[one]], member[one, place] = 0.0, 1.0
        label[one] = place


def _numbered(label: Labels) -> list[int]:
    order = {int(old): new for new, old in enumerate(dict.fromkeys(label.tolist()))}
    return [order[int(old)] for old in label]
