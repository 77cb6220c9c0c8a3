"""Pretrained weights without a long wait where the network is out of reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from huggingface_hub import constants, get_session

SECONDS = 5


@cache
def hub_answers() -> bool:
    """Whether the server of pretrained weights can be reached; asked once.

    Example:
        >>> hub_answers() in (True, False)
        True
    """
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception:  # no name, no route, a proxy that refuses: libraries below differ in what they raise
        return False
    return True


@contextmanager
def from_the_cache_only() -> Iterator[None]:
    """Within the block nothing is fetched: a file that somebody sent must not make us call anybody.

    Example:
        >>> with from_the_cache_only():
        ...     constants.HF_HUB_OFFLINE
        True
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def patient_only_if_reachable() -> Iterator[None]:
    """Within the block, weights that are not in the local cache fail at once if the server is out of reach.

    The download library would try for a minute and a half, with a message at each try.

    Example:
        >>> with patient_only_if_reachable():
        ...     constants.HF_HUB_OFFLINE or hub_answers()
        True
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not hub_answers()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
