"""What is in a data set, and what is wrong with it, before anything is trained."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np

from tailgrad.checks import InputError
from tailgrad.data.audit_text import audit_text
from tailgrad.data.decode import UnreadableImage
from tailgrad.data.duplicates import Progress, duplicate_groups
from tailgrad.data.label_audit import LabelFacts, label_facts
from tailgrad.data.open_source import open_source
from tailgrad.data.recommendation import recommend
from tailgrad.data.source import Source
from tailgrad.data.table_audit import TableFacts, table_facts
from tailgrad.types import ClassInfo

_EXAMPLES = 5


@dataclass(frozen=True)
class Copies:
    """Items that show one picture.

    Args:
        names: of the items.
        classes: class name of each; where images have several labels, all of them in one text.
        parts: part of each in the split that the source brings, or "".
        exact: whether all have the same pixels.

    Example:
        >>> Copies(("a.jpg", "b.jpg"), ("cat", "dog"), ("train", "test"), exact=True).classes
        ('cat', 'dog')
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    exact: bool


@dataclass(frozen=True)
class GroupCount:
    """How many duplicate groups of one kind there are.

    Args:
        groups: number of groups.
        files: number of items in them.
        largest: items in the largest.
        expected_in_test: items of a random 20 % test set that would have a copy outside it.
        examples: the first few groups.

    Example:
        >>> GroupCount(0, 0, 0, 0.0, ()).groups
        0
    """

    groups: int
    files: int
    largest: int
    expected_in_test: float
    examples: tuple[Copies, ...]


@dataclass(frozen=True)
class Sizes:
    """Sizes of the readable images in pixels, as (height, width) where there are two numbers.

    Args:
        distinct: number of different sizes.
        smallest: size with the fewest pixels.
        largest: size with the most pixels.
        median: median height and median width.
        short_side: smallest, median and largest shorter side.
        aspect: smallest, median and largest width / height.

    Example:
        >>> Sizes(1, (8, 8), (8, 8), (8, 8), (8, 8, 8), (1.0, 1.0, 1.0)).median
        (8, 8)
    """

    distinct: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    median: tuple[int, int]
    short_side: tuple[int, int, int]
    aspect: tuple[float, float, float]


