"""MaxNorm: the rows of a classifier kept inside a ball."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from tailgrad.checks import InputError, in_range
from tailgrad.settings import Settings


class MaxNorm(Settings, nn.Module):
    """``w_k <- w_k min(1, theta / |w_k|)``, ``theta = min|w| + share (max|w| - min|w|)`` at the start.

    The threshold is a buffer: fixed when this is made, saved with the state. Rows inside the ball stay bit
    for bit as they are, and so do those that were projected before. A bias is not touched.

    Args:
        weight: one row a class [K, ...], or a module that has one as ``weight``.
        share: where between the shortest and the longest row the threshold lies, 0 to 1.

    Raises:
        InputError: there is no such weight, or ``share`` is outside its range.

    Source: Alshammari et al., "Long-Tailed Recognition via Weight Balancing" (CVPR 2022), with the threshold
    of the authors' code.

    Example:
        >>> rows = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
        >>> ball = MaxNorm(rows)
        >>> ball.project()
        >>> rows.norm(dim=1), ball.theta
        (tensor([1.4000, 1.4000, 1.0000]), tensor(1.4000))
    """

    theta: Tensor

    def __init__(self, weight: Tensor | nn.Module, *, share: float = 0.1) -> None:
        super().__init__()
        in_range("share", share, 0, 1)
        self._held = (weight,)  # in a tuple, so that a module's parameters do not become this one's
        norms = _norms(self._weight())
        low, high = norms.aminmax()
        self.register_buffer("theta", low + share * (high - low))

    @torch.no_grad()
    def project(self) -> None:
        """Shorten the rows that stick out; call it after every step of the optimiser."""
        weight = self._weight()
        norms, theta = _norms(weight), self.theta.to(weight.device)
        # A row just projected may be longer by rounding and must stay as it is.
        outside = norms > theta * (1 + 4 * torch.finfo(weight.dtype).eps)
        factor = torch.where(outside, theta / norms, 1.0).to(weight.dtype)
        weight.mul_(factor.view(-1, *[1] * (weight.ndim - 1)))

    def attach(self, optimizer: Optimizer) -> RemovableHandle:
        """Project after each of the optimiser's steps, until the handle returned is removed."""

        def after(_optimizer: Optimizer, _args: Iterable[Any], _kwargs: dict[str, Any]) -> None:
            self.project()

        return optimizer.register_step_post_hook(after)

    def _weight(self) -> Tensor:
        (held,) = self._held
        weight = getattr(held, "weight", None) if isinstance(held, nn.Module) else held
        if not isinstance(weight, Tensor) or weight.ndim < 2 or not weight.is_floating_point():
            came = list(weight.shape) if isinstance(weight, Tensor) else type(held).__name__
            raise InputError(
                f"weight must hold one row a class [K, ...], got {came}; give the weight of the last layer, "
                "or a module that has one"
            )
        return weight


def _norms(weight: Tensor) -> Tensor:
    rows = weight.detach().flatten(1)
    norms: Tensor = torch.linalg.vector_norm(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)
    return norms
