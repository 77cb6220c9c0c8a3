"""Fitted values as buffers: empty until fitted, of any size when loaded."""

from typing import Any, cast

from torch import Tensor, nn

from tailgrad.checks import InputError


def take_shapes_when_loading(module: nn.Module) -> None:
    """Let a loaded state size every buffer that is empty here or there.

    So a method built without counts can load what another was fitted on.

    Example:
        >>> import torch
        >>> module = nn.Module()
        >>> module.register_buffer("offsets", torch.empty(0))
        >>> take_shapes_when_loading(module)
        >>> module.load_state_dict({"offsets": torch.ones(3)})
        <All keys matched successfully>
    """
    cast("Any", module).register_load_state_dict_pre_hook(_take_shapes)


def _take_shapes(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    for name, buffer in list(module.named_buffers(recurse=False)):
        given = state_dict.get(prefix + name)
        if given is not None and 0 in (buffer.numel(), given.numel()):
            setattr(module, name, buffer.new_empty(given.shape))


def require_fit(module: nn.Module, buffer: Tensor) -> None:
    """Make sure that a buffer has been fitted.

    Raises:
        InputError: it is still empty.

    Example:
        >>> import torch
        >>> require_fit(nn.Identity(), torch.ones(1))
    """
    if not buffer.numel():
        raise InputError(
            f"{type(module).__name__} must be fitted before it transforms, got no fit; "
            "call fit(logits, target) with held-out data"
        )


def known_classes(*buffers: Tensor) -> int | None:
    """Length of the first buffer [K] that is not empty, or None.

    Example:
        >>> import torch
        >>> known_classes(torch.empty(0), torch.ones(3))
        3
    """
    return next((len(buffer) for buffer in buffers if buffer.numel()), None)
