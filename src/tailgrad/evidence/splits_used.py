"""The splits that an analysis trains and tests on, gathered while one of its cells is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tailgrad.data import Source, Split, split_hash

_GATHERED: ContextVar[set[str] | None] = ContextVar("splits of a cell", default=None)


@contextmanager
def gathered() -> Iterator[set[str]]:
    """SHA-256 of every split that is used within the block.

    Example:
        >>> with gathered() as splits:
        ...     pass
        >>> splits
        set()
    """
    found: set[str] = set()
    token = _GATHERED.set(found)
    try:
        yield found
    finally:
        _GATHERED.reset(token)


def used(split: Split, source: Source) -> None:
    """Say that a split is trained and tested on; outside ``gathered`` nobody listens.

    Args:
        split: with the training part that is really used.
        source: what it indexes.

    Example:
        >>> import numpy as np
        >>> from tailgrad.data import open_source
        >>> split = Split(np.array([0]), np.array([1]), np.array([2]), seed=0)
        >>> with gathered() as splits:
        ...     used(split, open_source("digits-lt"))
        >>> len(splits)
        1
    """
    found = _GATHERED.get()
    if found is not None:
        found.add(split_hash(split, source))
