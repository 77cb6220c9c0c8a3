"""What one pair of a comparison is: a seed, or a split, of several seeds with their mean."""

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
    def single(self) -> bool:
        """Whether every unit is one run."""
        return all(len(runs) == 1 for runs in self.members)

    @property
    def words(self) -> str:
        """Their number, as in ``10 splits of 3 seeds``."""
        sizes = sorted(map(len, self.members))
        ends = dict.fromkeys((sizes[0], sizes[-1])) if sizes else ()
        inside = "" if self.single else f" of {' to '.join(map(str, ends))} seeds"
        return f"{self.count} {self.name}{'' if self.count == 1 else 's'}{inside}"

    def means(self, values: Sequence[float]) -> list[float]:
        """Mean over the runs of each unit."""
        return [sum(values[i] for i in runs) / len(runs) for runs in self.members]


def units_of(runs: Iterable[tuple[Any, Any]]) -> Units:
    """One unit a run, or one a split where a split has several seeds; and what it is called.

    Runs that share a split share its training and test images: more seeds say more about that split, and
    nothing about another. Runs of several splits are told apart by their splits, unless each has a seed of
    its own, as where seed s draws split s.

    Args:
        runs: seed and split of each run.

    Example:
        >>> units_of([(0, 0), (1, 0), (0, 1), (1, 1)])
        Units(name='split', members=((0, 1), (2, 3)))
        >>> units_of([(0, 0), (1, 0), (2, 0)]).words, units_of([(0, 0), (1, 1)]).words
        ('3 seeds', '2 seeds')
        >>> units_of([(0, 0), (0, 1), (0, 2)]).words
        '3 splits'
    """
    splits: dict[Any, list[int]] = {}
    seeds: set[Any] = set()
    for place, (seed, split) in enumerate(runs):
        splits.setdefault(split, []).append(place)
        seeds.add(seed)
    total = sum(map(len, splits.values()))
    if len(splits) > 1 and total > min(len(splits), len(seeds)):
        return Units("split", tuple(map(tuple, splits.values())))
    return Units("seed", tuple((place,) for place in range(total)))