@dataclass(frozen=True)
class Audit:
    """What ``audit`` found; ``str()`` is the text for a terminal.

    Args:
        source: name of the source.
        command_source: how the command line names it, quoted, with the options that opening it takes.
        images: number of items.
        classes: count of each class, or of each label, by name, in class order.
        imbalance_factor: largest class count over smallest one above zero.
        sizes: of the readable images, or None without any.
        formats: items by format.
        parts: items of each part of the split that the source brings; empty without one.
        ignored: files that were passed over.
        unreadable: (name, reason) of each item that cannot be decoded.
        near_searched: whether near-duplicates were looked for.
        exact: groups with the same pixels.
        near: groups joined by near-duplicates, exact copies included.
        duplicates: all groups.
        conflicts: duplicate groups whose labels differ.
        leakage: duplicate groups that lie in several parts of the split that the source brings.
        table: the columns, where the items are rows of a table; else None.
        labels: how labels are spread, where images have several; else None.

    Example:
        >>> audit("digits-lt").formats
        {'array': 1797}
    """

    source: str
    command_source: str
    images: int
    classes: dict[str, int]
    imbalance_factor: float
    sizes: Sizes | None
    formats: dict[str, int]
    parts: dict[str, int]
    ignored: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    near_searched: bool
    exact: GroupCount
    near: GroupCount
    duplicates: GroupCount
    conflicts: tuple[Copies, ...]
    leakage: tuple[Copies, ...]
    table: TableFacts | None = None
    labels: LabelFacts | None = None

    @property
    def recommendation(self) -> tuple[str, ...]:
        """What to do about it, one plain sentence or two each."""
        return recommend(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain dictionaries, tuples, text and numbers, for JSON."""
        return {**asdict(self), "recommendation": list(self.recommendation)}

    def __str__(self) -> str:
        return audit_text(self)


def audit(
    source: Any, *, near: bool = True, command_source: str | None = None, progress: Progress | None = None
) -> Audit:
    """Look at every image of a source once.

    Args:
        source: a Source, or anything that ``open_source`` takes.
        near: look for near-duplicates as well as exact ones.
        command_source: how to name the source in the suggested command, quoted for a shell; ``source``
            itself where it is text.
        progress: called with (images decoded, images).

    Returns:
        The findings. Unreadable images are listed and no error.

    Raises:
        InputError: the source cannot be opened or is empty.

    Example:
        >>> found = audit("digits-lt")
        >>> found.images, found.classes["0"], found.parts
        (1797, 178, {'train': 1297, 'test': 500})
    """
    opened = _opened(source)
    duplicates = duplicate_groups(opened, near=near, progress=progress)
    exact = frozenset(duplicates.exact)
    copies = _copies(opened, duplicates.groups, exact)
    table = table_facts(opened)
    formats, sizes = _headers(opened, {i for i, _ in duplicates.unreadable})
    return Audit(
        source=opened.name,
        command_source=command_source
        or (shlex.quote(str(source)) if isinstance(source, str | PathLike) else "SOURCE"),
        images=len(opened.items),
        classes=dict(zip(opened.class_names, opened.counts, strict=True)),
        imbalance_factor=ClassInfo(opened.class_names, opened.counts).imbalance_factor,
        sizes=None if table else _sizes(sizes),
        formats=formats,
        parts=_parts(opened),
        ignored=opened.ignored,
        unreadable=tuple((opened.items.name(i), reason) for i, reason in duplicates.unreadable),
        near_searched=near and table is None,
        exact=_group_count(_copies(opened, duplicates.exact, exact)),
        near=_group_count(_copies(opened, duplicates.near, exact)),
        duplicates=_group_count(copies),
        conflicts=tuple(found for found in copies if len(set(found.classes)) > 1),
        leakage=tuple(found for found in copies if len(set(found.parts)) > 1),
        table=table,
        labels=label_facts(opened),
    )


def _opened(source: Any) -> Source:
    opened = source if isinstance(source, Source) else open_source(source)
    if len(opened.items) == 0:
        raise InputError(f"source must hold images, got none in {opened.name!r}; add some")
    return opened


def _parts(source: Source) -> dict[str, int]:
    return {part: source.given.count(part) for part in ("train", "val", "test") if part in source.given}


def _copies(
    source: Source, groups: Sequence[tuple[int, ...]], exact: frozenset[tuple[int, ...]]
) -> list[Copies]:
    return [
        Copies(
            names=tuple(source.items.name(i) for i in members),
            classes=tuple(_said(source, i) for i in members),
            parts=tuple(source.given[i] for i in members),
            exact=members in exact,
        )
        for members in groups
    ]


def _said(source: Source, i: int) -> str:
    if source.indicators is None:
        return str(source.class_names[source.labels[i]])
    names: list[str] = [source.class_names[k] for k in np.flatnonzero(source.indicators[i])]
    return "; ".join(names) if names else "no label"


def _group_count(found: Sequence[Copies], test: float = 0.2) -> GroupCount:
    sizes = [len(copies.names) for copies in found]
    return GroupCount(
        groups=len(found),
        files=sum(sizes),
        largest=max(sizes, default=0),
        # An item is in the test set with probability t, all its g - 1 copies too with t^(g - 1).
        expected_in_test=sum(test * g * (1 - test ** (g - 1)) for g in sizes),
        examples=tuple(found[:_EXAMPLES]),
    )


def _headers(source: Source, unreadable: set[int]) -> tuple[dict[str, int], list[tuple[int, int]]]:
    formats: Counter[str] = Counter()
    sizes = []
    for i in range(len(source.items)):
        try:
            formats[source.items.format(i)] += 1
            if i not in unreadable:
                sizes.append(source.items.size(i))
        except UnreadableImage:
            formats["unknown"] += 1
    return dict(formats.most_common()), sizes


def _sizes(sizes: list[tuple[int, int]]) -> Sizes | None:
    if not sizes:
        return None
    height, width = np.array(sizes).T
    short, aspect = np.minimum(height, width), width / height
    middle = int(np.median(height)), int(np.median(width))
    by_area = sorted(set(sizes), key=lambda size: (size[0] * size[1], size))
    return Sizes(
        distinct=len(by_area),
        smallest=by_area[0],
        largest=by_area[-1],
        median=middle,
        short_side=(int(short.min()), int(np.median(short)), int(short.max())),
        aspect=(float(aspect.min()), float(np.median(aspect)), float(aspect.max())),
    )
