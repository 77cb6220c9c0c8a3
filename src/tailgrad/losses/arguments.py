"""What losses do first with their arguments: counts, reductions, logits."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tailgrad.checks import InputError, one_of, positive_counts
from tailgrad.losses.frozen import may_update
from tailgrad.losses.targets import check_target, is_transformed


def counted_classes(class_counts: Sequence[int] | None) -> int | None:
    """K, if counts are given and every one is positive; None without counts.

    Raises:
        InputError: a count is not positive.

    Example:
        >>> counted_classes([100, 10, 1]), counted_classes(None)
        (3, None)
    """
    return None if class_counts is None else len(positive_counts(class_counts))


def required_counts(class_counts: Sequence[int] | None, loss: str) -> tuple[int, ...]:
    """The counts of a loss that cannot do without.

    Raises:
        InputError: there are none, or one is not positive.

    Example:
        >>> required_counts(None, "GALALoss")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: class_counts must be given to GALALoss, got None; pass the training counts
    """
    if class_counts is None:
        raise InputError(f"class_counts must be given to {loss}, got None; pass the training counts")
    return positive_counts(class_counts)


def set_reduction(reduction: str, over: str = "classes") -> str:
    """The reduction of a loss of the whole batch: ``"mean"`` or ``"sum"``.

    Args:
        reduction: as the user gave it.
        over: what the loss averages over, for the message.

    Raises:
        InputError: it is another, above all ``"none"``.

    Example:
        >>> set_reduction("none")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: reduction must be 'mean' or 'sum' over classes, got 'none'; ...
    """
    if reduction == "none":
        raise InputError(
            f"reduction must be 'mean' or 'sum' over {over}, got 'none'; a loss of the whole batch has no "
            "value for one example, choose another loss where each example needs one"
        )
    return one_of("reduction", reduction, ("mean", "sum"))


def prepared(logits: Tensor, target: Tensor, num_classes: int | None) -> Tensor:
    """The logits in float32 or wider, once ``check_target`` has passed.

    Example:
        >>> prepared(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([1]), None).dtype
        torch.float32
    """
    check_target(logits, target, num_classes)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def may_count(loss: nn.Module, numbers: Tensor) -> bool:
    """Whether a loss may take these numbers into its state: ``may_update``, outside function transforms.

    Inside ``vmap`` or ``grad`` of ``torch.func`` tensors stand for others, and no buffer may hold them.

    Args:
        loss: whose buffers would change.
        numbers: what they would take in.

    Example:
        >>> may_count(nn.CrossEntropyLoss(), torch.zeros(1))
        True
    """
    return may_update(loss) and not is_transformed(numbers)
