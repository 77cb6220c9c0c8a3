"""Training, validation and test parts: stratified, seeded, copies of one picture on one side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, in_range
from tailgrad.data.duplicates import duplicate_groups
from tailgrad.data.label_split import split_labels
from tailgrad.data.source import Source

Indices = NDArray[np.int64]

PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Which items of a source are for training, for choices, and for the final figures.

    Args:
        train: positions of the training items, ascending, int64.
        val: positions of the validation items.
        test: positions of the test items.
        seed: what the random choices were drawn from.
        groups_kept: duplicate groups of two or more among the items that were distributed.
        method: one line on how the parts came about.
        leakage: (position outside, position inside) of each pair of duplicates across the border of a part
            that the source brought, test before validation; such pairs are reported and not repaired.

    Example:
        >>> part = np.arange(3)
        >>> Split(part, part + 3, part + 6, seed=0).with_train([0, 2]).train.tolist()
        [0, 2]
    """

    train: Indices
    val: Indices
    test: Indices
    seed: int
    groups_kept: int = 0
    method: str = ""
    leakage: tuple[tuple[int, int], ...] = ()

    def with_train(self, indices: Sequence[int] | Indices) -> "Split":
        """The same split with a smaller training part, such as a long-tailed selection of it.

        Raises:
            InputError: an index that is not in the training part.
        """
        chosen = np.unique(np.asarray(indices, dtype=np.int64))
        strangers = np.setdiff1d(chosen, self.train)
        if len(strangers):
            raise InputError(
                f"indices must come from the training part, got {int(strangers[0])} (and "
                f"{len(strangers) - 1} more) from outside; choose among split.train"
            )
        gone = set(np.setdiff1d(self.train, chosen).tolist())
        leakage = tuple(pair for pair in self.leakage if pair[0] not in gone)
        return replace(self, train=chosen, leakage=leakage)


def make_split(
    source: Source,
    *,
    seed: int = 0,
    val: float = 0.15,
    test: float = 0.2,
    groups: Sequence[int] | Indices | None = None,
) -> Split:
    """Split a source by class, with every duplicate group on one side.

    A test or validation part that the source brings stays as it is; what is missing is carved from the
    rest, validation always from training data. Copies of images in a given part stay in training, where
    ``leakage`` reports them: no carved part takes them. Each class c with n_c items to distribute aims at
    round(val * n_c) and round(test * n_c) items, at least one each. Groups are placed largest first, each
    drawn at random among the parts that still have room for it, in proportion to that room; without groups
    this is a plain stratified draw. A group with several labels is placed once, as one piece. Images with
    several labels each are split by iterative stratification (``split_labels``).

    Args:
        source: the items, with the parts they bring.
        seed: at least 0; the same seed, source and groups give the same split.
        val: share of the distributed items for validation, in (0, 1).
        test: share for testing, in (0, 1); not used where the source brings a test part.
        groups: group of each item [N], such as ``Duplicates.group``; found by ``duplicate_groups`` if None.

    Raises:
        InputError: a share outside (0, 1), shares that leave nothing for training, groups that are no whole
            numbers, or a class with fewer images or duplicate groups than there are parts to fill.

    Example:
        >>> from tailgrad.data import open_source
        >>> split = make_split(open_source("digits-lt"), seed=1)
        >>> len(split.train), len(split.val), len(split.test)
        (1101, 196, 500)
    """
    in_range("test", test, 0, 1, exclusive=True)
    _check_shares(seed, val, 0.0 if "test" in source.given else test)
    group = duplicate_groups(source).group if groups is None else _checked_groups(groups, len(source.labels))
    given = np.array(source.given, dtype=object)
    brought = tuple(part for part in ("val", "test") if (given == part).any())
    shares = {part: share for part, share in (("val", val), ("test", test)) if part not in brought}
    parts = {part: np.flatnonzero(given == part) for part in brought}
    rest, fixed = ~np.isin(given, brought), np.isin(given, brought)
    tied = rest & np.isin(group, group[fixed])
    carved, kept = _carve(source, np.flatnonzero(rest & ~tied), group, shares, np.random.default_rng(seed))
    carved["train"] = np.union1d(carved["train"], np.flatnonzero(tied))
    parts |= carved
    return Split(
        **parts,
        seed=seed,
        groups_kept=kept,
        method=_method(brought, shares, "class" if source.indicators is None else "label, rarest first"),
        leakage=_leakages(group, {part: parts[part] for part in ("test", "val") if part in brought}),
    )


