"""Keep a loss from updating its state for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

_depth: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


@contextmanager
def frozen(loss: object) -> Iterator[None]:
    """Inside, ``may_update`` is False for ``loss`` and for every loss it wraps. May be nested.

    For passes that must not count twice: SAM's second, measurements, monitors. Without effect on a loss
    that is no ``nn.Module``.

    Example:
        >>> loss = nn.CrossEntropyLoss()
        >>> with frozen(loss):
        ...     inside = may_update(loss)
        >>> inside, may_update(loss)
        (False, True)
    """
    parts = list(loss.modules()) if isinstance(loss, nn.Module) else []
    for part in parts:
        _depth[part] = _depth.get(part, 0) + 1
    try:
        yield
    finally:
        for part in parts:
            _depth[part] -= 1


def may_update(loss: nn.Module) -> bool:
    """Whether a loss may change its buffers now: in training mode, gradients on, not ``frozen``.

    Example:
        >>> with torch.no_grad():
        ...     may_update(nn.CrossEntropyLoss())
        False
    """
    return loss.training and torch.is_grad_enabled() and not _depth.get(loss, 0)
