"""The small values that travel between folders: batches, outputs, classes, corrections, step records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data._utils.collate import default_collate_fn_map

from tailgrad.checks import InputError


@dataclass(eq=False, slots=True)
class TableInputs:
    """Rows of a table as a network takes them: numbers and categories of N examples.

    It stands where a tensor of images stands: it moves ``to`` a device, has a length, is indexed by a number,
    a slice or a tensor of positions, and is a node of PyTorch's trees. ``DataLoader`` stacks rows into it and
    pins it. Treat it as frozen; it is not, because Lightning fills copies field by field.

    Args:
        numbers: numeric columns [N, F], floating point.
        categories: positions of categories [N, C] (int64); 0 is a category that training has not seen.

    Example:
        >>> rows = TableInputs(torch.rand(5, 3), torch.zeros(5, 2, dtype=torch.long))
        >>> len(rows), len(rows[torch.tensor([4, 0])]), rows[1:3].categories.shape
        (5, 2, torch.Size([2, 2]))
    """

    numbers: Tensor
    categories: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: int | slice | Tensor) -> "TableInputs":
        return TableInputs(self.numbers[rows], self.categories[rows])

    @property
    def device(self) -> torch.device:
        """Where both tensors are."""
        return self.numbers.device

    def to(self, *target: Any, **options: Any) -> "TableInputs":
        """Both on another device; a type given besides is that of the numbers alone."""
        numbers = self.numbers.to(*target, **options)
        waits = {"non_blocking": options.get("non_blocking", False)}
        return TableInputs(numbers, self.categories.to(numbers.device, **waits))

    def pin_memory(self) -> "TableInputs":
        """Both in pinned memory."""
        return TableInputs(self.numbers.pin_memory(), self.categories.pin_memory())


def _stacked(rows: Sequence[TableInputs], **_: Any) -> TableInputs:
    """What ``DataLoader`` makes of single rows."""
    return TableInputs(torch.stack([r.numbers for r in rows]), torch.stack([r.categories for r in rows]))


default_collate_fn_map[TableInputs] = _stacked
pytree.register_pytree_node(
    TableInputs,
    lambda inputs: ([inputs.numbers, inputs.categories], None),
    lambda parts, _: TableInputs(*parts),
    serialized_type_name="tailgrad.types.TableInputs",
)

Inputs = Tensor | TableInputs
"""What a network takes of N examples: images [N, 3, H, W], or rows of a table."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's examples.

    Args:
        inputs: images [N, 3, H, W], several views of them [V, N, 3, H, W], or rows of a table.
        target: class indices [N] (int64) or class probabilities [N, K].
        index: position of each example in its source, [N] (int64).
        partner: a second batch drawn for the same step (two-branch samplers), or None.

    Example:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 3, 8, 8), torch.tensor([0, 1]), torch.tensor([5, 7]))
        >>> len(batch)
        2
    """

    inputs: Inputs
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
