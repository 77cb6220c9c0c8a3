"""Targets of either kind, class indices [N] or probabilities [N, K], checked and applied."""

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from tailgrad.checks import InputError


def check_target(logits: Tensor, target: Tensor, num_classes: int | None = None) -> None:
    """Make sure that logits and target belong together.

    Shapes and types are always checked, values only where reading them is free: on the CPU, outside
    compilation and function transforms such as ``vmap``.

    Args:
        logits: [N, K] with N at least 1, floating point.
        target: class indices [N] of an integer type, or probabilities [N, K].
        num_classes: the K that the loss knows from its counts or weights.

    Raises:
        InputError: a shape, type or value does not fit; the first bad value is named.

    Example:
        >>> check_target(torch.zeros(2, 3), torch.tensor([0, 3]))
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: target must be in 0..2, got target[1]=3; check ...
    """
    check_tensor("logits", logits)
    check_tensor("target", target)
    if logits.ndim != 2 or not len(logits) or not logits.is_floating_point():
        raise InputError(
            f"logits must be floating point [N, K] with N at least 1, got {logits.dtype} "
            f"{list(logits.shape)}; flatten further dimensions into N"
        )
    if num_classes is not None and logits.shape[1] != num_classes:
        raise InputError(
            f"logits must have one column for each of the {num_classes} classes counted or weighted, "
            f"got {logits.shape[1]}; give the loss the counts of the model's classes"
        )
    soft = target.is_floating_point()
    wanted = logits.shape if soft else logits.shape[:1]
    if target.shape != wanted or target.dtype == torch.bool or target.is_complex():
        raise InputError(
            f"target must be integers {list(logits.shape[:1])} or probabilities {list(logits.shape)}, "
            f"got {target.dtype} {list(target.shape)}; use class indices or one row of probabilities each"
        )
    if is_readable(target):
        if soft:
            _check_rows(target)
        else:
            _check_indices(target, logits.shape[1])


def check_tensor(argument: str, value: object) -> None:
    """Make sure that an argument is a tensor.

    Raises:
        InputError: it is not.

    Example:
        >>> check_tensor("target", [0, 1])
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: target must be a tensor, got list; use torch.as_tensor
    """
    if not isinstance(value, Tensor):
        raise InputError(f"{argument} must be a tensor, got {type(value).__name__}; use torch.as_tensor")


def pick(values: Tensor, target: Tensor) -> Tensor:
    """``sum_k t_k values_k`` [N], which is ``values_y`` for a class index y.

    Args:
        values: one value a class [N, K] or [1, K].
        target: class indices [N] or probabilities [N, K].

    Example:
        >>> pick(torch.tensor([[5.0, 7.0], [1.0, 3.0]]), torch.tensor([1, 0]))
        tensor([7., 1.])
    """
    return mix(of_labels(values, target), target)


def of_labels(values: Tensor, target: Tensor) -> Tensor:
    """The columns that a target asks for: the label's [N, 1] for class indices, all for probabilities.

    What is computed of them costs nothing by class where the target is an index. ``mix`` ends it.

    Args:
        values: one value a class [N, K] or [1, K].
        target: class indices [N] or probabilities [N, K].

    Example:
        >>> of_labels(torch.tensor([[5.0, 7.0]]), torch.tensor([1, 0])).tolist()
        [[7.0], [5.0]]
    """
    if target.is_floating_point():
        return values
    return values.expand(len(target), -1).gather(1, target.long()[:, None])


def mix(values: Tensor, target: Tensor) -> Tensor:
    """``sum_k t_k values_k`` [N] of the columns that ``of_labels`` chose.

    Args:
        values: [N, 1] for class indices; [N, K] or [1, K] for probabilities.
        target: class indices [N] or probabilities [N, K].

    Example:
        >>> mix(torch.tensor([[5.0, 7.0]]), torch.tensor([[0.5, 0.5]]))
        tensor([6.])
    """
    if target.is_floating_point():
        return (target.to(values.dtype) * values).sum(1)
    return values.squeeze(1)


def log_sum_exp(values: Tensor) -> Tensor:
    """``log sum_j e^{values_j}`` [N, 1] by the fused softmax: many times faster on CPUs where terms vanish.

    Args:
        values: [N, K].

    Example:
        >>> log_sum_exp(torch.tensor([[0.0, -torch.inf]]))
        tensor([[0.]])
    """
    top = values.argmax(1, keepdim=True)
    return values.gather(1, top) - values.log_softmax(1).gather(1, top)


def is_transformed(values: Tensor) -> bool:
    """Whether a function transform such as ``vmap`` or ``grad`` of ``torch.func`` is at work on a tensor.

    Example:
        >>> torch.func.vmap(lambda row: row + is_transformed(row))(torch.zeros(2))
        tensor([1., 1.])
    """
    return not torch.compiler.is_compiling() and is_functorch_wrapped_tensor(values)


def is_readable(target: Tensor) -> bool:
    """Whether reading numbers is free: on the CPU, outside compilation and function transforms.

    Example:
        >>> is_readable(torch.zeros(1))
        True
    """
    plain = not torch.compiler.is_compiling() and not is_transformed(target)
    return plain and target.device.type == "cpu"


def _check_indices(target: Tensor, num_classes: int) -> None:
    bad = ((target < 0) | (target >= num_classes)).nonzero()
    if len(bad):
        i = int(bad[0])
        raise InputError(
            f"target must be in 0..{num_classes - 1}, got target[{i}]={int(target[i])}; "
            "check the labels against the classes"
        )


def _check_rows(target: Tensor) -> None:
    rows = target.float()
    bad = (~((rows >= 0).all(1) & ((rows.sum(1) - 1).abs() <= 0.01))).nonzero()
    if len(bad):
        i = int(bad[0])
        raise InputError(
            f"target rows must be probabilities that sum to 1, got target[{i}]={rows[i, :10].tolist()}; "
            "normalise each row"
        )
