"""Evaluation mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module of ``model`` in evaluation mode; give each its own mode back afterwards.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout().eval())
        >>> with evaluating(model):
        ...     inside = model[0].training
        >>> inside, model[0].training, model[1].training
        (False, True, False)
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
