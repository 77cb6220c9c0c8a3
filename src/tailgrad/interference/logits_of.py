"""The logits in what a model returned."""

from collections.abc import Mapping

from torch import Tensor

from tailgrad.checks import InputError


def logits_of(output: object) -> Tensor:
    """The logits [N, K] of an output: itself, its ``.logits``, its ``["logits"]``, or the first of a tuple.

    Raises:
        InputError: there is no such tensor.

    Example:
        >>> import torch
        >>> logits_of({"logits": torch.zeros(2, 3)}).shape
        torch.Size([2, 3])
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get("logits")
    elif hasattr(output, "logits"):
        found = output.logits
    elif isinstance(output, tuple | list) and len(output):
        found = output[0]
    if isinstance(found, Tensor) and found.ndim == 2:
        return found
    came = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(output).__name__
    raise InputError(
        f"model must return logits [N, K], .logits or a tuple that starts with them, got {came}; "
        "monitor the module that does"
    )
