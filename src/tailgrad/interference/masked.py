"""Class gradients of one batch from one shared forward pass, by one masked backward pass a class."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tailgrad.checks import InputError


def masked_gradients(
    losses: Tensor,
    target: Tensor,
    parameters: Sequence[Tensor],
    *,
    retain_graph: bool = False,
    sizes: Mapping[int, float] | None = None,
) -> tuple[Tensor, Tensor]:
    """``g_c = grad (1/n_c) sum_{i: y_i = c} loss_i`` of every class in the batch.

    All classes share one forward pass. In training mode BatchNorm couples the examples there, so that
    ``g_c`` also holds what class c's loss asks of the other classes' activations; the rows still add up:
    ``sum_c (n_c / N) g_c`` is the gradient of the mean loss.

    Args:
        losses: one loss an example [N], with a graph.
        target: class indices [N], integers from 0.
        parameters: what to differentiate by, P numbers in all; one that no loss reaches gives zeros.
        retain_graph: whether the graph may be used again afterwards.
        sizes: what to divide by for each class, where these are some examples of a larger batch; every class
            named gets a row. None for ``n_c`` of the classes present.

    Returns:
        Gradients [m, P] in at least float32, one row for each of the m classes present, and those classes
        [m] in rising order (int64, on the CPU).

    Raises:
        InputError: losses are reduced, not finite or without a graph, the target does not fit them, or there
            is nothing to differentiate by.

    Source: methods of multi-task learning with classes as tasks; one class is left in the loss at a time.

    Example:
        >>> w = torch.zeros(2, requires_grad=True)
        >>> losses = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]) @ w
        >>> masked_gradients(losses, torch.tensor([0, 0, 2]), [w])
        (tensor([[2., 0.],
                [0., 5.]]), tensor([0, 2]))
    """
    _check_losses(losses)
    _check_target(target, len(losses))
    _check_parameters(parameters)
    target = target.to(losses.device)
    classes = torch.unique(target).long().cpu() if sizes is None else torch.tensor(sorted(sizes))
    numels = [p.numel() for p in parameters]
    rows = torch.zeros(len(classes), sum(numels), dtype=_row_dtype(parameters), device=parameters[0].device)
    for place, label in enumerate(classes.tolist()):
        share = (target == label).to(losses.dtype)
        last = place == len(classes) - 1
        gradients = torch.autograd.grad(
            losses,
            parameters,
            share / (share.sum() if sizes is None else sizes[label]),
            retain_graph=retain_graph or not last,
            allow_unused=True,
        )
        for part, gradient in zip(torch.split(rows[place], numels), gradients, strict=True):
            if gradient is not None:
                part.copy_(gradient.to_dense().reshape(-1))
    return rows, classes


def _row_dtype(parameters: Sequence[Tensor]) -> torch.dtype:
    dtype = torch.float32
    for parameter in parameters:
        dtype = torch.promote_types(dtype, parameter.dtype)
    return dtype


def _check_losses(losses: Tensor) -> None:
    if not isinstance(losses, Tensor) or losses.ndim != 1 or not len(losses):
        came = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise InputError(f'losses must be one number an example [N], got {came}; use reduction="none"')
    if not losses.requires_grad:
        raise InputError(
            f"losses must have a graph, got {len(losses)} numbers without one; remove no_grad and detach, "
            "and do not call backward before"
        )
    bad = (~losses.detach().isfinite()).nonzero()
    if len(bad):
        i = int(bad[0])
        raise InputError(
            f"losses must be finite, got losses[{i}]={losses[i].item()}; look at this example or lower the "
            "learning rate"
        )


def _check_target(target: Tensor, length: int) -> None:
    whole = not target.is_floating_point() and target.dtype != torch.bool and not target.is_complex()
    if target.shape != (length,) or not whole:
        raise InputError(
            f"target must be class indices [{length}], one for each loss, got {target.dtype} "
            f"{list(target.shape)}; class gradients need whole labels, switch mixing off"
        )
    if int(target.min()) < 0:
        raise InputError(f"target must be at least 0, got {int(target.min())}; leave such examples out")


def _check_parameters(parameters: Sequence[Tensor]) -> None:
    if not len(parameters):
        raise InputError("parameters must hold at least one tensor, got none; pass list(model.parameters())")
    for place, parameter in enumerate(parameters):
        if not parameter.requires_grad:
            raise InputError(
                f"parameters must require gradients, got parameters[{place}] of shape "
                f"{list(parameter.shape)} which does not; leave frozen ones out"
            )
