"""Buffers that stay in float32 or wider when a module is cast to a narrower type."""

from collections.abc import Callable

import torch
from torch import nn


def keep_wide(module: nn.Module, cast: Callable[[], object]) -> None:
    """Cast a module, and put back its own buffers, unrounded, that would be narrower than float32.

    For state that adds up over a training run: in bfloat16, 256 + 1 is 256.

    Args:
        module: not its submodules, which look after themselves.
        cast: what ``nn.Module`` does to move and cast it.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> keep_wide(norm, norm.half)
        >>> norm.weight.dtype, norm.running_mean.dtype
        (torch.float16, torch.float32)
    """
    before = dict(module.named_buffers(recurse=False))
    cast()
    for name, value in module.named_buffers(recurse=False):
        if value.is_floating_point() and torch.finfo(value.dtype).bits < 32:
            setattr(module, name, before[name].to(value.device))
