"""Directional noise: how far a class's gradients in training batches point away from its own direction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tailgrad.interference.backward import Backward
from tailgrad.interference.collect import check_labels, listeners
from tailgrad.interference.gram import Array
from tailgrad.interference.logit_gradients import LogitGradients
from tailgrad.interference.packs import Pack, sorted_pack
from tailgrad.interference.sketch import Sketcher
from tailgrad.interference.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class DirectionalNoise:
    """Noise of the direction of each class gradient in training batches.

    ``1 - mean_b cos(g_{c,b}, g_c without the fold of b)`` over batches b that hold class c: 0 where every
    batch points one way, about 1 where it is noise.

    Args:
        noise: [K]; NaN where a class is in batches of fewer than two folds.
        absent: share of batches without the class [K].
        batches: number of batches.

    Source: ours; explained in docs/conflict.md; after arXiv 2207.00391.

    Example:
        >>> import numpy as np
        >>> DirectionalNoise(np.array([0.2]), np.array([0.0]), 10).batches
        10
    """

    noise: Array
    absent: Array
    batches: int


def directional_noise(source: Source, folds: int = 8) -> DirectionalNoise:
    """Measure the directional noise in the batches of an opened source, as they come.

    Args:
        source: its stream holds the batches that the training sampler draws; each is taken whole.
        folds: batches are dealt to this many folds in turn; a batch is held against the other folds, since a
            class smaller than a batch would otherwise be held against itself.

    Example: see ``measure``.
    """
    num_classes, network = len(source.class_names), source.network
    names = source.groups.members()
    numels = {name: network.parameters[name].numel() for name in names}
    sketcher = Sketcher(numels, 1024, source.order.seed)
    found = _Batches(num_classes, folds, sketcher)
    backward = Backward(network, names, found.receive)
    logit = LogitGradients(num_classes)
    for inputs, target in source.stream:
        pack = sorted_pack(inputs, target)
        check_labels(pack, source.class_names)
        found.begin(pack)
        backward.run(pack, *listeners(source, pack, logit, ()))
    return found.result()


class _Batches:
    """Sketched class gradients of every batch, and their sums by class and fold."""

    def __init__(self, num_classes: int, folds: int, sketcher: Sketcher) -> None:
        self._sketcher, self._folds = sketcher, folds
        self._labels: list[list[int]] = []
        self._rows: list[Tensor] = []
        self._totals = torch.zeros(num_classes, folds, sketcher.size, dtype=torch.float64)

    def begin(self, pack: Pack) -> None:
        self._labels.append(pack.labels)
        self._rows.append(torch.zeros(len(pack.labels), self._sketcher.size))

    def receive(self, name: str, first: int, stack: Tensor) -> None:
        self._rows[-1][first : first + len(stack)] += self._sketcher.of(name, stack.float()).cpu()

    def result(self) -> DirectionalNoise:
        for b, (labels, rows) in enumerate(zip(self._labels, self._rows, strict=True)):
            self._totals[labels, b % self._folds] += rows.double()
        whole = self._totals.sum(1)
        cosine, present = torch.zeros(len(whole), dtype=torch.float64), torch.zeros(len(whole))
        told = torch.zeros(len(whole))
        for b, (labels, rows) in enumerate(zip(self._labels, self._rows, strict=True)):
            others = whole[labels] - self._totals[labels, b % self._folds]
            value = torch.nn.functional.cosine_similarity(rows.double(), others, eps=1e-300)
            good = (others.norm(dim=1) > 0) & (rows.norm(dim=1) > 0)
            cosine[labels] += torch.where(good, value, 0)
            told[labels] += good.float()
            present[labels] += 1
        mean = cosine / torch.where(told > 0, told, torch.nan)
        number = len(self._labels)
        return DirectionalNoise((1 - mean).numpy(), (1 - present / number).double().numpy(), number)
