"""What a sharpness-aware optimiser is given in a step, checked."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from tailgrad.checks import InputError

Closure = Callable[[], tuple[Tensor, Tensor]]


def listed(closure: Closure | Iterable[Closure] | None) -> list[Closure]:
    """The closures of a step, each of which may be called again.

    Raises:
        InputError: there is none, or something is no function.

    Example:
        >>> len(listed([lambda: None, lambda: None]))
        2
    """
    given = list(closure) if isinstance(closure, Iterable) else [closure]
    found = [c for c in given if callable(c)]
    if not found or len(found) < len(given):
        other = next((type(c).__name__ for c in given if not callable(c)), "")
        came = f"{type(closure).__name__} with {other}" if other and closure is not None else repr(closure)
        raise InputError(
            f"closure must be a function that returns (losses [N], target [N]), or several, got {came}; "
            "call step(lambda: (losses, target))"
        )
    return found


def checked(result: object, num_classes: int | None) -> tuple[Tensor, Tensor]:
    """Losses and target that a closure returned.

    Args:
        result: (losses [N], target [N]).
        num_classes: what class indices must be below, read where that is free (on the CPU); None takes any
            target with a row for each loss.

    Raises:
        InputError: a kind, shape or value does not fit.

    Example:
        >>> checked((torch.ones(2, requires_grad=True), torch.tensor([0, 3])), 3)
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: target must be in 0..2, got target[1]=3; check the labels against ...
    """
    if not (isinstance(result, tuple) and len(result) == 2 and all(isinstance(r, Tensor) for r in result)):
        raise InputError(
            f"closure must return (losses [N], target [N]), got {type(result).__name__}; give one loss an "
            "example and the class indices (under Lightning, with automatic_optimization = False)"
        )
    losses, target = result
    _check_losses(losses)
    if len(target.shape) == 0 or len(target) != len(losses):
        raise InputError(
            f"target must have {len(losses)} rows, one for each loss, got {list(target.shape)}; return the "
            "batch's own target"
        )
    if num_classes is not None:
        _check_classes(target, num_classes)
    return losses, target


def _check_losses(losses: Tensor) -> None:
    if losses.ndim != 1 or not len(losses):
        raise InputError(
            f'losses must be one number an example [N], got {list(losses.shape)}; use reduction="none"'
        )
    if not losses.requires_grad:
        raise InputError(
            f"losses must have a graph, got {len(losses)} numbers without one; remove detach and do not call "
            "backward"
        )


def _check_classes(target: Tensor, num_classes: int) -> None:
    whole = not target.is_floating_point() and target.dtype != torch.bool and not target.is_complex()
    if target.ndim != 1 or not whole:
        raise InputError(
            f"target must be class indices [{len(target)}], got {target.dtype} {list(target.shape)}; classes "
            'are told apart here: switch mixing off, or use variant "sam", which takes soft targets'
        )
    bad = ((target < 0) | (target >= num_classes)).nonzero().flatten().tolist() if target.is_cpu else []
    if bad:
        i = bad[0]
        raise InputError(
            f"target must be in 0..{num_classes - 1}, got target[{i}]={int(target[i])}; check the labels "
            "against class_counts"
        )
