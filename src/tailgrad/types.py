"""The small values that travel between folders: batches, outputs, classes, corrections, step records."""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from tailgrad.checks import InputError


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's examples.

    Args:
        inputs: images [N, 3, H, W], or several views of them [V, N, 3, H, W].
        target: class indices [N] (int64) or class probabilities [N, K].
        index: position of each example in its source, [N] (int64).
        partner: a second batch drawn for the same step (two-branch samplers), or None.

    Example:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]), torch.tensor([5, 7]))
        >>> len(batch)
        2
    """

    inputs: Tensor
    target: Tensor
    index: Tensor
    partner: "Batch | None" = None

    def __len__(self) -> int:
        return len(self.target)


class Output(NamedTuple):
    """What a classifier computes for N examples; a tuple, which passes through wrappers such as Fabric's.

    Args:
        logits: [N, K].
        features: pooled features [N, D].
        experts: logits of E experts [E, N, K], or None.

    Example:
        >>> import torch
        >>> Output(torch.zeros(2, 3), torch.zeros(2, 8)).experts is None
        True
    """

    logits: Tensor
    features: Tensor
    experts: Tensor | None = None


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """Class names and training counts, in one order, kept together.

    Args:
        names: K names.
        counts: K training counts, each at least 0.

    Raises:
        InputError: the two differ in length, or a count is negative.

    Example:
        >>> info = ClassInfo(("cat", "dog"), (10, 2))
        >>> info.num_classes, info.imbalance_factor
        (2, 5.0)
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.counts):
            raise InputError(
                f"names and counts must have one entry a class, got {len(self.names)} names and "
                f"{len(self.counts)} counts; give both in the same order"
            )
        for k, n in enumerate(self.counts):
            if n < 0:
                raise InputError(f"counts must be at least 0, got counts[{k}]={n}; count again")

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.names)

    @property
    def imbalance_factor(self) -> float:
        """Largest count over smallest non-zero count (1.0 without any example)."""
        seen = [n for n in self.counts if n > 0]
        return max(seen) / min(seen) if seen else 1.0


@dataclass(frozen=True, slots=True)
class Correction:
    """How a component shifts the class prior, as an entry of the correction ledger.

    ``"sampling"`` holds ``log(q_k / pi_k)``, the share drawn over the share of the data, and ``"weight"``
    ``log w_k`` of the loss: both lift class k. ``"train_shift"`` holds ``s_k``, added to logits in training
    only, and ``"test_shift"`` ``t_k``, subtracted from logits after training: both lower it. ``"listed"``
    holds zeros or nothing, for what has no known size: margins, smoothing, a method not fitted yet.

    Args:
        kind: one of the five.
        log_shift: K natural logarithms.

    Example:
        >>> Correction("weight", (0.0, 2.3)).kind
        'weight'
    """

    kind: str
    log_shift: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one optimiser step tells its observers.

    Args:
        step: optimiser steps taken so far, counted from 1.
        epoch: epoch the step belongs to, counted from 1.
        loss: the loss that was differentiated.
        index: positions of the batch's examples in the source.
        extra: further named numbers.

    Example:
        >>> StepRecord(step=1, epoch=1, loss=0.7).loss
        0.7
    """

    step: int
    epoch: int
    loss: float
    index: tuple[int, ...] = ()
    extra: dict[str, float] = field(default_factory=dict)
