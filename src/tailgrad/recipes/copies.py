"""Copies of one item, which must not be learnt from and tested on."""

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data import Source, Split, duplicate_groups
from tailgrad.data.table import rows_of
from tailgrad.recipes.config import Config, DataConfig
from tailgrad.recipes.waiting import Say, counted, silent

MANY = 50_000
"""Images above which copies are looked for without decoding, unless near duplicates are wanted as well."""


def duplicates_of(source: Source, config: Config, say: Say = silent) -> NDArray[np.int64]:
    """Duplicate group of every item, by the configuration's wish with near duplicates.

    Without them, more than 50,000 items are compared by their stored bytes: none is decoded.

    Raises:
        InputError: images cannot be decoded; five are named.

    Example:
        >>> from tailgrad.data import open_source
        >>> len(duplicates_of(open_source("digits-lt"), Config(source="digits-lt")))
        1797
    """
    if not config.data.group_duplicates:
        say("warning: copies of training images may be tested on (data.group_duplicates=false)")
        return np.arange(len(source.items), dtype=np.int64)
    near, many = config.data.near_duplicates, len(source.items) > MANY and rows_of(source) is None
    if many:
        say(
            f"looking for copies among {len(source.items)} images"
            + (", near duplicates too; data.near_duplicates=false is faster" if near else ", byte for byte")
        )
    with counted(say, "looking for copies") as progress:
        found = duplicate_groups(source, near=near, stored=many and not near, progress=progress)
    if found.unreadable:  # said here once for all parts, and before hours of training that would meet them
        some = "; ".join(f"{source.items.name(i)!r}: {reason}" for i, reason in found.unreadable[:5])
        more = f"; and {len(found.unreadable) - 5} more" if len(found.unreadable) > 5 else ""
        raise InputError(
            f"images must be readable, got {len(found.unreadable)} that are not ({some}{more}); replace or "
            "remove them, or pass over them with --set data.skip_unreadable=true"
        )
    return found.group


def without_leaks(split: Split, data: DataConfig, say: Say) -> Split:
    """Leave copies of given validation and test images out of training on request; say what there is."""
    copies = np.intersect1d([outside for outside, _ in split.leakage], split.train).astype(np.int64)
    if not split.leakage:
        return split
    if data.drop_leaks:
        say(f"{len(copies)} training images are left out: copies of images in a part that the source brings")
        return split.with_train(np.setdiff1d(split.train, copies))
    say(
        f"warning: {len(split.leakage)} pairs of copies lie across the parts that the source brings, "
        f"{len(copies)} training images among them; set data.drop_leaks=true to leave those out"
    )
    return split
