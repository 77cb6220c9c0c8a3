"""Every example once an epoch."""

from typing import ClassVar

import torch
from torch import Generator, Tensor

from tailgrad.samplers.epoch_sampler import EpochSampler


class InstanceSampler(EpochSampler):
    """A shuffle: ``q_k = pi_k``, every example once an epoch.

    Args:
        target: class index of each example, [N]; classes may be missing.
        seed: with the epoch, fixes the order.
        num_replicas: ranks; None asks torch.distributed.
        rank: this process's, from 0; None asks torch.distributed.

    Raises:
        InputError: an argument does not fit.

    Source: the usual sampler (q = 1 in Kang et al. 2020, arXiv 1910.09217), without replacement.

    Example:
        >>> sorted(InstanceSampler([0, 0, 1, 2]))
        [0, 1, 2, 3]
    """

    by_class: ClassVar[bool] = False

    def order(self, generator: Generator) -> Tensor:
        """A permutation, [N]."""
        return torch.randperm(self.size, generator=generator)

    def correction(self) -> None:
        """None: the prior stays as it is."""
