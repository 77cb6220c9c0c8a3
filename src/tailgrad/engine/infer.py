"""Logits of a whole data set, in evaluation mode."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from tailgrad.data.batch_order import BatchOrder
from tailgrad.distributed import place, rows_of_all
from tailgrad.engine.learner import Learner
from tailgrad.types import Batch

Found = tuple[Tensor, Tensor, Tensor]


class Batches(Protocol):
    """Batches whose number is known: a loader, or a list."""

    def __iter__(self) -> Iterator[Batch]:
        """Batches."""

    def __len__(self) -> int:
        """Their number."""


def infer(learner: Learner, batches: Batches) -> Found:
    """Logits [N, K] float32, targets [N] and source indices [N], on the CPU; the model's mode is restored.

    Ranks run every P-th batch each, and all have everything afterwards, as one process would.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
        >>> learner = Learner.plain(net, torch.nn.CrossEntropyLoss(), lr=0.1)
        >>> batch = Batch(torch.zeros(2, 3, 2, 2), torch.tensor([0, 1]), torch.arange(2))
        >>> infer(learner, [batch])[0].shape
        torch.Size([2, 2])
    """
    rank, world = place()
    if len(batches) < world:  # some would have nothing to do
        rank, world = 0, 1
    parts = _run(learner, _every(batches, rank, world))
    if world > 1:
        return _in_order(parts, rank, world)
    logits, target, index = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(target), torch.cat(index)


def _run(learner: Learner, batches: Iterable[Batch]) -> list[Found]:
    was_training = learner.model.training
    learner.model.eval()
    parts = []
    try:
        with torch.no_grad():
            for batch in batches:
                logits = learner.model(learner.images(batch.inputs))
                parts.append((logits.float().cpu(), batch.target.cpu(), batch.index.cpu()))
    finally:
        learner.model.train(was_training)
    return parts


def _every(batches: Batches, rank: int, world: int) -> Iterable[Batch]:
    """Every ``world``-th batch from ``rank`` on; a loader does not even read the others."""
    if world > 1 and isinstance(batches, BatchOrder) and batches.seed is None:
        return batches.share(rank, world)
    return islice(batches, rank, None, world)


def _in_order(parts: Iterable[Found], rank: int, world: int) -> Found:
    """The parts of all ranks, batch by batch."""
    own = [(*part, torch.full_like(part[1], rank + world * turn)) for turn, part in enumerate(parts)]
    *found, turns = (rows_of_all(torch.cat(column))[0] for column in zip(*own, strict=True))
    order = turns.argsort(stable=True)
    logits, target, index = (column[order] for column in found)
    return logits, target, index
