"""A regulariser that draws features together within classes and class means apart."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tailgrad.checks import in_range
from tailgrad.distributed import is_spread, sum_over_ranks, summed
from tailgrad.losses.arguments import required_counts, set_reduction
from tailgrad.losses.features import check_labels, check_rows, unit
from tailgrad.losses.frozen import may_update
from tailgrad.losses.wide_buffers import keep_wide
from tailgrad.precision import full_precision
from tailgrad.settings import Settings
from tailgrad.types import Correction


class NeuralCollapseLoss(Settings, nn.Module):
    """``a mean_i |h_i - mu_{y_i}|^2 / D + b mean_c max_{c' != c} cos(mu_c - mu_G, mu_c' - mu_G)``.

    The second mean is over the classes c of the batch, the maximum over all other classes seen so far.
    ``mu_c`` are moving averages of class means: ``m`` times the last value plus ``1 - m`` times the batch's
    mean of the class, through which the gradient flows; the first batch with the class sets it. ``mu_G`` is
    their mean over the classes seen so far, each counting once.

    Args:
        class_counts: training examples of each class, each at least 1; needed, for their number.
        dim: width D of the features, at least 1.
        momentum: m, 0 to below 1.
        warmup: updates over which the loss rises to its full value, at least 0: early means are rough.
        compactness: a, at least 0.
        separation: b, at least 0.
        reduction: ``"mean"``, or ``"sum"``, N times the mean.

    Raises:
        InputError: an argument, shape, type or target value does not fit; targets are probabilities.

    State: class means and which classes were seen, now and before the last update, and the updates so far.
    What stays ``frozen`` in a training step starts from where the last update started, so that SAM's second
    pass is the same function as its first. Over several processes the batch is that of all: the mean of their
    losses and of their gradients is what one process finds on the whole batch.

    Source: the idea of "Inducing neural collapse in deep long-tailed learning", of which only the abstract
    was read: both terms, moving averages and warm-up are ours, and so are all values.

    Example:
        >>> loss = NeuralCollapseLoss([3, 1], dim=2, warmup=0)
        >>> loss(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 1]))
        tensor(-1.)
    """

    takes: ClassVar[str] = "features"
    soft_targets: ClassVar[bool] = False
    set_level: ClassVar[bool] = True
    means: Tensor
    seen: Tensor
    updates: Tensor
    means_before: Tensor
    seen_before: Tensor

    def __init__(
        self,
        class_counts: Sequence[int] | None = None,
        *,
        dim: int = 128,
        momentum: float = 0.9,
        warmup: int = 100,
        compactness: float = 1.0,
        separation: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.num_classes = len(required_counts(class_counts, "NeuralCollapseLoss"))
        in_range("dim", dim, 1)
        self.momentum = in_range("momentum", momentum, 0, 0.999999)
        self.warmup = in_range("warmup", warmup, 0)
        self.compactness = in_range("compactness", compactness, 0)
        self.separation = in_range("separation", separation, 0)
        self.reduction = set_reduction(reduction, over="examples")
        self.register_buffer("means", torch.zeros(self.num_classes, dim))
        self.register_buffer("seen", torch.zeros(self.num_classes, dtype=torch.bool))
        self.register_buffer("updates", torch.zeros(()))
        self.register_buffer("means_before", self.means.clone())
        self.register_buffer("seen_before", self.seen.clone())

    def forward(self, features: Tensor, target: Tensor) -> Tensor:
        """The loss of features [N, D] for class indices [N]."""
        check_rows(features, self.means.shape[1])
        check_labels(target, len(features), self.num_classes)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        target = target.long()
        sums, counts = self._batch(features, target)
        last, seen_last, updates = self._start()
        means, seen = _moved(last.to(features.dtype), seen_last, sums, counts, self.momentum)
        ramp = ((updates + 1) / self.warmup).clamp(max=1) if self.warmup else 1.0
        if may_update(self):
            self._keep(means.detach(), seen)
        # As a part of the sum over ranks, times their number: the mean over ranks is that of all examples.
        share = len(features) / counts.sum() * (dist.get_world_size() if self._is_joint() else 1)
        within = share * (features - means[target]).square().mean()
        closeness = _closeness(means, seen, counts.nonzero().flatten())
        value = ramp * (self.compactness * within + self.separation * closeness)
        return value * len(features) if self.reduction == "sum" else value

    def correction(self) -> Correction | None:
        """None: it acts on features, whose classifier is another loss's matter."""
        return None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        keep_wide(self, partial(super()._apply, fn, recurse))
        return self

    def _is_joint(self) -> bool:
        return self.training and torch.is_grad_enabled() and is_spread()

    def _batch(self, features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Sums [K, D] and numbers [K] of the classes, in training over all ranks."""
        sums = features.new_zeros(self.means.shape).index_add(0, target, features)
        counts = features.new_zeros(self.num_classes).index_add(0, target, torch.ones_like(features[:, 0]))
        return (summed(sums), sum_over_ranks(counts)) if self._is_joint() else (sums, counts)

    def _start(self) -> tuple[Tensor, Tensor, Tensor]:
        """Means, classes seen and updates from which this pass goes on."""
        if self.training and torch.is_grad_enabled() and not may_update(self):
            return self.means_before, self.seen_before, (self.updates - 1).clamp(min=0)
        return self.means, self.seen, self.updates

    def _keep(self, means: Tensor, seen: Tensor) -> None:
        self.means_before.copy_(self.means)
        self.seen_before.copy_(self.seen)
        self.means.copy_(means)
        self.seen.copy_(seen)
        self.updates += 1


def _moved(
    last: Tensor, seen: Tensor, sums: Tensor, counts: Tensor, momentum: float
) -> tuple[Tensor, Tensor]:
    """Means [K, D] moved by a batch, and the classes seen [K]."""
    # A batch that is no number shows in the loss and is not remembered.
    here = (counts > 0) & sums.isfinite().all(1)
    batch = sums / counts.clamp(min=1)[:, None]
    kept = momentum * seen.to(last.dtype)[:, None]
    return torch.where(here[:, None], kept * last + (1 - kept) * batch, last), here | seen


def _closeness(means: Tensor, seen: Tensor, here: Tensor) -> Tensor:
    """Mean over the classes ``here`` of the largest cosine to another, after taking away the common mean."""
    shares = seen.to(means.dtype)
    number = shares.sum()
    directions = unit(means - (shares[:, None] * means).sum(0) / number)
    with full_precision(means):
        cosines = directions[here] @ directions.T
    others = seen & (torch.arange(len(seen), device=seen.device) != here[:, None])
    return cosines.masked_fill(~others, -2).amax(1).mean() * (number > 1)
