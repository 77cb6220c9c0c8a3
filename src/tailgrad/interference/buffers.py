"""A model's buffers, put back after a pass that was only for looking."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """On leaving, also by an exception, every buffer holds the numbers it had.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(2)
        >>> with buffers_kept(norm):
        ...     out = norm(torch.ones(3, 2))
        >>> norm.running_mean
        tensor([0., 0.])
    """
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, was in before:
            buffer.data.copy_(
                was
            )  # .data: a running backward pass may have saved the buffer, and checks its version
