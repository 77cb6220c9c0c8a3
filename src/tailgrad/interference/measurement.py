"""What is gathered for one record, from the forward pass to the end of the step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from tailgrad.distributed import is_spread, sum_over_ranks
from tailgrad.interference.contributions import LogitPull, logit_pull
from tailgrad.interference.gram import Array
from tailgrad.interference.scope import Scope
from tailgrad.interference.sketch import Sketcher
from tailgrad.interference.tally import Tally

MAX_BYTES = 256 * 2**20
"""Above this size contributions are kept as sketches."""

SKETCH = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The figures of one step.

    Args:
        classes: the m classes present, rising.
        counts: their examples in the batch [m].
        cross_entropy: their mean unweighted cross-entropy before the update [m].
        gram: inner products of their contributions to the gradient [m, m].
        product: inner products of their contributions with ``theta_before - theta_after`` [m].
        update_norm: ``|theta_before - theta_after|``.
        pull: positive and negative logit gradients of all K classes.
        batches: micro-batches behind the update.
        sketch: numbers kept of each contribution; 0 is exact.

    Example:
        >>> pull = LogitPull(np.zeros(2), np.zeros(2))
        >>> Found([0], np.ones(1), np.ones(1), np.eye(1), np.ones(1), 1.0, pull, 1, 0).is_finite
        True
    """

    classes: list[int]
    counts: Array
    cross_entropy: Array
    gram: Array
    product: Array
    update_norm: float
    pull: LogitPull
    batches: int
    sketch: int

    @property
    def is_finite(self) -> bool:
        """Whether every gradient was finite; where a gradient scaler overflowed it was not."""
        return bool(np.isfinite(self.gram).all() and np.isfinite(self.product).all())


class Measurement:
    """Adds up what the micro-batches of one step give.

    Args:
        num_classes: K.
        scale: gives the factor by which the loss was multiplied before the backward pass.

    Example: see ``Monitor``.
    """

    def __init__(self, num_classes: int, scale: Callable[[], float]) -> None:
        self.num_classes, self._scale = num_classes, scale
        self.is_broken = False
        self.tally: Tally | None = None
        self._factor: float | None = None
        self._batches = self._sketch = 0
        self._parameters: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}
        self._versions: list[int] = []
        self._pending: tuple[Tensor, Tensor] | None = None
        self._counts = torch.zeros(num_classes, dtype=torch.float64)
        self._losses = torch.zeros(num_classes, dtype=torch.float64)
        self._pull = LogitPull(np.zeros(num_classes), np.zeros(num_classes))

    @property
    def has_backward(self) -> bool:
        """Whether a backward pass was heard."""
        return self._batches > 0

    @property
    def is_void(self) -> bool:
        """Whether nothing worth keeping was gathered: no backward pass, or one of a step that is over."""
        now = [p._version for p in self._parameters.values()]
        return not self._batches or now != self._versions

    def open(self, scope: Scope, classes: Sequence[int], whole: bool) -> Tally:
        """Get ready for the forward pass of a micro-batch; ``whole`` keeps room for all classes."""
        if self.tally is None:
            sketcher = _sketcher(scope, self.num_classes if whole else len(classes))
            self._sketch = 0 if sketcher is None or sketcher.is_exact else sketcher.size
            self.tally = Tally(scope.measured, sketcher, set(scope.measured) - scope.verified)
            self._parameters = scope.measured or scope.parameters  # the size of the update is always known
            self._before = {n: p.detach().clone() for n, p in self._parameters.items()}
            self._versions = [p._version for p in self._parameters.values()]
        self.tally.open(classes)
        return self.tally

    def forward(self, logits: Tensor, target: Tensor) -> None:
        """Note the losses of a micro-batch; they count once its backward pass has begun."""
        exact = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        losses = F.cross_entropy(exact, target, reduction="none").cpu().double()
        self._pending = target.cpu(), losses

    def backward(self) -> None:
        """Note that a gradient arrived; the scaler changes its factor before the step is over."""
        if self._factor is None:
            self._factor = float(self._scale())
        if self._pending is None:
            return
        (labels, losses), self._pending = self._pending, None
        self._losses.index_add_(0, labels, losses)
        self._counts.index_add_(0, labels, torch.ones_like(losses))
        self._batches += 1

    def pull(self, gradient: Tensor, target: Tensor) -> None:
        """Add the logit gradients of a micro-batch."""
        self._pull += logit_pull(gradient, target.to(gradient.device))

    def wrong(self, scope: Scope) -> tuple[bool, list[str]]:
        """Whether the measurement broke on any rank, and what did not add up on any.

        What is masked on one rank is so on all afterwards, that they go on measuring the same parameters.
        """
        assert self.tally is not None
        mine = set(self.tally.wrong())
        device = next(iter(scope.parameters.values())).device
        names, is_broken = list(scope.parameters), self.is_broken or self._factor is None
        flags = [[is_broken] * len(names), [n in mine for n in names], [n in scope.masked for n in names]]
        found = sum_over_ranks(torch.tensor(flags, dtype=torch.float32, device=device)).cpu() > 0
        wrong, masked = (
            [n for n, flag in zip(names, row, strict=True) if flag] for row in found[1:].tolist()
        )
        scope.demote(scope.split.keys() & masked, "it could not be split by another process")
        return bool(found[0].any()), wrong

    def found(self) -> Found:
        """The figures, over all ranks; call it after the optimiser step."""
        assert self.tally is not None
        update = {n: before - self._parameters[n].detach() for n, before in self._before.items()}
        self.tally.merge(self.num_classes)
        gram, product = self.tally.products(update)
        counts, losses, own, others = self._over_ranks(next(iter(update.values())).device)
        present = [i for i, c in enumerate(self.tally.classes) if counts[c] > 0]
        present.sort(key=lambda i: self.tally.classes[i])  # type: ignore[union-attr]
        classes = [self.tally.classes[i] for i in present]
        factor = self._factor or 1.0
        return Found(
            classes,
            counts[classes],
            losses[classes] / counts[classes],
            gram[np.ix_(present, present)] / factor**2,
            product[present] / factor,
            float(torch.stack([u.double().square().sum().cpu() for u in update.values()]).sum().sqrt()),
            LogitPull(own / factor, others / factor),
            self._batches,
            self._sketch,
        )

    def _over_ranks(self, device: torch.device) -> npt.NDArray[np.float64]:
        """Counts, losses and both pulls [4, K]; the pulls averaged as gradients are."""
        pulls = torch.from_numpy(np.stack([self._pull.own, self._pull.others])) / _world()
        mine = torch.cat([torch.stack([self._counts, self._losses]), pulls])
        return np.asarray(sum_over_ranks(mine.to(device)).cpu().numpy())


def _world() -> int:
    return torch.distributed.get_world_size() if is_spread() else 1


def _sketcher(scope: Scope, rows: int) -> Sketcher | None:
    numels = {name: p.numel() for name, p in scope.measured.items()}
    size = max(p.element_size() for p in scope.parameters.values())
    if rows * sum(numels.values()) * max(4, size) <= MAX_BYTES:
        return None
    return Sketcher(numels, SKETCH)
