"""Several labels an image, as a list or as one column a label holds them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError, nearest
from tailgrad.data.source import Source

Indicators = NDArray[np.uint8]
Where = Callable[[int], str]


@dataclass(frozen=True)
class LabelLists:
    """How a list of images gives several labels to each.

    Args:
        column: holds a list of labels; None where ``columns`` hold one label each.
        separator: between the labels of a list.
        columns: one a label, with 1 where the image has it and 0 where not.
        drop: labels to leave out.
        unlabelled: an image without labels is a ``"negative"`` of all, or an error (``"refuse"``).

    Raises:
        InputError: both ways at once, a column named twice, or an empty separator.

    Example:
        >>> LabelLists(column="labels").is_read
        True
    """

    column: str | None = None
    separator: str = ";"
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    unlabelled: Literal["negative", "refuse"] = "negative"

    def __post_init__(self) -> None:
        if self.column is not None and self.columns:
            raise InputError(
                f"labels must come from a list or from one column each, got labels_column={self.column!r} "
                f"and label_columns={','.join(self.columns)}; leave one out"
            )
        if not self.separator.strip(" "):
            raise InputError(
                f"separator must be a character that stands between labels, got {self.separator!r}; take ';'"
            )
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        if twice:
            raise InputError(f"label_columns must be different, got {twice[0]!r} twice; name each once")

    def __repr__(self) -> str:
        return repr(self.column or ",".join(self.columns))

    @property
    def is_read(self) -> bool:
        """Whether a list is to be read for several labels."""
        return self.column is not None or bool(self.columns)

    @property
    def key(self) -> str:
        """The key of the configuration that says so."""
        return "label_columns" if self.columns else "labels_column"


def listed_labels(
    values: Sequence[str], separator: str = ";", where: Where = "item {}".format
) -> tuple[Indicators, tuple[str, ...]]:
    """Lists of labels as indicators; labels in sorted order, by number where all are numbers.

    Args:
        values: N lists such as ``"cat; dog"``; a blank one is an image without labels.
        separator: between labels; blanks around them do not count.
        where: what to call item i in an error.

    Returns:
        Indicators [N, L] and the L labels.

    Raises:
        InputError: no label in any list, an empty place between separators, or a label twice in one list.

    Example:
        >>> indicators, names = listed_labels(["dog;cat", "", "cat"])
        >>> indicators.tolist(), names
        ([[1, 1], [0, 0], [1, 0]], ('cat', 'dog'))
    """
    lists = [_names(value, separator, where(i)) for i, value in enumerate(values)]
    found = {name for names in lists for name in names}
    if not found:
        raise InputError(
            f"labels must be there in some of {len(lists)} lists, got none; name the column that holds them"
        )
    are_numbers = all(name.isdecimal() for name in found)
    order = tuple(sorted(found, key=lambda name: (int(name), name) if are_numbers else (0, name)))
    column = {name: k for k, name in enumerate(order)}
    indicators = np.zeros((len(lists), len(order)), np.uint8)
    for i, names in enumerate(lists):
        indicators[i, [column[name] for name in names]] = 1
    return indicators, order


def _names(value: str, separator: str, place: str) -> list[str]:
    if not value.strip():
        return []
    names = [name.strip() for name in value.split(separator)]
    if "" in names:
        raise InputError(
            f"labels of {place} must stand between separators {separator!r}, got {value!r} with an empty "
            "place; remove it"
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"labels of {place} must be different, got {twice[0]!r} twice; remove one")
    return names


def indicator_columns(columns: Mapping[str, Sequence[str]], where: Where = "item {}".format) -> Indicators:
    """One column a label as indicators [N, L].

    Args:
        columns: N values a label, 0 or 1.
        where: what to call item i in an error.

    Raises:
        InputError: another value; row and column are named.

    Example:
        >>> indicator_columns({"cat": ["1", "0"], "dog": ["1", "1"]}).tolist()
        [[1, 1], [0, 1]]
    """
    for name, values in columns.items():
        for i, value in enumerate(values):
            if value.strip() not in ("0", "1"):
                raise InputError(
                    f"column {name!r} of {where(i)} must hold 0 or 1, got {value!r}; write 1 where the image "
                    "has the label (a column of label lists is named with labels_column)"
                )
    return np.array([[int(value) for value in values] for values in columns.values()], np.uint8).T


def with_labels(source: Source, lists: LabelLists) -> Source:
    """A source of several labels without those to be dropped, its images without labels as wanted.

    Args:
        source: with indicators.
        lists: names what to drop, and what an image without labels is.

    Raises:
        InputError: a label to drop is unknown, none are left, or an image has no label and must.

    Example:
        >>> from tailgrad.data import open_source
        >>> with_labels(open_source("digits-multi-lt"), LabelLists(drop=("9",))).num_classes
        9
    """
    if source.indicators is None:
        return source
    for name in lists.drop:
        if name not in source.class_names:
            raise InputError(
                f"drop_labels must name labels of the source, got {name!r}; "
                f"{nearest(name, source.class_names)}"
            )
    kept = [k for k, name in enumerate(source.class_names) if name not in lists.drop]
    if not kept:
        raise InputError(f"drop_labels must leave a label, got all {len(lists.drop)} of them; name fewer")
    names = tuple(source.class_names[k] for k in kept)
    bare = np.flatnonzero(source.indicators[:, kept].sum(1) == 0)
    if len(bare) and lists.unlabelled == "refuse":
        raise InputError(
            f"every image must have a label, got {len(bare)} without, the first "
            f"{source.items.name(bare[0])!r}; label them, or take them as negatives of all with "
            "data.unlabelled=negative"
        )
    return replace(source, indicators=np.ascontiguousarray(source.indicators[:, kept]), class_names=names)
