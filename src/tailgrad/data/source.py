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
        indicators: which of K labels each image has, [N, K] uint8 of zeros and ones, where images have
            several; ``class_names`` are then the labels, and ``labels`` are zeros that mean nothing.

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
    indicators: NDArray[np.uint8] | None = None

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
        if self.indicators is not None:
            _check_indicators(self.indicators, n, self.num_classes)
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
        """Images of each class, or with each label, whatever their part."""
        return self.counts_of(slice(None))

    def counts_of(self, index: NDArray[np.int64] | slice) -> tuple[int, ...]:
        """Images of each class, or with each label, among some positions.

        Example:
            >>> from tailgrad.data import open_source
            >>> open_source("digits-lt").counts_of(np.array([0, 1, 10]))[:3]
            (2, 1, 0)
        """
        if self.indicators is not None:
            return tuple(int(n) for n in self.indicators[index].sum(0, dtype=np.int64))
        return tuple(int(n) for n in np.bincount(self.labels[index], minlength=self.num_classes))

    def target(self, index: NDArray[np.int64]) -> NDArray[np.int64] | NDArray[np.float32]:
        """What is learnt at some positions: classes [n], or where images have several labels zeros and ones.

        Example:
            >>> from tailgrad.data import open_source
            >>> open_source("digits-multi-lt").target(np.arange(4)).shape
            (4, 10)
        """
        return self.labels[index] if self.indicators is None else self.indicators[index].astype(np.float32)


def _check_indicators(indicators: NDArray[np.uint8], n: int, labels: int) -> None:
    if indicators.shape != (n, labels) or indicators.dtype != np.uint8:
        raise InputError(
            f"indicators must be uint8 [{n}, {labels}], one row an item and one column a label, got "
            f"{indicators.dtype} {list(indicators.shape)}; build them together"
        )
    bad = np.argwhere(indicators > 1)
    if len(bad):
        i, k = bad[0].tolist()
        raise InputError(
            f"indicators must be 0 or 1, got indicators[{i}, {k}]={indicators[i, k]}; write 1 where the "
            "image has the label"
        )


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
    of_rows = getattr(source.items, "chosen", None)  # rows of a table stay such
    return replace(
        source,
        items=of_rows(index) if callable(of_rows) else _Chosen(source.items, index),
        labels=source.labels[index],
        given=tuple(source.given[i] for i in index),
        rank=None if source.rank is None else source.rank[index],
        indicators=None if source.indicators is None else source.indicators[index],
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
