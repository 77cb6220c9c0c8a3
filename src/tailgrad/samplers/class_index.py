"""Which examples belong to which class, and examples drawn class by class."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from tailgrad.checks import InputError

Target = Sequence[int] | NDArray[np.integer] | Tensor


class ClassIndex:
    """The examples of each class.

    Args:
        target: class index of each example, [N]; every class from 0 to the largest index has an example.

    Raises:
        InputError: no examples, not a row of integers, a negative index, or a class without an example.

    Example:
        >>> index = ClassIndex([1, 0, 1])
        >>> index.counts.tolist(), index.pick(torch.tensor([1, 1, 0]), torch.tensor([0, 1, 0])).tolist()
        ([1, 2], [0, 2, 1])
    """

    def __init__(self, target: Target) -> None:
        labels = class_indices(target)
        _refuse_gaps(labels)
        self.size = len(labels)
        self.labels = labels
        self.counts = labels.bincount()
        self.by_class = labels.argsort(stable=True)
        self.starts = self.counts.cumsum(0) - self.counts

    def pick(self, classes: Tensor, places: Tensor, by_class: Tensor | None = None) -> Tensor:
        """Examples [M]: number ``places`` [M] among those of ``classes`` [M]."""
        return (self.by_class if by_class is None else by_class)[self.starts[classes] + places]

    def draw(self, log_frequencies: Tensor, size: int, generator: Generator) -> Tensor:
        """Draw ``size`` examples with replacement: a class k with q_k, then any of its examples.

        Args:
            log_frequencies: log q_k, [K]; of -inf is never drawn.
            size: number of draws.
            generator: what chance is drawn from.
        """
        classes = torch.multinomial(log_frequencies.exp(), size, replacement=True, generator=generator)
        counts = self.counts[classes]
        places = (torch.rand(size, dtype=torch.float64, generator=generator) * counts).long()
        return self.pick(classes, places.minimum(counts - 1))

    def deal(self, classes: Tensor, generator: Generator) -> Tensor:
        """An example for each of ``classes`` [M]: every class goes through one shuffle of its own.

        Any n_k places in a row that ask for class k get different examples, and no example is used twice
        more often than another of its class.
        """
        shuffled = torch.randperm(self.size, generator=generator)
        by_class = shuffled[self.labels[shuffled].argsort(stable=True)]
        grouped = classes.argsort(stable=True)
        asked = classes.bincount(minlength=len(self.counts))
        turns = torch.empty_like(classes)
        turns[grouped] = torch.arange(len(classes)) - (asked.cumsum(0) - asked)[classes[grouped]]
        return self.pick(classes, turns % self.counts[classes], by_class)

    def deal_counts(self, counts: Tensor, generator: Generator) -> Tensor:
        """``counts`` [K] examples of each class in random order, each class as ``deal`` does it."""
        classes = torch.arange(len(counts)).repeat_interleave(counts)
        return self.deal(classes[torch.randperm(len(classes), generator=generator)], generator)


def class_indices(target: Target) -> Tensor:
    """Class indices as int64 [N] on the CPU.

    Raises:
        InputError: no examples, not a row of integers, or a negative index.

    Example:
        >>> class_indices(np.array([2, 0], dtype=np.uint8))
        tensor([2, 0])
    """
    labels = _tensor(target)
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise InputError(
            f"target must be class indices [N], got {labels.dtype} {list(labels.shape)}; "
            "give one integer an example"
        )
    if not len(labels):
        raise InputError("target must hold at least one example, got none; give the training labels")
    labels = labels.to(torch.int64)
    if (least := int(labels.min())) < 0:
        raise InputError(f"target must be class indices from 0 on, got {least}; leave out such examples")
    return labels


def _tensor(target: Target) -> Tensor:
    if isinstance(target, Tensor):
        return target.detach().cpu()
    if isinstance(target, Dataset | DataLoader):
        raise InputError(
            f"target must be the class index of each example [N], got a {type(target).__name__}; give its "
            "labels, often dataset.targets, else [label for _, label in dataset]"
        )
    try:
        values = np.ascontiguousarray(target)
    except ValueError as error:
        raise InputError(
            f"target must be class indices [N], got a {type(target).__name__} that is no row of numbers; "
            "give one integer an example"
        ) from error
    try:
        return torch.from_numpy(values) if values.size else torch.empty(0, dtype=torch.int64)
    except TypeError as error:
        raise InputError(
            f"target must be class indices [N], got values of type {values.dtype}; number the classes from 0"
        ) from error


def _refuse_gaps(labels: Tensor) -> None:
    # Not by counting up to the largest: a stray index of 10^12 would ask for as many counts.
    present = torch.from_numpy(np.unique(labels.numpy()))
    gaps = (present != torch.arange(len(present))).nonzero()
    if len(gaps):
        raise InputError(
            f"target must hold every class from 0 on, got none of class {int(gaps[0])} and some of class "
            f"{int(present[-1])}; number the classes without gaps"
        )
