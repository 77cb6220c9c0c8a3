"""The long tail that a run is given, and the split that it draws."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailgrad.checks import InputError
from tailgrad.data import Profile, Source, choose, longtail, make_split
from tailgrad.recipes.config import Config, DataConfig


def split_seed(config: Config, own_test: bool) -> int:
    """Which split a run draws: its own seed's, or split 0 where the test set is given.

    Example:
        >>> split_seed(Config(source="x", seed=4), own_test=False)
        4
    """
    if config.split_seed is not None:
        return config.split_seed
    return 0 if own_test else config.seed


def profile_of(source: Source, data: DataConfig) -> Profile | None:
    """The long-tail profile to apply: the configuration's, else the source's own.

    Raises:
        InputError: an imbalance factor or counts without a profile that takes them.

    Example:
        >>> from tailgrad.data import open_source
        >>> profile_of(open_source("digits-lt"), DataConfig(imb_factor=50)).imb_factor
        50.0
    """
    kind, factor, counts = data.profile, data.imb_factor, data.counts
    if kind == "none":
        if factor is not None or counts is not None:
            raise InputError(
                f"data.imb_factor and data.counts need a profile, got profile=none with {factor or counts}; "
                "set data.profile=exponential or leave them out"
            )
        return None
    if kind == "default":
        if factor is None and counts is None:
            return source.profile
        own = source.profile.kind if source.profile else "exponential"
        return Profile("explicit" if counts is not None else own, imb_factor=factor, counts=counts)
    return Profile(kind, imb_factor=factor, counts=counts)


def thinned(
    source: Source, groups: NDArray[np.int64], config: Config, seed: int
) -> tuple[Source, NDArray[np.int64]]:
    """The items left of a source by the long-tail profile, and their duplicate groups.

    Test images stay whole: where the source brings none, its split is drawn before anything is left out.

    Args:
        source: the place as it is.
        groups: duplicate group of each of its N items.
        config: says which profile.
        seed: draws the split, and the items that stay.

    Raises:
        InputError: the profile or the split cannot be had.

    Example:
        >>> from tailgrad.data import open_source
        >>> source, config = open_source("digits-lt"), Config(source="digits-lt", data={"imb_factor": 50})
        >>> kept, groups = thinned(source, np.arange(len(source.items)), config, seed=0)
        >>> len(kept.items) == len(groups) < len(source.items)
        True
    """
    profile = profile_of(source, config.data)
    if profile is None:
        return source, groups
    given = np.array(source.given)
    if "test" not in source.given:
        first = make_split(source, seed=seed, val=config.data.val, test=config.data.test, groups=groups)
        given = np.where(given == "val", "val", "train").astype(object)
        given[first.test] = "test"
    pool = np.flatnonzero((given == "train") | (given == ""))
    rank = None if source.rank is None else source.rank[pool]
    kept = pool[longtail(source.labels[pool], profile, seed, rank, source.num_classes)]
    kept = np.sort(np.concatenate([kept, np.flatnonzero((given == "test") | (given == "val"))]))
    marked = replace(source, given=tuple(str(part) for part in given))
    return choose(marked, kept), groups[kept]
