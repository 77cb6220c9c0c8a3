"""Class gradients of a step with what else is known of the classes, merged over processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from tailgrad.checks import one_of
from tailgrad.distributed import is_spread, sum_over_ranks
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
    rows, classes = masked_gradients(losses, target, parameters, retain_graph=retain_graph)
    place = torch.searchsorted(classes, target.cpu().long())
    values = losses.detach().cpu().double()
    counts = torch.zeros(len(classes), dtype=torch.float64).index_add_(0, place, torch.ones_like(values))
    sums = torch.zeros_like(counts).index_add_(0, place, values)
    found = ClassRows(rows, classes, counts, sums / counts)
    return _merge(found) if is_spread() else found


def same_on_ranks(values: Tensor) -> Tensor:
    """The values of the first process, on all: a random method draws differently on each.

    Example:
        >>> same_on_ranks(torch.ones(2))
        tensor([1., 1.])
    """
    if is_spread():
        dist.broadcast(values, 0)
    return values


def _merge(found: ClassRows) -> ClassRows:
    gathered: list[list[int]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, found.classes.tolist())
    classes = torch.tensor(sorted(set().union(*gathered)))
    place = torch.searchsorted(classes, found.classes)
    home = found.rows.device
    counts = _spread(found.counts.to(home), place, len(classes))
    losses = _spread((found.losses * found.counts).to(home), place, len(classes)) / counts
    weighted = found.rows * found.counts.to(found.rows)[:, None]
    rows = _spread(weighted, place, len(classes)) / counts.to(weighted)[:, None]
    return ClassRows(rows, classes, counts.cpu(), losses.cpu())


def _spread(values: Tensor, place: Tensor, length: int) -> Tensor:
    """Sum over processes, after each put its values where the common list has their class."""
    whole = values.new_zeros((length, *values.shape[1:]))
    whole[place.to(values.device)] = values
    return sum_over_ranks(whole)
