"""Measuring within a time: as many images as it allows, every class in turn."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

TRIED = 8
"""Images of which the time is taken."""

BESIDES = 8
"""Pooled images of the null, each sent back once for every class, where time is short."""
_WORK = 1.5  # of a plain pass: gradients are split by class, and the network is tried first


class ClassesInTurn:
    """An order in which one image of every class comes before a second one of any.

    Args:
        target: classes [N], int64.
        most: images at most, at least two of each class that has them; None for all.
        seed: of the order within each class.

    Example:
        >>> target = torch.tensor([0, 0, 0, 1, 1, 2])
        >>> target[list(ClassesInTurn(target))].tolist()
        [0, 1, 2, 0, 1, 0]
        >>> target[list(ClassesInTurn(target, most=1))].tolist()
        [0, 1, 2, 0, 1]
    """

    def __init__(self, target: Tensor, most: int | None = None, seed: int = 0) -> None:
        shuffled = torch.randperm(len(target), generator=torch.Generator().manual_seed(seed))
        by_class = shuffled[torch.argsort(target[shuffled], stable=True)]
        counts = torch.bincount(target[by_class])
        turn = torch.arange(len(by_class)) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        places = by_class[torch.argsort(turn, stable=True)].tolist()
        least = int((turn < 2).sum())
        self._places: list[int] = places if most is None else places[: max(most, least)]

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def set_epoch(self, epoch: int) -> None:
        """The order is the same in every epoch."""


def images_within(minutes: float, seconds_per_image: float, classes: int) -> int:
    """How many images can be measured in a time, beside the null, which costs ``BESIDES`` for each class.

    Args:
        minutes: for the measurement.
        seconds_per_image: forward and backward.
        classes: K.

    Example:
        >>> images_within(1, 0.1, 10), images_within(0.1, 0.1, 10)
        (319, 0)
    """
    return max(0, int(60 * minutes / (_WORK * seconds_per_image)) - BESIDES * classes)


def seconds_per_image(network: nn.Module, images: Tensor) -> float:
    """What one image costs, forward and backward, after a first pass that is not counted.

    Args:
        network: on the device of the images; runs in evaluation mode, and comes back as it was.
        images: inputs [N, ...], of which up to 8 are used.

    Example:
        >>> seconds_per_image(nn.Linear(2, 2), torch.ones(3, 2)) > 0
        True
    """
    some, weights = images[:TRIED], [p for p in network.parameters() if p.requires_grad]
    with _evaluating(network):
        for _ in range(2):
            began = time.perf_counter()
            found = torch.autograd.grad(network(some).square().sum(), weights, allow_unused=True)
            float(next(g for g in found if g is not None).sum())  # waits for the device
    return max(1e-9, (time.perf_counter() - began) / len(some))


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