def _checked_groups(groups: Sequence[int] | Indices, items: int) -> Indices:
    group = np.asarray(groups)
    if group.shape != (items,):
        raise InputError(
            f"groups must have one entry an item, got shape {group.shape} for {items} items; compute them "
            "from the same source"
        )
    if group.dtype.kind not in "iu":
        raise InputError(
            f"groups must be whole numbers, got {group.dtype}; number them, as by "
            "numpy.unique(groups, return_inverse=True)[1]"
        )
    return group.astype(np.int64)


def _check_shares(seed: int, val: float, test: float) -> None:
    in_range("seed", seed, 0)
    in_range("val", val, 0, 1, exclusive=True)
    if val + test >= 1:
        raise InputError(
            f"val + test must be below 1, got {val} + {test} = {val + test:g}; leave a share for training"
        )


def _method(brought: Sequence[str], shares: dict[str, float], by: str = "class") -> str:
    steps = [f"{part} as given by the source" for part in brought]
    rest = " of the rest" if brought else ""
    steps += [f"{part} {share:g}{rest}" for part, share in shares.items()]
    return ", ".join(steps) + f"; stratified by {by}, duplicate groups kept together"


def _carve(
    source: Source, pool: Indices, group: Indices, shares: dict[str, float], rng: np.random.Generator
) -> tuple[dict[str, Indices], int]:
    """Distribute the pool over training and the parts of ``shares``; also how many groups were kept."""
    names = ("train", *shares)
    if source.indicators is not None:
        all_shares = (1 - sum(shares.values()), *shares.values())
        places = split_labels(source.indicators[pool], group[pool], all_shares, rng)
        kept = int((np.unique(group[pool], return_counts=True)[1] > 1).sum())
        return {name: pool[places == p] for p, name in enumerate(names)}, kept
    pieces = _Pieces.of(group[pool], source.labels[pool], source.num_classes)
    _check_classes(source, pieces, names)
    place = _place(pieces, _targets(pieces.counts, list(shares.values())), rng)
    _check_filled(source, pieces, place, names)
    carved = {name: pool[place[pieces.piece] == p] for p, name in enumerate(names)}
    return carved, int((pieces.sizes > 1).sum())


class _Pieces(NamedTuple):
    """What is distributed as one: duplicate groups, and images alone. Never a table of pieces by classes."""

    piece: Indices
    """piece of each item"""
    label: Indices
    """class of each item"""
    sizes: Indices
    """items of each piece"""
    counts: Indices
    """items of each class"""
    kinds: Indices
    """pieces that hold each class"""

    @classmethod
    def of(cls, group: Indices, label: Indices, classes: int) -> "_Pieces":
        _, piece = np.unique(group, return_inverse=True)
        held = np.unique(piece * classes + label) % classes
        counts, kinds = (np.bincount(of, minlength=classes) for of in (label, held))
        return cls(piece, label, np.bincount(piece), counts, kinds)

    def members(self) -> dict[int, tuple[Indices, Indices]]:
        """Classes, ascending, and items of each in every piece of two or more."""
        several = np.flatnonzero(self.sizes[self.piece] > 1)
        order = several[np.argsort(self.piece[several], kind="stable")]
        ends = np.flatnonzero(np.diff(self.piece[order])) + 1
        return {
            int(self.piece[items[0]]): np.unique(self.label[items], return_counts=True)
            for items in np.split(order, ends)
            if len(items)
        }


def _targets(counts: Indices, shares: Sequence[float]) -> Indices:
    """Items of each class for each part [K, 1 + len(shares)], training first, none empty."""
    targets = np.zeros((len(counts), 1 + len(shares)), np.int64)
    for p, share in enumerate(shares, start=1):
        targets[:, p] = np.maximum(1, np.rint(share * counts))
    targets[:, 0] = counts - targets.sum(1)
    while (short := np.flatnonzero(targets[:, 0] < 1)).size:
        targets[short, targets[short].argmax(1)] -= 1
        targets[short, 0] += 1
    return targets


