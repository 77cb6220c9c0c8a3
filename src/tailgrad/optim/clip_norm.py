"""Gradients no longer than a bound, whatever way of stepping made them."""

from typing import Any

from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from tailgrad.checks import in_range


def clip_norm(optimizer: Optimizer, most: float) -> Optimizer:
    """Let every step of ``optimizer`` first scale its gradients so that their joint norm is at most ``most``.

    On the innermost optimiser this is the gradient that the weights move along: of a sharpness-aware one that
    at the perturbed weights, of class gradients their combination, under several processes that of all.

    Args:
        optimizer: is changed.
        most: largest norm over all its parameters together, at least 0; 0 changes nothing.

    Raises:
        InputError: ``most`` is negative.

    Source: Pascanu et al., arXiv 1211.5063, as ``torch.nn.utils.clip_grad_norm_``.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = clip_norm(torch.optim.SGD([weight], lr=1.0), 1.0)
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> _ = optimizer.step()
        >>> weight.data
        tensor([-0.6000, -0.8000])
    """
    if in_range("train.clip_norm", most, 0) > 0:

        def clip(stepping: Optimizer, _args: Any, _kwargs: Any) -> None:
            clip_grad_norm_([p for group in stepping.param_groups for p in group["params"]], most)

        optimizer.register_step_pre_hook(clip)
    return optimizer
