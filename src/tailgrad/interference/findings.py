"""What a measurement says about the rare classes: who is hurt, by whom, where, and which pairs stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tailgrad.interference.gram import Array
    from tailgrad.interference.result import Interference

_EVEN = 1.5  # most over fewest examples up to which no class counts as rare
_HURT = 0.5  # share of a class's own descent that the others take back
_CHANCE = 0.05  # of the pairs lie below a 90 % interval by chance


class Hurt(NamedTuple):
    """A class that the others work against under a plain step.

    Args:
        label: the class.
        taken: what the others take back, as a share of what the class gives itself; above 1 its loss rises.
        culprits: up to two classes that take most.

    Example:
        >>> Hurt(3, 1.2, (0,)).taken > 1
        True
    """

    label: int
    taken: float
    culprits: tuple[int, ...]


class Place(NamedTuple):
    """The part of the network where pairs oppose most beyond the null.

    Example:
        >>> Place("layer1.0", -0.2).name
        'layer1.0'
    """

    name: str
    excess: float


class Told(NamedTuple):
    """How many pairs of classes stand out from null and noise.

    Args:
        pairs: number of pairs measured.
        opposed: pairs whose excess interval lies below 0.
        allied: pairs whose excess interval lies above 0.
        within: pairs whose excess interval holds 0.
        unknown: pairs without an interval, since a gradient of theirs is too noisy to say.
        by_chance: how many would lie on either side by chance.
        unreliable: classes whose gradient is too noisy to say.

    Example:
        >>> Told(45, 3, 1, 32, 9, 2.25, (8,)).opposed
        3
    """

    pairs: int
    opposed: int
    allied: int
    within: int
    unknown: int
    by_chance: float
    unreliable: tuple[int, ...]


def rare_classes(result: Interference) -> list[int]:
    """The third of the classes with the fewest training examples; none where counts are about even.

    Example:
        >>> from types import SimpleNamespace
        >>> rare_classes(SimpleNamespace(train_counts=np.array([50, 5, 20]), counts=None))
        [1]
    """
    counts = result.counts if result.train_counts is None else result.train_counts
    seen = np.flatnonzero(counts > 0)
    if not len(seen) or counts[seen].max() <= _EVEN * counts[seen].min():
        return []
    order = seen[np.argsort(counts[seen], kind="stable")]
    return [int(c) for c in order[: max(1, len(order) // 3)]]


def hurt_classes(result: Interference) -> list[Hurt] | None:
    """Rare classes (all, where counts are even) that lose half of their descent to the others, worst first.

    Returns:
        None where contributions were not measured.

    Example: see ``summarise``.
    """
    parts = result.contributions
    if parts is None:
        return None
    labels = rare_classes(result) or range(len(parts))
    found = [_hurt(parts, c) for c in labels if parts[c, c] > 0]
    return sorted((h for h in found if h.taken > _HURT), key=lambda h: -h.taken)


def _hurt(parts: Array, c: int) -> Hurt:
    others = np.where(np.arange(len(parts)) == c, 0.0, np.nan_to_num(parts[c]))
    worst = [int(j) for j in np.argsort(others, kind="stable")[:2] if others[j] < 0]
    return Hurt(c, float(-others.sum() / parts[c, c]), tuple(worst))


def where(result: Interference, hurt: Sequence[Hurt]) -> Place | None:
    """The block (the layer, where there is one block) of the primary group in which these pairs oppose most.

    Returns:
        None where no blocks are kept, or no pair is below its null anywhere.

    Example: see ``summarise``.
    """
    conflict, null = (
        (result.blocks, result.block_null) if len(result.blocks) > 1 else (result.layers, result.layer_null)
    )
    pairs = [(h.label, j) for h in hurt for j in h.culprits]
    if not pairs or not conflict:
        return None
    rows, columns = np.array(pairs).T
    found = {name: (matrix - null[name])[rows, columns] for name, matrix in conflict.items()}
    means = {name: float(np.nanmean(v)) for name, v in found.items() if not np.isnan(v).all()}
    name = min(means, key=means.__getitem__, default=None)
    return None if name is None or means[name] >= 0 else Place(name, means[name])


def beyond_noise(result: Interference) -> Told | None:
    """Count the pairs whose excess interval leaves out 0, holds it, or is missing.

    Returns:
        None where there are no intervals.

    Example: see ``summarise``.
    """
    interval = result.excess_interval
    if interval is None or result.reliability is None:
        return None
    upper = np.triu_indices(len(result.conflict), 1)
    measured = ~np.isnan(result.conflict[upper])
    low, high = (end[upper][measured] for end in interval)
    blank = np.isnan(np.diagonal(result.conflict))
    weak = np.flatnonzero(np.isnan(np.diagonal(interval[0])) & ~blank)
    known = ~np.isnan(low)
    opposed, allied = int((high[known] < 0).sum()), int((low[known] > 0).sum())
    return Told(
        len(low),
        opposed,
        allied,
        int(known.sum()) - opposed - allied,
        int((~known).sum()),
        _CHANCE * int(known.sum()),
        tuple(int(c) for c in weak),
    )
