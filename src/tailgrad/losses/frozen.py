"""Keep losses from updating their state for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from weakref import WeakKeyDictionary

import torch
from torch import nn

_depth: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_all = local()


@contextmanager
def frozen(loss: object = None) -> Iterator[None]:
    """Inside, ``may_update`` is False for ``loss`` and every loss it wraps, or for all. May be nested.

    For passes that must not count twice: SAM's second, measurements, monitors. Without effect on a loss
    that is no ``nn.Module``. Without an argument every loss of the thread is frozen, for an optimiser that
    calls a closure and does not know which losses that uses.

    Args:
        loss: the loss, or None for all.

    Example:
        >>> loss = nn.CrossEntropyLoss()
        >>> with frozen(loss):
        ...     inside = may_update(loss)
        >>> inside, may_update(loss)
        (False, True)
    """
    if loss is None:
        with _everything():
            yield
        return
    parts = list(loss.modules()) if isinstance(loss, nn.Module) else []
    for part in parts:
        _depth[part] = _depth.get(part, 0) + 1
    try:
        yield
    finally:
        for part in parts:
            _depth[part] -= 1


@contextmanager
def _everything() -> Iterator[None]:
    _all.depth = getattr(_all, "depth", 0) + 1
    try:
        yield
    finally:
        _all.depth -= 1


def may_update(loss: nn.Module) -> bool:
    """Whether a loss may change its buffers now: in training mode, gradients on, not ``frozen``.

    Example:
        >>> with torch.no_grad():
        ...     may_update(nn.CrossEntropyLoss())
        False
    """
    free = not (getattr(_all, "depth", 0) or _depth.get(loss, 0))
    return loss.training and torch.is_grad_enabled() and free
