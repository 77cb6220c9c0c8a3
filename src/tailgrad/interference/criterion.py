"""The loss whose class gradients are compared: one number an example."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tailgrad.checks import InputError
from tailgrad.frozen import frozen

Criterion = Callable[[Tensor, Tensor], Tensor]


def per_example(criterion: Criterion | None) -> Criterion:
    """The criterion, or unweighted cross-entropy, refused where it cannot give one loss an example.

    Raises:
        InputError: it is not callable, averages over the batch, or does not take logits.

    Example:
        >>> per_example(torch.nn.CrossEntropyLoss())
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: criterion must give one loss an example, got CrossEntropyLoss with
        reduction='mean'; build it with reduction="none"
    """
    if criterion is None:
        return _cross_entropy
    if not callable(criterion):
        raise InputError(
            f"criterion must be callable, got {criterion!r}; pass a function of (logits, target)"
        )
    name = type(criterion).__name__
    reduction = getattr(criterion, "reduction", "none")
    if reduction != "none":
        raise InputError(
            f"criterion must give one loss an example, got {name} with reduction={reduction!r}; "
            'build it with reduction="none"'
        )
    takes = getattr(criterion, "takes", "logits")
    if takes != "logits":
        raise InputError(
            f"criterion must take logits, got {name} which takes {takes!r}; choose a loss on logits"
        )
    return criterion


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, reduction="none")


def aside(criterion: Criterion, logits: Tensor, target: Tensor) -> Tensor:
    """What the criterion gives, while no loss that it uses may change its state.

    Example:
        >>> aside(per_example(None), torch.zeros(1, 2), torch.tensor([1]))
        tensor([0.6931])
    """
    with frozen():  # of all losses: a function does not tell which it uses
        return criterion(logits, target)


def losses(criterion: Criterion, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Losses [n] of examples, and their gradients with respect to the logits [n, K].

    Raises:
        InputError: not one number an example, or not differentiable.

    Example:
        >>> losses(per_example(None), torch.zeros(1, 2), torch.tensor([1]))
        (tensor([0.6931]), tensor([[ 0.5000, -0.5000]]))
    """
    logits = logits.detach().requires_grad_()
    loss = aside(criterion, logits, target)
    if not isinstance(loss, Tensor) or loss.shape != (len(logits),):
        came = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(
            f'criterion must return one loss an example [{len(logits)}], got {came}; use reduction="none"'
        )
    if not loss.requires_grad:
        raise InputError(
            "criterion must be differentiable, got a loss without a graph; remove no_grad and detach from it"
        )
    return loss.detach(), torch.autograd.grad(loss.sum(), logits)[0]
