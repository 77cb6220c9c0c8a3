"""A classifier as the measurement sees it: named parameters, logits, pooled features."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tailgrad.checks import InputError

_HALF = (torch.float16, torch.bfloat16)


class Network:
    """A model with its floating-point parameters by name, run on inputs from anywhere.

    A model in half precision is measured in a float32 copy: class gradients of many small terms do not
    survive rounding to 8 or 11 bits. A compiled model is measured uncompiled, because hooks must see its
    layers.

    Args:
        model: any module that returns logits [N, K]; ``outputs(x)`` with ``.logits`` and ``.features`` is
            used where it exists.

    Raises:
        InputError: not a module, no parameters, or BatchNorm without running statistics, which makes every
            example depend on the others even in evaluation mode.

    Example:
        >>> logits, features = Network(nn.Linear(4, 3)).run(torch.zeros(2, 4))
        >>> logits.shape, features
        (torch.Size([2, 3]), None)
    """

    def __init__(self, model: nn.Module) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model must be a torch.nn.Module, got {type(model).__name__}; pass the module itself"
            )
        model = getattr(model, "_orig_mod", model)
        if any(p.dtype in _HALF for p in model.parameters()):
            model = copy.deepcopy(model).float()
        _check_independent(model)
        self.model = model
        self.parameters = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        if not self.parameters:
            raise InputError(
                f"model must have parameters, got {type(model).__name__} without any; build it first"
            )
        first = next(iter(self.parameters.values()))
        self.device, self._dtype = first.device, first.dtype

    def run(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits [n, K] in at least float32, and pooled features [n, D] where the model gives them."""
        inputs = inputs.to(self.device, self._dtype if inputs.is_floating_point() else None)
        outputs = getattr(self.model, "outputs", None)
        try:
            result = outputs(inputs) if callable(outputs) else self.model(inputs)
        except RuntimeError as error:
            if inputs.dtype is not torch.uint8:
                raise
            raise InputError(
                f"inputs must be what the model takes, got {inputs.dtype} ({error}); convert images to "
                "floating point and normalise them"
            ) from error
        logits = getattr(result, "logits", result)
        _check_logits(logits, len(inputs))
        features = getattr(result, "features", None)
        return logits.float() if logits.dtype in _HALF else logits, features


def _check_independent(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise InputError(
                f"model must treat examples independently in evaluation mode, got {name!r} "
                f"({type(module).__name__}) without running statistics; set track_running_stats=True"
            )


def _check_logits(logits: object, length: int) -> None:
    if not isinstance(logits, Tensor):
        raise InputError(f"model must return logits [N, K], got {type(logits).__name__}; wrap its forward")
    if logits.ndim != 2 or len(logits) != length or logits.shape[1] < 2:
        raise InputError(
            f"model must return logits [N, K] with K >= 2, got shape {list(logits.shape)} for {length} "
            "inputs; give it one output a class"
        )
