"""A stratified split where images have several labels: the rarest label is given out first."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


def split_labels(
    indicators: NDArray[np.uint8], group: Indices, shares: Sequence[float], rng: np.random.Generator
) -> Indices:
    """Part of each item by iterative stratification, groups of items on one side.

    Every part wants its share of each label's positives and of the items. The label with fewest positives not
    given out comes first; each of its pieces goes to the part that still wants most of that label, of equal
    ones to the part that wants most items, of equal ones to one drawn at random. Pieces without labels go
    where most items are wanted.

    Args:
        indicators: labels [N, L] of zeros and ones.
        group: of each item [N]; a group is one piece.
        shares: of each part, summing to 1.
        rng: draws.

    Returns:
        Parts [N], as positions in ``shares``.

    Raises:
        InputError: fewer pieces than parts.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data"; groups are
    ours.

    Example:
        >>> rows = np.array([[1, 0]] * 8 + [[0, 1]] * 4, np.uint8)
        >>> place = split_labels(rows, np.arange(12), (0.75, 0.25), np.random.default_rng(0))
        >>> [rows[place == p].sum(0).tolist() for p in (0, 1)]
        [[6, 3], [2, 1]]
    """
    _, piece = np.unique(group, return_inverse=True)
    sizes = np.bincount(piece)
    if len(sizes) < len(shares):
        raise InputError(
            f"images must be at least one for each of {len(shares)} parts, got {len(sizes)} that are not "
            "copies of one another; add images"
        )
    labels = np.zeros((len(sizes), indicators.shape[1]), np.int64)
    np.add.at(labels, piece, indicators)
    place = _Giver(labels, sizes, np.asarray(shares, np.float64), rng).place()
    return place[piece]


class _Giver:
    """What each part still wants, while pieces are given out."""

    def __init__(self, labels: Indices, sizes: Indices, shares: Floats, rng: np.random.Generator) -> None:
        self.labels, self.sizes, self.rng = labels, sizes, rng
        self.wanted = shares[:, None] * labels.sum(0)
        self.room = shares * sizes.sum()
        self.place_of = np.full(len(sizes), -1)

    def place(self) -> Indices:
        order = self.rng.permutation(len(self.sizes))
        while (left := self._left(order)).any():
            k = int(np.where(left > 0, left, left.max() + 1).argmin())
            for i in order[(self.place_of[order] < 0) & (self.labels[order, k] > 0)]:
                self._give(int(i), self.wanted[:, k])
        for i in order[self.place_of[order] < 0]:
            self._give(int(i), self.room)
        self._fill_empty(order)
        return self.place_of

    def _left(self, order: Indices) -> Indices:
        """Positives of each label among the pieces that are not given out."""
        found: Indices = self.labels[order[self.place_of[order] < 0]].sum(0)
        return found

    def _give(self, i: int, wants: Floats) -> None:
        best = np.flatnonzero(np.isclose(wants, wants.max()))
        best = best[np.isclose(self.room[best], self.room[best].max())]
        part = int(self.rng.choice(best))
        self.place_of[i] = part
        self.wanted[part] -= self.labels[i]
        self.room[part] -= self.sizes[i]

    def _fill_empty(self, order: Indices) -> None:
        """A part that was too small a share for any piece gets one from the largest part."""
        for part in range(len(self.room)):
            if not (self.place_of == part).any():
                largest = np.bincount(self.place_of, minlength=len(self.room)).argmax()
                self.place_of[order[self.place_of[order] == largest][0]] = part
