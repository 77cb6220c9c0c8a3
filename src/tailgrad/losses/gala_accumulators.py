"""GALA's accumulated logit gradients."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from tailgrad.checks import in_range, one_of
from tailgrad.losses.wide_buffers import keep_wide

ACCUMULATIONS = ("double", "sum", "ema")


class GALAAccumulators(nn.Module):
    """``theta`` [K], from the gradient ``g_t`` of every step's positive logits, over all steps before.

    ``"double"``, as in the authors' code: ``A_t = A_{t-1} + g_t``, ``theta_t = theta_{t-1} + A_t``, so step
    s enters ``theta_T`` with weight T - s + 1. ``"sum"``: ``theta_t = theta_{t-1} + g_t``. ``"ema"``:
    ``theta_t = m theta_{t-1} + (1 - m) g_t``. Both vectors start from ``start * pi``: as many steps over data
    with the training shares pi, at p_y = 0. Both stay in float32 or wider whatever the module is cast to.

    Args:
        class_counts: training examples of each class, each at least 1.
        accumulation: ``"double"``, ``"sum"`` or ``"ema"``.
        momentum: m, 0 to 1.
        start: steps of class counts put in beforehand, at least 0.

    Raises:
        InputError: an argument is outside its range.

    Example:
        >>> accumulators = GALAAccumulators([1, 1], "double", start=0.0)
        >>> for _ in range(3):
        ...     accumulators.add(torch.tensor([1.0, 2.0]))
        >>> accumulators.theta
        tensor([ 6., 12.])
    """

    total: Tensor
    theta: Tensor

    def __init__(
        self,
        class_counts: Sequence[int],
        accumulation: str = "double",
        *,
        momentum: float = 0.999,
        start: float = 0.0,
    ) -> None:
        super().__init__()
        self.accumulation = one_of("accumulation", accumulation, ACCUMULATIONS)
        self.momentum = in_range("momentum", momentum, 0, 1)
        shares = torch.tensor(class_counts, dtype=torch.float64) / sum(class_counts)
        first = (in_range("start", start, 0) * shares).float()
        self.register_buffer("total", first)
        self.register_buffer("theta", first.clone())

    @torch.no_grad()
    def add(self, gradient: Tensor) -> None:
        """Take in the positive logit gradients of one step, [K]; nothing where one is not finite."""
        gradient = gradient.to(self.theta.dtype)
        is_whole = gradient.isfinite().all()
        theta, total = self._after(gradient)
        # Chosen on the device: a look at the numbers would wait for it.
        self.theta.copy_(torch.where(is_whole, theta, self.theta))
        self.total.copy_(torch.where(is_whole, total, self.total))

    def _after(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        if self.accumulation == "ema":
            return self.theta.lerp(gradient, 1 - self.momentum), self.total
        total = self.total + gradient
        return self.theta + (total if self.accumulation == "double" else gradient), total

    def log(self, floor: float, *, scale_free: bool) -> Tensor:
        """``log(theta + floor)`` [K], of theta divided by its mean if ``scale_free``."""
        theta = self.theta
        if scale_free:
            theta = theta / theta.mean().clamp(min=torch.finfo(theta.dtype).tiny)
        return (theta + floor).log()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        keep_wide(self, partial(super()._apply, fn, recurse))
        return self
