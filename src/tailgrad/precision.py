"""Regions that keep full precision inside autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.amp.autocast_mode import is_autocast_available


def full_precision(features: Tensor) -> AbstractContextManager[None]:
    """A region without autocast on the device of ``features``, for the short sums that need float32.

    Example:
        >>> x = torch.ones(2, 2)
        >>> with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(x):
        ...     (x @ x).dtype
        torch.float32
    """
    device = features.device.type
    # PyTorch 2.6 cannot compile the question
    if not torch.compiler.is_compiling() and not is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
