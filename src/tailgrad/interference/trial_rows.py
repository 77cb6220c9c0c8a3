"""Which examples of a batch a trial looks at."""

from collections.abc import Set
from itertools import chain, zip_longest

import torch
from torch import Tensor

TRIED = 7
"""Examples in one trial: few, and hardly any other dimension is a multiple of it."""


def trial_rows(target: Tensor, tried: Set[int]) -> Tensor:
    """Seven examples of a batch, spread over its classes and shuffled; the global random state is not used.

    They come class after class in turn, those that no trial has seen first, each class's in random order. The
    examples of several classes alternate, so that a permutation which sorts by class moves them. A batch of
    fewer examples gives some of them twice.

    Args:
        target: class indices [N] on the CPU, N at least 1.
        tried: classes that a trial has seen.

    Example:
        >>> target = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 4, 5])
        >>> sorted(target[trial_rows(target, {0})].tolist())
        [0, 0, 0, 0, 0, 4, 5]
    """
    generator = torch.Generator().manual_seed(len(tried))
    by_class: dict[int, list[int]] = {}
    for row in torch.randperm(len(target), generator=generator).tolist():
        by_class.setdefault(int(target[row]), []).append(row)
    queues = [by_class[label] for label in sorted(by_class, key=lambda label: label in tried)]
    turns = [row for row in chain(*zip_longest(*queues)) if row is not None]
    return torch.tensor([turns[i % len(turns)] for i in range(TRIED)])
