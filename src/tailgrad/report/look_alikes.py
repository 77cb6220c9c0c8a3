"""Pairs of classes that are taken for one another more often than their errors at large explain."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tailgrad.evaluate import Confusion, Estimate, wilson
from tailgrad.report.blocks import Table
from tailgrad.report.wording import number, p_value

_MOST = 12
Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]


class LookAlike(NamedTuple):
    """Two classes and the errors between them.

    Args:
        first: a class.
        second: another.
        errors: images of either taken for the other.
        expected: how many there would be if every class's errors went where all errors go.
        p: two-sided p value, Holm over all pairs of classes.

    Example:
        >>> LookAlike(0, 1, 9, 2.5, 0.01).errors
        9
    """

    first: int
    second: int
    errors: int
    expected: float
    p: float


class Mistake(NamedTuple):
    """A class taken for another.

    Args:
        true: the class.
        predicted: what it is taken for.
        images: how many of its images.
        share: of its images, with Wilson's interval.

    Example:
        >>> Mistake(0, 1, 3, wilson(3, 13)).images
        3
    """

    true: int
    predicted: int
    images: int
    share: Estimate


def summed(confusions: Sequence[Confusion]) -> Confusion:
    """Counts of several evaluations of the same classes together.

    Example:
        >>> one = Confusion.counted([0, 1], [0, 0], 2)
        >>> summed([one, one]).counts.tolist()
        [2, 2]
    """
    size = confusions[0].num_classes
    places = np.concatenate([one.targets * size + one.predictions for one in confusions])
    found, back = np.unique(places, return_inverse=True)
    counts = np.bincount(back, weights=np.concatenate([one.counts for one in confusions])).astype(np.int64)
    return Confusion(size, *np.divmod(found, size), counts)


def mistakes(confusion: Confusion, most: int = _MOST) -> list[Mistake]:
    """The errors that surely take most of a class's images: by the low end of the share's interval.

    Example:
        >>> found = mistakes(Confusion.counted([1, 1, 1, 2], [0, 0, 0, 2], 3))
        >>> [(one.true, one.predicted, one.images) for one in found]
        [(0, 1, 3)]
    """
    support = confusion.support
    wrong = np.flatnonzero(confusion.targets != confusion.predictions)
    found = [
        Mistake(int(i), int(j), int(n), wilson(int(n), int(support[i])))
        for i, j, n in zip(
            confusion.targets[wrong], confusion.predictions[wrong], confusion.counts[wrong], strict=True
        )
    ]
    return sorted(found, key=lambda one: (-(one.share.low or 0.0), -one.images))[:most]


def look_alikes(confusion: Confusion) -> list[LookAlike]:
    """Pairs with more errors between them than expected, the least likely by chance first.

    Expected: a class's errors go evenly to all others, or where the errors of the other classes go,
    whichever gives this pair more: a class that is predicted too often (prior bias) does not look like
    everybody. The sum of both directions is compared with a Poisson variable; p values are corrected by Holm
    over all K(K-1)/2 pairs.

    Example:
        >>> target = [0] * 20 + [1] * 20 + [2] * 20 + [3] * 20
        >>> guess = [1] * 20 + [0] * 20 + [3] + [2] * 19 + [2] + [3] * 19
        >>> (pair,) = look_alikes(Confusion.counted(guess, target, 4))
        >>> pair.first, pair.second, pair.errors, round(pair.expected, 1)
        (0, 1, 40, 13.3)
    """
    size = confusion.num_classes
    is_wrong = confusion.targets != confusion.predictions
    rows, columns, counts = (
        part[is_wrong] for part in (confusion.targets, confusion.predictions, confusion.counts)
    )
    pairs, back = np.unique(np.minimum(rows, columns) * size + np.maximum(rows, columns), return_inverse=True)
    if not len(pairs):
        return []
    errors = np.bincount(back, weights=counts)
    first, second = np.divmod(pairs, size)
    wrong = _Errors(rows, columns, counts, size)
    expected = wrong.expected(first, second) + wrong.expected(second, first)
    p = _holm(np.minimum(1.0, 2 * special.gammainc(errors, expected)), size * (size - 1) // 2)
    found = [
        LookAlike(int(i), int(j), int(n), float(e), float(q))
        for i, j, n, e, q in zip(first, second, errors, expected, p, strict=True)
        if n > e
    ]
    return sorted((one for one in found if one.p < 0.05), key=lambda one: (one.p, -one.errors))


def _holm(p: Numbers, tests: int) -> Numbers:
    """Holm's correction of the smallest of many p values, the others being 1 (of 1,000 classes, 499,500)."""
    order = np.argsort(p, kind="stable")
    corrected = np.minimum(1.0, np.maximum.accumulate((tests - np.arange(len(p))) * p[order]))
    found = np.empty_like(p)
    found[order] = corrected
    return found


class _Errors:
    """Where the errors of classes go."""

    def __init__(self, rows: Integers, columns: Integers, counts: Integers, size: int) -> None:
        self._size, self._cells = (
            size,
            dict(zip((rows * size + columns).tolist(), counts.tolist(), strict=True)),
        )
        self._made, self._got = (np.bincount(part, counts, size) for part in (rows, columns))

    def expected(self, i: Integers, j: Integers) -> Numbers:
        """Errors of i that would be taken for j."""
        own = np.array(
            [self._cells.get(place, 0) for place in (i * self._size + j).tolist()], dtype=np.float64
        )
        others = self._made.sum() - self._made[i] - self._got[i]  # of other classes, for others than i
        share = np.divide(self._got[j] - own, others, out=np.zeros(len(i)), where=others > 0)
        found: Numbers = self._made[i] * np.maximum(share, 1 / max(1, self._size - 1))
        return found


def mistake_table(confusion: Confusion, names: Sequence[str], *, runs: int = 1) -> Table:
    """The largest errors as a table, with what look-alike classes have beyond what is expected.

    Args:
        confusion: counts, of several runs together where there are several.
        names: of the classes.
        runs: how many runs the counts are of.

    Example:
        >>> mistake_table(Confusion.counted([1, 1, 1], [0, 0, 1], 2), ("cat", "dog")).rows[0][:3]
        ('cat', 'dog', '2')
    """
    alike = {frozenset((one.first, one.second)): one.p for one in look_alikes(confusion)}
    rows = tuple(
        (
            names[one.true],
            names[one.predicted],
            str(one.images),
            f"{number(one.share.value)} ({number(one.share.low)} to {number(one.share.high)})",
            _alike(alike.get(frozenset((one.true, one.predicted)))),
        )
        for one in mistakes(confusion)
    )
    each = "" if runs == 1 else f", counts of {runs} runs together"
    caption = f"The errors that surely cost a class most{each}"
    return Table(caption, ("true class", "taken for", "images", "share, 95 %", "look-alike"), rows)


def _alike(p: float | None) -> str:
    return "no" if p is None else f"p {p_value(p)}"
