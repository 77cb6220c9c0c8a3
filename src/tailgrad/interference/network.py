"""A classifier as the measurement sees it: named parameters, logits, pooled features."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tailgrad.checks import InputError
from tailgrad.interference.trees import Tree, leaves, length, map_leaves

Forward = Callable[[Any, Any], Any]
_HALF = (torch.float16, torch.bfloat16)


class Network:
    """A model with its floating-point parameters by name, run on inputs from anywhere.

    A model in half precision is measured in a float32 copy: class gradients of many small terms do not
    survive rounding to 8 or 11 bits. A compiled model is measured uncompiled, because hooks must see its
    layers.

    Args:
        model: any module that returns logits [N, K], or an object with ``.logits``; ``outputs(x)`` with
            ``.logits`` and ``.features`` is used where it exists.
        forward: ``forward(model, inputs) -> logits``, where the model is not called as ``model(inputs)``,
            ``model(*inputs)`` for a tuple or ``model(**inputs)`` for a mapping.

    Raises:
        InputError: not a module, no parameters, or BatchNorm without running statistics, which makes every
            example depend on the others even in evaluation mode.

    Example:
        >>> logits, features = Network(nn.Linear(4, 3)).run(torch.zeros(2, 4))
        >>> logits.shape, features
        (torch.Size([2, 3]), None)
    """

    def __init__(self, model: nn.Module, forward: Forward | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(
                f"model must be a torch.nn.Module, got {type(model).__name__}; pass the module itself"
            )
        model = getattr(model, "_orig_mod", model)
        self.notes: tuple[str, ...] = ()
        halves = sorted({str(p.dtype) for p in model.parameters() if p.dtype in _HALF})
        if halves:
            model = copy.deepcopy(model).float()
            self.notes = (f"The model is in {halves[0]}; it was measured in a float32 copy.",)
        _check_independent(model)
        self.model, self._forward = model, forward
        self.parameters = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
        if not self.parameters:
            raise InputError(
                f"model must have parameters, got {type(model).__name__} without any; build it first"
            )
        first = next(iter(self.parameters.values()))
        self.device, self._dtype = first.device, first.dtype

    def run(self, inputs: Tree) -> tuple[Tensor, Tensor | None]:
        """Logits [n, K] in at least float32, and pooled features [n, D] where the model gives them."""
        inputs = map_leaves(self._moved, inputs)
        try:
            result = self._call(inputs)
        except RuntimeError as error:
            if not any(t.dtype is torch.uint8 for t in leaves(inputs)):
                raise
            raise InputError(
                f"inputs must be what the model takes, got torch.uint8 ({error}); convert images to "
                "floating point and normalise them"
            ) from error
        if not torch.is_grad_enabled():
            # old versions of PyTorch cast weights here without a graph and reuse them where one is needed
            torch.clear_autocast_cache()
        logits = result["logits"] if isinstance(result, Mapping) else getattr(result, "logits", result)
        check_logits(logits, length(inputs))
        features = getattr(result, "features", None)
        return logits.float() if logits.dtype in _HALF else logits, features

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self._dtype if tensor.is_floating_point() else None)

    def _call(self, inputs: Tree) -> Any:
        if self._forward is not None:
            return self._forward(self.model, inputs)
        outputs = getattr(self.model, "outputs", None)
        call = outputs if callable(outputs) else self.model
        if isinstance(inputs, Mapping):
            return call(**inputs)
        return call(*inputs) if isinstance(inputs, tuple | list) else call(inputs)


def _check_independent(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise InputError(
                f"model must treat examples independently in evaluation mode, got {name!r} "
                f"({type(module).__name__}) without running statistics; set track_running_stats=True"
            )


def check_logits(logits: object, length: int) -> None:
    """Check that logits are [N, K] with K >= 2.

    Raises:
        InputError: they are something else.

    Example:
        >>> check_logits(torch.zeros(3, 2), 3)
    """
    if not isinstance(logits, Tensor):
        raise InputError(
            f"model must return logits [N, K], got {type(logits).__name__}; wrap its forward, or give "
            "forward=lambda model, inputs: ..."
        )
    if logits.ndim != 2 or len(logits) != length or logits.shape[1] < 2:
        raise InputError(
            f"model must return logits [N, K] with K >= 2, got shape {list(logits.shape)} for {length} "
            "inputs; give it one output a class"
        )
