"""The optimiser that another one wraps, checked."""

import inspect

from torch.optim import Optimizer

from tailgrad.checks import InputError


def check_base(base_optimizer: object) -> None:
    """Check that it is a built optimiser whose step needs no closure of its own.

    Raises:
        InputError: it is something else, or runs the network itself, as L-BFGS does.

    Example:
        >>> check_base("sgd")
        Traceback (most recent call last):
        ...
        tailgrad.checks.InputError: base_optimizer must be a built torch optimiser, got 'sgd'; pass ...
    """
    if not isinstance(base_optimizer, Optimizer):
        raise InputError(
            f"base_optimizer must be a built torch optimiser, got {base_optimizer!r}; pass for example "
            "torch.optim.SGD(model.parameters(), lr=0.1)"
        )
    closure = inspect.signature(base_optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise InputError(
            f"base_optimizer must step on gradients that it is given, got {type(base_optimizer).__name__}, "
            "which runs the network itself; use SGD, AdamW or the like"
        )
