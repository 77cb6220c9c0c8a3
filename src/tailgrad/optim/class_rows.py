"""Class gradients of a step with what else is known of the classes, merged over processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from tailgrad.checks import one_of
from tailgrad.distributed import is_spread, rows_of_all, sum_over_ranks
from tailgrad.interference.masked import masked_gradients

PRIORS = ("uniform", "batch")


@dataclass(frozen=True)
class ClassRows:
    """The classes of one batch, over all processes where there are several.

    Args:
        rows: gradient of each class's mean loss [m, P].
        classes: the m classes present, rising (int64, on the CPU).
        counts: their examples [m] (float64, on the CPU).
        losses: their mean losses [m] (float64, on the CPU).

    Example:
        >>> found = ClassRows(torch.eye(2), torch.arange(2), torch.tensor([3.0, 1.0]), torch.ones(2))
        >>> found.factors("batch")
        tensor([1.5000, 0.5000])
    """

    rows: Tensor
    classes: Tensor
    counts: Tensor
    losses: Tensor

    def factors(self, prior: str) -> Tensor:
        """Factors [m] of mean 1 on the rows: 1 for ``"uniform"``, ``m n_c / N`` for ``"batch"``."""
        if one_of("prior", prior, PRIORS) == "uniform":
            return torch.ones_like(self.counts)
        return self.counts / self.counts.mean()

    def example_weights(self, target: Tensor, prior: str) -> Tensor:
        """``factor_c / (m n_c)`` of each example of this process [N]: the mean of the rows as one sum."""
        by_class = self.factors(prior) / (len(self.counts) * self.counts)
        return by_class[torch.searchsorted(self.classes, target.cpu().long())]


def class_rows(
    losses: Tensor, target: Tensor, parameters: Sequence[Tensor], *, retain_graph: bool = False
) -> ClassRows:
    """The rows of ``masked_gradients`` with counts and mean losses.

    Raises:
        InputError: as ``masked_gradients``.

    Example:
        >>> w = torch.zeros(1, requires_grad=True)
        >>> found = class_rows(torch.tensor([1.0, 2.0, 6.0]) * w, torch.tensor([4, 7, 7]), [w])
        >>> found.rows.flatten(), found.counts
        (tensor([1., 4.]), tensor([1., 2.], dtype=torch.float64))
    """
    everyone, all_losses = rows_of_all(target)[0].cpu().long(), rows_of_all(losses.detach())[0]
    classes, place, numbers = torch.unique(everyone, return_inverse=True, return_counts=True)
    found = dict(zip(classes.tolist(), numbers.tolist(), strict=True))
    rows = _rows(losses, target, parameters, retain_graph, found)
    counts = numbers.double()
    sums = torch.zeros_like(counts).index_add_(0, place, all_losses.cpu().double())
    return ClassRows(rows, classes, counts, sums / counts)


def _rows(
    losses: Tensor, target: Tensor, parameters: Sequence[Tensor], retain_graph: bool, counts: dict[int, int]
) -> Tensor:
    if not is_spread():
        return masked_gradients(losses, target, parameters, retain_graph=retain_graph)[0]
    # All ranks make the same passes, since BatchNorm over ranks has all take part in each.
    world = dist.get_world_size()
    sizes = {label: count / world for label, count in counts.items()}
    rows, _ = masked_gradients(losses, target, parameters, retain_graph=retain_graph, sizes=sizes)
    return sum_over_ranks(rows) / world


def same_on_ranks(values: Tensor) -> Tensor:
    """The values of the first process, on all: a random method draws differently on each.

    Example:
        >>> same_on_ranks(torch.ones(2))
        tensor([1., 1.])
    """
    if is_spread():
        dist.broadcast(values, 0)
    return values
