"""What every sampler shares: a seeded order an epoch, and each rank's part of it."""

import warnings
from collections.abc import Iterator
from typing import ClassVar
from zlib import crc32

from torch import Generator, Tensor
from torch.utils.data import DistributedSampler, TensorDataset

from tailgrad.samplers.class_index import ClassIndex, Target, class_indices
from tailgrad.samplers.frequencies import sampling_correction
from tailgrad.samplers.shares import check_place, place, share, share_length, shared_by_accelerate
from tailgrad.samplers.whole_number import whole
from tailgrad.settings import Shown
from tailgrad.types import Correction


class EpochSampler(Shown, DistributedSampler[int]):
    """Every rank draws the same order of an epoch and takes its own part of it.

    A ``DistributedSampler``, since Lightning and Fabric leave one as it is and wrap any other. Ranks are
    asked for when an epoch begins, not when the sampler is built, because frameworks start theirs in between.

    Subclasses give ``order`` and ``log_frequencies``; those that fill batches set ``size`` and ``block``.

    One that was never told an epoch draws the same examples in the same order each time it begins, and warns
    when it begins again.

    Args:
        target: class index of each example, [N].
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit.

    Example:
        >>> import torch
        >>> class Last(EpochSampler):
        ...     def order(self, generator):
        ...         return torch.arange(self.size).flip(0)
        >>> list(Last([0, 1, 1])), list(Last([0, 1, 1], num_replicas=2, rank=1))
        ([2, 1, 0], [1, 2])
    """

    by_class: ClassVar[bool] = True
    """Whether classes matter: then each must have an example."""
    index: ClassIndex

    def __init__(
        self, target: Target, *, seed: int = 0, num_replicas: int | None = None, rank: int | None = None
    ) -> None:
        check_place(num_replicas, rank)
        seed = whole("seed", seed, -(2**63))
        labels = class_indices(target)
        super().__init__(TensorDataset(labels), num_replicas or 1, rank or 0, seed=seed)
        self._given = num_replicas is not None
        if self.by_class:
            self.index = ClassIndex(labels)
        self.epoch = 1
        self._is_told, self._drawn = False, 0
        self.size = len(labels)
        self.block = 1

    def order(self, generator: Generator) -> Tensor:
        """All ranks' places of this epoch, [size]."""
        raise NotImplementedError

    def log_frequencies(self) -> Tensor:
        """Log q_k [K] of the last epochs, float64."""
        raise NotImplementedError

    def correction(self) -> Correction | None:
        """How the sampler shifts the class prior: ``log(q_k / pi_k)``."""
        return sampling_correction(self.log_frequencies(), self.index.counts)

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch, counted from 1, when the sampler begins next."""
        super().set_epoch(epoch)
        self._is_told = True

    def __iter__(self) -> Iterator[int]:
        self._note_epoch()
        order = self.order(self._generator(self.epoch))
        if not shared_by_accelerate():
            self._find_place()
            order = share(order, self.num_replicas, self.rank, self.block)
        return iter(order.tolist())

    def __len__(self) -> int:
        if shared_by_accelerate():
            return self.size
        self._find_place()
        return share_length(self.size, self.num_replicas, self.block)

    def _note_epoch(self) -> None:
        drawn, self._drawn = self._drawn, self.epoch
        if self._is_told or drawn != self.epoch:
            return
        self._is_told = True  # once is enough
        warnings.warn(
            f"{type(self).__name__} begins again without a call of set_epoch, so that it draws the same "
            "examples in the same order; call its set_epoch(epoch) before each epoch, counted from 1",
            UserWarning,
            stacklevel=3,
        )

    def _find_place(self) -> None:
        if not self._given:
            self.num_replicas, self.rank = place()

    def _generator(self, epoch: int) -> Generator:
        # Two samplers of one step, and what else is random in it, may have the same seed: the name keeps them
        # apart, in the last 32 bits, the only ones that PyTorch's generator on the CPU looks at.
        stream = crc32(type(self).__name__.encode())
        return Generator().manual_seed((stream + self.seed * 1_000_003 + epoch) % 2**32)
