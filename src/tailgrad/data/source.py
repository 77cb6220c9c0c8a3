"""What every source of images and labels offers, wherever the images come from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, one_of
from tailgrad.data.profiles import Profile

GIVEN = ("", "train", "val", "test")


class Items(Protocol):
    """The images of a source, each decoded when asked for.

    Example:
        >>> from tailgrad.data import open_source
        >>> items = open_source("digits-lt").items
        >>> items.load(0).shape, items.name(0), items.format(0), items.size(0)
        ((8, 8, 3), 'row 0', 'array', (8, 8))
    """

    def __len__(self) -> int: ...

    def load(self, i: int) -> NDArray[np.uint8]:
        """The upright image i, uint8 [H, W, 3], RGB."""

    def name(self, i: int) -> str:
        """What a person calls image i: a relative path, ``train.parquet#12`` or ``row 12``."""

    def stored(self, i: int) -> bytes:
        """The bytes that a hash of image i is taken of: the encoded file, or pixels and their shape."""

    def format(self, i: int) -> str:
        """How image i is encoded: ``JPEG``, ``PNG``, ..., ``array``; from the header only."""

    def size(self, i: int) -> tuple[int, int]:
        """(height, width) of the upright image i; from the header where there is one."""


@dataclass(frozen=True, eq=False)
class Source:
    """Images with their classes, and what the place they come from says about them.

    Args:
        name: short name, safe in file names; part of the names of run folders.
        items: the N images.
        labels: class index of each, [N] int64, in 0 ... K - 1.
        class_names: K names; free text.
        given: N times ``""``, ``"train"``, ``"val"`` or ``"test"``: the split that the source brings.
        rank: canonical order within each class for long-tail selection, [N], -1 for none; or None.
        regime: name of the default regime.
        profile: default long-tail profile of the training part, or None.
        ignored: names of the files that were seen and passed over.

    Raises:
        InputError: lengths that differ, a label outside 0 ... K - 1, or an unknown part of a split.

    Example:
        >>> from tailgrad.data import open_source
        >>> source = open_source("digits-lt")
        >>> source.num_classes, len(source.items), source.regime, source.profile.imb_factor
        (10, 1797, 'digits', 20.0)
    """

    name: str
    items: Items
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    given: tuple[str, ...]
    rank: NDArray[np.int64] | None = None
    regime: str = "folder"
    profile: Profile | None = None
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.items)
        lengths = (len(self.labels), len(self.given), n if self.rank is None else len(self.rank))
        if lengths != (n, n, n):
            raise InputError(
                f"labels, given and rank must have one entry for each of {n} items, got lengths {lengths}; "
                "build them together"
            )
        for part in set(self.given):
            one_of("given", part, GIVEN)
        if n and not 0 <= self.labels.min() <= self.labels.max() < self.num_classes:
            raise InputError(
                f"labels must lie in 0 ... {self.num_classes - 1}, got {self.labels.min()} ... "
                f"{self.labels.max()}; name every class"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.class_names)

    @property
    def counts(self) -> tuple[int, ...]:
        """Images of each class, whatever their part."""
        return tuple(int(n) for n in np.bincount(self.labels, minlength=self.num_classes))


class _Chosen:
    """Some of the items of another source."""

    def __init__(self, items: Items, index: NDArray[np.int64]) -> None:
        self._items, self._index = items, index.tolist()

    def __len__(self) -> int:
        return len(self._index)

    def load(self, i: int) -> NDArray[np.uint8]:
        return self._items.load(self._index[i])

    def reduced(self, i: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        return load_for(self._items, self._index[i], size)

    def name(self, i: int) -> str:
        return self._items.name(self._index[i])

    def stored(self, i: int) -> bytes:
        return self._items.stored(self._index[i])

    def format(self, i: int) -> str:
        return self._items.format(self._index[i])

    def size(self, i: int) -> tuple[int, int]:
        return self._items.size(self._index[i])


def choose(source: Source, indices: Sequence[int] | NDArray[np.int64]) -> Source:
    """The source reduced to some of its items, in the order given; classes stay as they are.

    Example:
        >>> from tailgrad.data import open_source
        >>> small = choose(open_source("digits-lt"), [3, 1])
        >>> small.items.name(0), len(small.labels), small.num_classes
        ('row 3', 2, 10)
    """
    index = np.asarray(indices, dtype=np.int64)
    return replace(
        source,
        items=_Chosen(source.items, index),
        labels=source.labels[index],
        given=tuple(source.given[i] for i in index),
        rank=None if source.rank is None else source.rank[index],
    )


def load_for(items: Items, i: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Image i for resizing to ``size`` (height, width), by the cheapest way that leaves enough pixels.

    Items that can do so have a method ``reduced(i, size)``; others decode as ever.

    Example:
        >>> from tailgrad.data import open_source
        >>> load_for(open_source("digits-lt").items, 0, (4, 4)).shape
        (8, 8, 3)
    """
    reduced = getattr(items, "reduced", None)
    pixels: NDArray[np.uint8] = items.load(i) if reduced is None else reduced(i, size)
    return pixels


def safe_name(text: str) -> str:
    """A short name that is safe in file names on every system.

    Example:
        >>> safe_name("Solar panels (2020)/v1")
        'Solar-panels-2020-v1'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:60] or "data"


def brought_split(parts: Sequence[str]) -> tuple[str, ...]:
    """The split that a source brings; one part alone is no split, so it counts as none.

    Example:
        >>> brought_split(["train", "test"]), brought_split(["train", "train"])
        (('train', 'test'), ('', ''))
    """
    return tuple(parts) if len(set(parts)) > 1 else ("",) * len(parts)
