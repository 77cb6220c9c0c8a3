"""Parameter gradients by segment of a batch whose examples are not sorted by segment."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tailgrad.interference.rules import Call, batch_norm, layer_norm, rule_of

_ROW_BY_ROW = (
    batch_norm,
    layer_norm,
)  # small results an example: summing those moves less than sorting the inputs


def ordered(
    call: Call, grad: Tensor, bounds: Sequence[int], order: Tensor
) -> Iterator[tuple[Any, int, Tensor]]:
    """What the function's rule gives for the examples in a given order.

    Args:
        call: the use of parameters, its tensors [N * r, ...] in the order of the batch.
        grad: gradient of its output [N * r, ...].
        bounds: where segments begin and end in ``order``, in examples; those after the last are left out.
        order: the N examples, segment by segment.

    Example:
        >>> from torch.nn import functional as F
        >>> call = Call(F.linear, (torch.tensor([[1.0], [2.0], [4.0]]), torch.ones(1, 1)), {}, [1], [0])
        >>> order = torch.tensor([2, 0, 1])
        >>> [g.flatten().tolist() for *_, g in ordered(call, torch.ones(3, 1), [0, 2, 3], order)]
        [[5.0, 2.0]]
    """
    rule, ratio = rule_of(call.func, call), len(grad) // len(order)
    if rule in _ROW_BY_ROW:
        owner = torch.full((len(order),), len(bounds) - 1)
        owner[order[: bounds[-1]].cpu()] = torch.repeat_interleave(torch.tensor(bounds).diff())
        owner = owner.repeat_interleave(ratio).to(grad.device)
        for place, _, rows in rule(call, grad, range(len(grad) + 1)):
            yield place, 0, rows.new_zeros(len(bounds), *rows.shape[1:]).index_add_(0, owner, rows)[:-1]
        return
    taken = call.replaced_by({place: _taken(call.at(place), order, bounds[-1]) for place in call.batched})
    for place, first, stack in rule(
        taken, _taken(grad, order, bounds[-1]), [bound * ratio for bound in bounds]
    ):
        if place not in call.batched:
            yield place, first, stack
            continue
        whole = stack.new_zeros(len(stack), *call.at(place).shape)  # made of parameters, one row an example
        yield place, first, whole.index_copy_(1, _rows(call.at(place), order, bounds[-1]), stack)


def _rows(values: Tensor, order: Tensor, count: int) -> Tensor:
    """Places of the first n of N examples in values [N * r, ...]."""
    rows, ratio = order[:count].to(values.device), len(values) // len(order)
    if ratio > 1:
        rows = (rows[:, None] * ratio + torch.arange(ratio, device=values.device)).flatten()
    return rows


def _taken(values: Tensor, order: Tensor, count: int) -> Tensor:
    """Rows of the first n of N examples, in the memory layout that the values have."""
    rows = _rows(values, order, count)
    if values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last):
        return values.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)
    return values.index_select(0, rows)
