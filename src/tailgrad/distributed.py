"""Sums over ranks that do nothing where there is one process."""

import torch.distributed as dist
from torch import Tensor


def is_spread() -> bool:
    """Whether several ranks take part in this computation.

    Example:
        >>> is_spread()
        False
    """
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of ``values`` over all ranks, the same on each; ``values`` itself on one process.

    Example:
        >>> import torch
        >>> sum_over_ranks(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    if not is_spread():
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total