def _place(pieces: _Pieces, targets: Indices, rng: np.random.Generator) -> Indices:
    """Part of each piece: groups one by one, then the single items of each class at once."""
    room, empty, unseen = targets.copy(), np.ones(targets.shape, bool), pieces.kinds.copy()
    place = np.zeros(len(pieces.sizes), np.int64)
    order = rng.permutation(len(place))
    size, members = pieces.sizes[order], pieces.members()
    for i in order[np.argsort(-size, kind="stable")][: len(members)].tolist():
        classes, held = members[i]
        place[i] = p = _draw(held, room[classes], empty[classes], unseen[classes], rng)
        room[classes, p] -= held
        empty[classes, p] = False
        unseen[classes] -= 1
    label = np.zeros(len(place), np.int64)
    label[pieces.piece] = pieces.label
    singles = order[size == 1]
    singles = singles[np.argsort(label[singles], kind="stable")]
    for of_class in np.split(singles, np.flatnonzero(np.diff(label[singles])) + 1):
        k = label[of_class[:1]]
        quota = _quota(room[k].sum(0), empty[k].any(0), len(of_class))
        place[of_class] = np.repeat(np.arange(len(quota)), quota)
    return place


def _quota(room: Indices, empty: NDArray[np.bool_], n: int) -> Indices:
    """Room of one class with overfull parts (after large groups) made good by the fullest others."""
    quota = np.maximum(room, 0)
    while quota.sum() > n:
        quota[np.argmax(2 * quota - empty)] -= 1
    return quota


def _draw(
    size: Indices, room: Indices, empty: NDArray[np.bool_], unseen: Indices, rng: np.random.Generator
) -> int:
    """A part for a piece with ``size`` items of its classes; room and empty are [classes, parts]."""
    # A class with as many pieces left as it has empty parts must fill one of those.
    needy = empty[unseen <= empty.sum(1)].any(0)
    allowed = needy if needy.any() else np.ones(room.shape[1], bool)
    fits = allowed & (room >= size[:, None]).all(0)
    weight = np.where(fits, size @ room, 0).astype(float)
    if weight.sum() <= 0:
        return int(np.argmax(np.where(allowed, (room - size[:, None]).min(0), -np.inf)))
    return int(rng.choice(len(weight), p=weight / weight.sum()))


def _check_classes(source: Source, pieces: _Pieces, names: Sequence[str]) -> None:
    for k in np.flatnonzero(pieces.kinds < len(names)):
        raise _too_few(source.class_names[k], int(pieces.counts[k]), int(pieces.kinds[k]), names)


def _check_filled(source: Source, pieces: _Pieces, place: Indices, names: Sequence[str]) -> None:
    # Only groups with several labels can get here: two classes may want the same group elsewhere.
    for p in range(len(names)):
        filled = np.bincount(pieces.label[place[pieces.piece] == p], minlength=source.num_classes)
        for k in np.flatnonzero(filled == 0):
            raise _too_few(source.class_names[k], int(pieces.counts[k]), int(pieces.kinds[k]), names)


def _too_few(name: str, count: int, pieces: int, names: Sequence[str]) -> InputError:
    return InputError(
        f"class {name!r} must have enough distinct images for {', '.join(names)}, got {count} images in "
        f"{pieces} duplicate groups; add images, merge the class into another, or drop it"
    )


def _leakages(group: Indices, given: dict[str, Indices]) -> tuple[tuple[int, int], ...]:
    """Pairs across the border of each given part; a pair between two given parts is listed once."""
    pairs: list[tuple[int, int]] = []
    listed = np.zeros(len(group), bool)
    for inside in given.values():
        pairs += [pair for pair in _leakage(group, inside) if not listed[pair[0]]]
        listed[inside] = True
    return tuple(pairs)


def _leakage(group: Indices, test: Indices) -> tuple[tuple[int, int], ...]:
    inside = np.zeros(len(group), bool)
    inside[test] = True
    partners: dict[int, list[int]] = {}
    for j in test:
        partners.setdefault(int(group[j]), []).append(int(j))
    outside = np.flatnonzero(~inside & np.isin(group, group[test]))
    return tuple((int(i), j) for i in outside for j in partners[int(group[i])])
