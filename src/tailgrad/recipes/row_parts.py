"""Rows of a table, split and encoded for a network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data import Source, Split
from tailgrad.data.table import rows_of
from tailgrad.data.table_encoding import Encoded, TableEncoding
from tailgrad.recipes.waiting import Say
from tailgrad.types import TableInputs

_NAMED = 5


class Unchanged:
    """Stands where images are normalised: rows were standardised when they were encoded.

    Example:
        >>> Unchanged()("rows"), Unchanged().mean
        ('rows', ())
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __call__(self, rows: Any) -> Any:
        """The rows as they are."""
        return rows


def joined(parts: Sequence[Any]) -> Any:
    """Images or rows of several parts, one after the other.

    Example:
        >>> joined([torch.zeros(1, 2), torch.ones(2, 2)]).shape
        torch.Size([3, 2])
    """
    if not isinstance(parts[0], TableInputs):
        return torch.cat(list(parts))
    return TableInputs(
        torch.cat([part.numbers for part in parts]), torch.cat([part.categories for part in parts])
    )


def as_inputs(encoded: Encoded) -> TableInputs:
    """Encoded rows as a network takes them.

    Example:
        >>> as_inputs(Encoded(np.zeros((2, 3), np.float32), np.zeros((2, 0), np.int64), {}, {})).device.type
        'cpu'
    """
    return TableInputs(torch.from_numpy(encoded.numbers), torch.from_numpy(encoded.categories))


def encoded_parts(
    source: Source, split: Split, groups: NDArray[np.int64], say: Say
) -> tuple[TableEncoding, dict[str, TableInputs]]:
    """The rows of every part, encoded by what training rows say; what is odd about them is said.

    Args:
        source: a table.
        split: its parts.
        groups: duplicate group of every row.
        say: told of dropped columns, unseen categories, copies with different labels.

    Raises:
        InputError: the source holds images, or no column differs among training rows.

    Example:
        >>> from tailgrad.data import make_split, open_source
        >>> source = open_source("wine-lt")
        >>> split = make_split(source)
        >>> encoding, parts = encoded_parts(source, split, np.arange(178), print)
        >>> len(parts["train"]), encoding.width
        (115, 13)
    """
    rows = rows_of(source)
    if rows is None:
        raise InputError(f"source must be a table, got images in {source.name!r}; name a table")
    encoding = TableEncoding.fit(rows, split.train, source.class_names)
    for remark in rows.remarks:
        say(f"warning: {remark}")
    if encoding.dropped:
        say(f"dropped, of one value in training: {_some(encoding.dropped)}")
    conflicts = conflicting(groups, source.labels)
    if len(conflicts):
        names = [rows.name(int(i)) for i in conflicts]
        say(
            f"warning: {len(conflicts)} rows have the features of another row and another label: "
            f"{_some(names)}; at most one label of each can be right"
        )
    parts = {}
    for part in ("train", "val", "test"):
        found = encoding.encode(rows.chosen(getattr(split, part)))
        for name, n in found.unseen.items():
            say(
                f"{part}: {n} row{'s'[: n - 1]} of column {name!r} have a category that training has not seen"
            )
        parts[part] = as_inputs(found)
    return encoding, parts


def encoding_of(source: Source) -> TableEncoding | None:
    """The encoding that all rows of a table give, to build a network before a split; None for images.

    Example:
        >>> from tailgrad.data import open_source
        >>> encoding_of(open_source("wine-lt")).size
        (13, 0)
    """
    rows = rows_of(source)
    return None if rows is None else TableEncoding.fit(rows, np.arange(len(rows)), source.class_names)


def conflicting(groups: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of items that share their group with an item of another class.

    Example:
        >>> conflicting(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]))
        array([0, 1])
    """
    _, group = np.unique(groups, return_inverse=True)
    low = np.full(group.max(initial=-1) + 1, np.iinfo(np.int64).max)
    high = np.full(len(low), -1)
    np.minimum.at(low, group, labels)
    np.maximum.at(high, group, labels)
    return np.flatnonzero((low != high)[group])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(repr(name) for name in names[:_NAMED]) + more
