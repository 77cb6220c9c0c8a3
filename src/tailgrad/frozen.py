"""Keep losses from updating their state for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local

import torch
from torch import nn

_NAME = "_frozen"


class _Nesting:
    """How many ``frozen`` are open; what is copied or stored inside one is not frozen."""

    def __init__(self) -> None:
        self.depth = 0

    def __reduce__(self) -> tuple[type["_Nesting"], tuple[()]]:
        return _Nesting, ()


class _Thread(local):
    def __init__(self) -> None:
        self.nesting = _Nesting()


_all = _Thread()


@contextmanager
def frozen(loss: object = None) -> Iterator[None]:
    """Inside, ``may_update`` is False for ``loss`` and every loss it wraps, or for all. May be nested.

    For passes that must not count twice: SAM's second, measurements, monitors. Without effect on a loss
    that is no ``nn.Module``. Without an argument every loss of the thread is frozen, for whatever calls a
    function and does not know which losses that uses. A loss under ``torch.compile`` is compiled once more
    for its frozen form.

    Args:
        loss: the loss, or None for all.

    Example:
        >>> loss = nn.CrossEntropyLoss()
        >>> with frozen(loss):
        ...     inside = may_update(loss)
        >>> inside, may_update(loss)
        (False, True)
    """
    open_now = [_all.nesting]
    if loss is not None:
        parts = list(loss.modules()) if isinstance(loss, nn.Module) else []
        # an attribute, since compiled code does not look again into a table beside the modules
        open_now = [vars(part).setdefault(_NAME, _Nesting()) for part in parts]
    for nesting in open_now:
        nesting.depth += 1
    try:
        yield
    finally:
        for nesting in open_now:
            nesting.depth -= 1


def may_update(loss: nn.Module) -> bool:
    """Whether a loss may change its buffers now: in training mode, gradients on, not ``frozen``.

    Example:
        >>> with torch.no_grad():
        ...     may_update(nn.CrossEntropyLoss())
        False
    """
    own = getattr(loss, _NAME, None)
    free = not _all.nesting.depth and (own is None or not own.depth)
    return loss.training and torch.is_grad_enabled() and free


def frozen_since() -> Callable[[], bool]:
    """A function that tells whether this thread has opened ``frozen()``, for all losses, since now.

    It may be asked by another thread: backward hooks run in threads of the device.

    Example:
        >>> with frozen():
        ...     is_aside = frozen_since()
        ...     before = is_aside()
        ...     with frozen():
        ...         print(before, is_aside())
        False True
    """
    nesting, depth = _all.nesting, _all.nesting.depth
    return lambda: nesting.depth > depth
