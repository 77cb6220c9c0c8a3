"""What part of a common order belongs to one of several ranks."""

import sys
from inspect import currentframe
from types import FrameType

import torch.distributed as dist
from torch import Tensor

from tailgrad.checks import InputError
from tailgrad.distributed import is_spread


def check_place(num_replicas: int | None, rank: int | None) -> None:
    """Make sure that ranks are given together, or not at all.

    Raises:
        InputError: one is missing, or ``rank`` is not in 0 ... ``num_replicas`` - 1.

    Example:
        >>> check_place(2, 2)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: rank must be in 0 ... 1, got 2; ranks count from 0
    """
    if (num_replicas is None) != (rank is None):
        raise InputError(
            f"num_replicas and rank must be given together, got {num_replicas} and {rank}; "
            "leave out both to ask torch.distributed"
        )
    if num_replicas is None or rank is None:
        return
    if num_replicas < 1:
        raise InputError(f"num_replicas must be at least 1, got {num_replicas}; count this process too")
    if not 0 <= rank < num_replicas:
        raise InputError(f"rank must be in 0 ... {num_replicas - 1}, got {rank}; ranks count from 0")


def place() -> tuple[int, int]:
    """Number of ranks and this process's own, as torch.distributed says now.

    Example:
        >>> place()
        (1, 0)
    """
    return (dist.get_world_size(), dist.get_rank()) if is_spread() else (1, 0)


def share_length(length: int, num_replicas: int, block: int = 1) -> int:
    """Places that each rank gets of an order of ``length``: whole blocks, as many on every rank.

    Example:
        >>> share_length(10, num_replicas=4), share_length(12, num_replicas=2, block=4)
        (3, 8)
    """
    return -(-length // (num_replicas * block)) * block


def share(order: Tensor, num_replicas: int, rank: int, block: int = 1) -> Tensor:
    """One rank's places: every ``num_replicas``-th block, after the order was filled up from its beginning.

    Args:
        order: [M], the same on every rank.
        num_replicas: ranks.
        rank: from 0.
        block: places that stay together.

    Example:
        >>> import torch
        >>> [share(torch.arange(5), 2, rank).tolist() for rank in (0, 1)]
        [[0, 2, 4], [1, 3, 0]]
    """
    total = share_length(len(order), num_replicas, block) * num_replicas
    filled = order.repeat(-(-total // len(order)))[:total]
    return filled.view(-1, num_replicas, block)[:, rank].flatten()


def shared_by_accelerate() -> bool:
    """Whether Accelerate's loader, which hands batches out to the ranks itself, asks for the order.

    Accelerate takes every P-th batch of whatever a sampler gives (or lets one process draw for all), and a
    sampler has no way of saying that it gave one rank's share already. Who asks is read off the call stack:
    the same sampler in a loader that was not prepared has to share.

    Example:
        >>> shared_by_accelerate()
        False
    """
    if "accelerate.data_loader" not in sys.modules:
        return False
    frame = currentframe()
    while frame is not None and not _shares(frame):
        frame = frame.f_back
    return frame is not None


def _shares(frame: FrameType) -> bool:
    if frame.f_globals.get("__name__") != "accelerate.data_loader":
        return False
    asking = frame.f_locals.get("self")
    # type() and not isinstance(): these loaders call themselves DataLoader in __class__.
    name = type(asking).__name__
    return name == "DataLoaderDispatcher" or (
        name == "BatchSamplerShard" and getattr(asking, "num_processes", 1) > 1
    )
