"""What one pair of a comparison is: a seed, or a split with the mean over its seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Units:
    """Which runs make one figure.

    Args:
        name: ``seed`` or ``split``.
        members: positions of the runs of each unit.

    Example:
        >>> Units("split", ((0, 1), (2, 3))).means([0.1, 0.3, 0.5, 0.7])
        [0.2, 0.6]
    """

    name: str
    members: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        """Number of units."""
        return len(self.members)

    @property
    def words(self) -> str:
        """Their number, as in ``10 splits of 3 seeds``."""
        sizes = sorted({len(runs) for runs in self.members})
        inside = f" of {' to '.join(map(str, sizes))} seeds" if self.name == "split" else ""
        return f"{self.count} {self.name}{'' if self.count == 1 else 's'}{inside}"

    def means(self, values: Sequence[float]) -> list[float]:
        """Mean over the runs of each unit."""
        return [sum(values[i] for i in runs) / len(runs) for runs in self.members]


def units_of(runs: Iterable[tuple[Any, Any]]) -> Units:
    """One unit a run, or one a split where several splits have several seeds each.

    Runs that share a split share its training and test images: more seeds say more about that split, and
    nothing about another.

    Args:
        runs: seed and split of each run.

    Example:
        >>> units_of([(0, 0), (1, 0), (0, 1), (1, 1)])
        Units(name='split', members=((0, 1), (2, 3)))
        >>> units_of([(0, 0), (1, 0), (2, 0)]).words
        '3 seeds'
    """
    splits: dict[Any, list[int]] = {}
    for place, (_, split) in enumerate(runs):
        splits.setdefault(split, []).append(place)
    total = sum(map(len, splits.values()))
    if 1 < len(splits) < total:
        return Units("split", tuple(map(tuple, splits.values())))
    return Units("seed", tuple((place,) for place in range(total)))
